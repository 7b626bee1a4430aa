"""The result cache behind cursors: answered from it and filling it, exact to the byte, and never of another version than that of DECLARE."""

import asyncio
import random

import asyncpg
import psycopg
import pytest
from psycopg import pq

from test_result_cache import TYPES, Client, server, table  # noqa: F401 (fixtures)

QUERY = "select id, k, v, at from {t} order by id"


@pytest.fixture
def client(server):  # noqa: F811
    with Client(server) as client:
        yield client


@pytest.fixture
def plain(server):  # noqa: F811
    with Client(server, cached=False) as client:
        yield client


def declared(client: Client, query: str, sizes=("all",), binary: bool = False, options: str = "cursor") -> tuple[list, str]:
    """All rows of a cursor as they came, by FETCHes of these sizes in turn until one gives fewer; and what the cache said."""
    client.notices.clear()
    with client.connection.transaction():
        client.run(f"declare c {options} for {query}")
        rows, number = [], 0
        while True:
            size = sizes[number % len(sizes)]
            piece = client.raw(f"fetch {size} from c", binary=binary)
            rows, number = rows + piece, number + 1
            if size == "all" or len(piece) < size:
                break
        client.run("close c")
    return rows, " ".join(notice.removeprefix("result cache: ") for notice in client.notices)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("sizes", [("all",), (1000,), (7, 100, 1), (333,)])
def test_cursors_fill_and_hit(client, plain, table, binary, sizes):  # noqa: F811
    query = QUERY.format(t=table)
    wanted, said = declared(plain, query, sizes, binary)
    assert said == "" and len(wanted) == 1000
    assert declared(client, query, sizes, binary) == (wanted, "miss")
    # By other pieces, by another name, by another layout, and as a query.
    for other in (("all",), (10, 500), sizes):
        assert declared(client, query, other, binary) == (wanted, "hit")
    assert declared(client, query.replace(" from", "\n FROM"), sizes, binary, "scroll cursor with hold") == (wanted, "hit")
    assert client.said(query, binary=binary) == "hit" and client.raw(query, binary=binary) == wanted
    # The other format is another answer.
    assert declared(client, query, sizes, not binary) == (declared(plain, query, sizes, not binary)[0], "miss")


@pytest.mark.parametrize("binary", [False, True])
def test_a_query_fills_for_cursors(client, plain, table, binary):  # noqa: F811
    query = TYPES.replace("{t}", table).replace("limit 3", "limit 30")
    assert client.said(query, binary=binary) == "miss"
    wanted = plain.raw(query, binary=binary)
    assert declared(client, query, (4,), binary) == (wanted, "hit")


def test_no_rows(client, table):  # noqa: F811
    query = f"select id from {table} where id < 0"
    assert [declared(client, query, (5,)) for _ in range(2)] == [([], "miss"), ([], "hit")]
    assert client.said(query) == "hit"


def test_what_is_not_read_to_its_end_in_order_is_not_kept(client, table):  # noqa: F811
    query = QUERY.format(t=table)
    ways = [["fetch 10 c"], ["fetch 10 c", "move 1 c", "fetch all c"], ["move 10 c", "fetch all c"], ["fetch 1000 c"], ["fetch 999 c", "move all c"],
            ["fetch all c", "move backward all c"], ["fetch last c"], ["fetch 500 c", "set local timezone = 'Asia/Tokyo'", "fetch all c"]]
    for number, way in enumerate(ways):
        text = query.replace("order by id", f"where id <> {-number - 1} order by id")
        for _ in range(2):
            client.notices.clear()
            with client.connection.transaction():
                client.run(f"declare c scroll cursor for {text}")
                for step in way:
                    client.run(step)
        assert client.notices == (["result cache: hit"] if way[0] == "fetch all c" else ["result cache: miss"]), way


def test_rows_twice_on_the_way(client, plain, table):  # noqa: F811
    """What is collected goes on where it ended, whatever was looked at in between."""
    query = QUERY.format(t=table)
    with client.connection.transaction():
        client.run(f"declare c scroll cursor for {query}")
        for step in ("fetch 100 c", "fetch backward 50 c", "fetch 20 c", "fetch absolute 100 c", "fetch 400 c", "move backward all c", "fetch 500 c", "fetch all c"):
            client.run(step)
    assert declared(client, query) == (plain.raw(query), "hit")


