"""dbt with its Postgres adapter, as it comes: the project `examples/dbt`, delivery after delivery, against DuckDB, and
one that is changed between its runs. With AURIC_TEST_POSTGRES against PostgreSQL, for tables of its own kind."""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys

import pytest

from dbt.cli.main import dbtRunner
import dbt_shop
from client_matrix import Client
from conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "examples"))
from common.dbt import DbtExample  # noqa: E402

pytestmark = pytest.mark.long

CLIENT = Client("dbt", "1.11.16", "dbt-core with dbt-postgres 1.11.0: the project `examples/dbt`, with Iceberg tables and with Delta tables.")
ON_POSTGRES = "AURIC_TEST_POSTGRES" in os.environ
FORMATS = ["heap"] if ON_POSTGRES else ["iceberg", "delta"]


def invoke(folder: pathlib.Path, environment: dict[str, str], *arguments: str) -> str:
    """dbt by its programmatic interface, which spares the start of a process for each command."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        done = dbtRunner().invoke(list(arguments))
    if not done.success:
        raise subprocess.CalledProcessError(1, arguments, said.getvalue(), str(done.exception))
    return said.getvalue()


class InOneProcess(DbtExample):
    def dbt(self, *arguments: str, batch: str | None = None) -> str:
        return invoke(self.folder, self.environment(batch), *arguments)


class Report:
    """The example with tables of one format: three deliveries (two of Delta tables), the last one twice, each compared with DuckDB."""

    def __init__(self, form: str, folder: pathlib.Path, server):
        self.form = form
        self.shop = dbt_shop.Compared("dbt", form, folder / "arrived", server, 0.05, kind=InOneProcess)
        self.example = self.shop.example
        self.failures: dict[str, str] = {}
        self.example.generate(count=2 if form == "delta" else 3)
        self.example.set_up()
        for number, batch in enumerate([*self.example.batches, self.example.batches[-1]], start=1):
            if number == 2:
                self.command_by_command(batch)
            else:
                self.example.run_batch(batch)
            self.compare(number)
        self.documents = [self.catalog(), self.catalog()]

    def command_by_command(self, batch: str) -> None:
        """What `dbt build` does in one."""
        self.example.dbt("seed", batch=batch)
        self.example.dbt("run", *self.example.days(batch), batch=batch)
        self.example.dbt("snapshot", batch=batch)
        self.example.dbt("test", batch=batch)

    def compare(self, number: int) -> None:
        dbt_shop.read(self.shop, self.example.batches[:number])
        for step, same in dbt_shop.STEPS.items():
            try:
                same(self.shop)
            except AssertionError as wrong:
                self.failures.setdefault(step, f"run {number}: {wrong}")

    def catalog(self) -> dict:
        self.example.dbt("docs", "generate", batch=self.example.batches[-1])
        return json.loads((self.example.target / "catalog.json").read_text())

    def results(self) -> dict[str, str]:
        """What became of the nodes of the last command, by their names."""
        results = json.loads((self.example.target / "run_results.json").read_text())["results"]
        # test.shop.<name>.<hash>, unit_test.shop.<model>.<name>
        names = {result["unique_id"]: result["unique_id"].split(".")[2:] for result in results}
        return {names[result["unique_id"]][result["unique_id"].startswith("unit_test")]: result["status"] for result in results}


@pytest.fixture(scope="module", params=FORMATS)
def report(request, server, tmp_path_factory):
    report = Report(request.param, tmp_path_factory.mktemp("dbt"), server)
    yield report
    report.shop.connection.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", CLIENT.steps("changes", *dbt_shop.CHANGES) + CLIENT.steps("definitions", *dbt_shop.DEFINITIONS))
def test_steps_of_the_example(report, step):
    assert step not in report.failures, report.failures[step]


@CLIENT.step("connect", "`dbt debug`")
def test_debug(report):
    assert "All checks passed!" in report.example.dbt("debug")


@CLIENT.step("introspection", "`dbt docs generate`: all relations, their columns with types and comments")
def test_documents(report):
    # Tests are in it too, as they keep their failures.
    catalog = {name: node for name, node in report.documents[0]["nodes"].items() if not name.startswith("test.")}
    assert {name: node["metadata"]["type"] for name, node in catalog.items() if ".shop.stg_" in name or "city" in name} == {
        "model.shop.stg_customers": "VIEW", "model.shop.stg_orders": "VIEW", "model.shop.stg_payments": "VIEW",
        "model.shop.city_revenue": "MATERIALIZED VIEW"}
    customers = catalog["model.shop.customers"]
    assert customers["metadata"]["comment"] == "Each customer with what he or she has bought"
    assert [(column["name"], column["type"], column["comment"]) for column in customers["columns"].values()] == [
        ("customer_id", "bigint", "The shop's number of the customer"), ("customer_name", "text", None), ("city", "text", None),
        ("first_order", "date", None), ("latest_order", "date", None), ("orders", "bigint", None),
        ("lifetime_value", "numeric(12,2)", "Of orders that were not returned")]
    assert catalog["model.shop.orders"]["columns"]["status"]["comment"].endswith("It's never set back.")
    assert len(catalog) == 4 + 3 + 6 + 2, "seeds, views, tables and the materialized view, snapshots"
    assert report.documents[1]["nodes"] == report.documents[0]["nodes"]


@pytest.mark.skipif(ON_POSTGRES, reason="Postgres has one kind of table")
def test_tables_are_in_the_format_that_was_asked_for(report, server):
    formats = server.sql("select a.amname, count(*) from pg_class c join pg_am a on a.oid = c.relam "
                         "where c.relnamespace::regnamespace::text like 'shop%' and c.relkind in ('r', 'm') group by 1")
    assert formats == [(report.form, 4 + 6 + 2)]


@CLIENT.step("queries", "`dbt test`: data tests of one's own and of dbt, their failures kept; unit tests")
def test_tests(report, server):
    """They passed; and they see what is wrong. Comes last, because something is from here on."""
    server.sql("insert into shop_raw.raw_payments values (0, 1, 'shells', -5, 'success')")
    with pytest.raises(subprocess.CalledProcessError):
        report.example.dbt("test", batch=report.example.batches[-1])
    results = report.results()
    assert results["names_and_cities_are_cleansed"] == "pass" and len(results) > 20
    failed = {name for name, status in results.items() if status != "pass"}
    assert failed == {"positive_stg_payments_amount", "sales_agree_with_payments",
                      "relationships_stg_payments_payment_method__payment_method__ref_payment_methods_"}
    assert server.sql("select payment_id from shop_audit.positive_stg_payments_amount") == [(0,)]


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
    "models/widened.sql": """{{ config(materialized='incremental', unique_key='id', on_schema_change='append_new_columns') }}
select id, amount from {{ ref('raw_orders') }}
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
    "snapshots/wide_history.sql": """{% snapshot wide_history %}
{{ config(target_schema=target.schema, unique_key='id', strategy='check', check_cols='all') }}
select * from {{ ref('widened') }}
{% endsnapshot %}
""",
}


@CLIENT.step("definitions", "`--full-refresh`; a materialized view whose query changed; columns that are new (`on_schema_change`)")
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
        invoke(tmp_path, {"DBT_PROFILES_DIR": str(tmp_path)}, "--no-use-colors", *arguments)

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
    # A column more, which the table gets, and the snapshot of it.
    widened = tmp_path / "models/widened.sql"
    widened.write_text(widened.read_text().replace("id, amount", "id, amount, customer"))
    dbt("build")
    assert amounts("widened") == after
    assert sorted(rows("wide_history", "id, customer, amount::float8, dbt_valid_to is null"), key=str) == [
        (1, "ann", 99.0, True), (1, None, 10.5, False), (2, "eve", 21.0, True), (2, None, 20.0, False), (3, "ann", 5.25, True), (3, None, 5.25, False)]
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
