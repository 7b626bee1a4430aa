"""Types of results as drivers see them: the type OIDs are those that PostgreSQL 15 gives."""

import datetime
from decimal import Decimal

import psycopg
import pytest

BOOL, INT8, INT2, INT4, REGPROC, TEXT, OID = 16, 20, 21, 23, 24, 25, 26
FLOAT4, FLOAT8, BPCHAR, VARCHAR, DATE = 700, 701, 1042, 1043, 1082
TIMESTAMP, TIMESTAMPTZ, INTERVAL, NUMERIC = 1114, 1184, 1186, 1700
REGCLASS, REGTYPE, INT4_ARRAY, INT8_ARRAY, NUMERIC_ARRAY = 2205, 2206, 1007, 1016, 1231


@pytest.fixture(scope="module")
def connection(server):
    with server.connect() as connection:
        connection.autocommit = True
        connection.execute("create schema result_types")
        connection.execute("set search_path = result_types")
        connection.execute("create table t (i4 integer, i8 bigint, f4 real, f8 double precision, n numeric(10,2),"
                           " v varchar(3), c char(4), d date, ts timestamp, tz timestamptz)")
        connection.execute("insert into t values (10, 100, 1.5, 2.5, 3.25, 'ab', 'x', '2024-01-31',"
                           " '2024-01-31 10:00:00', '2024-01-31 10:00:00+00')")
        yield connection


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("items, expected", [
    ("1, 2147483647, 2147483648, -2147483648, 9223372036854775808", [INT4, INT4, INT8, INT4, NUMERIC]),
    ("1 + 1, 1 + 2147483648, 7 / 2, 7 % 3, 1.5 * 2, 1e3", [INT4, INT8, INT4, INT4, NUMERIC, NUMERIC]),
    ("i4 + 1, i8 + 1, n + 1, f4 + 1, f8 + 1", [INT4, INT8, NUMERIC, FLOAT8, FLOAT8]),
    ("length('a'), position('a' in 'b'), extract(year from d), date_part('year', d)", [INT4, INT4, NUMERIC, FLOAT8]),
    ("count(*), count(i4), sum(i4), sum(i8), sum(n), sum(f4), sum(f8)",
     [INT8, INT8, INT8, NUMERIC, NUMERIC, FLOAT4, FLOAT8]),
    ("avg(i4), avg(i8), avg(n), avg(f4), avg(f8)", [NUMERIC, NUMERIC, NUMERIC, FLOAT8, FLOAT8]),
    ("stddev(i4), variance(n), stddev(f8)", [NUMERIC, NUMERIC, FLOAT8]),
    ("row_number() over (), rank() over (), ntile(2) over ()", [INT8, INT8, INT4]),
    ("array[1, 2], array[1, 3000000000], array[1, 2.5]", [INT4_ARRAY, INT8_ARRAY, NUMERIC_ARRAY]),
    ("case when i4 = 1 then 1 else 3000000000 end, case when i4 = 1 then 1 else 2.5 end", [INT8, NUMERIC]),
    ("coalesce(i4, 0), coalesce(i8, 0), coalesce(n, 0), greatest(1, 2), nullif(1, 2)",
     [INT4, INT8, NUMERIC, INT4, INT4]),
    ("round(2.5), round(2), round(f8), ceil(5), power(2, 3), abs(-5), sign(-5), mod(7, 3)",
     [NUMERIC, FLOAT8, FLOAT8, FLOAT8, FLOAT8, INT4, FLOAT8, INT4]),
    ("generate_series(1, 1), generate_series(1, 3000000000, 3000000000)", [INT4, INT8]),
    ("d + 1, d - d, d + interval '1 day', ts - ts, ts - d, tz + interval '1 day'",
     [DATE, INT4, TIMESTAMP, INTERVAL, INTERVAL, TIMESTAMPTZ]),
    ("tz at time zone 'UTC', ts at time zone 'UTC', tz::date, tz::timestamp",
     [TIMESTAMP, TIMESTAMPTZ, DATE, TIMESTAMP]),
    ("v, c, v::text, 'abc'::varchar(2), 'abc'::char(2), lower(v)", [VARCHAR, BPCHAR, TEXT, VARCHAR, BPCHAR, TEXT]),
    ("'pg_class'::regclass, 'int4'::regtype, 'now'::regproc, 'pg_class'::regclass::oid, 1::oid",
     [REGCLASS, REGTYPE, REGPROC, OID, OID]),
])
def test_types_of_columns(connection, items, expected, binary):
    aggregates = ("count(", "sum(", "avg(", "stddev(")
    statement = f"select {items} from t"
    with connection.cursor(binary=binary) as cursor:
        cursor.execute(statement)
        assert [column.type_code for column in cursor.description] == expected
        assert len(cursor.fetchall()) in (1, 2), aggregates


