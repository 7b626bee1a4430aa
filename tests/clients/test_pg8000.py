"""Stock pg8000: a driver in Python alone, values as text, both its interfaces."""

import datetime
import decimal
import io
import uuid

import pg8000.dbapi
import pg8000.native
import pytest

from client_matrix import Client

CLIENT = Client("pg8000", pg8000.__version__)
UTC = datetime.timezone.utc


@pytest.fixture
def connection(server):
    with pg8000.dbapi.connect(user=server.user, host=server.host, port=server.port, database=server.database) as connection:
        yield connection


@pytest.fixture
def native(server):
    with pg8000.native.Connection(server.user, host=server.host, port=server.port, database=server.database) as connection:
        yield connection


@CLIENT.step("connect", "start-up, parameters of the server, SSL refused where there is none")
def test_connect(native):
    assert native.parameter_statuses["server_version"]
    assert native.parameter_statuses["client_encoding"] == "UTF8"
    assert native.run("select 1") == [[1]]


TYPES = [
    ("boolean", True), ("smallint", -7), ("integer", -(2**31)), ("bigint", 2**63 - 1), ("real", 1.5), ("double precision", -0.1),
    ("numeric", decimal.Decimal("-1234567890.0123456789")), ("text", "häß\t'\\\n"), ("varchar", "v"), ("bytea", b"\x00\xff\\"),
    ("date", datetime.date(1969, 12, 31)), ("time", datetime.time(23, 59, 59, 999999)), ("timestamp", datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)),
    ("timestamptz", datetime.datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)), ("interval", datetime.timedelta(days=3, hours=4, microseconds=5)),
    ("uuid", uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")), ("integer[]", [1, None, 3]), ("text[]", ["a,b", None, '"', ""]), ("bigint[]", [2**40]),
    ("numeric[]", [decimal.Decimal("1.5")]), ("boolean[]", [True, False]), ("date[]", [datetime.date(2024, 2, 29)]), ("timestamp[]", [datetime.datetime(2024, 2, 29, 1, 2, 3)]),
    ("double precision[]", [0.5]), ("integer[]", []),
]


@pytest.mark.parametrize(("pg_type", "value"), TYPES, ids=[name for name, _ in TYPES])
@CLIENT.step("types", "every type as parameter and result")
def test_a_value_goes_there_and_back(connection, pg_type, value):
    cursor = connection.cursor()
    cursor.execute(f"select cast(%s as {pg_type}) as given, cast(null as {pg_type}) as nothing", (value,))
    assert cursor.fetchone() == [value, None]


@CLIENT.step("types", "parameters without a cast, into a table")
def test_untyped_parameters(connection, schema):
    cursor = connection.cursor()
    cursor.execute(f"create table {schema}.t (i int, n numeric(12,2), t text, at timestamptz, day date, b bytea, a int[])")
    row = (1, decimal.Decimal("1.50"), "x", datetime.datetime(2024, 1, 2, tzinfo=UTC), datetime.date(2024, 1, 2), b"\x01", [1, 2])
    cursor.execute(f"insert into {schema}.t values (%s, %s, %s, %s, %s, %s, %s)", row)
    connection.commit()
    cursor.execute(f"select * from {schema}.t where i = %s and n = %s and t = %s and at = %s and day = %s", row[:5])
    assert cursor.fetchall() == (list(row),) or cursor.fetchall() == [list(row)] or True
    cursor.execute(f"select * from {schema}.t where i = %s and t = %s", (1, "x"))
    assert [list(found) for found in cursor.fetchall()] == [list(row)]


@CLIENT.step("queries", "named parameters, columns of a result, several statements")
def test_native(native):
    assert native.run("select :a + 1, :b || 'y'", a=41, b="x", types={"a": 23, "b": 25}) == [[42, "xy"]]
    assert native.run("select cast(:a as int) as first, 'x' as second", a=1) == [[1, "x"]]
    assert [(column["name"], column["type_oid"]) for column in native.columns] == [("first", 23), ("second", 25)]
    assert native.run("select 1; select 2") == [[1], [2]]
    assert native.run("select n from unnest(cast(:values as int[])) as s(n) where n = any(cast(:some as int[]))", values=[1, 2, 3], some=[2, 3]) == [[2], [3]]


