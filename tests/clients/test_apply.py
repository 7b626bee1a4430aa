"""`auric apply`: definitions in files, compared with what a running server has, and brought about."""

import os
import pathlib
import subprocess

import pytest

from conftest import auric_binary, eventually, running

pytestmark = pytest.mark.long

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


TASKS = """create task {schema}.load schedule every 2 hours retries 2 comment 'new orders'
as merge into {schema}.seen s using (select max(day) as day from {schema}.today) t on s.day = t.day when not matched then insert values (t.day);
create task {schema}.tidy after {schema}.load, {schema}.daily as delete from {schema}.seen where day < (select min(day) from {schema}.orders);
create view {schema}.today as select day from {schema}.orders;
"""


@pytest.fixture
def with_tasks(applied):
    applied.server.sql(f"create table {applied.schema}.seen (day date)")
    # In the order of their names and places, what they come after and read would come later.
    applied.write("0.sql", TASKS)
    status, lines, errors = applied.apply()
    assert status == 0, errors
    done = [line.split(".")[-1] for line in lines if line.startswith("done")]
    assert done == ["today", "load", "tidy"]
    return applied


def tasks(applied) -> dict:
    rows = applied.server.sql("select task_name, schedule, state, retries, comment, owner from auric.tasks where schema_name = %s", (applied.schema,))
    return {row[0]: row[1:] for row in rows}


def test_tasks_come_after_what_they_name_and_once(with_tasks):
    schema = with_tasks.schema
    assert tasks(with_tasks) == {
        "load": ("SCHEDULE EVERY 2 HOURS", "scheduled", 2, "new orders", "auric"),
        "tidy": (f"AFTER {schema}.load, {schema}.daily", "scheduled", None, None, "auric")}
    for arguments in ([], ["--check"]):
        assert with_tasks.apply(*arguments) == (0, ["0 to create, 0 to replace, 0 to alter, 7 unchanged"], "")
    with_tasks.server.sql(f"execute task {schema}.load cascade")
    assert with_tasks.server.sql(f"select day::text from {schema}.seen") == [("2024-01-02",)]


@pytest.mark.parametrize("before, after, told", [
    ("every 2 hours", "every 3 hours", "alter task {schema}.load: schedule: SCHEDULE EVERY 3 HOURS (D/0.sql:1)"),
    ("retries 2 comment", "comment", "alter task {schema}.load: retries: none (D/0.sql:1)"),
    ("'new orders'", "'orders'", "alter task {schema}.load: comment (D/0.sql:1)"),
    ("after {schema}.load, {schema}.daily", "after {schema}.load", "alter task {schema}.tidy: schedule: AFTER {schema}.load (D/0.sql:3)"),
    ("select max(day)", "select min(day)", "replace task {schema}.load: another statement (D/0.sql:1)"),
    ("max(day) as day", "MAX( day )  AS day /* the last */", None),
])
def test_a_task_keeps_its_runs_and_its_rest(with_tasks, before, after, told):
    server, schema = with_tasks.server, with_tasks.schema
    server.sql(f"execute task {schema}.load")
    server.sql(f"alter task {schema}.load suspend")
    runs = server.sql("select run_id, status from auric.task_runs where schema_name = %s", (schema,))
    assert len(runs) == 1
    assert with_tasks.apply("--check")[0] == 0
    with_tasks.write("0.sql", TASKS.replace(before, after))
    status, lines, errors = with_tasks.apply("--check")
    if told is None:
        assert status == 0, lines
        return
    assert (status, lines[0]) == (3, told.format(schema=schema)), errors
    status, lines, errors = with_tasks.apply()
    assert status == 0, errors
    assert with_tasks.apply("--check")[0] == 0
    assert tasks(with_tasks)["load"][1] == "suspended"
    assert server.sql("select run_id, status from auric.task_runs where schema_name = %s", (schema,)) == runs


def test_tasks_that_others_changed_are_seen(with_tasks):
    server, schema = with_tasks.server, with_tasks.schema
    server.sql(f"alter task {schema}.load set schedule every 1 day")
    server.sql(f"drop task {schema}.tidy")
    status, lines, _ = with_tasks.apply("--check")
    assert (status, lines[:2]) == (3, [f"alter task {schema}.load: schedule: SCHEDULE EVERY 2 HOURS (D/0.sql:1)", f"create task {schema}.tidy (D/0.sql:3)"])
    assert with_tasks.apply()[0] == 0
    assert with_tasks.apply("--check")[0] == 0
    # The same text over a view that now means another table is another task.
    server.sql(f"create table {schema}.late (day date)")
    with_tasks.write("0.sql", TASKS.replace("select day from {schema}.orders;", "select day from {schema}.late;"))
    status, lines, _ = with_tasks.apply()
    done = [line for line in lines if line.startswith("done")]
    assert (status, done) == (0, [f"done: view {schema}.today", f"done: task {schema}.load"])
    assert with_tasks.apply("--check")[0] == 0


