"""Materialized views beside other programs: what others read of them, what a crash or a second server does to them.

Hundreds of crashes: `AURIC_CRASH_RUNS=300 python -m pytest tests/clients/test_materialized_views.py -k killed`."""

import decimal
import json
import os
import random
import shutil
import threading

import deltalake
import psycopg
import pyarrow as pa
import pytest

from conftest import eventually, running

FORMATS = ["iceberg", "delta"]
KEY = "auric.materialized-view."
RUNS = int(os.environ.get("AURIC_CRASH_RUNS", "8"))
FACTS = """insert into {schema}.facts select value, date '2024-01-01' + (value % 40)::int, ('c' || value % 7)::text,
    (value * 37 % 1000 - 100)::numeric(12,2) / 4 from generate_series(1, 2000) as t(value)"""
QUERY = """select day, country, count(*) as orders, sum(amount) as revenue, min(amount) as least
    from {facts} where country <> 'c3' group by day, country"""


class Gold:
    """A gold table as other programs see it."""

    def __init__(self, server, schema: str, name: str, form: str):
        self.server, self.schema, self.name, self.format = server, schema, name, form

    @property
    def iceberg(self):
        return self.server.pyiceberg().load_table((self.schema, self.name))

    @property
    def root(self) -> str:
        return str(self.server.warehouse / self.schema / self.name)

    @property
    def delta(self) -> deltalake.DeltaTable:
        return deltalake.DeltaTable(self.root)

    def arrow(self) -> pa.Table:
        return self.iceberg.scan().to_arrow() if self.format == "iceberg" else pa.table(self.delta.to_pyarrow_table())

    def duck(self, duck) -> pa.Table:
        scan = f"iceberg_scan('{self.iceberg.metadata_location}')" if self.format == "iceberg" else f"delta_scan('{self.root}')"
        return duck.execute(f"select * from {scan}").to_arrow_table()

    def properties(self) -> dict:
        return dict(self.iceberg.properties if self.format == "iceberg" else self.delta.metadata().configuration)

    def version(self) -> int:
        return self.iceberg.current_snapshot().snapshot_id if self.format == "iceberg" else self.delta.version()

    def history(self) -> list[dict]:
        """Summaries of all commits that changed rows, oldest first."""
        if self.format == "iceberg":
            return [dict(s.summary.additional_properties) for s in sorted(self.iceberg.metadata.snapshots, key=lambda s: s.sequence_number)]
        return [commit for commit in reversed(self.delta.history()) if KEY + "run-id" in commit or commit["operation"] in ("WRITE", "DELETE")]

    def runs(self) -> list[dict]:
        return [commit for commit in self.history() if KEY + "run-id" in commit]

    def sources(self) -> dict:
        return json.loads(self.runs()[-1][KEY + "sources"])


def plain(table: pa.Table) -> list[tuple]:
    def value(v):
        return v.normalize() if isinstance(v, decimal.Decimal) else v

    return sorted((tuple(map(value, row.values())) for row in table.to_pylist()), key=repr)


def facts(server, schema: str, form: str) -> Gold:
    server.sql(f"create table {schema}.facts (id bigint, day date, country text, amount numeric(12,2)) using {form}")
    server.sql(FACTS.format(schema=schema))
    return Gold(server, schema, "facts", form)


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_others_read_what_the_query_says(server, schema, duck, source, target):
    base = facts(server, schema, source)
    query = QUERY.format(facts=f"{schema}.facts")
    partitioned = "partitioned by (country)" if target == "delta" else "partitioned by (months(day), country) sorted by (day)"
    server.sql(f"create materialized view {schema}.gold using {target} {partitioned} as {query}")
    gold = Gold(server, schema, "gold", target)
    changes = ["select 1", f"insert into {schema}.facts values (9001, '2024-02-29', 'c1', 1), (9002, null, 'c2', null)",
               f"update {schema}.facts set amount = amount * 2 where id % 3 = 0", f"delete from {schema}.facts where day < '2024-01-20'",
               f"delete from {schema}.facts"]
    for change in changes:
        server.sql(change)
        server.sql(f"refresh materialized view {schema}.gold")
        fact_rows = base.arrow()  # noqa: F841  read by DuckDB
        expected = plain(duck.execute(QUERY.format(facts="fact_rows")).to_arrow_table())
        assert plain(gold.arrow()) == expected, change
        assert plain(gold.duck(duck)) == expected, change
        assert gold.sources()[f"lake.{schema}.facts"]["version"] == base.version()
    assert len(gold.runs()) == len(changes)


