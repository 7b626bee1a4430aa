"""Stock psycopg2: parameters written into the text, named cursors, bulk helpers, COPY."""

import datetime
import decimal
import io
import uuid

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import pytest

from client_matrix import Client

CLIENT = Client("psycopg2", psycopg2.__version__.split()[0])
UTC = datetime.timezone.utc


@pytest.fixture
def connection(server):
    connection = psycopg2.connect(server.dsn())
    yield connection
    connection.close()


@CLIENT.step("connect", "options, session settings, encodings, the server's version")
def test_connect(server):
    connection = psycopg2.connect(server.dsn(), options="-c statement_timeout=12345 -c search_path=information_schema", application_name="here")
    cursor = connection.cursor()
    cursor.execute("show statement_timeout")
    assert cursor.fetchone() == ("12345ms",)
    cursor.execute("select current_setting('search_path'), current_setting('application_name')")
    assert cursor.fetchone() == ("information_schema", "here")
    connection.rollback()
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True, autocommit=False)
    cursor.execute("show transaction_isolation")
    assert cursor.fetchone() == ("serializable",)
    connection.rollback()
    assert connection.server_version >= 150000 and connection.encoding == "UTF8"
    connection.set_client_encoding("UTF8")
    assert connection.get_parameter_status("standard_conforming_strings") == "on"
    connection.reset()
    connection.close()


TYPES = [
    ("boolean", True), ("smallint", -7), ("integer", 1 - 2**31), ("bigint", 2**63 - 1), ("real", 1.5), ("double precision", -0.1),
    ("numeric", decimal.Decimal("-1234567890.0123456789")), ("text", "häß\t'\\\n%"), ("varchar", "v"), ("date", datetime.date(1969, 12, 31)),
    ("time", datetime.time(23, 59, 59, 999999)), ("timestamp", datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)),
    ("timestamptz", datetime.datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)), ("interval", datetime.timedelta(days=3, hours=4, microseconds=5)),
    ("integer[]", [1, None, 3]), ("text[]", ["a,b", None, '"', ""]), ("bigint[]", [2**40]), ("numeric[]", [decimal.Decimal("1.5")]), ("boolean[]", [True, False]),
    ("date[]", [datetime.date(2024, 2, 29)]), ("double precision[]", [0.5]), ("integer[]", []),
]


@pytest.mark.parametrize(("pg_type", "value"), TYPES, ids=[name for name, _ in TYPES])
@CLIENT.step("types", "every type, with a cast and without")
def test_a_value_goes_there_and_back(connection, pg_type, value):
    cursor = connection.cursor()
    cursor.execute(f"select %s::{pg_type} as given, null::{pg_type} as nothing, %s is null", (value, value))
    assert cursor.fetchone() == (value, None, False)


@CLIENT.step("types", "bytea, uuid, ranges of time with `register_uuid` and `Binary`")
def test_adapted_types(connection):
    psycopg2.extras.register_uuid(conn_or_curs=connection)
    cursor = connection.cursor()
    cursor.execute("select %s, %s::bytea", (uuid.UUID(int=7), psycopg2.Binary(b"\x00\xff\\'")))
    found = cursor.fetchone()
    assert (found[0], bytes(found[1])) == (uuid.UUID(int=7), b"\x00\xff\\'")
    cursor.execute("select 'infinity'::float8, 'NaN'::float8::text, current_date, now() - now()")
    assert cursor.fetchone()[0] == float("inf")


@CLIENT.step("queries", "`mogrify`, tuples in IN, lists in `= ANY`, dictionaries, columns of a result")
def test_queries(connection, schema):
    cursor = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    assert cursor.mogrify("select %s, %(a)s".replace("%s, ", ""), {"a": "x'y"}) == b"select 'x''y'"
    cursor.execute(f'create table "{schema}".t (a int, b text)')
    cursor.execute(f'insert into "{schema}".t values (1, %(b)s), (2, null)', {"b": "it's"})
    cursor.execute(f'select a, b from "{schema}".t where a in %s order by a', ((1, 2, 3),))
    assert [dict(row) for row in cursor] == [{"a": 1, "b": "it's"}, {"a": 2, "b": None}]
    cursor.execute(f'select a from "{schema}".t where b = any(%s)', (["it's"],))
    assert cursor.fetchall() == [{"a": 1}]
    assert [(column.name, column.type_code) for column in cursor.description] == [("a", 23)]
    cursor.execute("select 1; select 'two' as second")
    assert cursor.fetchall() == [{"second": "two"}]
    assert cursor.statusmessage == "SELECT 1"


@CLIENT.step("cursors", "named cursors: iteration, `fetchmany`, `scroll`, WITH HOLD")
def test_named_cursors(connection):
    with connection.cursor("one") as cursor:
        cursor.itersize = 100
        cursor.execute("select g from generate_series(1, %s) as s(g)", (1000,))
        assert sum(row[0] for row in cursor) == 500500
    with connection.cursor("two", scrollable=True) as cursor:
        cursor.execute("select g from generate_series(1, 100) as s(g) order by g")
        assert [row[0] for row in cursor.fetchmany(3)] == [1, 2, 3]
        cursor.scroll(10)
        assert cursor.fetchone() == (14,)
        cursor.scroll(5, mode="absolute")
        assert cursor.fetchone() == (6,)
    held = connection.cursor("three", withhold=True)
    held.execute("select g from generate_series(1, 10) as s(g) order by g")
    connection.commit()
    assert len(held.fetchall()) == 10
    held.close()


