"""Stock psycopg 3: parameters on the server's side, pipelines, server-side cursors, COPY, prepared statements."""

import asyncio
import datetime
import decimal
import uuid

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row, namedtuple_row
from psycopg.types import TypeInfo

from client_matrix import Client

CLIENT = Client("psycopg", psycopg.__version__)
UTC = datetime.timezone.utc


@CLIENT.step("connect", "options, parameters of the server, asynchronous connections")
def test_connect(server):
    with server.connect(options="-c search_path=information_schema -c statement_timeout=5s", application_name="here") as connection:
        assert connection.execute("select current_setting('search_path'), current_setting('application_name')").fetchone() == ("information_schema", "here")
        assert connection.info.server_version >= 150000 and connection.info.encoding == "utf-8" and connection.info.backend_pid
        assert connection.info.parameter_status("integer_datetimes") == "on"

    async def main():
        async with await psycopg.AsyncConnection.connect(server.dsn()) as connection:
            cursor = await connection.execute("select %s::int", (1,))
            assert await cursor.fetchone() == (1,)

    asyncio.run(main())


TYPES = [
    ("boolean", True), ("smallint", -7), ("integer", -(2**31)), ("bigint", 2**63 - 1), ("oid", 4_000_000_000), ("real", 1.5), ("double precision", -0.1),
    ("numeric", decimal.Decimal("-1234567890.0123456789")), ("text", "häß\t'\\\n%"), ("varchar", "v"), ("bytea", b"\x00\xff\\"), ("date", datetime.date(1969, 12, 31)),
    ("time", datetime.time(23, 59, 59, 999999)), ("timestamp", datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)),
    ("timestamptz", datetime.datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)), ("interval", datetime.timedelta(days=3, hours=4, microseconds=5)), ("uuid", uuid.UUID(int=2**127 + 5)),
    ("integer[]", [1, None, 3]), ("text[]", ["a,b", None, '"', ""]), ("bigint[]", [2**40]), ("numeric[]", [decimal.Decimal("1.5")]), ("boolean[]", [True, False]),
    ("date[]", [datetime.date(2024, 2, 29)]), ("double precision[]", [0.5]), ("uuid[]", [uuid.UUID(int=1)]), ("timestamp[]", [datetime.datetime(2024, 2, 29)]), ("bytea[]", [b"\x01"]),
]


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize(("pg_type", "value"), TYPES, ids=[name for name, _ in TYPES])
@CLIENT.step("types", "every type as parameter and result, in text and in binary")
def test_a_value_goes_there_and_back(server, pg_type, value, binary):
    placeholder = "%b" if binary else "%t"
    with server.connect() as connection:
        found = connection.cursor(binary=binary).execute(f"select {placeholder}::{pg_type} as given, null::{pg_type} as nothing", (value,))
        assert found.fetchone() == (value, None)
        assert connection.adapters.types[found.description[0].type_code].name == pg_type.split("[")[0].split("(")[0].replace("integer", "int4").replace("bigint", "int8").replace(
            "smallint", "int2").replace("boolean", "bool").replace("double precision", "float8").replace("real", "float4")


@CLIENT.step("introspection", "`TypeInfo.fetch`, by name and by OID; composite and enum types that are not there")
def test_type_info(server):
    with server.connect() as connection:
        info = TypeInfo.fetch(connection, "numeric")
        assert (info.name, info.oid, info.array_oid) == ("numeric", 1700, 1231)
        assert TypeInfo.fetch(connection, "no_such_type") is None
        assert TypeInfo.fetch(connection, sql.Identifier("pg_catalog", "timestamptz")).oid == 1184


