"""Stock asyncpg: it asks for binary values of every type, and looks types up in the catalog by a recursive query."""

import asyncio
import contextlib
import datetime
import decimal
import uuid

import asyncpg
import pytest

from client_matrix import Client

CLIENT = Client("asyncpg", asyncpg.__version__)
UTC = datetime.timezone.utc


def run(server, body, **options):
    """Runs `body(connection)` on a connection of its own."""

    async def main():
        connection = await asyncpg.connect(host=server.host, port=server.port, user=server.user, database=server.database, **options)
        try:
            return await body(connection)
        finally:
            await connection.close(timeout=10)

    return asyncio.run(main())


TYPES = [
    ("boolean", True), ("smallint", -7), ("integer", 2**31 - 1), ("bigint", -(2**63)), ("oid", 4_000_000_000),
    ("real", 1.5), ("double precision", -0.1), ("numeric", decimal.Decimal("-1234567890.0123456789")),
    ("numeric(10,3)", decimal.Decimal("0.005")), ("text", "häß\t'\\\n"), ("varchar", "v"), ("name", "a_name"), ("bytea", b"\x00\xff\\"),
    ("date", datetime.date(1969, 12, 31)), ("time", datetime.time(23, 59, 59, 999999)),
    ("timestamp", datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)),
    ("timestamptz", datetime.datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)),
    ("interval", datetime.timedelta(days=-3, hours=4, microseconds=5)), ("uuid", uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")),
    ("boolean[]", [True, None]), ("smallint[]", [1, -1]), ("integer[]", [1, None, 3]), ("bigint[]", [2**40]), ("text[]", ["a,b", None, '"', ""]),
    ("double precision[]", [0.5]), ("numeric[]", [decimal.Decimal("1.5")]), ("date[]", [datetime.date(2024, 2, 29)]),
    ("timestamp[]", [datetime.datetime(2024, 2, 29, 1, 2, 3)]), ("uuid[]", [uuid.UUID(int=1)]), ("bytea[]", [b"\x00"]),
]


@pytest.mark.parametrize(("pg_type", "value"), TYPES, ids=[name for name, _ in TYPES])
@CLIENT.step("types", "every type as parameter and result, in binary")
def test_a_value_goes_there_and_back(server, pg_type, value):
    async def body(connection):
        found = await connection.fetchrow(f"select $1::{pg_type} as given, null::{pg_type} as nothing, pg_typeof($1::{pg_type})::text", value)
        plain = pg_type.split("(")[0]
        names = {"timestamp": "timestamp without time zone", "timestamptz": "timestamp with time zone", "time": "time without time zone",
                 "varchar": "character varying", "timestamp[]": "timestamp without time zone[]"}
        assert (found[0], found[1], found[2]) == (value, None, names.get(plain, plain))

    run(server, body)


@CLIENT.step("types", "special values: infinities, NaN, dates before 2000")
def test_special_values(server):
    async def body(connection):
        found = await connection.fetchrow(
            "select 'infinity'::float8, '-infinity'::float4, 'nan'::float8::text, timestamp '1900-01-01 00:00:00.000001', date '0001-01-01'")
        assert tuple(found) == (float("inf"), float("-inf"), "NaN", datetime.datetime(1900, 1, 1, 0, 0, 0, 1), datetime.date(1, 1, 1))

    run(server, body)


@CLIENT.step("introspection", "types of columns: the recursive query over `pg_type`")
def test_types_are_introspected(server, schema):
    async def body(connection):
        await connection.execute(f"create table {schema}.t (id int primary key, tags text[], at timestamptz, amount numeric(12,2))")
        statement = await connection.prepare(f"select t.*, c.relname, c.oid, c.relkind, t.tags[1] from {schema}.t t, pg_class c where c.relname = $1")
        assert [(a.name, a.type.name, a.type.kind) for a in statement.get_attributes()] == [
            ("id", "int4", "scalar"), ("tags", "text[]", "array"), ("at", "timestamptz", "scalar"), ("amount", "numeric", "scalar"),
            ("relname", "name", "scalar"), ("oid", "oid", "scalar"), ("relkind", "char", "scalar"), ("tags", "text", "scalar")]
        assert [p.name for p in statement.get_parameters()] in (["name"], ["text"])
        # Types that the driver does not know by heart: it asks the catalog.
        rows = await connection.fetch("select conkey, conname from pg_constraint where conrelid = $1::regclass::oid", f"{schema}.t")
        assert [tuple(row) for row in rows] == [([1], "t_pkey")]
        assert (await connection.fetchval("select indkey from pg_index where indrelid = to_regclass($1)", f"{schema}.t")) in ([1], "1")

    run(server, body)


