"""Schedules as they are followed: by the clock, after updates of other programs, over crashes and several servers."""

import contextlib
import datetime
import http.server
import json
import threading

import psycopg
import pyarrow as pa
import pytest

from conftest import PATIENCE, eventually, running

QUICK = {"AURIC_MATERIALIZE__POLL_INTERVAL": "100ms", "AURIC_MATERIALIZE__LEASE": "2s", "AURIC_MATERIALIZE__RETRY_PAUSE": "50ms"}


def snapshots(server, schema: str, name: str) -> list[dict]:
    table = server.pyiceberg().load_table((schema, name))
    ordered = sorted(table.metadata.snapshots, key=lambda s: s.sequence_number)
    return [dict(s.summary.additional_properties) for s in ordered]


def task_runs(server, name: str) -> list[tuple]:
    return server.sql("select status, attempt, message, sqlstate from auric.task_runs where task_name = %s order by finished_at", (name,))


@pytest.fixture
def own(tmp_path):
    with running(tmp_path, environment=QUICK) as server:
        server.sql("create schema s")
        yield server


def test_each_slot_is_run_once(own):
    own.sql("create table s.ticks (at timestamptz)")
    own.sql("create task s.tick schedule every 1 second as insert into s.ticks select now()")
    eventually(lambda: own.sql("select count(*) from s.ticks")[0][0], lambda n: n >= 4)
    own.sql("alter task s.tick suspend")
    state = own.sql("select state, last_status, failures_in_a_row, next_run_at from auric.tasks where task_name = 'tick'")
    assert state == [("suspended", "succeeded", 0, None)]
    summaries = [s for s in snapshots(own, "s", "ticks") if "auric.task.run-id" in s]
    slots = [s["auric.task.scheduled-for"] for s in summaries]
    assert len(slots) == len(set(slots)) >= 4 and all(slot.endswith(".000Z") for slot in slots)
    assert len({s["auric.task.run-id"] for s in summaries}) == len(slots)
    assert {s["auric.task.name"] for s in summaries} == {"s.tick"}
    # A task that rests can be executed all the same.
    before = own.sql("select count(*) from s.ticks")[0][0]
    own.sql("execute task s.tick")
    assert own.sql("select count(*) from s.ticks")[0][0] == before + 1
    own.sql("alter task s.tick resume")
    eventually(lambda: own.sql("select count(*) from s.ticks")[0][0], lambda n: n > before + 1)


@pytest.mark.parametrize("form", ["iceberg", "delta"])
def test_updates_of_other_programs_are_noticed(own, form):
    own.sql(f"create table s.raw (id bigint, v bigint) using {form}")
    own.sql(f"create table s.clean (id bigint, v bigint) using {form}")
    own.sql("insert into s.raw values (1, 10)")
    own.sql("""create task s.load trigger on update as merge into s.clean as t using s.raw as s on t.id = s.id
        when not matched then insert values (s.id, s.v)""")
    # What was there before the task is new to it.
    eventually(lambda: own.sql("select * from s.clean"), lambda rows: rows == [(1, 10)])
    own.sql(f"""create materialized view s.gold using {form} trigger on update as
        select count(*) as n, sum(v)::bigint as total from s.clean""")
    if form == "iceberg":
        own.pyiceberg().load_table(("s", "raw")).append(pa.table({"id": [2, 3], "v": [20, 30]}))
    else:
        import deltalake

        deltalake.write_deltalake(str(own.warehouse / "s" / "raw"), pa.table({"id": [2, 3], "v": [20, 30]}), mode="append")
    eventually(lambda: own.sql("select * from s.gold"), lambda rows: rows == [(3, 60)])
    # One run for one update, through the whole graph.
    assert own.sql("select count(*) from auric.refreshes where view_name = 'gold'") == [(2,)]
    assert [run[0] for run in task_runs(own, "load")] == ["succeeded"] * 2
    # Its own commits at once, and nothing for what is up to date.
    own.sql("insert into s.raw values (4, 40)")
    eventually(lambda: own.sql("select * from s.gold"), lambda rows: rows == [(4, 100)])
    assert own.sql("select is_up_to_date from auric.freshness where view_name = 'gold'") == [(True,)]