@CLIENT.step("queries", "rows as dictionaries and named tuples, composed SQL, several statements, `stream`")
def test_queries(server, schema):
    with server.connect() as connection:
        table = sql.Identifier(schema, "t")
        connection.execute(sql.SQL("create table {} (a int, b text)").format(table))
        connection.execute(sql.SQL("insert into {} values ({}, {})").format(table, sql.Literal(1), sql.Literal("it's")))
        assert connection.cursor(row_factory=dict_row).execute(sql.SQL("select * from {} where b = %s").format(table), ("it's",)).fetchone() == {"a": 1, "b": "it's"}
        assert connection.cursor(row_factory=namedtuple_row).execute(sql.SQL("select * from {}").format(table)).fetchone().b == "it's"
        assert connection.execute(sql.SQL("select a from {} where a = any(%s)").format(table), ([1, 2],)).fetchall() == [(1,)]
        cursor = connection.execute("select 1; select 'two'")
        assert cursor.fetchone() == (1,) and cursor.nextset() and cursor.fetchone() == ("two",)
        assert sum(row[0] for row in connection.cursor().stream("select g from generate_series(1, %s::int) as s(g)", (1000,))) == 500500
        assert connection.execute("select %s + 1, %s || 'y', %s::date + 1, coalesce(%s, 5)", (41, "x", datetime.date(2024, 1, 1), None)).fetchone() == (
            42, "xy", datetime.date(2024, 1, 2), 5)


@CLIENT.step("queries", "prepared statements: automatically, at the first use, never; `DEALLOCATE ALL`")
def test_prepared(server, schema):
    with server.connect(prepare_threshold=2) as connection:
        connection.execute(f'create table "{schema}".t (a int)')
        for n in range(6):
            connection.execute(f'insert into "{schema}".t values (%s)', (n,))
            assert connection.execute(f'select count(*) from "{schema}".t where a <= %s', (n,), prepare=True).fetchone() == (n + 1,)
        connection.execute("deallocate all")
        connection._prepared.clear()
        assert connection.execute(f'select count(*) from "{schema}".t where a <= %s', (3,), prepare=True).fetchone() == (4,)


@CLIENT.step("queries", "pipeline mode: many statements in flight, an error in the midst")
def test_pipeline(server, schema):
    with server.connect() as connection:
        connection.execute(f'create table "{schema}".t (a int)')
        with connection.pipeline():
            cursors = [connection.execute("select %s::int * 2", (n,)) for n in range(100)]
            connection.cursor().executemany(f'insert into "{schema}".t values (%s)', [(n,) for n in range(20)])
        assert [cursor.fetchone()[0] for cursor in cursors] == [n * 2 for n in range(100)]
        with pytest.raises(psycopg.errors.UndefinedTable), connection.pipeline() as pipeline:
            connection.execute("select * from nowhere")
            pipeline.sync()
        with pytest.raises((psycopg.errors.DivisionByZero, psycopg.errors.PipelineAborted)), connection.pipeline():
            connection.execute("select 1")
            connection.execute("select 1/0")
            connection.execute("select 2")
        assert connection.execute(f'select count(*) from "{schema}".t').fetchone() == (20,)


@CLIENT.step("cursors", "server-side cursors: iteration, `fetchmany`, scroll, binary, WITH HOLD")
def test_server_cursors(server):
    with server.connect(autocommit=False) as connection:
        with connection.cursor("one") as cursor:
            cursor.itersize = 100
            cursor.execute("select g, 'x' || g from generate_series(1, %s::int) as s(g)", (1000,))
            assert sum(row[0] for row in cursor) == 500500
        with connection.cursor("two", scrollable=True, binary=True) as cursor:
            cursor.execute("select g::int from generate_series(1, 100) as s(g) order by g")
            assert [row[0] for row in cursor.fetchmany(3)] == [1, 2, 3]
            cursor.scroll(10)
            assert cursor.fetchone() == (14,)
            cursor.scroll(5, mode="absolute")
            assert cursor.fetchone() == (6,)
        with connection.cursor("three", withhold=True) as cursor:
            cursor.execute("select g from generate_series(1, 10) as s(g)")
            connection.commit()
            assert len(cursor.fetchall()) == 10


@CLIENT.step("transactions", "`transaction()` nested, isolation levels, read-only, a failed transaction")
def test_transactions(server, schema):
    with server.connect() as connection:
        connection.execute(f'create table "{schema}".t (a int)')
        with connection.transaction():
            connection.execute(f'insert into "{schema}".t values (1)')
            with connection.transaction(force_rollback=True):
                connection.execute(f'insert into "{schema}".t values (2)')
            with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
                connection.execute("select 1/0")
            with connection.transaction("named"):
                connection.execute(f'insert into "{schema}".t values (3)')
        assert connection.execute(f'select a from "{schema}".t order by a').fetchall() == [(1,), (3,)]
    for level in psycopg.IsolationLevel:
        with server.connect(autocommit=False) as connection:
            connection.isolation_level = level
            assert connection.execute("show transaction_isolation").fetchone() == (level.name.lower().replace("_", " "),)
            connection.rollback()
            connection.read_only = True
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute(f'insert into "{schema}".t values (5)')
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                connection.execute("select 1")