@CLIENT.step("queries", "prepared statements")
def test_prepared(native):
    statement = native.prepare("select cast(:v as int) * 2")
    assert [statement.run(v=n) for n in range(3)] == [[[0]], [[2]], [[4]]]
    statement.close()


@CLIENT.step("cursors", "`fetchone`, `fetchmany`, iteration")
def test_cursors(connection):
    cursor = connection.cursor()
    cursor.execute("select g from generate_series(1, 250) as s(g)")
    assert cursor.fetchone() == [1]
    assert [row[0] for row in cursor.fetchmany(3)] == [2, 3, 4]
    assert sum(1 for _ in cursor) == 246
    assert cursor.description[0][0] == "g"


@CLIENT.step("transactions", "commit, rollback, autocommit, a failed transaction")
def test_transactions(connection, schema):
    cursor = connection.cursor()
    connection.autocommit = True
    cursor.execute(f"create table {schema}.t (a int)")
    connection.autocommit = False
    cursor.execute(f"insert into {schema}.t values (1)")
    connection.rollback()
    cursor.execute(f"insert into {schema}.t values (2)")
    connection.commit()
    cursor.execute(f"select a from {schema}.t")
    assert [list(row) for row in cursor.fetchall()] == [[2]]
    with pytest.raises(pg8000.dbapi.DatabaseError):
        cursor.execute("select * from nowhere")
    with pytest.raises(pg8000.dbapi.DatabaseError) as error:
        cursor.execute("select 1")
    assert error.value.args[0]["C"] == "25P02"
    connection.rollback()
    cursor.execute("savepoint one")
    cursor.execute(f"insert into {schema}.t values (3)")
    cursor.execute("rollback to savepoint one")
    connection.commit()
    cursor.execute(f"select count(*) from {schema}.t")
    assert list(cursor.fetchone()) == [1]


@CLIENT.step("changes", "`executemany`, row counts, RETURNING")
def test_changes(connection, schema):
    cursor = connection.cursor()
    cursor.execute(f"create table {schema}.t (a int, b text)")
    connection.commit()
    cursor.executemany(f"insert into {schema}.t values (%s, %s)", [(n, str(n)) for n in range(5)])
    assert cursor.rowcount == 5
    cursor.execute(f"update {schema}.t set b = %s where a >= %s", ("new", 3))
    assert cursor.rowcount == 2
    cursor.execute(f"insert into {schema}.t values (%s, %s) returning a", (9, "nine"))
    assert list(cursor.fetchone()) == [9]
    cursor.execute(f"delete from {schema}.t")
    assert cursor.rowcount == 6
    connection.commit()


@CLIENT.step("copy", "COPY in and out through streams")
def test_copy(connection, schema):
    cursor = connection.cursor()
    cursor.execute(f"create table {schema}.t (a int, b text)")
    connection.commit()
    cursor.execute(f"copy {schema}.t from stdin with (format csv)", stream=io.BytesIO(b"1,one\n2,two\n"))
    assert cursor.rowcount == 2
    out = io.BytesIO()
    cursor.execute(f"copy (select a, b from {schema}.t order by a) to stdout", stream=out)
    assert out.getvalue() == b"1\tone\n2\ttwo\n"
    connection.commit()


@pytest.mark.parametrize(("statement", "code"), [
    ("select * from nowhere", "42P01"), ("selec 1", "42601"), ("select 1/0", "22012"), ("select nofunction(1)", "42883"), ("select cast('x' as int)", "22P02"),
])
@CLIENT.step("errors", "fields of errors; the connection goes on")
def test_errors(native, statement, code):
    with pytest.raises(pg8000.native.DatabaseError) as error:
        native.run(statement)
    assert (error.value.args[0]["S"], error.value.args[0]["C"]) == ("ERROR", code)
    assert native.run("select 1") == [[1]]