def test_tasks_after_others_and_failures(own):
    own.sql("create table s.a (n bigint)")
    own.sql("create table s.b (n bigint)")
    own.sql("create table s.go (n bigint)")
    own.sql("create task s.first retries 1 as insert into s.a select 10 / n from s.go")
    own.sql("create task s.second after s.first as insert into s.b select count(*) from s.a")
    own.sql("alter task s.first set trigger on update")
    eventually(lambda: own.sql("select * from s.b"), lambda rows: rows == [(0,)])
    own.sql("insert into s.go values (0)")
    runs = eventually(lambda: task_runs(own, "first"), lambda runs: len(runs) >= 3)
    assert [(status, attempt, code) for status, attempt, _, code in runs] == [
        ("succeeded", 1, None), ("failed", 1, "22012"), ("failed", 2, "22012")]
    last = own.sql("select last_status, last_error, failures_in_a_row from auric.tasks where task_name = 'first'")
    assert last == [("failed", "division by zero", 1)]
    # What comes after has not been run; what failed is tried again once something has changed.
    assert own.sql("select * from s.b") == [(0,)]
    own.sql("update s.go set n = 5")
    eventually(lambda: own.sql("select n from s.b order by n"), lambda rows: rows == [(0,), (1,)])
    assert own.sql("select failures_in_a_row from auric.tasks where task_name = 'first'") == [(0,)]


def test_a_view_that_fails_is_in_the_history(own):
    own.sql("create table s.t (n bigint)")
    own.sql("""create materialized view s.v (constraint few expect (n < 10) on violation fail update)
        trigger on update retries 0 as select n from s.t""")
    own.sql("create materialized view s.w trigger on update as select count(*) as n from s.v, s.t")
    own.sql("insert into s.t values (99)")
    failed = eventually(lambda: own.sql("select view_name, status, error from auric.refreshes where status <> 'succeeded' order by 1"),
                        lambda rows: len(rows) >= 2)
    assert [row[:2] for row in failed] == [("v", "failed"), ("w", "skipped")]
    assert "few" in failed[0][2] and failed[1][2] == "materialized view s.v failed"
    told = own.sql("select expectations from auric.refreshes where status <> 'succeeded' order by view_name")
    assert told == [([{"name": "few", "on-violation": "FAIL UPDATE", "checked": 1, "violations": 1}],), (None,)]
    assert own.sql("select last_error like '%few%', failures_in_a_row from auric.freshness where view_name = 'v'") == [(True, 1)]
    own.sql("delete from s.t")
    own.sql("insert into s.t values (1)")
    eventually(lambda: own.sql("select * from s.v"), lambda rows: rows == [(1,)])


