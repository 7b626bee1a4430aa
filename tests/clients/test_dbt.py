"""dbt with its Postgres adapter, as it comes: seeds, tables, views, incremental models, snapshots, tests."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

import dbt.cli  # noqa: F401  the tests need it, and must not be skipped without

pytestmark = pytest.mark.long

PROJECT = {
    "dbt_project.yml": """
name: shop
version: "1.0"
config-version: 2
profile: auric
flags: {send_anonymous_usage_stats: false}
models: {shop: {+materialized: table, +persist_docs: {relation: true, columns: true}}}
""",
    "seeds/raw_orders.csv": """id,customer,amount,placed
1,ann,10.50,2026-01-01
2,bob,20.00,2026-01-02
3,ann,5.25,2026-01-03
""",
    "models/orders.sql": "select id, customer, amount, placed from {{ ref('raw_orders') }}",
    "models/customers.sql": """{{ config(materialized='view') }}
select customer, count(*) as orders, sum(amount) as total from {{ ref('orders') }} group by customer
""",
    "models/replaced.sql": """{{ config(materialized='incremental', unique_key='id') }}
select id, customer, amount from {{ ref('raw_orders') }} {% if is_incremental() %} where id >= 2 {% endif %}
""",
    "models/merged.sql": """{{ config(materialized='incremental', unique_key='id', incremental_strategy='merge') }}
select id, customer, amount from {{ ref('raw_orders') }} {% if is_incremental() %} where id >= 2 {% endif %}
""",
    "models/appended.sql": """{{ config(materialized='incremental', incremental_strategy='append') }}
select id, customer, amount from {{ ref('raw_orders') }}
""",
    "models/gold.sql": """{{ config(materialized='materialized_view', on_configuration_change='apply') }}
select customer, sum(amount) as total, count(*) as orders from {{ ref('orders') }} group by customer
""",
    "models/schema.yml": """
version: 2
models:
  - name: orders
    description: "All the orders, it's said"
    columns:
      - {name: id, description: "The number", data_tests: [unique, not_null]}
      - name: customer
        data_tests: [{accepted_values: {arguments: {values: ["ann", "bob", "eve"]}}}]
  - name: customers
    description: "Who buys"
    columns:
      - name: customer
        description: "The name"
        data_tests: [not_null, {relationships: {arguments: {to: ref('orders'), field: customer}}}]
""",
    "snapshots/history.sql": """{% snapshot history %}
{{ config(target_schema=target.schema, unique_key='id', strategy='check', check_cols=['amount', 'customer']) }}
select * from {{ ref('raw_orders') }}
{% endsnapshot %}
""",
}


@pytest.mark.timeout(900)
def test_a_project_is_built_again_and_again(server, schema, tmp_path):
    for name, text in PROJECT.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "profiles.yml").write_text(
        f"auric: {{target: dev, outputs: {{dev: {{type: postgres, host: {server.host}, port: {server.port}, user: {server.user}, "
        f'password: "", dbname: {server.database}, schema: {schema}, threads: 4}}}}}}\n')

    def dbt(*arguments):
        run = subprocess.run([str(pathlib.Path(sys.executable).parent / "dbt"), "--no-use-colors", *arguments], cwd=tmp_path,
                             env={**os.environ, "DBT_PROFILES_DIR": str(tmp_path)}, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr

    def rows(table, columns="id, customer, amount"):
        return server.sql(f'select {columns} from "{schema}".{table} order by 1')

    def amounts(table):
        return [(number, customer, float(amount)) for number, customer, amount in rows(table)]

    before = [(1, "ann", 10.5), (2, "bob", 20.0), (3, "ann", 5.25)]
    dbt("debug")
    dbt("build")
    for table in ("orders", "replaced", "merged", "appended"):
        assert amounts(table) == before
    assert [(name, count) for name, count in rows("customers", "customer, orders")] == [("ann", 2), ("bob", 1)]
    assert rows("gold", "customer, total::float8, orders") == [("ann", 15.75, 2), ("bob", 20.0, 1)]

    seed = tmp_path / "seeds/raw_orders.csv"
    seed.write_text(seed.read_text().replace("1,ann,10.50", "1,ann,99.00").replace("2,bob,20.00", "2,eve,21.00"))
    after = [(1, "ann", 99.0), (2, "eve", 21.0), (3, "ann", 5.25)]
    dbt("build")
    assert amounts("orders") == after
    assert rows("gold", "customer, total::float8, orders") == [("ann", 104.25, 2), ("eve", 21.0, 1)]
    # Refreshed, not made anew: its history has both.
    assert server.sql(f'select count(*) from "{schema}"."gold$snapshots"') == [(2,)]
    assert server.sql("select relkind from pg_class where relname = 'gold' and relnamespace = %s::regnamespace", (f'"{schema}"',)) == [("m",)]
    # Only what the incremental models ask for has changed.
    for table in ("replaced", "merged"):
        assert amounts(table) == [before[0], *after[1:]]
    assert len(amounts("appended")) == 6
    assert sorted(rows("history", "id, amount::float8, dbt_valid_to is null")) == [
        (1, 10.5, False), (1, 99.0, True), (2, 20.0, False), (2, 21.0, True), (3, 5.25, True)]
    comments = server.sql(
        "select relname, obj_description(c.oid, 'pg_class'), col_description(c.oid, 1) from pg_class c "
        "where relname in ('orders', 'customers') and relnamespace = %s::regnamespace order by 1", (f'"{schema}"',))
    # Those of columns it asks the system catalogs for, in the transaction that makes the table.
    assert comments == [("customers", "Who buys", "The name"), ("orders", "All the orders, it's said", "The number")]

    (tmp_path / "models/gold.sql").write_text("""{{ config(materialized='materialized_view') }}
select customer, max(amount) as largest from {{ ref('orders') }} group by customer
""")
    dbt("run", "--full-refresh")
    assert rows("gold", "customer, largest::float8") == [("ann", 99.0), ("eve", 21.0)]
    for table in ("replaced", "merged", "appended"):
        assert amounts(table) == after
    seed.write_text(seed.read_text().replace("3,ann,5.25", "3,ann,6.25"))
    # The table is dropped and made again in one transaction.
    dbt("seed", "--full-refresh")
    assert amounts("raw_orders")[2] == (3, "ann", 6.25)
    dbt("build", "--full-refresh")
    assert amounts("orders")[2] == (3, "ann", 6.25)
    dbt("docs", "generate")
    catalog = json.loads((tmp_path / "target/catalog.json").read_text())
    described = catalog["nodes"]["model.shop.orders"]
    assert described["metadata"]["comment"] == "All the orders, it's said"
    assert described["columns"]["id"]["comment"] == "The number"
    # Nothing is left of what dbt puts beside its tables.
    assert server.sql("select count(*) from pg_class where relname like %s and relnamespace = %s::regnamespace",
                      ("%\\_\\_dbt\\_%", f'"{schema}"')) == [(0,)]