@CLIENT.step("connect", "`set_type_codec`, `reload_schema_state`, `reset`")
def test_codecs_and_reset(server):
    async def body(connection):
        await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=float, format="text")
        assert await connection.fetchval("select $1::numeric", "1.5") == 1.5
        await connection.reset_type_codec("numeric", schema="pg_catalog")
        await connection.reload_schema_state()
        assert await connection.fetchval("select 1.5::numeric") == decimal.Decimal("1.5")
        await connection.execute("set search_path to information_schema")
        await connection.reset()
        assert await connection.fetchval("show search_path") == '"$user", public'
        assert connection.get_server_version()[0] >= 15

    run(server, body)


@CLIENT.step("connect", "a pool: connections are reset and used again")
def test_pool(server):
    async def main():
        options = {"host": server.host, "port": server.port, "user": server.user, "database": server.database}
        async with asyncpg.create_pool(min_size=2, max_size=4, **options) as pool:
            found = await asyncio.gather(*(pool.fetchval("select $1::int", n) for n in range(20)))
        assert found == list(range(20))

    asyncio.run(main())


@CLIENT.step("connect", "server settings in the start-up message")
def test_server_settings(server):
    async def body(connection):
        assert await connection.fetchval("show application_name") == "here"
        assert await connection.fetchval("select current_setting('search_path')") == "information_schema"
        assert connection.get_settings().TimeZone

    run(server, body, server_settings={"application_name": "here", "search_path": "information_schema", "jit": "off"})


@CLIENT.step("queries", "prepared statements: parameters, attributes, use after a change of the table")
def test_prepared_statements(server, schema):
    async def body(connection):
        await connection.execute(f"create table {schema}.t (a int, b text)")
        insert = await connection.prepare(f"insert into {schema}.t values ($1, $2)")
        for n in range(3):
            await insert.fetch(n, f"row {n}")
        assert insert.get_statusmsg() == "INSERT 0 1"
        select = await connection.prepare(f"select b from {schema}.t where a >= $1 order by a limit $2")
        assert [row["b"] for row in await select.fetch(1, 5)] == ["row 1", "row 2"]
        assert await select.fetchval(2, 1) == "row 2"
        assert (await select.fetchrow(7, 1)) is None
        assert (await select.explain(1, 1))

    run(server, body)


@CLIENT.step("introspection", "its prepared statements in `pg_prepared_statements`")
def test_prepared_statements_are_shown(server):
    async def body(connection):
        statement = await connection.prepare("select $1::int as a, $2::text as b")
        shown = ("select statement, parameter_types::text, from_sql, prepare_time <= clock_timestamp() as known "
                 "from pg_prepared_statements where name = $1")
        assert tuple(await connection.fetchrow(shown, statement.get_name())) == (
            "select $1::int as a, $2::text as b", "{integer,text}", False, True)
        await connection.execute("deallocate all")
        connection._drop_global_statement_cache()
        assert await connection.fetchval("select count(*) from pg_prepared_statements where not from_sql and statement like '%as b'") == 0

    run(server, body)


@CLIENT.step("queries", "`= any($1)`, records by name, several statements in one call")
def test_queries(server, schema):
    async def body(connection):
        await connection.execute(f"create table {schema}.t (a int, b text); insert into {schema}.t values (1, 'x'), (2, 'y'), (3, null)")
        rows = await connection.fetch(f"select a, b from {schema}.t where a = any($1) order by a", [1, 3])
        assert [dict(row) for row in rows] == [{"a": 1, "b": "x"}, {"a": 3, "b": None}]
        assert await connection.fetchval(f"select count(*) from {schema}.t where b = any($1::text[])", ["x", "y"]) == 2
        rows = await connection.fetch(
            "select * from unnest($1::int[], $2::text[]) as v(n, t) order by n", [2, 1], ["two", "one"])
        assert [tuple(row) for row in rows] == [(1, "one"), (2, "two")]
        assert await connection.fetchval("select row(1, 'a') is not null")

    run(server, body)


@CLIENT.step("cursors", "`cursor()` in a transaction: iteration with prefetch, `fetch`, `fetchrow`")
def test_cursors(server):
    async def body(connection):
        async with connection.transaction():
            seen = [row[0] async for row in connection.cursor("select g from generate_series(1, $1::int) as s(g)", 120, prefetch=50)]
            assert seen == list(range(1, 121))
            cursor = await connection.cursor("select g from generate_series(1, 10) as s(g)")
            assert [row[0] for row in await cursor.fetch(3)] == [1, 2, 3]
            assert (await cursor.fetchrow())[0] == 4

    run(server, body)


@CLIENT.step("cursors", "`forward`: MOVE in a portal of the protocol")
def test_forward(server):
    async def body(connection):
        async with connection.transaction():
            cursor = await connection.cursor("select g from generate_series(1, 10) as s(g)")
            assert await cursor.forward(2) == 2
            assert (await cursor.fetchrow())[0] == 3
            assert [row[0] for row in await cursor.fetch(2)] == [4, 5]
            assert await cursor.forward(3) == 3
            assert [row[0] for row in await cursor.fetch(10)] == [9, 10]
            assert await cursor.fetchrow() is None

    run(server, body)