@CLIENT.step("changes", "`executemany` with `returning`, row counts")
def test_changes(server, schema):
    with server.connect() as connection:
        connection.execute(f'create table "{schema}".t (a int, b text, u uuid, tags text[])')
        cursor = connection.cursor()
        cursor.executemany(f'insert into "{schema}".t values (%s, %s, %s, %s) returning a', [(n, str(n), uuid.UUID(int=n), ["x"]) for n in range(5)], returning=True)
        found = []
        while True:
            found += cursor.fetchall()
            if not cursor.nextset():
                break
        assert found == [(n,) for n in range(5)]
        cursor.execute(f'update "{schema}".t set b = %s where u = %s', ("new", uuid.UUID(int=3)))
        assert (cursor.rowcount, cursor.statusmessage) == (1, "UPDATE 1")
        assert cursor.execute(f'delete from "{schema}".t where a > %s', (2,)).rowcount == 2
        assert connection.execute(f'select u, u::text from "{schema}".t where a = 1').fetchone() == (uuid.UUID(int=1), str(uuid.UUID(int=1)))


@CLIENT.step("copy", "COPY in by rows and blocks, out by rows; text and CSV")
def test_copy(server, schema):
    with server.connect() as connection:
        connection.execute(f'create table "{schema}".t (a int, b text, at timestamp)')
        at = datetime.datetime(2024, 1, 2, 3, 4, 5)
        with connection.cursor().copy(f'copy "{schema}".t from stdin') as copy:
            for n in range(100):
                copy.write_row((n, None if n % 7 == 0 else f"row\t{n}\\", at))
        with connection.cursor().copy(f'copy "{schema}".t (a, b) from stdin (format csv, delimiter \';\')') as copy:
            copy.write("100;a b\n101;")
            copy.write('"x""y"\n')
        with connection.cursor().copy(f'copy (select a, b, at from "{schema}".t where a in (5, 7, 101) order by a) to stdout') as copy:
            copy.set_types(["int4", "text", "timestamp"])
            assert list(copy.rows()) == [(5, "row\t5\\", at), (7, None, at), (101, 'x"y', None)]
        with pytest.raises(ZeroDivisionError), connection.cursor().copy(f'copy "{schema}".t from stdin') as copy:
            copy.write_row((1, "never", at))
            raise ZeroDivisionError
        assert connection.execute(f'select count(*) from "{schema}".t').fetchone() == (102,)


@CLIENT.step("copy", "COPY in binary format, both ways")
def test_binary_copy(server, schema):
    with server.connect() as connection:
        connection.execute(f'create table "{schema}".t (a int, b text)')
        with connection.cursor().copy(f'copy "{schema}".t from stdin (format binary)') as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((1, "x"))
        with connection.cursor().copy(f'copy "{schema}".t to stdout (format binary)') as copy:
            copy.set_types(["int4", "text"])
            assert list(copy.rows()) == [(1, "x")]


@CLIENT.step("errors", "classes and fields of errors, notices, cancel, a broken COPY")
def test_errors(server, schema):
    with server.connect() as connection:
        for statement, error in (("select * from nowhere", psycopg.errors.UndefinedTable), ("selec 1", psycopg.errors.SyntaxError), ("select 1/0", psycopg.errors.DivisionByZero),
                                 ("select nofunction(1)", psycopg.errors.UndefinedFunction), ("select 'x'::int", psycopg.errors.InvalidTextRepresentation)):
            with pytest.raises(error) as found:
                connection.execute(statement)
            assert found.value.diag.severity_nonlocalized == "ERROR"
        notices = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        connection.execute("drop table if exists nowhere_at_all")
        assert any("does not exist, skipping" in notice for notice in notices)
        connection.execute(f'create table "{schema}".t (a int)')
        with pytest.raises(psycopg.errors.InvalidTextRepresentation), connection.cursor().copy(f'copy "{schema}".t from stdin') as copy:
            copy.write("no number\n")
        assert connection.execute("select 1").fetchone() == (1,)
