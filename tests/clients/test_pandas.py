"""Stock pandas through SQLAlchemy: `read_sql`, `to_sql` with all its methods."""

import csv
import io

import numpy
import pandas
import pytest
import sqlalchemy as sa

from client_matrix import Client

pytestmark = pytest.mark.long

CLIENT = Client("pandas", pandas.__version__, "With SQLAlchemy over psycopg2 and over psycopg.")


@pytest.fixture(params=["psycopg2", "psycopg"])
def engine(server, request):
    engine = sa.create_engine(sa.URL.create(f"postgresql+{request.param}", server.user, None, server.host, server.port, server.database))
    yield engine
    engine.dispose()


@pytest.fixture
def frame():
    count = 300
    return pandas.DataFrame({
        "id": numpy.arange(count), "name": [None if n % 11 == 0 else f"näme '{n}'\t\\" for n in range(count)], "amount": numpy.arange(count) / 8,
        "whole": pandas.array([None if n % 5 == 0 else n for n in range(count)], dtype="Int64"), "yes": numpy.arange(count) % 2 == 0,
        "at": pandas.date_range("2024-01-01", periods=count, freq="37min"), "zoned": pandas.date_range("2024-01-01", periods=count, freq="1h", tz="UTC")})


def by_copy(table, connection, keys, rows):
    """The callable that pandas' own documentation gives for PostgreSQL, for either driver."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    name = f'"{table.schema}"."{table.name}"' if table.schema else f'"{table.name}"'
    statement = f"COPY {name} ({', '.join(f'{chr(34)}{key}{chr(34)}' for key in keys)}) FROM STDIN WITH CSV"
    with connection.connection.cursor() as cursor:
        if hasattr(cursor, "copy_expert"):
            text.seek(0)
            cursor.copy_expert(sql=statement, file=text)
        else:
            with cursor.copy(statement) as copy:
                copy.write(text.getvalue())


@pytest.mark.parametrize("method", [None, "multi", by_copy], ids=["rows", "multi", "copy"])
@CLIENT.step("changes", "`to_sql` row by row, with `multi` and with a COPY callable; replace and append")
def test_to_sql(engine, schema, frame, method):
    for exists, times in (("fail", 1), ("append", 2), ("replace", 1)):
        frame.to_sql("t", engine, schema=schema, index=False, if_exists=exists, method=method, chunksize=100)
        found = pandas.read_sql(f'select * from "{schema}".t order by id', engine)
        assert len(found) == len(frame) * times
    found["whole"] = found["whole"].astype("Int64")
    for name in frame.columns:
        left, right = found[name], frame[name]
        if name in ("at", "zoned"):
            assert (left.astype("int64") // 1000 == right.astype("datetime64[us, UTC]" if name == "zoned" else "datetime64[us]").astype("int64") // 1000).all() or \
                list(left) == list(right)
        else:
            assert [None if pandas.isna(value) else value for value in left] == [None if pandas.isna(value) else value for value in right], name
    with pytest.raises(ValueError, match="already exists"):
        frame.to_sql("t", engine, schema=schema, index=False)


@CLIENT.step("changes", "`to_sql` with an index and with types of one's own")
def test_index_and_types(engine, schema, frame):
    frame.set_index("id").to_sql("t", engine, schema=schema, if_exists="replace", dtype={"amount": sa.Numeric(12, 3), "name": sa.String(100)}, index_label="number")
    found = pandas.read_sql_table("t", engine, schema=schema, index_col="number", columns=["name", "amount"])
    assert list(found.columns) == ["name", "amount"] and found.index.name == "number"
    assert float(found["amount"].sum()) == float(frame["amount"].sum())


@CLIENT.step("queries", "`read_sql` with parameters, dates and chunks; `read_sql_table`")
def test_read_sql(engine, server, schema):
    server.sql(f'create table "{schema}".t (a int, b text, at timestamp, zoned timestamptz, n numeric(10,2), f double precision, yes boolean, day date)')
    server.sql(f"insert into \"{schema}\".t select g, 'x' || g, timestamp '2024-01-01' + g * interval '1 day', timestamptz '2024-01-01 00:00:00Z' + g * interval '1 day', g * 1.5, g / 2.0, g > 5, "
               "date '2024-01-01' + g::int from generate_series(1, 10) as s(g)")
    found = pandas.read_sql(sa.text(f'select * from "{schema}".t where a > :least order by a'), engine, params={"least": 3})
    assert list(found["a"]) == list(range(4, 11)) and found["at"].dtype.kind == "M" and str(found["zoned"].dt.tz) == "UTC" and found["yes"].dtype == bool
    assert found["n"].astype(float).sum() == 73.5
    chunks = list(pandas.read_sql_query(f'select a from "{schema}".t', engine, chunksize=4))
    assert [len(chunk) for chunk in chunks] == [4, 4, 2]
    found = pandas.read_sql_query(f'select a, at::text as at from "{schema}".t order by a', engine, parse_dates=["at"], index_col="a")
    assert found["at"].iloc[0] == pandas.Timestamp("2024-01-02")
    found = pandas.read_sql_table("t", engine, schema=schema, parse_dates=["day"])
    assert found["day"].dtype.kind == "M" and len(found) == 10