@CLIENT.step("transactions", "`with connection`, rollback, autocommit, a failed transaction, savepoints")
def test_transactions(connection, schema):
    with connection, connection.cursor() as cursor:
        cursor.execute(f'create table "{schema}".t (a int)')
    with connection, connection.cursor() as cursor:
        cursor.execute(f'insert into "{schema}".t values (1)')
    with pytest.raises(psycopg2.errors.UndefinedTable), connection, connection.cursor() as cursor:
        cursor.execute(f'insert into "{schema}".t values (2)')
        cursor.execute("select * from nowhere")
    with connection, connection.cursor() as cursor:
        cursor.execute("savepoint here")
        with pytest.raises(psycopg2.errors.DivisionByZero):
            cursor.execute("select 1/0")
        assert connection.get_transaction_status() == psycopg2.extensions.TRANSACTION_STATUS_INERROR
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            cursor.execute("select 1")
        cursor.execute("rollback to savepoint here")
        cursor.execute(f'select a from "{schema}".t')
        assert cursor.fetchall() == [(1,)]
    connection.autocommit = True
    connection.cursor().execute(f'insert into "{schema}".t values (3)')
    assert connection.get_transaction_status() == psycopg2.extensions.TRANSACTION_STATUS_IDLE


@CLIENT.step("changes", "`executemany`, `execute_batch`, `execute_values`, row counts, RETURNING")
def test_changes(connection, schema):
    cursor = connection.cursor()
    cursor.execute(f'create table "{schema}".t (a int, b text, at timestamptz, tags text[])')
    connection.commit()
    at = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    rows = [(n, f"it's {n}", at, ["x", None]) for n in range(250)]
    psycopg2.extras.execute_values(cursor, f'insert into "{schema}".t values %s', rows)
    found = psycopg2.extras.execute_values(cursor, f'insert into "{schema}".t (a, b) values %s returning a', [(n, None) for n in range(250, 260)], fetch=True)
    assert sorted(found) == [(n,) for n in range(250, 260)]
    psycopg2.extras.execute_batch(cursor, f'update "{schema}".t set b = %s where a = %s', [("new", 1), ("new", 2)])
    cursor.executemany(f'insert into "{schema}".t (a) values (%s)', [(1000,), (1001,)])
    cursor.execute(f'update "{schema}".t set b = %s where a < %s', ("low", 10))
    assert (cursor.rowcount, cursor.statusmessage) == (10, "UPDATE 10")
    cursor.execute(f'delete from "{schema}".t where a >= 1000')
    assert cursor.rowcount == 2
    cursor.execute(f'select count(*), count(tags), min(at) from "{schema}".t')
    assert cursor.fetchone() == (260, 250, at)
    connection.commit()


@CLIENT.step("copy", "`copy_expert`, `copy_from`, `copy_to`")
def test_copy(connection, schema):
    cursor = connection.cursor()
    cursor.execute(f'create table "{schema}".t (a int, b text)')
    connection.commit()
    cursor.execute(f'set search_path to "{schema}"')
    cursor.copy_expert(f'copy "{schema}".t (a, b) from stdin with (format csv, header true, null "-")'.replace('"-"', "'-'"), io.StringIO('a,b\n1,"o""ne"\n2,-\n'))
    cursor.copy_from(io.StringIO("3\tthree\n4\t\\N\n"), "t", columns=("a", "b"))
    assert cursor.rowcount == 2
    out = io.StringIO()
    cursor.copy_expert(f'copy (select a, b from "{schema}".t order by a) to stdout with csv', out)
    assert out.getvalue() == '1,"o""ne"\n2,\n3,three\n4,\n'
    out = io.StringIO()
    cursor.copy_to(out, "t", columns=("a",))
    assert sorted(out.getvalue().split()) == ["1", "2", "3", "4"]
    connection.commit()


@CLIENT.step("errors", "classes and fields of errors; notices; cancel")
def test_errors(connection, server):
    cursor = connection.cursor()
    for statement, error in (("select * from nowhere", psycopg2.errors.UndefinedTable), ("selec 1", psycopg2.errors.SyntaxError), ("select 1/0", psycopg2.errors.DivisionByZero),
                             ("select nofunction(1)", psycopg2.errors.UndefinedFunction)):
        with pytest.raises(error) as found:
            cursor.execute(statement)
        assert found.value.pgcode and found.value.diag.severity == "ERROR"
        connection.rollback()
    cursor.execute("drop table if exists nowhere_at_all")
    assert any("does not exist, skipping" in notice for notice in connection.notices)
    import threading

    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    with pytest.raises(psycopg2.errors.QueryCanceled):
        cursor.execute("select count(*) from generate_series(1, 1000000) a(x), generate_series(1, 1000000) b(y)")
    timer.join()
    connection.rollback()
