"""The result cache: never stale, exact to the byte, and equal queries at once run once.

A long differential run: `AURIC_DIFFERENTIAL_SECONDS=600 python -m pytest tests/clients/test_result_cache.py -k random`."""

import decimal
import os
import random
import threading
import time

import deltalake
import psycopg
import pyarrow as pa
import pytest

from conftest import running

FORMATS = ["iceberg", "delta"]
SECONDS = float(os.environ.get("AURIC_DIFFERENTIAL_SECONDS", "8"))
SLOW = "select count(*) as n from {t} a join {t} b on a.id % 2 = b.id % 2 where a.id * b.id % 1000003 <> 7"


class Client:
    """A connection that notes down what the cache says of each query."""

    def __init__(self, server, cached: bool = True, **parameters):
        self.connection = server.connect(**parameters)
        self.notices: list[str] = []
        self.connection.add_notice_handler(lambda notice: self.notices.append(notice.message_primary))
        self.run("set client_min_messages = debug1")
        self.run(f"set result_cache = {'on' if cached else 'off'}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def run(self, sql: str, parameters=None, **options):
        return self.connection.execute(sql, parameters, **options)

    def rows(self, sql: str, parameters=None, **options) -> list[tuple]:
        return self.run(sql, parameters, **options).fetchall()

    def raw(self, sql: str, parameters=None, **options) -> list[list]:
        """The values as they came."""
        result = self.run(sql, parameters, **options).pgresult
        return [[result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)]

    def said(self, sql: str, parameters=None, **options) -> str:
        """What became of a query: hit, miss, bypass, or nothing."""
        self.notices.clear()
        self.run(sql, parameters, **options)
        return " ".join(notice.removeprefix("result cache: ") for notice in self.notices)


@pytest.fixture
def client(server):
    with Client(server) as client:
        yield client


@pytest.fixture(params=FORMATS)
def table(server, schema, request):
    server.sql(f"create table {schema}.t (id int, k text, v numeric(10,2), at timestamptz) using {request.param}")
    server.sql(f"insert into {schema}.t select g, 'k' || g % 5, g / 4.0, timestamptz '2024-01-01 00:00Z' + g * interval '1 hour' from generate_series(1, 1000) as s(g)")
    return f"{schema}.t"


def test_hit_until_a_commit(client, table, server):
    query = f"select k, sum(v), count(*) from {table} group by k order by k"
    before = client.rows(query)
    assert [client.said(query) for _ in range(2)] == ["hit", "hit"]
    # Layout and letter case are another text, and the same plan.
    assert client.said(f"SELECT k,\n  sum(v), count(*)  FROM {table} GROUP BY k ORDER BY k") == "hit"
    server.sql(f"insert into {table} values (1001, 'k1', 100, null)")
    assert client.said(query) == "miss"
    after = client.rows(query)
    assert after != before and after == sorted((k, total + (100 if k == "k1" else 0), n + (k == "k1")) for k, total, n in before)
    with Client(server) as other:
        assert other.said(query) == "hit"


@pytest.mark.parametrize("change", [
    "update {t} set v = v + 1 where id = 1", "delete from {t} where id = 2", "truncate {t}", "insert overwrite {t} values (1, 'x', 1, null)",
    "merge into {t} using (select 3 as id) s on s.id = {t}.id when matched then update set v = 0"])
def test_every_change_is_seen(client, table, server, change):
    query = f"select count(*), sum(v), min(k) from {table}"
    client.rows(query)
    assert client.said(query) == "hit"
    server.sql(change.format(t=table))
    assert client.said(query) == "miss"
    with Client(server, cached=False) as plain:
        assert plain.said(query) == "" and plain.rows(query) == client.rows(query)


def test_table_that_takes_the_place_of_another(client, server, schema):
    query = f"select x from {schema}.t"
    for value in (1, 2, 3):
        server.sql(f"drop table if exists {schema}.t")
        server.sql(f"create table {schema}.t as select {value} as x")
        assert client.rows(query) == [(value,)] and client.said(query) == "hit"
    server.sql(f"create table {schema}.u as select 4 as x")
    server.sql(f"alter table {schema}.t rename to gone")
    server.sql(f"alter table {schema}.u rename to t")
    assert client.rows(query) == [(4,)]
    server.sql(f"drop table {schema}.t")
    with pytest.raises(psycopg.errors.UndefinedTable):
        client.rows(query)
    server.sql(f"create view {schema}.t as select 5 as x")
    assert client.rows(query) == [(5,)]
    server.sql(f"create or replace view {schema}.t as select 6 as x")
    assert client.rows(query) == [(6,)]


def test_views_and_materialized_views(client, server, table, schema):
    server.sql(f"create view {schema}.v as select k, count(*) as n from {table} group by k")
    server.sql(f"create materialized view {schema}.m as select k, count(*) as n from {table} group by k")
    for relation in ("v", "m"):
        query = f"select * from {schema}.{relation} order by k"
        client.rows(query)
        assert client.said(query) == "hit"
    server.sql(f"insert into {table} values (0, 'new', 0, null)")
    assert len(client.rows(f"select * from {schema}.v order by k")) == 6
    assert client.said(f"select * from {schema}.m order by k") == "hit"
    server.sql(f"refresh materialized view {schema}.m")
    assert len(client.rows(f"select * from {schema}.m order by k")) == 6


def test_settings_do_not_mix(client, table):
    query = f"select max(at), max(at)::date, max(at)::text, max(at) - min(at) as span from {table} where at > '2024-01-05'"
    seen = {}
    for setting in ("set timezone = 'UTC'", "set timezone = 'Europe/Paris'", "set timezone = 'Asia/Kathmandu'", "set intervalstyle = 'iso_8601'"):
        client.run(setting)
        assert client.said(query) == "miss", setting
        seen[setting] = client.raw(query)
    assert len({str(rows) for rows in seen.values()}) == 4
    client.run("set intervalstyle = 'postgres'")
    for setting in list(seen)[:3]:
        client.run(setting)
        assert client.said(query) == "hit" and client.raw(query) == seen[setting]
    client.run("set application_name = 'another'")
    assert client.said(query) == "hit"


def test_search_paths_do_not_mix(server, client, schema):
    server.sql(f"create schema {schema}_b")
    for name, value in ((schema, 1), (schema + "_b", 2)):
        server.sql(f"create table {name}.same as select {value} as x")
    for _ in range(2):
        client.run(f"set search_path = {schema}")
        assert client.rows("select x from same") == [(1,)]
        client.run(f"set search_path = {schema}_b")
        assert client.rows("select x from same") == [(2,)]
    # A table that appears earlier in the path.
    client.run(f"set search_path = {schema}, {schema}_b")
    server.sql(f"create table {schema}_b.only_b as select 'b' as x")
    assert [client.rows("select x from only_b") for _ in range(2)] == [[("b",)]] * 2
    server.sql(f"create table {schema}.only_b as select 'a' as x")
    assert client.rows("select x from only_b") == [("a",)]


def test_users_do_not_mix(server, table):
    query = f"select current_user as u, count(*) from {table}"
    with Client(server, user="anna") as anna, Client(server, user="ben") as ben:
        for _ in range(2):
            assert anna.rows(query)[0][0] == "anna"
            assert ben.rows(query)[0][0] == "ben"


def test_parameters_and_formats(client, table):
    query = f"select k, v, at, id from {table} where id < %s order by id limit 3"
    for binary in (False, True):
        for limit, wanted in ((3, [1, 2]), (2, [1]), (3, [1, 2])):
            assert [row[3] for row in client.rows(query, (limit,), binary=binary)] == wanted
        assert client.said(query, (3,), binary=binary) == "hit"
        assert client.said(query, (4,), binary=binary) == "miss"
    # A portal of ten rows at a time.
    with client.connection.transaction(), client.connection.cursor("portal") as cursor:
        cursor.execute(f"select id from {table} order by id")
        assert [row[0] for row in cursor] == list(range(1, 1001))


@pytest.mark.parametrize("query, said", [pytest.param(*case, id=str(number)) for number, case in enumerate([
    ("select sum(random()) from {t}", "bypass"),
    ("select count(*) from {t} where at < clock_timestamp()", "bypass"),
    ("select gen_random_uuid() from {t} limit 1", "bypass"),
    ("select count(*) from pg_class", "bypass"),
    ("select count(*) from {t}, generate_series(1, 3)", "bypass"),
    ('select count(*) from {s}."t$snapshots"', "bypass"),
    ("select count(*) from {t} where k::regclass = 1", None),
    ("select count(*) from {t} where at < now()", "miss"),
    ("select count(*) from {t} where at < 'now'", "miss"),
    ("select age(at) from {t} limit 1", "bypass"),
])])
def test_what_is_not_the_same_twice(client, table, schema, query, said):
    query = query.format(t=table, s=schema)
    try:
        assert {client.said(query) for _ in range(2)} == {said}
    except psycopg.Error:
        assert said is None


def test_words_for_times_are_told_anew(client, server, table):
    """`today` is another day tomorrow: what was said of it is not remembered by its text."""
    query = f"select count(*), 'today'::date, current_date, 'now'::timestamptz from {table} where at < 'tomorrow'"
    first = client.rows(query)
    second = client.rows(query)
    assert first[0][:3] == second[0][:3] and first[0][3] < second[0][3]


def test_transactions(client, server, table):
    query = f"select count(*) from {table}"
    assert client.rows(query) == [(1000,)]
    with client.connection.transaction():
        assert client.said(query) == "hit"
        server.sql(f"insert into {table} values (0, 'x', 0, null)")
        # One version for the whole transaction.
        assert client.rows(query) == [(1000,)]
        client.run(f"delete from {table} where id <= 10 and id > 0")
        assert client.said(query) == "" and client.rows(query) == [(990,)]
        client.connection.add_notice_handler(lambda _: None)
        raise psycopg.Rollback()
    assert client.rows(query) == [(1001,)]


def test_temporary_tables_hide_others(client, server, table, schema):
    client.run(f"set search_path = {schema}")
    assert [client.rows("select count(*) from t") for _ in range(2)] == [[(1000,)]] * 2
    client.run("create temp table t as select 1 as id")
    assert client.rows("select count(*) from t") == [(1,)]
    client.run("drop table t")
    assert client.rows("select count(*) from t") == [(1000,)]


TYPES = """select 1::int2, 2::int4, 3::int8, 1.5::float4, 'NaN'::float8, 12.340::numeric(10,3), 10 / 4.0, true, 'text', 'c'::char(5), null::text, '\\x00ff'::bytea,
    date '2024-02-29', time '12:34:56.789', timestamp '2024-01-01 12:00', timestamptz '2024-01-01 12:00Z', interval '1 month 2 days 03:04:05', array[1, null, 3],
    array['a', 'b,c'], '{"a": [1, 2]}'::jsonb, '0f8fad5b-d9cb-469f-a165-70867728950e'::uuid, id from {t} order by id limit 3"""


@pytest.mark.parametrize("binary", [False, True])
def test_exact_to_the_byte(client, server, table, binary):
    query = TYPES.replace("{t}", table)
    with Client(server, cached=False) as plain:
        wanted = plain.raw(query, binary=binary)
    assert [client.raw(query, binary=binary) for _ in range(3)] == [wanted] * 3
    assert client.said(query, binary=binary) == "hit"


def counters(server) -> dict[str, int]:
    return dict(server.sql("select name, value from auric.cache where value is not null"))


def together(*tasks):
    outcomes = [None] * len(tasks)

    def run(i, task):
        try:
            outcomes[i] = task()
        except Exception as error:
            outcomes[i] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(tasks)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return outcomes


def wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline


def active(server, text: str) -> int:
    return server.sql("select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and query like %s", (f"%{text}%",))[0][0]


def test_equal_queries_run_once(server, table):
    query = SLOW.format(t=table)
    clients = [Client(server) for _ in range(12)]
    start = threading.Barrier(len(clients))

    def ask(client):
        start.wait()
        return client.said(query), client.rows(query)

    outcomes = together(*[lambda client=client: ask(client) for client in clients])
    assert sorted(said for said, _ in outcomes) == ["hit"] * 11 + ["miss"]
    assert len({str(rows) for _, rows in outcomes}) == 1
    [client.connection.close() for client in clients]


def test_a_cancelled_query_cancels_no_other(server, table):
    """Of those that ask for the same, any may give up: the others get their answer."""
    server.sql(f"insert into {table} select g, 'k', 0, null from generate_series(1001, 20000) as s(g)")
    query = SLOW.format(t=table)
    first, second, third = (Client(server) for _ in range(3))

    def cancelled():
        with pytest.raises(psycopg.errors.QueryCanceled):
            first.rows(query)

    runs = [threading.Thread(target=cancelled)]
    runs[0].start()
    wait_until(lambda: active(server, "1000003") == 1)
    answers = []
    for client in (second, third):
        runs.append(threading.Thread(target=lambda client=client: answers.append(client.rows(query))))
        runs[-1].start()
    wait_until(lambda: active(server, "1000003") == 3)
    first.connection.cancel()
    [run.join() for run in runs]
    with Client(server, cached=False) as plain:
        assert answers == [plain.rows(query)] * 2
    [client.connection.close() for client in (first, second, third)]


def test_an_answer_from_before_a_commit_is_not_taken_for_one_after(server, table):
    """A query reads a version; a commit comes; only then the query ends, and its answer is kept."""
    server.sql(f"insert into {table} select g, 'k', 0, null from generate_series(1001, 20000) as s(g)")
    query = SLOW.format(t=table)
    before = []
    with Client(server) as slow, Client(server) as client:
        run = threading.Thread(target=lambda: before.append(slow.rows(query)))
        run.start()
        wait_until(lambda: active(server, "1000003") == 1)
        server.sql(f"delete from {table} where id > 10")
        assert run.is_alive(), "the query was too fast"
        run.join()
        assert client.rows(query) == [(server_count(server, query),)] != before[0]
        assert client.said(query) == "hit"


def server_count(server, query: str) -> int:
    with Client(server, cached=False) as plain:
        return plain.rows(query)[0][0]


def test_off_and_staleness(client, server, table):
    query = f"select count(*) from {table}"
    client.run("set result_cache = off")
    assert client.said(query) == ""
    client.run("set result_cache = on")
    assert client.rows(query) == [(1000,)]
    client.run("set result_cache_max_staleness = '5 min'")
    server.sql(f"insert into {table} values (0, 'x', 0, null)")
    # Whoever accepts old answers gets one; nobody else does.
    assert client.said(query) == "hit" and client.rows(query) == [(1000,)]
    assert server.sql(query) == [(1001,)]
    client.run("reset result_cache_max_staleness")
    assert client.rows(query) == [(1001,)]


def test_budget(tmp_path):
    environment = {"AURIC_CACHE__RESULTS": "1MiB", "AURIC_CACHE__LONGEST_RESULT": "64KiB"}
    with running(tmp_path, environment=environment) as server, Client(server) as client:
        client.run("create table public.t as select g as id, repeat('x', 100) as pad from generate_series(1, 2000) as s(g)")
        assert [client.said("select * from t order by id") for _ in range(2)] == ["miss", "miss"], "too long to be kept"
        for i in range(500):
            client.rows(f"select * from t where id > {i} and id <= {i + 50} order by id")
        (entries, size, budget), = client.rows("select entries, bytes, budget from auric.cache where name = 'results'")
        assert budget == 1 << 20 and 0 < size <= budget and 0 < entries < 500


QUERIES = [
    "select count(*), sum(v), max(id) from {t}",
    "select k, count(*), sum(v) from {t} group by k order by k",
    "select id, v from {t} where id % 7 = {n} order by id, v limit 5",
    "select count(*) from {t} where at >= timestamptz '2024-01-10 00:00' and k <> 'k{n}'",
    "select max(at)::text, min(at)::date::text from {t} where id > {n}",
    "with x as (select k, sum(v) as s from {t} group by k) select count(*), sum(s) from x where s > {n}",
    "select current_user, count(distinct k) from {t}",
]


class Writer:
    """Commits to a table, by Auric and by others, until it is told to stop."""

    def __init__(self, server, schema: str, form: str, seed: int):
        self.server, self.schema, self.format, self.random, self.next = server, schema, form, random.Random(seed), 10_000
        self.commits = 0

    def step(self) -> None:
        self.next += 1
        i, t = self.next, f"{self.schema}.t"
        own = [f"insert into {t} values ({i}, 'k{i % 5}', {i % 100}, timestamptz '2024-02-01 00:00Z')", f"update {t} set v = v + 1 where id = {self.random.randrange(1, 1000)}",
               f"delete from {t} where id = {self.random.randrange(1, 1000)}"]
        if self.random.random() < 0.6:
            self.server.sql(self.random.choice(own))
        else:
            self.append(pa.table({"id": pa.array([i], pa.int32()), "k": ["other"], "v": pa.array([decimal.Decimal("1.50")], pa.decimal128(10, 2)),
                                  "at": pa.array([1704067200000000], pa.timestamp("us", "UTC"))}))
        self.commits += 1

    def append(self, rows: pa.Table) -> None:
        if self.format == "iceberg":
            self.server.pyiceberg().load_table((self.schema, "t")).append(rows)
        else:
            deltalake.write_deltalake(str(self.server.warehouse / self.schema / "t"), rows, mode="append")


def versions(client: Client, schema: str) -> list:
    return [row[0] for row in client.rows(f'select snapshot_id from {schema}."t$snapshots" order by committed_at, snapshot_id')]


@pytest.mark.parametrize("seed", [1, 2])
def test_random_queries_and_commits(server, schema, table, request, seed):
    """Each answer of a cached connection is that of one of the versions that there were while it was asked for."""
    form = request.node.callspec.params["table"]
    writer, stop, failures, checked = Writer(server, schema, form, seed), threading.Event(), [], []

    def write():
        # Between two commits, each reader asks some times.
        while not stop.is_set():
            asked = len(checked)
            wait_until(lambda: stop.is_set() or len(checked) >= asked + 6, 120)
            try:
                writer.step()
            except Exception as error:
                if "Conflict" not in str(error) and "conflict" not in str(error) and "CommitFailed" not in type(error).__name__ and not isinstance(error, psycopg.errors.SerializationFailure):
                    failures.append(error)
                    return

    def read(number: int):
        try:
            compare(number)
        except Exception as error:
            failures.append(error)

    def compare(number: int):
        chance = random.Random(seed * 100 + number)
        user = chance.choice(["anna", "ben"])
        with Client(server, user=user) as cached, Client(server, user=user, cached=False) as plain:
            while not stop.is_set():
                zone = chance.choice(["UTC", "Europe/Paris", "America/New_York"])
                for client in (cached, plain):
                    client.run(f"set timezone = '{zone}'")
                query = chance.choice(QUERIES[:3] if chance.random() < 0.7 else QUERIES).replace("{n}", str(chance.randrange(3)))
                first = versions(plain, schema)[-1:]
                binary = chance.random() < 0.5
                answer = cached.raw(query.replace("{t}", table), binary=binary)
                during = versions(plain, schema)
                candidates = during[during.index(first[0]):]
                for version in candidates:
                    if answer == plain.raw(query.replace("{t}", f"{table} version as of {version}"), binary=binary):
                        break
                else:
                    failures.append(f"{query} in {zone}: {answer} is of none of {candidates}")
                    return
                checked.extend(cached.notices[-1:])

    threads = [threading.Thread(target=write), *[threading.Thread(target=read, args=(n,)) for n in range(3)]]
    [thread.start() for thread in threads]
    deadline = time.monotonic() + SECONDS
    wait_until(lambda: failures or (time.monotonic() > deadline and "result cache: hit" in checked and writer.commits > 3), SECONDS + 180)
    stop.set()
    [thread.join() for thread in threads]
    assert not failures, failures[0]
    assert {"result cache: hit", "result cache: miss"} <= set(checked)