def test_versions_are_those_of_declare(client, server, table):  # noqa: F811
    query = f"select count(*), sum(v) from {table}"
    before, _ = declared(client, query)
    with client.connection.transaction():
        client.run("select 1")
        client.run(f"declare early cursor for {query}")
        server.sql(f"insert into {table} values (1001, 'new', 100, null)")
        assert client.raw("fetch all early") == before
    client.notices.clear()
    after, said = declared(client, query)
    assert after != before and said == "miss"
    # A held one, made before a commit and read after it: from the cache, and in the other format from the table.
    client.run(f"declare held cursor with hold for {query}")
    client.run(f"declare other cursor with hold for {query}")
    server.sql(f"insert into {table} values (1002, 'new', 100, null)")
    assert client.raw("fetch all held") == after
    assert int.from_bytes(client.raw("fetch all other", binary=True)[0][0], "big") == 1001
    assert declared(client, query)[0][0][0] == b"1002"
    client.run("close all")


def test_a_dropped_table_is_read_on(client, server, table):  # noqa: F811
    query = QUERY.format(t=table)
    wanted, _ = declared(client, query)
    for name in "abc":
        client.run(f"declare {name} cursor with hold for {query}")
    server.sql(f"drop table {table}")
    assert client.raw("fetch all a") == wanted
    assert len(client.raw("fetch all b", binary=True)) == 1000
    client.raw("fetch 10 c")
    assert len(client.raw("fetch all c", binary=True)) == 990
    client.run("close all")


def test_what_bypasses(client, server, table, schema):  # noqa: F811
    query = f"select count(*) from {table}"
    assert [declared(client, query)[1] for _ in range(2)] == ["miss", "hit"]
    with client.connection.transaction(force_rollback=True):
        client.run(f"delete from {table} where id = 1")
        client.notices.clear()
        client.run(f"declare c cursor for {query}")
        assert client.rows("fetch c") == [(999,)] and client.notices == []
    # A change after DECLARE is not what the cursor sees.
    with client.connection.transaction(force_rollback=True):
        client.run(f"declare c cursor for {query}")
        client.run(f"delete from {table} where id = 1")
        assert client.rows("fetch c") == [(1000,)]
    for query, said in ((f"select random() from {table} limit 1", "bypass"), ("select count(*) from pg_class", "bypass"), (f"select now() from {table} limit 1", "miss")):
        assert [declared(client, query)[1] for _ in range(2)] == [said] * 2
    client.run("set result_cache = off")
    assert declared(client, f"select count(*) from {table}") == ([[b"1000"]], "")


def test_it_is_switched_off_while_one_is_open(client, table):  # noqa: F811
    query = QUERY.format(t=table)
    declared(client, query)
    with client.connection.transaction():
        client.run(f"declare c cursor for {query}")
        client.run("set local result_cache = off")
        client.notices.clear()
        assert len(client.rows("fetch all c")) == 1000 and client.notices == []


MOVEMENTS = ["next", "prior", "first", "last", "absolute {n}", "relative {n}", "forward {n}", "backward {n}", "{n}", "all", "backward all", "forward all", "0"]
ZONES = ["UTC", "Europe/Paris", "Asia/Kathmandu"]
RANDOM_QUERIES = [QUERY, "select k, count(*), max(at) from {t} group by k order by k", "select v, at, k from {t} where id % 3 = {q} order by id",
                  "select k from {t} where id < 40 order by k", "select at - timestamptz '2024-01-01 00:00Z' as age, id from {t} where id <= 60 order by id"]


def told(client: Client, sql: str, binary: bool) -> tuple:
    """The tag and the values, or the SQLSTATE."""
    try:
        result = client.run(sql, binary=binary).pgresult
    except psycopg.Error as error:
        return (error.sqlstate,)
    return result.command_status, [[result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)]


@pytest.mark.parametrize("seed", range(12))
def test_every_movement_in_every_format(client, plain, table, seed):  # noqa: F811
    """Cursors beside their like without the cache: what they give is the same to the byte, wherever they go, also when formats and settings change."""
    chance, heard = random.Random(seed), set()
    for number in range(8):
        query = chance.choice(RANDOM_QUERIES).format(t=table, q=number % 3)
        scroll = chance.choice(["scroll cursor", "cursor", "no scroll cursor", "scroll cursor with hold"])
        for binary in (False, True):
            if chance.random() < 0.6:
                client.raw(query, binary=binary)
        client.notices.clear()
        for each in (client, plain):
            each.run("begin")
            each.run(f"declare c {scroll} for {query}")
            if "hold" in scroll:
                each.run("commit")
        mostly = chance.random() < 0.5
        for _ in range(chance.randrange(1, 15)):
            if chance.random() < 0.1:
                zone = chance.choice(ZONES)
                for each in (client, plain):
                    each.run(f"set timezone = '{zone}'")
            verb = "fetch" if chance.random() < 0.75 else "move"
            step = f"{verb} {chance.choice(MOVEMENTS).format(n=chance.randrange(-30, 60))} from c"
            binary = mostly if chance.random() < 0.9 else not mostly
            one, other = (told(each, step, binary) for each in (client, plain))
            assert one == other, (query, scroll, step, binary)
            if len(one) == 1:
                break
        heard.update(client.notices)
        for each in (client, plain):
            each.run("rollback")
            each.run("close all")
            each.run("set timezone = 'UTC'")
    assert heard == {"result cache: hit", "result cache: miss"}


