"""`auric apply`: definitions in files, compared with what a running server has, and brought about."""

import os
import pathlib
import subprocess

import pytest

from conftest import auric_binary

GOLD = """-- Revenue of each day.
create materialized view {schema}.daily (
    constraint some expect (count(*) > 0) on violation fail update
)
partitioned by (country)
comment 'what a day was worth'
tblproperties ('format-version' = '3', 'write.parquet.compression-codec' = 'zstd')
schedule cron '0 2 * * *' at time zone 'Europe/Paris' retries 2
as select day, country, sum(amount) as revenue from {schema}.sales group by day, country;
"""
SILVER = """create or replace view {schema}.sales as select * from {schema}.orders where amount >= 0;
create materialized view if not exists {schema}.best using delta as select max(revenue) as revenue from {schema}.daily;
create schema if not exists {schema}_more"""


class Definitions:
    """A directory of definitions for a schema, and the program that applies it."""

    def __init__(self, server, schema: str, directory: pathlib.Path):
        self.server, self.schema, self.directory = server, schema, directory

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(schema=self.schema))

    def apply(self, *arguments: str) -> tuple[int, list[str], str]:
        """Exit status, lines of output, errors."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("AURIC_")}
        run = subprocess.run([auric_binary(), "apply", str(self.directory), "--data-dir", str(self.server.data_dir), *arguments],
                             capture_output=True, text=True, timeout=120, env=environment)
        return run.returncode, run.stdout.replace(str(self.directory), "D").splitlines(), run.stderr.replace(str(self.directory), "D")


@pytest.fixture
def definitions(server, schema, tmp_path):
    server.sql(f"create table {schema}.orders (day date, country text, amount numeric(12,2))")
    server.sql(f"insert into {schema}.orders values (date '2024-01-01', 'fr', 10), (date '2024-01-01', 'fr', 5), (date '2024-01-02', 'de', -1), (date '2024-01-02', 'de', 7)")
    return Definitions(server, schema, tmp_path)


@pytest.fixture
def applied(definitions):
    # In the order of their names, `daily` would come before the view that it reads.
    definitions.write("a/gold.sql", GOLD)
    definitions.write("b.sql", SILVER)
    assert definitions.apply()[0] == 0
    return definitions


def snapshots(server, schema: str, table: str) -> list[tuple]:
    return server.sql(f'select count(*) from {schema}."{table}$snapshots"')


def test_created_in_order_and_once(definitions):
    server, schema = definitions.server, definitions.schema
    definitions.write("a/gold.sql", GOLD)
    definitions.write("b.sql", SILVER)
    planned = [f'create view "{schema}".sales (D/b.sql:1)' if '"' in schema else f"create view {schema}.sales (D/b.sql:1)",
               f"create materialized view {schema}.daily (D/a/gold.sql:2)",
               f"create materialized view {schema}.best (D/b.sql:2)",
               f"create schema {schema}_more (D/b.sql:3)",
               "4 to create, 0 to replace, 0 to alter, 0 unchanged"]
    status, lines, errors = definitions.apply("--check")
    assert (status, lines, errors) == (3, planned, "")
    assert server.sql(f"select * from pg_matviews where schemaname = '{schema}'") == []
    status, lines, _ = definitions.apply()
    assert (status, lines[:5]) == (0, planned)
    assert [line for line in lines if line.startswith("done")] == [
        f"done: view {schema}.sales", f"done: materialized view {schema}.daily", f"done: materialized view {schema}.best", f"done: schema {schema}_more"]
    assert server.sql(f"select day::text, country, revenue::text from {schema}.daily order by 1") == [("2024-01-01", "fr", "15.00"), ("2024-01-02", "de", "7.00")]
    assert server.sql(f"select revenue::text from {schema}.best") == [("15.00",)]
    before = snapshots(server, schema, "daily")
    for arguments in ([], ["--check"]):
        assert definitions.apply(*arguments) == (0, ["0 to create, 0 to replace, 0 to alter, 4 unchanged"], "")
    assert snapshots(server, schema, "daily") == before


def test_layout_of_the_text_is_no_difference(applied):
    applied.write("a/gold.sql", GOLD.replace("sum(amount) as revenue", "SUM( amount )  /* euros */\n  AS Revenue"))
    assert applied.apply("--check")[0] == 0


@pytest.mark.parametrize("before, after, told", [
    ("retries 2", "retries 5", "retries: 5"),
    ("retries 2", "", "retries: none"),
    ("schedule cron '0 2 * * *' at time zone 'Europe/Paris'", "schedule every 2 hours", "schedule: SCHEDULE EVERY 2 HOURS"),
    ("retries 2", "retries 2 refresh policy full", None),
    ("'what a day was worth'", "'revenue'", "comment"),
    ("'zstd'", "'snappy'", "write.parquet.compression-codec = snappy"),
])
def test_altered_without_touching_rows(applied, before, after, told):
    server, schema = applied.server, applied.schema
    files = server.sql(f'select file_path from {schema}."daily$files" order by 1')
    text = GOLD.replace(before, after)
    if told is None:
        text, told = GOLD.replace(" retries 2", " refresh policy full retries 2"), "refresh policy: FULL"
    applied.write("a/gold.sql", text)
    status, lines, _ = applied.apply("--check")
    assert (status, lines[0]) == (3, f"alter materialized view {schema}.daily: {told} (D/a/gold.sql:2)")
    assert applied.apply()[0] == 0
    assert applied.apply("--check")[0] == 0
    assert server.sql(f'select file_path from {schema}."daily$files" order by 1') == files


@pytest.mark.parametrize("before, after, told", [
    ("sum(amount)", "max(amount)", "another query"),
    ("count(*) > 0", "count(*) > 1", "other expectations"),
    ("partitioned by (country)", "partitioned by (day)", "another partitioning"),
    ("partitioned by (country)", "partitioned by (country) sorted by (day)", "another sort order"),
])
def test_replaced(applied, before, after, told):
    applied.write("a/gold.sql", GOLD.replace(before, after))
    status, lines, _ = applied.apply("--check")
    assert (status, lines[0]) == (3, f"replace materialized view {applied.schema}.daily: {told} (D/a/gold.sql:2)")
    assert applied.apply()[0] == 0
    assert applied.apply("--check")[0] == 0
    value = "10.00" if "max" in after else "15.00"
    assert applied.server.sql(f"select revenue::text from {applied.schema}.daily where country = 'fr'") == [(value,)]


def test_changes_by_hand_are_seen_and_undone(applied):
    server, schema = applied.server, applied.schema
    server.sql(f"alter materialized view {schema}.daily set schedule every 1 day")
    server.sql(f"create or replace view {schema}.sales as select * from {schema}.orders where amount > 100")
    # Whether a schedule rests is nothing that the files say.
    server.sql(f"alter materialized view {schema}.best suspend")
    status, lines, _ = applied.apply("--check")
    assert (status, lines) == (3, [
        f"replace view {schema}.sales: another query (D/b.sql:1)",
        f"alter materialized view {schema}.daily: schedule: SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/Paris' (D/a/gold.sql:2)",
        "0 to create, 1 to replace, 1 to alter, 2 unchanged"])
    assert applied.apply()[0] == 0
    assert applied.apply("--check")[0] == 0
    assert server.sql(f"select count(*) from {schema}.sales") == [(3,)]


@pytest.mark.parametrize("text, told", [
    ("create view {schema}.v as\nselect\nnothing from {schema}.orders;", ':3: column "nothing" does not exist (42703)'),
    ("create view {schema}.v as select 1 as x;\n\ndrop table {schema}.orders;", ':3: "drop table'),
    ("select 1;\nselec 2", ':2: syntax error'),
    ("create view {schema}.v as select 1 as x;\ncreate view {schema}.v as select 2 as x;", "is defined more than once (42710)"),
    ("create view {schema}.v as select * from {schema}.w;\ncreate view {schema}.w as select * from {schema}.v;", "are made of each other"),
    ("create materialized view {schema}.orders as select 1 as x;", "is not a materialized view (42809)"),
    ("create materialized view {schema}.gold schedule cron 'x' as select 1 as x;", "invalid cron expression"),
])
def test_mistakes_name_their_place(definitions, text, told):
    definitions.write("wrong.sql", text)
    status, _, errors = definitions.apply()
    assert status == 1
    assert errors.startswith("auric: D/wrong.sql:") and told in errors, errors


def test_nothing_to_read(definitions):
    assert definitions.apply() [0::2] == (1, "auric: no file *.sql in D\n")
    definitions.directory = definitions.directory / "missing"
    assert definitions.apply()[0] == 1


def test_what_was_done_before_a_failure_stays(definitions):
    definitions.write("1.sql", GOLD.replace("sales", "orders").replace("as select day", "as select day"))
    definitions.write("2.sql", "create materialized view {schema}.zero (constraint some expect (count(*) > 0) on violation fail update) as select * from {schema}.orders where amount > 1000;")
    status, lines, errors = definitions.apply()
    assert status == 1 and f"done: materialized view {definitions.schema}.daily" in lines and "D/2.sql:1:" in errors and "(23514)" in errors
    definitions.server.sql(f"insert into {definitions.schema}.orders values (date '2024-01-03', 'fr', 2000)")
    status, lines, _ = definitions.apply()
    assert (status, lines[-2]) == (0, "1 to create, 0 to replace, 0 to alter, 1 unchanged")