def test_a_mistake_in_the_last_is_found_before_the_first_is_made(definitions):
    """What it names is made by the same files, so that only making them tells."""
    definitions.write("a/gold.sql", GOLD)
    definitions.write("b.sql", SILVER)
    definitions.write("c.sql", "create task {schema}.t as insert into {schema}.orders select day, country, nothing from {schema}.daily;")
    before = definitions.server.sql(f"select relname from pg_class where relnamespace = '{definitions.schema}'::regnamespace")
    status, lines, errors = definitions.apply()
    assert status == 1 and 'D/c.sql:1: column "nothing" does not exist (42703)' in errors, errors
    assert not [line for line in lines if line.startswith("done")]
    after = definitions.server.sql(f"select relname from pg_class where relnamespace = '{definitions.schema}'::regnamespace")
    assert after == before == [("orders",)]
    # A view and what is built from it change together.
    definitions.write("c.sql", "create task {schema}.t as insert into {schema}.orders select day, country, revenue from {schema}.daily;")
    assert definitions.apply()[0] == 0
    definitions.write("a/gold.sql", GOLD.replace("as revenue", "as worth"))
    definitions.write("b.sql", SILVER.replace("max(revenue)", "max(worth)"))
    definitions.write("c.sql", "create task {schema}.t as insert into {schema}.orders select day, country, worth from {schema}.daily;")
    status, _, errors = definitions.apply()
    assert status == 0, errors
    assert definitions.apply("--check")[0] == 0


def of_start(server) -> list[tuple]:
    """What became of the definitions, once it is decided."""
    ask = "select line, definition, action, status, sqlstate from auric.definitions order by file, line"
    return eventually(lambda: server.sql(ask), lambda rows: rows and not any(row[3] == "pending" for row in rows))


def test_applied_when_a_server_starts(tmp_path):
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    (definitions / "1.sql").write_text("create schema s;\ncreate materialized view s.gold as select 1 as n;\ncreate task s.t as insert into public.raw select n from s.gold;")
    environment = {"AURIC_MATERIALIZE__DIR": str(definitions)}
    # A table that is not there: nothing of it is done, and the server serves.
    with running(tmp_path / "data", environment=environment) as server:
        rows = of_start(server)
        assert [row[3:] for row in rows] == [("skipped", None), ("skipped", None), ("failed", "42P01")]
        assert server.sql("select nspname from pg_namespace where nspname = 's'") == []
        assert any("definitions are not applied" in line and "1.sql:3" in line for line in server.log)
        server.sql("create table raw (n bigint)")
    with running(tmp_path / "data", environment=environment) as server:
        assert [row[1:4] for row in of_start(server)] == [
            ("schema s", "create", "applied"), ("materialized view s.gold", "create", "applied"), ("task s.t", "create", "applied")]
        assert server.sql("select n from s.gold") == [(1,)]
    (definitions / "1.sql").write_text((definitions / "1.sql").read_text() + "\nselec 1;")
    with running(tmp_path / "data", environment=environment) as server:
        assert of_start(server) == [(4, None, None, "failed", "42601")]
        assert server.sql("select n from s.gold") == [(1,)]
    with running(tmp_path / "data", environment={"AURIC_MATERIALIZE__DIR": str(tmp_path / "nowhere")}) as server:
        [(line, what, _, status, _)] = of_start(server)
        assert (line, what, status) == (None, None, "failed") and server.sql("select n from s.gold") == [(1,)]


def test_servers_that_start_together_apply_once(tmp_path):
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    text = "".join(f"create materialized view gold{i} as select {i} as n;\ncreate view v{i} as select n from gold{i};\n" for i in range(4))
    (definitions / "1.sql").write_text(text)
    environment = {"AURIC_MATERIALIZE__DIR": str(definitions)}
    with running(tmp_path / "data", environment=environment) as one, running(tmp_path / "data", environment=environment) as other:
        for server in (one, other):
            assert {row[3] for row in of_start(server)} <= {"applied", "unchanged"}
        for i in range(4):
            assert one.sql(f'select count(*) from "gold{i}$snapshots"') == [(1,)]


def test_what_was_done_before_a_failure_stays(definitions):
    definitions.write("1.sql", GOLD.replace("sales", "orders").replace("as select day", "as select day"))
    definitions.write("2.sql", "create materialized view {schema}.zero (constraint some expect (count(*) > 0) on violation fail update) as select * from {schema}.orders where amount > 1000;")
    status, lines, errors = definitions.apply()
    assert status == 1 and f"done: materialized view {definitions.schema}.daily" in lines and "D/2.sql:1:" in errors and "(23514)" in errors
    definitions.server.sql(f"insert into {definitions.schema}.orders values (date '2024-01-03', 'fr', 2000)")
    status, lines, _ = definitions.apply()
    assert (status, lines[-2]) == (0, "1 to create, 0 to replace, 0 to alter, 1 unchanged")