@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read", "serializable"])
@CLIENT.step("transactions", "isolation levels, read-only, savepoints, rollback")
def test_transactions(server, schema, isolation):
    async def body(connection):
        await connection.execute(f"create table {schema}.t (a int)")
        async with connection.transaction(isolation=isolation):
            await connection.execute(f"insert into {schema}.t values (1)")
            with contextlib.suppress(ZeroDivisionError):
                async with connection.transaction():
                    await connection.execute(f"insert into {schema}.t values (2)")
                    raise ZeroDivisionError
            async with connection.transaction():
                await connection.execute(f"insert into {schema}.t values (3)")
            assert await connection.fetchval("show transaction isolation level") == isolation.replace("_", " ")
        with contextlib.suppress(ZeroDivisionError):
            async with connection.transaction(isolation=isolation):
                await connection.execute(f"insert into {schema}.t values (4)")
                raise ZeroDivisionError
        assert [row[0] for row in await connection.fetch(f"select a from {schema}.t order by a")] == [1, 3]
        async with connection.transaction(isolation="serializable", readonly=True, deferrable=True):
            assert await connection.fetchval("show transaction_read_only") == "on"
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            async with connection.transaction(readonly=True):
                await connection.execute(f"insert into {schema}.t values (5)")

    run(server, body)


@CLIENT.step("changes", "`executemany`, and the tags of INSERT, UPDATE and DELETE")
def test_changes(server, schema):
    async def body(connection):
        await connection.execute(f"create table {schema}.t (a int, b text, at timestamptz)")
        at = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
        await connection.executemany(f"insert into {schema}.t (a, b, at) values ($1, $2, $3)", [(n, str(n), at) for n in range(10)])
        assert await connection.fetchval(f"select count(*) from {schema}.t where at = $1", at) == 10
        assert await connection.execute(f"update {schema}.t set b = $1 where a < $2", "new", 4) == "UPDATE 4"
        assert await connection.execute(f"delete from {schema}.t where a = any($1)", [1, 2]) == "DELETE 2"
        assert await connection.fetchval(f"insert into {schema}.t values ($1, $2) returning a + 1", 41, "x") == 42

    run(server, body)


@CLIENT.step("copy", "`copy_from_query` and `copy_to_table` as CSV")
def test_copy_csv(server, schema):
    async def body(connection):
        await connection.execute(f"create table {schema}.t (a int, b text)")
        import io

        out = io.BytesIO()
        assert await connection.copy_from_query("select g, 'r' || g from generate_series(1, $1::int) as s(g)", 3, output=out, format="csv", header=True) == "COPY 3"
        assert out.getvalue().decode().splitlines()[1:] == ["1,r1", "2,r2", "3,r3"]
        out.seek(0)
        assert await connection.copy_to_table("t", schema_name=schema, source=out, format="csv", header=True, columns=["a", "b"]) == "COPY 3"
        assert [tuple(row) for row in await connection.fetch(f"select a, b from {schema}.t order by a")] == [(1, "r1"), (2, "r2"), (3, "r3")]
        out = io.BytesIO()
        assert await connection.copy_from_table("t", schema_name=schema, output=out) == "COPY 3"
        assert sorted(out.getvalue().decode().splitlines()) == ["1\tr1", "2\tr2", "3\tr3"]

    run(server, body)


@CLIENT.step("copy", "`copy_records_to_table`: COPY in binary format")
def test_copy_records(server, schema):
    async def body(connection):
        await connection.execute(f"create table {schema}.t (a int, b text)")
        assert await connection.copy_records_to_table("t", schema_name=schema, records=[(1, "x"), (2, None)]) == "COPY 2"
        assert [tuple(row) for row in await connection.fetch(f"select a, b from {schema}.t order by a")] == [(1, "x"), (2, None)]

    run(server, body)


@pytest.mark.parametrize(("statement", "error"), [
    ("select * from nowhere", asyncpg.UndefinedTableError), ("selec 1", asyncpg.PostgresSyntaxError),
    ("select nothing from (values (1)) as v(x)", asyncpg.UndefinedColumnError), ("select 1/0", asyncpg.DivisionByZeroError),
    ("select nofunction(1)", asyncpg.UndefinedFunctionError), ("select 'x'::int", asyncpg.InvalidTextRepresentationError),
])
@CLIENT.step("errors", "classes of errors; the connection goes on")
def test_errors(server, statement, error):
    async def body(connection):
        with pytest.raises(error):
            await connection.fetch(statement)
        assert await connection.fetchval("select 1") == 1

    run(server, body)


@CLIENT.step("errors", "a timeout cancels the statement")
def test_timeout(server):
    async def body(connection):
        with pytest.raises(asyncio.TimeoutError):
            await connection.fetch("select count(*) from generate_series(1, 1000000) a(x), generate_series(1, 1000000) b(y)", timeout=0.5)
        assert await connection.fetchval("select 1") == 1

    run(server, body)