@pytest.mark.parametrize("statement, expected", [
    ("select 1 union all select 3000000000", INT8),
    ("select 1 union all select 2.5", NUMERIC),
    ("select null union all select 1", INT4),
    ("values (1), (2)", INT4),
    ("values (1), (3000000000)", INT8),
    ("select * from generate_series(1, 3)", INT4),
    ("with recursive r(n) as (select 1 union all select n + 1 from r where n < 3) select n from r", INT4),
])
def test_types_that_branches_agree_on(connection, statement, expected):
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            cursor.execute(statement)
            assert cursor.description[0].type_code == expected
            cursor.fetchall()


def test_values_are_those_of_the_types(connection):
    for binary in (False, True):
        with connection.cursor(binary=binary) as cursor:
            cursor.execute("select 3000000000 as a union all select 1 order by a")
            assert cursor.fetchall() == [(1,), (3000000000,)]
            cursor.execute("select sum(i8), avg(i4), 10 / 4.0, 1 / 3.0 from t")
            assert cursor.fetchone() == (Decimal(100), Decimal(10), Decimal("2.5"), Decimal("0.33333333333333333333"))
            cursor.execute("select c, v from t")
            assert cursor.fetchone() == ("x   ", "ab")
            cursor.execute("select ts - timestamp '2024-01-29 08:00:00' from t")
            assert cursor.fetchone() == (datetime.timedelta(days=2, hours=2),)


def test_object_identifiers_in_both_formats(connection):
    with connection.cursor(binary=False) as cursor:
        cursor.execute("select 'pg_class'::regclass, 'int4'::regtype, null::regclass")
        assert cursor.fetchone() == ("pg_class", "integer", None)
    with connection.cursor(binary=True) as cursor:
        cursor.execute("select 'pg_class'::regclass, 'int4'::regtype, null::regclass")
        assert cursor.fetchone() == ((1259).to_bytes(4), (23).to_bytes(4), None)


def test_the_time_zone_is_the_sessions(server):
    with server.connect() as connection:
        connection.autocommit = True
        statement = "select timestamptz '2024-07-01 00:00:00+00', timestamptz '2024-07-01 00:00:00'"
        instant = datetime.datetime(2024, 7, 1, tzinfo=datetime.timezone.utc)
        connection.execute("set timezone = 'Europe/Paris'")
        assert connection.info.parameter_status("TimeZone") == "Europe/Paris"
        for binary in (False, True):
            with connection.cursor(binary=binary) as cursor:
                cursor.execute(statement)
                first, second = cursor.fetchone()
                assert first == instant and first.utcoffset() == datetime.timedelta(hours=2)
                assert second == instant - datetime.timedelta(hours=2)
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            connection.execute("set timezone = 'Nowhere/Land'")


@pytest.mark.parametrize("statement", [
    "select 2147483647 + 1",
    "select i4 * 1000000000 from t",
    "select 9223372036854775807 + 1",
    "select (-2147483648)::int4 / -1",
    "select abs(-2147483648)",
    # More digits than a decimal has: never another value.
    "select sum(x) from (values (99999999999999999999999999999999999999), (99999999999999999999999999999999999999)) v(x)",
    "select 3000000000::int4",
])
def test_overflow_is_an_error(connection, statement):
    with pytest.raises(psycopg.errors.NumericValueOutOfRange):
        connection.execute(statement).fetchall()


ORIGINS = [
    ("select v, i8, i4 + 1, i4 as renamed from t where d is not null order by f4 limit 3", [6, 2, None, 1]),
    ("select b.n, a.i4 from t a left join t b on a.i4 = b.i8", [5, 1]),
    ("select s.c, s.two from (select c, 2 as two, d from t) s", [7, None]),
    ("with w as (select distinct d, v from t) select v, d from w", [6, 8]),
    ("select v, count(*), max(d) from t group by v, d", [6, None, None]),
    ("select i4, row_number() over (order by i4), ts from t", [1, None, 9]),
    ("select i4 from t where i4 in (select i8 from t)", [1]),
    ("select i4 from t union select i8 from t", [None]),
    ("select coalesce(v, ''), v::text, -i4 from t", [None, None, None]),
]


@pytest.mark.parametrize("query, columns", ORIGINS, ids=[query for query, _ in ORIGINS])
def test_result_columns_tell_where_they_come_from(connection, query, columns):
    """As PostgreSQL 15 tells it: table and number of a column that is shown as it is."""
    oid = connection.execute("select 't'::regclass::oid").fetchone()[0]
    result = connection.execute(query).pgresult
    found = [(result.ftable(number), result.ftablecol(number)) for number in range(result.nfields)]
    assert found == [(oid, column) if column else (0, 0) for column in columns]


def test_columns_of_system_relations_tell_where_they_come_from(connection):
    result = connection.execute("select relname, attname, 1 from pg_class c join pg_attribute a on a.attrelid = c.oid").pgresult
    assert [(result.ftable(number), result.ftablecol(number)) for number in range(3)] == [(1259, 2), (1249, 2), (0, 0)]
