"""The result cache: never stale, exact to the byte, and equal queries at once run once."""

import os
import re
import shutil
import threading
import time
import urllib.request

import deltalake
import psycopg
import pyarrow as pa
import pyarrow.parquet
import pytest

from conftest import eventually, running

pytestmark = pytest.mark.long

FORMATS = ["iceberg", "delta"]
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


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One that asks nothing again by itself."""
    with running(tmp_path_factory.mktemp("results"), environment={"AURIC_CACHE__REFRESH_AFTER": "0"}) as server:
        yield server


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


NOW = ["'now'", "'now'::timestamptz", "timestamptz 'now'", "cast('now' as timestamptz)", "('no' || 'w')::timestamptz", "'now'::timestamp", "now()"]
BEFORE_NOW = ["at < {}", "at between '2000-01-01' and {}", "coalesce(at, {0}) < {0}", "case when id > 0 then {} else at end > at", "at < any (array[timestamptz '2000-01-01', {}])"]


def test_words_for_times_are_told_anew(client, server, table):
    """What was said of `now` is not remembered by its text: a row whose time has come since is found."""
    queries = [f"select count(*) from {table} where id = 5000 and {condition.format(now)}" for condition in BEFORE_NOW for now in NOW]
    server.sql(f"insert into {table} values (5000, 'later', 0, now() + interval '3 s')")
    for query in queries:
        assert [client.rows(query) for _ in range(2)] == [[(0,)]] * 2, query
    eventually(lambda: server.sql(f"select 1 from {table} where id = 5000 and at < now()"))
    assert [query for query in queries if client.rows(query) != [(1,)]] == []


@pytest.mark.parametrize("query", ["select 'now'::timestamptz", "select timestamptz 'now'", "select now()", "select v.at from {v} v"])
def test_times_in_results_are_told_anew(client, server, schema, table, query):
    server.sql(f"create view {schema}.clock as select 'now'::timestamptz as at from {table} limit 1")
    query = query.format(v=f"{schema}.clock")
    query = query if " v" in query else f"{query} from {table} limit 1"
    assert client.rows(query)[0][0] < client.rows(query)[0][0]


def test_parameters_that_mean_a_time(client, table):
    query = f"select %s::text::timestamptz from {table} limit 1"
    assert client.rows(query, ("now",))[0][0] < client.rows(query, ("now",))[0][0]


@pytest.mark.parametrize("versions", [1, 2])
def test_delta_table_made_anew_in_its_place(client, server, schema, tmp_path, versions):
    """Its versions begin to count anew; no entry of the catalog tells that."""
    def write(first: int):
        shutil.rmtree(tmp_path / "t", ignore_errors=True)
        for version in range(versions):
            deltalake.write_deltalake(tmp_path / "t", pa.table({"x": [first + version]}), mode="append")

    write(1)
    server.sql(f"create table {schema}.placed using delta location '{(tmp_path / 't').as_uri()}'")
    query = f"select max(x) from {schema}.placed"
    assert [client.rows(query) for _ in range(3)] == [[(versions,)]] * 3 and client.said(query) == "hit"
    write(100)
    assert client.rows(query) == [(99 + versions,)]


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
        threading.Event().wait(0.005)


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
    # What it has written itself, it sees.
    client.run(f"insert into {table} values (-1, 'x', 0, null)")
    assert client.rows(query) == [(1002,)] and client.said(query) == "hit"
    server.sql(f"delete from {table} where id <= 0")
    assert client.rows(query) == [(1002,)]
    with client.connection.transaction():
        client.run(f"delete from {table} where id <= 10")
    assert client.rows(query) == [(990,)]
    client.run("reset result_cache_max_staleness")
    assert client.rows(query) == [(990,)]


def test_budget(tmp_path):
    environment = {"AURIC_CACHE__RESULTS": "1MiB", "AURIC_CACHE__LONGEST_RESULT": "64KiB"}
    with running(tmp_path, environment=environment) as server, Client(server) as client:
        client.run("create table public.t as select g as id, repeat('x', 100) as pad from generate_series(1, 2000) as s(g)")
        assert [client.said("select * from t order by id") for _ in range(2)] == ["miss", "miss"], "too long to be kept"
        for i in range(500):
            client.rows(f"select * from t where id > {i} and id <= {i + 50} order by id")
        (entries, size, budget), = client.rows("select entries, bytes, budget from auric.cache where name = 'results'")
        assert budget == 1 << 20 and 0 < size <= budget and 0 < entries < 500


def settle(*paths) -> None:
    """Waits until the files were changed long enough ago for the cache to take them for what they are."""
    wait_until(lambda: all(time.time() - os.stat(path).st_ctime > 2.7 for path in paths))


@pytest.fixture(params=["csv", "parquet", "json"])
def folder(request, tmp_path):
    """A folder of files, and what writes one of some numbers."""
    def put(name: str, *numbers: int):
        path = tmp_path / f"{name}.{request.param}"
        match request.param:
            case "csv":
                path.write_text("x\n" + "".join(f"{n}\n" for n in numbers))
            case "json":
                path.write_text("".join(f'{{"x": {n}}}\n' for n in numbers))
            case "parquet":
                pyarrow.parquet.write_table(pa.table({"x": numbers}), path)
        return path
    return request.param, tmp_path, put


def test_files(client, folder, server, schema):
    form, path, put = folder
    first = put("a", 1, 2)
    query = f"select sum(x), count(*) from read_{form}('{path}/*.{form}')"
    assert client.said(query) == "bypass", "changed a moment ago"
    settle(first)
    assert [client.said(query) for _ in range(3)] == ["miss", "hit", "hit"]
    assert client.rows(query) == [(3, 2)]
    # By plan, in a view, and with a parameter.
    assert client.said(query.replace("select", "select  ")) == "hit"
    server.sql(f"create view {schema}.v as {query}")
    assert [client.said(f"select * from {schema}.v") for _ in range(2)] == ["miss", "hit"]
    with_parameter = f"select count(*) from read_{form}('{first}') where x > %s"
    assert [client.rows(with_parameter, (n,)) for n in (0, 1, 0, 1)] == [[(2,)], [(1,)]] * 2
    assert client.said(with_parameter, (1,)) == "hit"
    # Another file that the pattern means, a file less, other rows of the same length.
    second = put("b", 10)
    assert client.rows(query) == [(13, 3)] == client.rows(f"select * from {schema}.v")
    settle(second)
    assert client.rows(query) == [(13, 3)] and client.said(query) == "hit"
    second.unlink()
    assert client.rows(query) == [(3, 2)] and client.said(query) == "hit"
    before = os.stat(first)
    put("a", 1, 3)
    # Its time is what it was.
    os.utime(first, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(first).st_mtime_ns == before.st_mtime_ns
    assert client.rows(query) == [(4, 2)] == client.rows(f"select * from {schema}.v")
    settle(first)
    assert client.rows(query) == [(4, 2)] and client.said(query) == "hit"
    first.unlink()
    with pytest.raises(psycopg.errors.UndefinedFile):
        client.rows(query)


def test_options_of_files_do_not_mix(client, tmp_path):
    (path := tmp_path / "a.csv").write_text("x;y\nNA;2\n3;4\n")
    settle(path)
    for _ in range(2):
        assert client.rows(f"select y from read_csv('{path}', delim => ';') order by y") == [(2,), (4,)]
        assert client.rows(f"select x from read_csv('{path}', delim => ';', nullstr => 'NA') order by x") == [(3,), (None,)]
        assert client.rows(f"select x from read_csv('{path}', delim => ';') order by x") == [("3",), ("NA",)]
        assert client.rows(f"select * from read_csv('{path}')") == [("NA;2",), ("3;4",)]


def test_files_that_change_all_the_time(client, folder):
    """Rewritten at once with as many bytes: every answer is of the file as it is."""
    form, _, put = folder
    query = None
    for n in range(100, 220):
        path = put("a", n)
        query = query or f"select x from read_{form}('{path}')"
        assert client.rows(query) == [(n,)]
        if n % 100 == 50:
            settle(path)
            assert [client.said(query) for _ in range(2)] == ["miss", "hit"]


def test_names_of_files_that_are_computed(client, tmp_path):
    """A pattern of today's date means other files tomorrow: nothing is remembered by the text."""
    (path := tmp_path / "a.csv").write_text("x\n1\n")
    settle(path)
    query = f"select x from read_csv('{tmp_path}/' || left('abc', 1) || '.csv')"
    assert [client.rows(query) for _ in range(2)] == [[(1,)]] * 2
    path.write_text("x\n2\n")
    assert client.rows(query) == [(2,)]


