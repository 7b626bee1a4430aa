"""All 22 TPC-H queries over the wire on both formats, against DuckDB on the same data files."""

import decimal
import os
import pathlib
import time

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


def test_gold_views_are_what_their_queries_say(lake, oracle):
    """DuckDB computes them from the bronze files and the changes of three customers."""
    oracle.execute("""create or replace temp view lines as
        select o_orderdate, o_orderkey, o_custkey, l_returnflag, cast(l_extendedprice * (1 - l_discount) as decimal(18, 2)) as revenue
        from lineitem join orders on l_orderkey = o_orderkey""")
    oracle.execute("""create or replace temp view regions as
        select c_custkey, case c_custkey when 1 then 'EUROPE' when 2 then null when 4 then 'MIDDLE EAST' else r_name end as region
        from customer join nation on c_nationkey = n_nationkey join region on n_regionkey = r_regionkey""")
    views = {
        "daily_sales": """select o_orderdate, count(*), count(distinct o_orderkey), sum(revenue),
            coalesce(sum(revenue) filter (where l_returnflag = 'R'), 0) from lines group by all""",
        "customer_value": """select c_custkey, region, count(distinct o_orderkey), coalesce(sum(revenue), 0)
            from regions left join lines on o_custkey = c_custkey where region is not null group by all""",
        "region_revenue": """select region, year(o_orderdate), sum(revenue)
            from lines join regions on o_custkey = c_custkey where region is not null group by all""",
    }
    for view, query in views.items():
        columns = "customer_id, region, orders, revenue" if view == "customer_value" else "*"
        found, expected = sorted(lake.sql(f"select {columns} from gold.{view}")), sorted(oracle.execute(query).fetchall())
        assert found == expected and found, view


def test_the_demo_shows_tasks_schedules_and_a_quarantined_row(lake):
    assert lake.sql("select customer_id, nation, _reason from gold.quarantine") == [(2, "ATLANTIS", "known_region")]
    assert lake.sql("select name, nation, region from silver.customers where customer_id = 1") == [("Customer#000000001", "FRANCE", "EUROPE")]
    order = lake.sql("select view_name from auric.refreshes where schema_name = 'gold' order by published_at")
    assert [name for (name,) in order[:3]] == ["daily_sales", "customer_value", "region_revenue"]
    schedules = dict(lake.sql("select view_name, schedule from auric.freshness where schema_name = 'gold' and is_up_to_date"))
    assert len(schedules) == 3 and all(schedules.values())
    [(task,)] = lake.sql("show create task silver.load_month")
    assert "AFTER silver.merge_customers" in task and "INSERT OVERWRITE" in task
    # The commits say which task has made them.
    for table, task in [("customers", "silver.merge_customers"), ("sales", "silver.load_month")]:
        summary = lake.pyiceberg().load_table(f"silver.{table}").current_snapshot().summary.additional_properties
        assert summary["auric.task.name"] == task


def test_what_the_demo_suggests(lake):
    """All statements that it prints, as they are printed; the last of them mend the quarantined row."""
    deadline = time.monotonic() + 60
    while "auric.refreshes" not in (text := "".join(lake.log)) and time.monotonic() < deadline:
        time.sleep(0.05)
    statements = [part for part in text.split("To try:")[1].split(";") if part.strip()]
    assert len(statements) >= 8
    with lake.connect() as connection:
        for statement in statements:
            cursor = connection.execute(statement)
            assert cursor.description is None or cursor.fetchall()
    assert lake.sql("select region from gold.customer_value where customer_id = 2") == [("MIDDLE EAST",)]