def test_one_order_in_every_format(client, table):  # noqa: F811
    """Without ORDER BY, another run may give rows in another order; a cursor keeps to the one that it began with."""
    query = f"select k || id % 40 as g, count(*), k as twice, max(at) from {table} group by k, id % 40 union all select 'x', 1, 'x', null from {table} where id <= 5"
    for number in range(6):
        text = f"select * from ({query}) s where twice <> '{number}'"
        wanted = [row[0] for row in client.raw(text)]
        assert len(wanted) == 45
        client.run("begin")
        client.run(f"declare c scroll cursor for {text}")
        first = [row[0] for row in client.raw("fetch 7 c")]
        rest = [row[0] for row in client.raw("fetch all c", binary=True)]
        client.run("move backward all c")
        client.run("set local timezone = 'Asia/Tokyo'")
        assert first + rest == wanted == [row[0] for row in client.raw("fetch all c")]
        assert [row[0] for row in client.raw("fetch backward all c", binary=True)] == wanted[::-1]
        client.run("rollback")


def test_binary_cursors(client, table):  # noqa: F811
    """Of the simple protocol: their rows are in binary although nobody asked for it."""
    query = f"select id, k from {table} order by id limit 5"

    def fetched(text: str) -> tuple:
        result = client.connection.pgconn.exec_(text.encode())
        assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
        return result.fformat(0), [result.get_value(row, 0) for row in range(result.ntuples)]

    for _ in range(3):
        client.run("begin")
        client.run(f"declare b binary cursor for {query}")
        client.run(f"declare t cursor for {query}")
        assert fetched("fetch all b") == (1, [number.to_bytes(4, "big") for number in range(1, 6)])
        assert fetched("fetch all t") == (0, [str(number).encode() for number in range(1, 6)])
        client.run("rollback")
    assert [notice for notice in client.notices if notice.startswith("result")] == ["result cache: miss"] * 2 + ["result cache: hit"] * 4


@pytest.mark.parametrize("binary", [False, True])
def test_server_side_cursors_of_psycopg(client, plain, table, binary):  # noqa: F811
    query = f"select id, k, v, at from {table} where id > %s order by id"

    def read(of: Client) -> list:
        with of.connection.transaction(), of.connection.cursor("named", scrollable=True, binary=binary) as cursor:
            cursor.itersize = 64
            cursor.execute(query, (7,))
            first = cursor.fetchone(), cursor.fetchmany(20), cursor.fetchall()
            cursor.scroll(-5)
            rest = cursor.fetchall()
            cursor.scroll(3, "absolute")
            return [*first, rest, cursor.fetchmany(3)]

    wanted = read(plain)
    assert [read(client) for _ in range(3)] == [wanted] * 3
    assert client.notices == ["result cache: miss", "result cache: hit", "result cache: hit"]


def test_cursors_and_portals_of_asyncpg(server, table):  # noqa: F811
    """asyncpg reads portals, in binary."""

    async def run():
        connection = await asyncpg.connect(host=server.host, port=server.port, user=server.user, database=server.database)
        heard = []
        connection.add_log_listener(lambda _, message: heard.append(message.message))
        query, answers = f"select id, k, v, at from {table} where id > $1 order by id", []
        for setting in ("off", "on", "on", "on"):
            await connection.execute(f"set result_cache = {setting}")
            await connection.execute("set client_min_messages = debug1")
            async with connection.transaction():
                rows = [row async for row in connection.cursor(query, 10, prefetch=37)]
                cursor = await connection.cursor(query, 10)
                rows += await cursor.fetch(5)
                rows += await cursor.fetch(3)
            answers.append(rows)
        await connection.close()
        return heard, answers

    heard, answers = asyncio.run(run())
    assert answers[1:] == [answers[0]] * 3 and len(answers[0]) == 998
    assert heard.count("result cache: miss") == 1 and heard.count("result cache: hit") >= 4