@pytest.mark.parametrize("form", FORMATS)
def test_all_of_it_is_in_the_table(tmp_path, form):
    with running(tmp_path) as server:
        server.sql("create schema s")
        base = facts(server, "s", form)
        server.sql("""create materialized view s.gold (constraint positive expect (revenue > 0) on violation drop row)
            using %s trigger on update retries 4 as select country, sum(amount) as revenue from s.facts group by country""" % form)
        server.sql("alter materialized view s.gold suspend")
        gold = Gold(server, "s", "gold", form)
        kept = {key.removeprefix(KEY): value for key, value in gold.properties().items() if key.startswith(KEY)}
        assert kept["query"] == "select country, sum(amount) as revenue from s.facts group by country"
        assert json.loads(kept["expectations"]) == [{"name": "positive", "expect": "revenue > 0", "on-violation": "drop-row"}]
        assert json.loads(kept["schedule"]) == {"on": "update"} and kept["retries"] == "4" and kept["suspended"] == "true"
        [run] = gold.runs()
        assert run[KEY + "definition-hash"] == kept["definition-hash"] and run[KEY + "mode"] == "full"
        assert json.loads(run[KEY + "sources"])["lake.s.facts"]["version"] == base.version()
        shown = server.sql("show create materialized view s.gold")
    # What is beside warehouse and catalog holds nothing of it.
    for path in tmp_path.iterdir():
        if path.name not in ("warehouse", "catalog.db", "catalog.db-wal", "catalog.db-shm"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with running(tmp_path) as server:
        assert server.sql("show create materialized view s.gold") == shown
        with server.connect() as connection:
            notices = []
            connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
            connection.execute("refresh materialized view s.gold")
            assert notices == ['materialized view "s.gold" is up to date']
            assert connection.execute("refresh materialized view s.gold full").statusmessage == "REFRESH MATERIALIZED VIEW"
        assert len(Gold(server, "s", "gold", form).runs()) == 2


@pytest.mark.parametrize("form", FORMATS)
def test_commits_of_others_are_seen(server, schema, form):
    base = facts(server, schema, form)
    server.sql(f"create materialized view {schema}.gold using {form} as select count(*) as n from {schema}.facts")
    gold = Gold(server, schema, "gold", form)

    def append(to: Gold, rows: pa.Table):
        to.iceberg.append(rows) if form == "iceberg" else deltalake.write_deltalake(to.root, rows, mode="append")

    row = {"id": pa.array([-1], pa.int64()), "day": pa.array([None], pa.date32()), "country": pa.array(["x"]),
           "amount": pa.array([None], pa.decimal128(12, 2))}
    append(base, pa.table(row))
    server.sql(f"refresh materialized view {schema}.gold")
    assert plain(gold.arrow()) == [(2001,)]
    # Rows that somebody else has put into the gold table go, whatever was built from what.
    append(gold, pa.table({"n": pa.array([7], pa.int64())}))
    server.sql(f"refresh materialized view {schema}.gold")
    assert plain(gold.arrow()) == [(2001,)]
    assert gold.runs()[-1][KEY + "reason"] == "its rows were changed by others"


def test_another_layout_is_no_change(server, schema):
    """What Delta calls a commit without data change leaves the view up to date."""
    facts(server, schema, "delta")
    server.sql(f"create materialized view {schema}.gold using delta as select id, country from {schema}.facts")
    gold = Gold(server, schema, "gold", "delta")
    metrics = gold.delta.optimize.z_order(["id"])
    assert metrics["numFilesRemoved"] > 0
    version = gold.version()
    server.sql(f"refresh materialized view {schema}.gold")
    assert gold.version() == version
    server.sql(f"delete from {schema}.facts where id = 1")
    server.sql(f"refresh materialized view {schema}.gold")
    assert gold.version() == version + 1 and len(plain(gold.arrow())) == 1999


@pytest.mark.parametrize("form", FORMATS)
def test_a_cascade_reads_one_version_of_every_table(tmp_path, form):
    """Rows that come while it runs are in none of the views, or in all."""
    with running(tmp_path, environment={"AURIC_FAILPOINTS": "commit::before-attempt=5*off->sleep(700)"}) as server:
        server.sql("create schema s")
        server.sql(f"create table s.base (id int) using {form}")
        server.sql("insert into s.base values (1), (2)")
        server.sql(f"create materialized view s.one using {form} as select count(*) as n from s.base")
        server.sql(f"create materialized view s.two using {form} as select n, (select count(*) from s.base) as m from s.one")
        server.sql("insert into s.base values (3)")
        # From here on every commit takes its time.
        refresh = threading.Thread(target=server.sql, args=("refresh materialized view s.two cascade",))
        refresh.start()
        server.sql("insert into s.base values (4)")
        refresh.join()
        assert server.sql("select n, m from s.two") in ([(3, 3)], [(4, 4)])
        one, two = Gold(server, "s", "one", form), Gold(server, "s", "two", form)
        sources = two.sources()
        assert sources["lake.s.one"]["version"] == one.version()
        assert sources["lake.s.base"]["version"] == one.sources()["lake.s.base"]["version"]
        assert "via" not in sources["lake.s.base"]
        server.sql("refresh materialized view s.two cascade")
        assert server.sql("select n, m from s.two") == [(4, 4)]


# Waits for whoever has the lock 1, and is computed anew by every refresh.
WAITS = "pg_advisory_xact_lock_shared(1) is null as waited"
TWO_AT_ONCE = {"AURIC_MATERIALIZE__MAX_CONCURRENT_REFRESHES": "2"}


class Statement(threading.Thread):
    """One that runs beside the test."""

    def __init__(self, server, text: str):
        super().__init__()
        self.server, self.text, self.error = server, text, None
        self.start()

    def run(self):
        try:
            self.server.sql(self.text)
        except psycopg.Error as error:
            self.error = error


def running_now(server) -> list[str]:
    return [name for (name,) in server.sql("select view_name::text from auric.refreshes where status = 'running' order by 1")]


def three_that_wait(server, form: str) -> None:
    """Three views that have nothing to do with each other, and one that is built from all of them."""
    server.sql("create schema s")
    server.sql(f"create table s.base (n int) using {form}")
    server.sql("insert into s.base values (1)")
    for name in "abc":
        server.sql(f"create materialized view s.{name} using {form} as select n, {WAITS} from s.base with no data")
    server.sql(f"create materialized view s.top using {form} as select a.n + b.n + c.n as n from s.a as a, s.b as b, s.c as c with no data")


@pytest.mark.parametrize("form", FORMATS)
def test_a_cascade_runs_side_by_side_what_is_independent(tmp_path, form):
    with running(tmp_path, environment=TWO_AT_ONCE) as server:
        three_that_wait(server, form)
        with server.connect() as holder:
            holder.execute("select pg_advisory_lock(1)")
            refresh = Statement(server, "refresh materialized view s.top cascade")
            # As many as there are places for, and nothing that is built from them.
            assert eventually(lambda: running_now(server), lambda names: len(names) >= 2) == ["a", "b"]
            holder.execute("select pg_advisory_unlock(1)")
            refresh.join()
        assert refresh.error is None
        assert server.sql("select n from s.top") == [(3,)]
        # What the views were when the last one was built from them is what they have become.
        sources = Gold(server, "s", "top", form).sources()
        base = Gold(server, "s", "base", form).version()
        for name in "abc":
            view = Gold(server, "s", name, form)
            assert len(view.runs()) == 1
            assert sources[f"lake.s.{name}"]["version"] == view.version()
            assert view.sources()["lake.s.base"]["version"] == base


def test_a_cascade_is_cancelled_with_all_that_it_runs(tmp_path):
    with running(tmp_path, environment=TWO_AT_ONCE) as server:
        three_that_wait(server, "iceberg")
        text = "refresh materialized view s.top cascade"
        with server.connect() as holder:
            holder.execute("select pg_advisory_lock(1)")
            refresh = Statement(server, text)
            eventually(lambda: running_now(server), lambda names: len(names) == 2)
            [(pid,)] = server.sql("select pid from pg_stat_activity where query = %s and state = 'active'", (text,))
            assert server.sql("select pg_cancel_backend(%s)", (pid,)) == [(True,)]
            refresh.join()
            assert refresh.error.sqlstate == "57014"
            eventually(lambda: running_now(server), lambda names: not names)
        assert server.sql("select count(*) from auric.refreshes where status = 'succeeded'") == [(0,)]
        # Nothing is left of it that the next one would wait for.
        server.sql(text)
        assert server.sql("select n from s.top") == [(3,)]


def test_a_failure_in_a_cascade_leaves_what_runs_beside_it(tmp_path):
    """Two views fail, the first of them last: it is the one that is told."""
    with running(tmp_path, environment=TWO_AT_ONCE) as server:
        server.sql("create schema s")
        server.sql("create table s.base as select 99 as n")
        few = "(constraint few expect (n < 10) on violation fail update)"
        server.sql(f"create materialized view s.slow {few} as select n, {WAITS} from s.base with no data")
        server.sql("create materialized view s.after_slow as select count(*) as n from s.slow with no data")
        server.sql(f"create materialized view s.quick {few} as select n from s.base with no data")
        server.sql("create materialized view s.good as select n from s.base with no data")
        server.sql("create materialized view s.after_good as select count(*) as n from s.good with no data")
        server.sql("""create materialized view s.top as select a.n from s.after_slow as a, s.quick as b, s.after_good as c
            with no data""")
        done = "select view_name::text from auric.refreshes where status = %s order by 1"
        with server.connect() as holder:
            holder.execute("select pg_advisory_lock(1)")
            refresh = Statement(server, "refresh materialized view s.top cascade")
            # What has failed is told at the end; what does not come after it goes on.
            eventually(lambda: server.sql(done, ("succeeded",)), lambda rows: rows == [("after_good",), ("good",)])
            assert running_now(server) == ["slow"]
            holder.execute("select pg_advisory_unlock(1)")
            refresh.join()
        assert (refresh.error.sqlstate, refresh.error.diag.table_name) == ("23514", "slow")
        assert server.sql(done, ("failed",)) == [("quick",), ("slow",)]
        assert server.sql(done, ("succeeded",)) == [("after_good",), ("good",)]
        assert server.sql("select n from s.after_good") == [(1,)]


def test_what_is_read_through_views_is_recorded(server, schema):
    facts(server, schema, "iceberg")
    server.sql(f"create view {schema}.through as select country, amount from {schema}.facts")
    server.sql(f"create materialized view {schema}.one as select country, sum(amount) as s from {schema}.through group by 1")
    server.sql(f"create materialized view {schema}.two using delta as select max(s) as m from {schema}.one")
    base, one, two = (Gold(server, schema, name, form) for name, form in (("facts", "iceberg"), ("one", "iceberg"), ("two", "delta")))
    assert {name: source["version"] for name, source in one.sources().items()} == {f"lake.{schema}.facts": base.version()}
    sources = two.sources()
    assert sources[f"lake.{schema}.one"]["version"] == one.version()
    assert sources[f"lake.{schema}.facts"] == {"version": base.version(), "table-id": str(base.iceberg.metadata.table_uuid),
                                              "via": f"lake.{schema}.one"}


@pytest.mark.parametrize("form", FORMATS)
def test_quarantined_rows_are_there_once_with_their_run(server, schema, form):
    facts(server, schema, form)
    server.sql(f"""create materialized view {schema}.gold (
        constraint positive expect (amount >= 0) on violation quarantine into {schema}.bad,
        constraint known expect (country <> 'c3') on violation quarantine into {schema}.unknown) using {form}
        as select id, country, amount from {schema}.facts""")
    base, gold = Gold(server, schema, "facts", form), Gold(server, schema, "gold", form)
    bad, unknown = Gold(server, schema, "bad", form), Gold(server, schema, "unknown", form)
    all_rows = [(row["id"], row["country"], row["amount"]) for row in base.arrow().to_pylist()]
    [run] = gold.runs()
    for quarantine, refused in ((bad, lambda c, a: a < 0), (unknown, lambda c, a: c == "c3")):
        rows = quarantine.arrow().to_pylist()
        found = {(row["id"], row["country"], row["amount"]): row["_reason"] for row in rows}
        assert len(found) == len(rows)
        assert found == {row: ", ".join(["positive"] * (row[2] < 0) + ["known"] * (row[1] == "c3"))
                         for row in all_rows if refused(row[1], row[2])}
        assert {row["_run_id"] for row in rows} == {run[KEY + "run-id"]} and all(row["_quarantined_at"] for row in rows)
    assert plain(gold.arrow()) == sorted(((i, c, a.normalize()) for i, c, a in all_rows if a >= 0 and c != "c3"), key=repr)


# Where a refresh is killed; with a quarantine, Iceberg's commit is over both tables.
POINTS = {
    "iceberg": ["write::before-file", "write::after-file", "commit::before-attempt", "iceberg::before-manifests", "iceberg::before-metadata",
                "commit::before-pointers", "commit::after-attempt"],
    "delta": ["write::before-file", "write::after-file", "commit::before-attempt", "delta::before-log", "commit::after-attempt"],
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("policy", ["full", "incremental"])
@pytest.mark.parametrize("form", FORMATS)
def test_killed_around_the_publication(tmp_path, form, policy):
    """Afterwards the view is what it was, or what it becomes, and every refused row is there once for each published run
    that computed it."""
    rng = random.Random(1)
    with running(tmp_path) as server:
        server.sql("create schema s")
        server.sql(f"create table s.base (id int, amount int) using {form}")
        server.sql("insert into s.base select value, value % 10 - 1 from generate_series(1, 100) as t(value)")
        server.sql(f"""create materialized view s.gold (constraint positive expect (amount >= 0) on violation quarantine into s.bad)
            using {form} refresh policy {policy} as select id, amount from s.base""")
    after_crash = 0
    for point in POINTS[form] * max(1, RUNS // 8):
        skip = rng.choice((0, 0, 1))
        setting = f"{point}={skip}*off->return(abort)".replace("=0*off->", "=")
        with running(tmp_path) as server:
            [(last,)] = server.sql("select max(id) from s.base")
            server.sql(f"insert into s.base values ({last + 1}, -1), ({last + 2}, 5)")
            before = server.sql("select id, amount from s.gold order by id")
            expected = server.sql("select id, amount from s.base where amount >= 0 order by id")
        with running(tmp_path, environment={"AURIC_FAILPOINTS": setting}) as server:
            try:
                server.sql("refresh materialized view s.gold")
            except psycopg.OperationalError:
                server.process.wait(timeout=30)
                after_crash += 1
        with running(tmp_path) as server:
            gold, bad = Gold(server, "s", "gold", form), Gold(server, "s", "bad", form)
            found = server.sql("select id, amount from s.gold order by id")
            assert found in (before, expected), point
            assert plain(gold.arrow()) == sorted(found, key=repr), point
            server.sql("refresh materialized view s.gold")
            assert server.sql("select id, amount from s.gold order by id") == expected, point
            refused = {id for (id,) in server.sql("select id from s.base where amount < 0")}
            runs = [run[KEY + "run-id"] for run in gold.runs()]
            assert len(set(runs)) == len(runs), f"{point}: a run was published twice"
            by_run = {}
            for row in bad.arrow().to_pylist():
                by_run.setdefault(row["_run_id"], []).append(row["id"])
            assert set(by_run) == set(runs), point
            computed = by_run[runs[-1]] if policy == "full" else [id for run in runs for id in by_run[run]]
            assert sorted(computed) == sorted(refused), point
            assert all(len(set(rows)) == len(rows) for rows in by_run.values()), point
    assert after_crash >= len(POINTS[form]) // 2


@pytest.mark.parametrize("quarantine", ["", "constraint even expect (id % 2 = 0) on violation quarantine into s.bad"], ids=["plain", "quarantine"])
@pytest.mark.parametrize("policy", ["full", "incremental"])
@pytest.mark.parametrize("form", FORMATS)
def test_two_servers_do_not_publish_the_same_refresh_twice(tmp_path, form, policy, quarantine):
    with running(tmp_path) as one, running(tmp_path) as other:
        one.sql("create schema s")
        one.sql(f"create table s.base (id int) using {form}")
        one.sql(f"create materialized view s.gold {f'({quarantine})' if quarantine else ''} using {form} "
                f"refresh policy {policy} as select id from s.base")
        errors = []

        def refresh(server):
            for _ in range(4):
                try:
                    server.sql("refresh materialized view s.gold")
                except psycopg.Error as error:
                    errors.append(error)

        ids = set()
        for step in range(5):
            ids |= {2 * step, 2 * step + 1}
            one.sql(f"insert into s.base values ({2 * step}), ({2 * step + 1})")
            threads = [threading.Thread(target=refresh, args=(server,)) for server in (one, other, one, other)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            kept = sorted(id for id in ids if not quarantine or id % 2 == 0)
            assert other.sql("select id from s.gold order by id") == [(id,) for id in kept]
        assert {error.sqlstate for error in errors} <= {"40001"}, errors
        gold = Gold(one, "s", "gold", form)
        runs = gold.runs()
        built = [json.loads(run[KEY + "sources"])["lake.s.base"]["version"] for run in runs]
        assert len(set(built)) == len(built) == 6, built
        assert len(gold.history()) == 6
        if quarantine:
            found = {}
            for row in Gold(one, "s", "bad", form).arrow().to_pylist():
                found.setdefault(row["_run_id"], []).append(row["id"])
            # One row comes with each run.
            since = lambda n: 1 if policy == "full" else 2 * n - 1
            expected = {run[KEY + "run-id"]: list(range(since(n), 2 * n, 2)) for n, run in enumerate(runs) if n}
            assert {run: sorted(rows) for run, rows in found.items()} == expected


@pytest.mark.parametrize("form", FORMATS)
def test_in_a_transaction_it_is_all_or_nothing(server, schema, form):
    server.sql(f"create table {schema}.base (id int)")
    server.sql(f"insert into {schema}.base values (1)")
    with server.connect(autocommit=False) as connection:
        connection.execute(f"create materialized view {schema}.gold using {form} as select id from {schema}.base")
        assert connection.execute(f"select * from {schema}.gold").fetchall() == [(1,)]
        assert server.sql(f"select count(*) from pg_matviews where schemaname = '{schema}'") == [(0,)]
        connection.rollback()
        assert server.sql(f"select count(*) from pg_matviews where schemaname = '{schema}'") == [(0,)]
        connection.execute(f"create materialized view {schema}.gold using {form} as select id from {schema}.base with no data")
        connection.commit()
        if form == "iceberg":
            connection.execute(f"insert into {schema}.base values (2)")
        connection.execute(f"refresh materialized view {schema}.gold")
        connection.rollback()
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            server.sql(f"select * from {schema}.gold")
        if form == "iceberg":
            connection.execute(f"insert into {schema}.base values (2)")
        connection.execute(f"refresh materialized view {schema}.gold")
        seen = connection.execute(f"select id from {schema}.gold order by id").fetchall()
        assert seen == ([(1,), (2,)] if form == "iceberg" else [(1,)])
        connection.commit()
    gold = Gold(server, schema, "gold", form)
    assert plain(gold.arrow()) == seen
    assert server.sql(f"select id from {schema}.gold order by id") == seen


def test_files_of_a_refused_refresh_go(server, schema):
    server.sql(f"create table {schema}.base (id int)")
    server.sql(f"insert into {schema}.base values (1)")
    server.sql(f"create materialized view {schema}.gold (constraint c expect (id > 0) on violation fail update) as select id from {schema}.base")
    files = lambda: {path for path in (server.warehouse / schema / "gold").rglob("*") if path.is_file()}  # noqa: E731
    before = files()
    server.sql(f"insert into {schema}.base values (0)")
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        server.sql(f"refresh materialized view {schema}.gold")
    assert refused.value.diag.constraint_name == "c" and refused.value.diag.table_name == "gold"
    assert refused.value.diag.message_detail == "Failing row contains (0)."
    from test_serving import until
    until(lambda: files() == before)


@pytest.mark.parametrize("form", FORMATS)
def test_a_refresh_that_fails_tells_what_it_has_counted(tmp_path, form):
    last = """select expectations from auric.refreshes where status = 'failed' order by finished_at desc limit 1"""
    even = {"name": "even", "on-violation": "WARN", "checked": 3, "violations": 2}
    with running(tmp_path) as server:
        server.sql("create schema s")
        server.sql(f"create table s.base (id int) using {form}")
        server.sql("insert into s.base values (1), (2), (3)")
        server.sql(f"""create materialized view s.gold (constraint even expect (id % 2 = 0),
            constraint small expect (id < 10) on violation fail update, constraint few expect (count(*) < 4) on violation fail update)
            using {form} refresh policy full as select id from s.base""")
        # By its rows: nobody has looked at the whole.
        server.sql("insert into s.base values (11)")
        with pytest.raises(psycopg.errors.CheckViolation):
            server.sql("refresh materialized view s.gold")
        small = {"name": "small", "on-violation": "FAIL UPDATE", "checked": 4, "violations": 1}
        assert server.sql(last) == [([{**even, "checked": 4, "violations": 3}, small],)]
        # By the whole result.
        server.sql("update s.base set id = 4 where id = 11")
        with pytest.raises(psycopg.errors.CheckViolation):
            server.sql("refresh materialized view s.gold cascade")
        few = {"name": "few", "on-violation": "FAIL UPDATE", "checked": 1, "violations": 1}
        assert server.sql(last) == [([{**even, "checked": 4}, {**small, "violations": 0}, few],)]
        # Before a row was looked at, there is nothing to tell.
        server.sql("delete from s.base where id = 4")
        server.sql(f"create materialized view s.fails (constraint c expect (n > 0)) using {form} as select 6 / (id - 3) as n from s.base with no data")
        with pytest.raises(psycopg.errors.DivisionByZero):
            server.sql("refresh materialized view s.fails")
        assert server.sql(last) == [(None,)]
    # After the audit, by the commit.
    with running(tmp_path, environment={"AURIC_FAILPOINTS": "commit::before-attempt=return(error)"}) as server:
        with pytest.raises(psycopg.Error):
            server.sql("refresh materialized view s.gold full")
        expected = [even, {**small, "checked": 3, "violations": 0}, {**few, "violations": 0}]
        assert server.sql(last) == [(expected,)]


def test_psql_shows_them(server, schema):
    from test_psql import psql

    server.sql(f"create table {schema}.base (id int)")
    server.sql(f"create materialized view {schema}.gold comment 'of gold' as select id from {schema}.base")
    assert "gold" in psql(server, rf"\dm {schema}.*") and "base" not in psql(server, rf"\dm {schema}.*")
    assert "of gold" in psql(server, rf"\dm+ {schema}.*")
    described = psql(server, rf"\d+ {schema}.gold")
    assert f'Materialized view "{schema}.gold"' in described and f"select id from {schema}.base;" in described
    assert psql(server, f"create materialized view {schema}.other as select 1 as a").strip() == "SELECT 1"
    assert psql(server, f"refresh materialized view {schema}.other full").strip() == "REFRESH MATERIALIZED VIEW"
    assert psql(server, f"drop materialized view {schema}.other").strip() == "DROP MATERIALIZED VIEW"
