"""Types of parameters that the client leaves open: described as PostgreSQL describes them."""

import psycopg
import pytest
from psycopg import pq

INT4, INT8, TEXT, BOOL, DATE, NUMERIC, TIMESTAMP = 23, 20, 25, 16, 1082, 1700, 1114
INT4_ARRAY, TEXT_ARRAY = 1007, 1009


@pytest.fixture(scope="module")
def connection(server):
    with server.connect() as connection:
        connection.execute("create schema parameter_types")
        connection.execute("set search_path = parameter_types")
        connection.execute("create table t (a int, b text, c boolean)")
        connection.execute("insert into t values (1, 'x', true), (2, 'y', false), (null, null, null)")
        yield connection


# The types are those that PostgreSQL 15 describes.
@pytest.mark.parametrize("statement, expected", [
    ("select 40 + $1::int", [INT4]),
    ("select $1::date", [DATE]),
    ("select cast($1 as numeric(10, 2))", [NUMERIC]),
    ("select $1::int[]", [INT4_ARRAY]),
    ("select -$1::int8", [INT8]),
    ("select $1::int = $2", [INT4, INT4]),
    ("select date_trunc('day', $1::timestamp)", [TIMESTAMP]),
    ("select extract(year from $1::date)", [DATE]),
    ("select not $1", [BOOL]),
    ("select 1 where $1", [BOOL]),
    ("select case when $1 then 'a' else $2 end", [BOOL, TEXT]),
    ("select a from t where a = any($1)", [INT4_ARRAY]),
    ("select a from t where b = any($1) and a <> all($2)", [TEXT_ARRAY, INT4_ARRAY]),
    ("select coalesce($1, a) from t", [INT4]),
    ("select nullif(b, $1) from t", [TEXT]),
    ("select greatest(a, $1) from t", [INT4]),
    ("select a from t where a = $1 or $1 is null", [INT4]),
    ("select a from t where c and $1", [BOOL]),
    ("select a from t limit $1 offset $2", [INT8, INT8]),
    ("select a from t where a in ($1, $2)", [INT4, INT4]),
    ("delete from t where a = any($1) and false", [INT4_ARRAY]),
])
def test_types_follow_from_where_parameters_stand(connection, statement, expected):
    described = connection.pgconn.prepare(b"", statement.encode())
    assert described.status == pq.ExecStatus.COMMAND_OK, described.error_message
    described = connection.pgconn.describe_prepared(b"")
    assert [described.param_type(i) for i in range(described.nparams)] == expected


@pytest.mark.parametrize("statement, values, rows", [
    ("select a from t where a = any($1) order by a", ["{1,2,7}"], [["1"], ["2"]]),
    ("select a from t where b = any($1)", ["{y,NULL}"], [["2"]]),
    ("select a from t where a <> all($1)", ["{1}"], [["2"]]),
    ("select a from t where a = $1 or $1 is null order by a", [None], [["1"], ["2"], [None]]),
    ("select 40 + $1::int", ["2"], [["42"]]),
    ("select coalesce($1, a) from t where a = 1", [None], [["1"]]),
])
def test_values_sent_as_text(connection, statement, values, rows):
    result = connection.pgconn.exec_params(statement.encode(), [None if v is None else v.encode() for v in values])
    assert result.status == pq.ExecStatus.TUPLES_OK, result.error_message
    cell = lambda row, column: None if (value := result.get_value(row, column)) is None else value.decode()
    assert [[cell(row, 0)] for row in range(result.ntuples)] == rows


def test_a_value_that_does_not_fit_is_22p02(connection):
    result = connection.pgconn.exec_params(b"select a from t where a = any($1)", [b"{x}"])
    assert result.error_field(pq.DiagnosticField.SQLSTATE) == b"22P02"


def test_drivers_pass_lists(connection):
    assert connection.execute("select a from t where a = any(%s)", ([1, 2],)).rowcount == 2
    with psycopg.connect(connection.info.dsn, cursor_factory=psycopg.ClientCursor) as other:
        assert other.execute("select 1 = any(%s)", ([1, 2],)).fetchone() == (True,)