def again(server) -> int:
    """Queries that were asked again. Asked over HTTP: what clients run keeps the server from it."""
    with urllib.request.urlopen(server.http + "/metrics", timeout=30) as response:
        return int(re.search(r"auric_result_cache_refreshed_total (\d+)", response.read().decode()).group(1))


def test_asked_again_after_a_commit(tmp_path):
    """What was hit often is there before anybody asks: after commits of our own, of others, and refreshes."""
    with running(tmp_path) as server, Client(server, user="anna", options="-c timezone=Europe/Paris") as client:
        server.sql("create table public.t as select g as id, timestamptz '2024-01-01 00:00Z' as at from generate_series(1, 100) as s(g)")
        server.sql("create materialized view public.m as select count(*) as n from t")
        often = ["select count(*), max(at) from t", "select n from m"]
        seldom = "select min(id) from t"
        client.rows(seldom)
        assert client.said(seldom) == "hit"
        for query in often:
            for _ in range(5):
                client.rows(query)
        client.rows("select count(*) + %s from t", (5,), binary=True)
        for _ in range(4):
            assert client.said("select count(*) + %s from t", (5,), binary=True) == "hit"

        def warm(commit, number: int, wanted: dict):
            before = again(server)
            commit()
            wait_until(lambda: again(server) >= before + number)
            for query, rows in wanted.items():
                wait_until(lambda: client.said(query) == "hit" if query != seldom else True, 5)
                assert client.rows(query) == rows
        shown = client.rows(often[0])[0][1]
        assert shown.utcoffset().total_seconds() == 3600
        warm(lambda: server.sql("insert into t values (101, null)"), 2, {often[0]: [(101, shown)]})
        assert client.said("select count(*) + %s from t", (5,), binary=True) == "hit"
        assert client.rows("select count(*) + %s from t", (5,), binary=True) == [(106,)]
        assert client.said(seldom) == "miss"
        warm(lambda: server.sql("refresh materialized view m"), 1, {often[1]: [(101,)]})
        row = pa.table({"id": pa.array([102], pa.int64()), "at": pa.array([None], pa.timestamp("us", "UTC"))})
        table = server.pyiceberg().load_table(("public", "t"))
        row = row.cast(table.schema().as_arrow())
        warm(lambda: table.append(row), 2, {often[0]: [(102, shown)]})


def test_asked_again_never_beside_users(tmp_path):
    """With `refresh_after = 0` nothing is asked again; and what nobody takes any more is given up."""
    with running(tmp_path, environment={"AURIC_CACHE__REFRESH_AFTER": "0"}) as server, Client(server) as client:
        server.sql("create table public.t as select 1 as id")
        for _ in range(6):
            client.rows("select count(*) from t")
        server.sql("insert into t values (2)")
        assert client.said("select count(*) from t") == "miss" and again(server) == 0
    with running(tmp_path) as server, Client(server) as client:
        for _ in range(6):
            client.rows("select count(*) from t")
        done = 0
        for i in range(8):
            server.sql(f"insert into t values ({i})")
            if i < 4:
                wait_until(lambda: again(server) > done)
                done = again(server)
        assert done == 4
        time_of_last = time.monotonic()
        wait_until(lambda: time.monotonic() > time_of_last + 1)
        assert again(server) == done
