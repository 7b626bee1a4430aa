"""Stock psycopg (3) and psycopg2: types, parameters, pipelines, errors."""

import datetime
import decimal
import uuid

import psycopg
import psycopg2
import pytest

TYPES = [
    ("true", True), ("cast(7 as smallint)", 7), ("42", 42), ("cast(9007199254740993 as bigint)", 9007199254740993),
    ("cast(1.5 as real)", 1.5), ("cast(0.1 as double precision)", 0.1),
    ("cast('123.450' as numeric(10,3))", decimal.Decimal("123.450")),
    ("cast('-0.005' as numeric(10,3))", decimal.Decimal("-0.005")),
    ("date '2024-02-29'", datetime.date(2024, 2, 29)),
    ("timestamp '2024-02-29 12:34:56.789'", datetime.datetime(2024, 2, 29, 12, 34, 56, 789000)),
    ("'a ''quoted'' text'", "a 'quoted' text"), ("cast(null as text)", None),
]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("expression", "expected"), TYPES)
def test_types(server, expression, expected, binary):
    with server.connect() as connection:
        assert connection.cursor(binary=binary).execute(f"select {expression}").fetchone() == (expected,)


@pytest.fixture(scope="module")
def everything(server):
    """One table per format with a column of every common type."""
    server.sql("create schema drivers")
    for table_format in ("iceberg", "delta"):
        uid = ", u uuid" if table_format == "iceberg" else ""
        server.sql(f"create table drivers.t_{table_format} (b boolean, i int, l bigint, f real, d double precision, "
                   f"n numeric(38,10), t text, x bytea, dt date, ts timestamp, tz timestamptz, a int[]{uid}) "
                   f"using {table_format}")
    return server


ROW = (True, -5, 2**40, 1.25, -0.1, decimal.Decimal("1234567890123456789012345678.0123456789"), "häß\tü\n", b"\x00\xff\x10",
       datetime.date(1969, 12, 31), datetime.datetime(1969, 12, 31, 23, 59, 59, 999999),
       datetime.datetime(2038, 1, 19, 3, 14, 8, tzinfo=datetime.timezone.utc), [1, None, 3])


@pytest.mark.parametrize("table_format", ["iceberg", "delta"])
@pytest.mark.parametrize("binary", [False, True])
def test_parameters_round_trip(everything, table_format, binary):
    row = ROW + ((uuid.UUID("01234567-89ab-cdef-0123-456789abcdef"),) if table_format == "iceberg" else ())
    table = f"drivers.t_{table_format}"
    placeholders = ", ".join(["%b" if binary else "%t"] * len(row))
    with everything.connect() as connection:
        connection.execute(f"insert into {table} values ({placeholders})", row)
        found = connection.cursor(binary=binary).execute(f"select * from {table} where i = %s", (-5,)).fetchall()
    assert found and all(each == row for each in found)


def test_nulls(everything):
    with everything.connect() as connection:
        connection.execute("insert into drivers.t_iceberg (i) values (%s)", (77,))
        row = connection.execute("select * from drivers.t_iceberg where i = 77").fetchone()
        assert [value for value in row if value is not None] == [77]


def test_server_side_parameters_are_typed(server):
    with server.connect() as connection:
        assert connection.execute("select %s + 1", (41,)).fetchone() == (42,)
        assert connection.execute("select count(*) from (values (1),(2),(3)) as v(x) where x >= %s", (2,)).fetchone() == (2,)


def test_pipeline(server):
    with server.connect() as connection, connection.pipeline():
        cursors = [connection.execute("select %s::int", (n,)) for n in range(50)]
        assert [cursor.fetchone()[0] for cursor in cursors] == list(range(50))


def test_prepared_statement_is_reused(server, schema):
    server.sql(f"create table {schema}.t (x int)")
    with server.connect(prepare_threshold=1) as connection:
        for n in range(5):
            connection.execute(f"insert into {schema}.t values (%s)", (n,))
            assert connection.execute(f"select count(*) from {schema}.t").fetchone() == (n + 1,)


@pytest.mark.parametrize(("statement", "error"), [
    ("select * from nowhere", psycopg.errors.UndefinedTable),
    ("select nothing from (values (1)) as v(x)", psycopg.errors.UndefinedColumn),
    ("selec 1", psycopg.errors.SyntaxError),
    ("select 1/0", psycopg.errors.DivisionByZero),
    ("select cast('abc' as int)", psycopg.errors.InvalidTextRepresentation),
    ("select nofunction(1)", psycopg.errors.UndefinedFunction),
    ("create table noschema.t (x int)", psycopg.errors.InvalidSchemaName),
    ("select * from read_csv('/nonexistent/file.csv')", psycopg.Error),
])
def test_error_classes(server, statement, error):
    with server.connect() as connection:
        with pytest.raises(error):
            connection.execute(statement)
        assert connection.execute("select 1").fetchone() == (1,)


def test_failed_transaction(server):
    with psycopg.connect(server.dsn()) as connection:
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("select * from nowhere")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("select 1")
        connection.rollback()
        assert connection.execute("select 1").fetchone() == (1,)


def test_large_result_streams(server):
    with server.connect() as connection:
        total = 0
        for (value,) in connection.cursor().stream("select value from generate_series(1, 300000) as g(value)"):
            total += value
        assert total == 300000 * 300001 // 2


def test_psycopg2(server):
    connection = psycopg2.connect(server.dsn())
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("select %s, %s, %s", (1, "two", datetime.date(2024, 1, 3)))
    assert cursor.fetchone() == (1, "two", datetime.date(2024, 1, 3))
    with pytest.raises(psycopg2.errors.UndefinedTable):
        cursor.execute("select * from nowhere")
    connection.close()


def test_psycopg_copy(server, schema):
    server.sql(f"create table {schema}.t (a int, b text)")
    with server.connect() as connection:
        with connection.cursor().copy(f"copy {schema}.t from stdin") as copy:
            for n in range(1000):
                copy.write_row((n, None if n % 7 == 0 else f"row\t{n}\\"))
        rows = connection.execute(f"select a, b from {schema}.t order by a").fetchall()
    assert rows == [(n, None if n % 7 == 0 else f"row\t{n}\\") for n in range(1000)]
