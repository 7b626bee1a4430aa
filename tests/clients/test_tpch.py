"""All 22 TPC-H queries over the wire on both formats, against DuckDB on the same data files."""

import decimal
import os
import pathlib

import pytest

from conftest import REPOSITORY, running

QUERIES = sorted((REPOSITORY / "tests" / "tpch").glob("q*.sql"))
TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A demo lakehouse; `TPCH_SCALE=1` for a longer run."""
    scale = os.environ.get("TPCH_SCALE", "0.1")
    with running(tmp_path_factory.mktemp("demo"), subcommand=("demo", "--scale", scale)) as server:
        yield server


@pytest.fixture(scope="module")
def oracle(lake, duck):
    for table in TABLES:
        files = lake.pyiceberg().load_table(f"bronze.{table}").inspect.files()["file_path"].to_pylist()
        paths = ", ".join("'" + path.removeprefix("file://") + "'" for path in files)
        duck.execute(f"create or replace view {table} as select * from read_parquet([{paths}])")
    return duck


def same(left, right) -> bool:
    """Equal, up to the scale of averages: DuckDB computes them in floating point."""
    if isinstance(left, float) or isinstance(right, float):
        return abs(float(left) - float(right)) <= max(1e-9 * abs(float(right)), 1e-6)
    if isinstance(left, (int, decimal.Decimal)):
        return left == right
    return (left.rstrip() == right.rstrip()) if isinstance(left, str) else left == right


@pytest.mark.parametrize("schema", ["bronze", "bronze_delta"])
@pytest.mark.parametrize("path", QUERIES, ids=lambda path: path.stem)
def test_query(lake, oracle, path: pathlib.Path, schema):
    query = path.read_text()
    expected = oracle.execute(query).fetchall()
    with lake.connect() as connection:
        connection.execute(f"set search_path to {schema}")
        found = connection.execute(query).fetchall()
    assert len(found) == len(expected)
    for got, want in zip(found, expected):
        assert len(got) == len(want) and all(map(same, got, want)), (got, want)


def test_gold_tables_are_readable_elsewhere(lake):
    catalog = lake.pyiceberg()
    gold = [identifier for identifier in catalog.list_tables("gold")]
    assert gold
    for identifier in gold:
        table = catalog.load_table(identifier).scan().to_arrow()
        assert table.num_rows == lake.sql(f"select count(*) from {'.'.join(identifier)}")[0][0] > 0


def test_counts_come_from_metadata(lake):
    plan = "\n".join(line for (line,) in lake.sql("explain select count(*), min(l_orderkey), max(l_shipdate) from bronze.lineitem"))
    assert "DataSourceExec" not in plan