class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.told.append((self.headers["content-type"], json.loads(body)))
        # The first one is not taken.
        self.send_response(503 if len(self.server.told) == 1 else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def listening():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    server.told = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()


def test_somebody_is_told_of_failures_and_of_suspension(tmp_path):
    with listening() as listener:
        told = {"AURIC_NOTIFY__URL": f"http://127.0.0.1:{listener.server_port}/hook", "AURIC_MATERIALIZE__SUSPEND_AFTER": "2"}
        with running(tmp_path, environment=QUICK | told) as server:
            server.sql("create schema s")
            server.sql("create table s.t (n bigint)")
            server.sql("create task s.bad schedule every 1 second retries 1 as insert into s.t select 1 / (select count(*) from s.t)")
            eventually(lambda: server.sql("select state from auric.tasks"), lambda rows: rows == [("suspended",)])
            messages = eventually(lambda: [body for _, body in listener.told], lambda bodies: len(bodies) >= 4)
            assert {content_type for content_type, _ in listener.told} == {"application/json"}
            events = [(m["event"], m["failures_in_a_row"]) for m in messages]
            assert sorted(set(events)) == [("failed", 1), ("failed", 2), ("suspended", 2)]
            one = messages[0]
            assert (one["kind"], one["database"], one["schema"], one["name"], one["attempts"]) == ("task", "lake", "s", "bad", 2)
            assert one["error"] == "division by zero"
            # Delivered once it was taken.
            assert events.count(("failed", 1)) == 2
            # Two runs with two attempts each, and then no more.
            assert [run[0] for run in task_runs(server, "bad")] == ["failed"] * 4


def test_runs_are_seen_and_cancelled(own):
    own.sql("create table s.t (n bigint)")
    own.sql("create table s.go (n bigint)")
    own.sql("insert into s.go values (1)")
    own.sql("""create task s.slow trigger on update retries 0 as insert into s.t select count(*) from s.go,
        generate_series(1, 100000) as a(x), generate_series(1, 1000000) as b(y) where x % 7 = y % 11""")
    seen = eventually(lambda: own.sql("""select pid, application_name, state, query from pg_stat_activity
        where backend_type = 'auric scheduler'"""))
    pid, application, state, query = seen[0]
    assert (application, state) == ("auric scheduler", "active") and query.startswith("insert into s.t")
    assert own.sql("select pg_cancel_backend(%s)", (pid,)) == [(True,)]
    runs = eventually(lambda: task_runs(own, "slow"), lambda runs: "cancelled" in [run[0] for run in runs])
    assert runs[-1][3] == "57014"
    eventually(lambda: own.sql("select count(*) from pg_stat_activity where backend_type = 'auric scheduler'"), lambda n: n == [(0,)])
    own.sql("alter task s.slow suspend")


@pytest.mark.parametrize("point", ["commit::before-attempt", "commit::after-attempt"])
def test_a_server_that_is_killed_publishes_a_slot_once(tmp_path, point):
    with running(tmp_path, environment=QUICK) as server:
        server.sql("create schema s")
        server.sql("create table s.raw (n bigint)")
        server.sql("create table s.t (n bigint)")
        server.sql("create task s.load trigger on update as insert into s.t select count(*) from s.raw")
        eventually(lambda: server.sql("select count(*) from s.t"), lambda n: n == [(1,)])
        server.sql("alter task s.load suspend")
        server.sql("insert into s.raw values (1)")
        server.sql("alter task s.load resume")
        eventually(lambda: server.sql("select count(*) from s.t"), lambda n: n == [(2,)])
        server.sql("alter task s.load suspend")
        server.sql("insert into s.raw values (2)")
        server.stop()
    # The table is changed by the run alone: at its first commit the server dies.
    with running(tmp_path, environment=QUICK | {"AURIC_MATERIALIZE__ENABLED": "false"}) as server:
        server.sql("alter task s.load resume")
        server.stop()
    with running(tmp_path, environment=QUICK | {"AURIC_FAILPOINTS": f"{point}=return(abort)"}) as server:
        server.process.wait(timeout=PATIENCE)
    with running(tmp_path, environment=QUICK) as server:
        eventually(lambda: server.sql("select n from s.t order by n"), lambda rows: rows == [(0,), (1,), (2,)])
        eventually(lambda: server.sql("select last_status from auric.tasks"), lambda rows: rows == [("succeeded",)])
        # Nothing more comes of it: another update is the next thing that does.
        server.sql("insert into s.raw values (3)")
        eventually(lambda: server.sql("select n from s.t order by n"), lambda rows: rows == [(0,), (1,), (2,), (3,)])
        runs = [s["auric.task.run-id"] for s in snapshots(server, "s", "t") if "auric.task.run-id" in s]
        assert len(runs) == len(set(runs)) == 4


def test_two_servers_share_the_work(tmp_path):
    with running(tmp_path, environment=QUICK) as one, running(tmp_path, environment=QUICK) as other:
        one.sql("create schema s")
        one.sql("create table s.ticks (at timestamptz)")
        one.sql("create task s.tick schedule every 1 second as insert into s.ticks select now()")
        eventually(lambda: other.sql("select count(*) from s.ticks")[0][0], lambda n: n >= 3)
        # The one that works goes without a word; the other takes over.
        one.process.kill()
        one.process.wait()
        so_far = other.sql("select count(*) from s.ticks")[0][0]
        eventually(lambda: other.sql("select count(*) from s.ticks")[0][0], lambda n: n >= so_far + 2)
        slots = [s["auric.task.scheduled-for"] for s in snapshots(other, "s", "ticks") if "auric.task.run-id" in s]
        assert len(slots) == len(set(slots))


def test_what_was_missed_is_made_up_for_once(tmp_path):
    with running(tmp_path, environment=QUICK) as server:
        server.sql("create schema s")
        server.sql("create table s.t (n bigint)")
        server.sql("create task s.later schedule every 2 seconds as insert into s.t select 1")
        eventually(lambda: server.sql("select count(*) from s.t")[0][0])
        server.stop()
    with running(tmp_path, environment=QUICK | {"AURIC_MATERIALIZE__ENABLED": "false"}) as server:
        before = server.sql("select count(*) from s.t")[0][0]
        due = server.sql("select next_run_at from auric.tasks")[0][0]
        # Two slots go by, and nobody is there.
        eventually(lambda: server.sql("select now() > %s + interval '2 seconds'", (due,)), lambda rows: rows == [(True,)])
        assert server.sql("select count(*) from s.t")[0][0] == before
    with running(tmp_path, environment=QUICK) as server:
        eventually(lambda: server.sql("select count(*) from s.t")[0][0], lambda n: n > before)
        summaries = [s for s in snapshots(server, "s", "t") if "auric.task.run-id" in s]
        slots = [s["auric.task.scheduled-for"] for s in summaries]
        assert len(slots) == len(set(slots))
        # The first after the pause is the last that was missed, not one of those before it.
        assert slots[before] > due.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


def test_a_lag_is_kept_over_the_graph(own):
    own.sql("create table s.t (n bigint)")
    own.sql("create materialized view s.base as select n from s.t")
    own.sql("create materialized view s.top target lag 3 seconds as select count(*) as n from s.base")
    own.sql("insert into s.t values (1)")
    eventually(lambda: own.sql("select n from s.top"), lambda rows: rows == [(1,)])
    assert own.sql("select n from s.base") == [(1,)]
    # Not before it has to: the rows of several commits come together.
    refreshed = own.sql("select count(*) from auric.refreshes where view_name = 'top'")
    assert refreshed == [(2,)]


def test_a_cascade_and_the_scheduler_keep_out_of_each_others_way(tmp_path):
    with running(tmp_path, environment=QUICK | {"AURIC_MATERIALIZE__MAX_CONCURRENT_REFRESHES": "2"}) as server:
        server.sql("create schema s")
        server.sql("create table s.t as select 1 as n")
        server.sql("""create materialized view s.slow trigger on update as
            select count(*) as n, bool_or(waited) as waited from (select pg_advisory_xact_lock_shared(1) is null as waited from s.t) as t""")
        server.sql("create materialized view s.quick trigger on update as select count(*) as n from s.t")
        server.sql("create materialized view s.top as select n from s.slow")
        now = "select view_name::text from auric.refreshes where status = 'running' order by 1"
        workers = "select count(*) from pg_stat_activity where backend_type = 'auric scheduler'"
        cascade = "refresh materialized view s.top cascade"
        refreshes = []

        def refresh():
            thread = threading.Thread(target=server.sql, args=(cascade,))
            thread.start()
            refreshes.append(thread)
            eventually(lambda: server.sql("select 1 from pg_stat_activity where query = %s and state = 'active'", (cascade,)))

        with server.connect() as holder:
            holder.execute("select pg_advisory_lock(1)")
            server.sql("insert into s.t values (2)")
            eventually(lambda: server.sql(now), lambda rows: rows == [("slow",)])
            eventually(lambda: server.sql(workers), lambda rows: rows == [(1,)])
            # The scheduler is at it: the statement waits.
            refresh()
            assert server.sql(now) == [("slow",)]
            holder.execute("select pg_advisory_unlock(1)")
            refreshes.pop().join()
            assert server.sql("select n from s.top") == [(2,)]

            holder.execute("select pg_advisory_lock(1)")
            refresh()
            eventually(lambda: server.sql(now), lambda rows: rows == [("slow",)])
            server.sql("insert into s.t values (3)")
            # The scheduler has seen it, and leaves the other view alone.
            eventually(lambda: server.sql("select n from s.quick"), lambda rows: rows == [(3,)])
            eventually(lambda: server.sql(workers), lambda rows: rows == [(0,)])
            assert server.sql(now) == [("slow",)]
            holder.execute("select pg_advisory_unlock(1)")
            refreshes.pop().join()
            # It read what there was when it began.
            assert server.sql("select n from s.top") == [(2,)]
        eventually(lambda: server.sql("select n from s.slow"), lambda rows: rows == [(3,)])
        assert server.sql("select count(*) from auric.refreshes where status <> 'succeeded'") == [(0,)]


def test_one_run_reads_one_version_of_each_table(own):
    """A fact and an aggregate of it and of its source agree, whatever is written meanwhile."""
    own.sql("create table s.t (n bigint)")
    own.sql("create materialized view s.fact trigger on update as select n from s.t")
    own.sql("""create materialized view s.both trigger on update as
        select (select count(*) from s.fact) as fact, (select count(*) from s.t) as source""")
    stop = threading.Event()

    def write():
        with psycopg.connect(own.dsn(), autocommit=True) as connection:
            while not stop.is_set():
                connection.execute("insert into s.t values (1)")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually(lambda: own.sql("select count(*) from auric.refreshes where view_name = 'both'")[0][0], lambda n: n >= 8)
    finally:
        stop.set()
        writer.join()
    count = own.sql("select count(*) from s.t")[0][0]
    eventually(lambda: own.sql("select * from s.both"), lambda rows: rows == [(count, count)])
    table = own.pyiceberg().load_table(("s", "both"))
    for snapshot in table.metadata.snapshots:
        rows = table.scan(snapshot_id=snapshot.snapshot_id).to_arrow().to_pylist()
        assert all(row["fact"] == row["source"] for row in rows), rows
