"""Apache Superset itself, with its stock Postgres driver: databases, schemas, datasets, charts, SQL Lab, a browser."""

import contextlib
import io
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pytest

from client_matrix import Client
from superset import environment as superset_environment

CLIENT = Client("Apache Superset", "6.1.0", "The application itself, through its REST API; SQL Lab and a chart in Chromium.")
pytestmark = pytest.mark.timeout(900)
SCHEMA = "superset_shop"


class Api:
    """Superset's REST API as its administrator."""

    def __init__(self, address: str):
        self.address, self.token = address, None

    def call(self, method: str, path: str, body=None, query=None, files=None):
        url = f"{self.address}/api/v1/{path}" + (f"?q={urllib.parse.quote(rison(query))}" if query is not None else "")
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = None
        if files is not None:
            boundary = uuid.uuid4().hex
            headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
            data = form(boundary, body, files)
        elif body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()[:2000]}") from None

    def get(self, path, query=None):
        return self.call("GET", path, query=query)

    def post(self, path, body, **more):
        return self.call("POST", path, body, **more)


def rison(value) -> str:
    """Superset's way to write values into addresses."""
    if isinstance(value, dict):
        return "(" + ",".join(f"{key}:{rison(each)}" for key, each in value.items()) + ")"
    if isinstance(value, list):
        return "!(" + ",".join(map(rison, value)) + ")"
    if isinstance(value, bool):
        return "!t" if value else "!f"
    return str(value) if isinstance(value, int) else f"'{value}'"


def form(boundary: str, fields: dict, files: dict) -> bytes:
    parts = []
    for name, value in fields.items():
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n')
    for name, (file, text) in files.items():
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\nContent-Type: text/csv\r\n\r\n{text}\r\n')
    return ("".join(parts) + f"--{boundary}--\r\n").encode()


@pytest.fixture(scope="module")
def superset(tmp_path_factory):
    """A running Superset with a database of its own."""
    environment = superset_environment.environment()
    folder = tmp_path_factory.mktemp("superset")
    database = pathlib.Path(shutil.copy(environment.template, folder / "superset.db"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "superset.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [environment.program("gunicorn"), "--bind", f"127.0.0.1:{port}", "--workers", "1", "--threads", "8", "--timeout", "120", "--graceful-timeout", "2",
             "superset.app:create_app()"], env=environment.variables(database), cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        try:
            api = Api(f"http://127.0.0.1:{port}")
            wait_until_up(api, process, log)
            login = {"username": superset_environment.USER, "password": superset_environment.PASSWORD, "provider": "db", "refresh": False}
            api.token = api.post("security/login", login)["access_token"]
            api.environment, api.folder = environment, folder
            yield api
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_until_up(api: Api, process: subprocess.Popen, log: pathlib.Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{api.address}/health", timeout=60):
            return
        threading.Event().wait(0.2)
    raise AssertionError("Superset did not start:\n" + log.read_text()[-4000:])


@pytest.fixture(scope="module")
def shop(server):
    """Tables that charts are made of; the same statements make them in PostgreSQL."""
    server.sql(f"create schema {SCHEMA}")
    server.sql(f"create table {SCHEMA}.orders (id int primary key, customer text not null, status text, amount numeric(12,2), placed timestamp, "
               "day date, seen timestamptz, paid boolean, tags text[])")
    server.sql(f"insert into {SCHEMA}.orders select g, 'customer ' || g % 7, (array['new', 'paid', 'shipped'])[g % 3 + 1], g * 1.25, "
               "timestamp '2024-01-01 00:00:00' + g * interval '47 minutes 13 seconds', date '2024-01-01' + (g % 366)::int, "
               "timestamptz '2024-01-01 00:00:00Z' + g * interval '1 hour', g % 2 = 0, array['a', 'b' || g] from generate_series(1, 1000) as s(g)")
    server.sql(f"create view {SCHEMA}.paid as select id, customer, amount from {SCHEMA}.orders where paid")
    server.sql(f"comment on table {SCHEMA}.orders is 'All orders'")
    server.sql(f"comment on column {SCHEMA}.orders.amount is 'In euros'")
    return server


@pytest.fixture(scope="module")
def address(server):
    return f"postgresql+psycopg2://{server.user}@{server.host}:{server.port}/{server.database}"


@pytest.fixture(scope="module")
def database(superset, shop, address):
    """The number of the database in Superset."""
    extra = json.dumps({"cost_estimate_enabled": True, "allows_virtual_table_explore": True})
    made = superset.post("database/", {"database_name": "lake", "sqlalchemy_uri": address, "expose_in_sqllab": True, "allow_ctas": True, "allow_cvas": True,
                                       "allow_dml": True, "allow_file_upload": True, "extra": extra})
    return made["id"]


@pytest.fixture(scope="module")
def dataset(superset, database):
    return superset.post("dataset/", {"database": database, "schema": SCHEMA, "table_name": "orders"})["id"]


@CLIENT.step("connect", "test connection, by address and by the form's parameters; validate parameters")
def test_connection(superset, shop, address, server):
    superset.post("database/test_connection/", {"sqlalchemy_uri": address, "database_name": "tried"})
    parameters = {"host": server.host, "port": server.port, "database": server.database, "username": server.user, "password": "", "query": {}}
    body = {"engine": "postgresql", "driver": "psycopg2", "parameters": parameters, "configuration_method": "dynamic_form", "database_name": "tried"}
    superset.post("database/validate_parameters/", body)
    superset.post("database/test_connection/", body)


@CLIENT.step("introspection", "catalogs, schemas, tables and views")
def test_lists(superset, database, server):
    assert server.database in superset.get(f"database/{database}/catalogs/", {"force": True})["result"]
    schemas = superset.get(f"database/{database}/schemas/", {"force": True})["result"]
    assert {SCHEMA, "public", "information_schema"} <= set(schemas)
    tables = superset.get(f"database/{database}/tables/", {"force": True, "schema_name": SCHEMA})["result"]
    assert [(table["value"], table["type"]) for table in tables] == [("orders", "table"), ("paid", "view")]
    superset.get(f"database/{database}/function_names/")


@CLIENT.step("introspection", "columns, keys and comments of a table; `select *` of it")
def test_table_metadata(superset, database):
    found = superset.get(f"database/{database}/table_metadata/?name=orders&schema={SCHEMA}")
    types = {column["name"]: column["type"] for column in found["columns"]}
    assert types == {"id": "INTEGER", "customer": "TEXT", "status": "TEXT", "amount": "NUMERIC", "placed": "TIMESTAMP", "day": "DATE",
                     "seen": "TIMESTAMP", "paid": "BOOLEAN", "tags": "ARRAY"}
    assert {column["name"]: column["comment"] for column in found["columns"]}["amount"] == "In euros"
    # Superset 6.1 drops what is text in a key, of PostgreSQL's tables too.
    assert (found["comment"], set(found["primaryKey"]), found["indexes"]) == ("All orders", {"constrained_columns", "name"}, [])
    assert "FROM" in found["selectStar"]
    assert superset.get(f"database/{database}/table_metadata/extra/?name=orders&schema={SCHEMA}") is not None
    assert "SELECT" in superset.get(f"database/{database}/select_star/orders/{SCHEMA}/")["result"]
    view = superset.get(f"database/{database}/table_metadata/?name=paid&schema={SCHEMA}")
    assert [column["name"] for column in view["columns"]] == ["id", "customer", "amount"]


@CLIENT.step("introspection", "datasets of a table, a view and a query")
def test_datasets(superset, database, dataset):
    columns = {column["column_name"]: (column["type"], column["is_dttm"]) for column in superset.get(f"dataset/{dataset}")["result"]["columns"]}
    assert columns["placed"] == ("TIMESTAMP WITHOUT TIME ZONE", True) and columns["amount"] == ("NUMERIC(12, 2)", False)
    assert columns["seen"] == ("TIMESTAMP WITH TIME ZONE", True) and columns["paid"] == ("BOOLEAN", False)
    superset.call("PUT", f"dataset/{dataset}/refresh")
    view = superset.post("dataset/", {"database": database, "schema": SCHEMA, "table_name": "paid"})["id"]
    assert len(superset.get(f"dataset/{view}")["result"]["columns"]) == 3
    query = superset.post("dataset/", {"database": database, "schema": SCHEMA, "table_name": "by hand",
                                       "sql": f"select customer, sum(amount) as total, max(placed) as last, count(*) as n, avg(id) as mean from {SCHEMA}.orders group by 1"})["id"]
    columns = {column["column_name"]: column["type"] for column in superset.get(f"dataset/{query}")["result"]["columns"]}
    assert columns == {"customer": "STRING", "total": "DECIMAL", "last": "DATETIME", "n": "INTEGER" if columns["n"] == "INTEGER" else "LONGINTEGER", "mean": "DECIMAL"}


def chart_data(superset, dataset, **query):
    body = {"datasource": {"id": dataset, "type": "table"}, "force": True, "result_format": "json", "result_type": query.pop("result_type", "full"),
            "queries": [{"filters": [], "metrics": [], "columns": [], "row_limit": 1000, **query}]}
    (found,) = superset.post("chart/data", body)["result"]
    assert not found.get("error"), found
    return found


GRAINS = {"PT1S": 1000, "PT5S": 1000, "PT30S": 1000, "PT1M": 1000, "PT5M": 1000, "PT10M": 1000, "PT15M": 1000, "PT30M": 1000, "PT1H": 787, "P1D": 33, "P1W": 5, "P1M": 2,
          "P3M": 1, "P1Y": 1}


# A date has no seconds and minutes to extract, in PostgreSQL too: those grains are none of its.
WITHIN_THE_HOUR = ("PT5S", "PT30S", "PT5M", "PT10M", "PT15M", "PT30M")


@pytest.mark.parametrize(("column", "grain"), [(column, grain) for column in ("placed", "seen", "day") for grain in GRAINS
                                               if column != "day" or grain not in WITHIN_THE_HOUR])
@CLIENT.step("queries", "chart data by every time grain, over timestamp, timestamptz and date")
def test_time_grains(superset, shop, dataset, grain, column):
    found = chart_data(
        superset, dataset, metrics=["count"], row_limit=2000,
        columns=[{"timeGrain": grain, "columnType": "BASE_AXIS", "sqlExpression": column, "label": column, "expressionType": "SQL"}],
        filters=[{"col": column, "op": "TEMPORAL_RANGE", "val": "2024-01-01 : 2025-03-01"}], extras={"time_grain_sqla": grain})
    assert sum(row["count"] for row in found["data"]) == 1000
    if column == "placed":
        assert found["rowcount"] == GRAINS[grain]


AMOUNT = {"expressionType": "SIMPLE", "column": {"column_name": "amount"}, "aggregate": "SUM", "label": "Sum of amounts"}


@pytest.mark.parametrize(("name", "query", "rows"), [
    ("aggregates", {"columns": ["status"], "metrics": ["count", AMOUNT, *({**AMOUNT, "aggregate": name, "label": name} for name in ("AVG", "MIN", "MAX", "COUNT", "COUNT_DISTINCT"))],
                    "orderby": [[AMOUNT, False]]}, 3),
    ("metric in SQL", {"columns": ["customer"], "metrics": [{"expressionType": "SQL", "sqlExpression": "sum(amount) filter (where paid) / nullif(count(*), 0)", "label": "per order"}]}, 7),
    ("filters", {"columns": ["id"], "filters": [
        {"col": "status", "op": "IN", "val": ["new", "paid"]}, {"col": "customer", "op": "ILIKE", "val": "CUSTOMER%"}, {"col": "amount", "op": ">=", "val": 100},
        {"col": "amount", "op": "<", "val": 200}, {"col": "tags", "op": "IS NOT NULL"}, {"col": "status", "op": "NOT IN", "val": ["shipped"]},
        {"col": "paid", "op": "IS TRUE"}, {"col": "customer", "op": "!=", "val": "customer 1"}]}, 23),
    ("time filters", {"columns": ["id"], "filters": [{"col": "seen", "op": "TEMPORAL_RANGE", "val": "2024-01-02 : 2024-01-03"},
                                                     {"col": "day", "op": "TEMPORAL_RANGE", "val": "2024-01-02 : 2024-02-03"}]}, 9),
    ("where and having", {"columns": ["customer"], "metrics": ["count"], "extras": {"where": "extract(dow from placed) in (1, 2)", "having": "count(*) > 10"}}, 7),
    ("series limit", {"columns": [{"timeGrain": "P1W", "columnType": "BASE_AXIS", "sqlExpression": "placed", "label": "placed", "expressionType": "SQL"}, "customer"],
                      "metrics": [AMOUNT], "series_columns": ["customer"], "series_limit": 2, "series_limit_metric": AMOUNT, "granularity": "placed", "is_timeseries": True}, 286),
    ("expression", {"columns": [{"sqlExpression": "case when amount > 100 then 'much' else 'little' end", "label": "size", "expressionType": "SQL"}], "metrics": ["count"]}, 2),
    ("raw rows, sorted, second page", {"columns": ["id", "amount", "placed", "tags"], "orderby": [["id", True]], "row_limit": 10, "row_offset": 10}, 10),
    ("samples", {"result_type": "samples"}, 1000),
    ("drill to detail", {"result_type": "drill_detail", "filters": [{"col": "status", "op": "==", "val": "new"}], "row_limit": 50}, 50),
    ("time comparison", {"columns": [{"timeGrain": "P1W", "columnType": "BASE_AXIS", "sqlExpression": "placed", "label": "placed", "expressionType": "SQL"}], "metrics": ["count"],
                         "filters": [{"col": "placed", "op": "TEMPORAL_RANGE", "val": "2024-01-15 : 2024-01-29"}], "time_offsets": ["1 week ago"]}, 2),
    ("totals", {"metrics": [AMOUNT], "columns": []}, 1),
], ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "")
@CLIENT.step("queries", "chart data: aggregates, filters, HAVING, series limits, samples, drill to detail, time comparison")
def test_chart_data(superset, dataset, name, query, rows):
    found = chart_data(superset, dataset, **query)
    assert found["rowcount"] == rows, found["query"]
    if name == "totals":
        assert float(found["data"][0]["Sum of amounts"]) == 625625


@pytest.fixture(scope="module")
def chart(superset, dataset):
    """The number of a saved chart: a table of sums by status."""
    form_data = {"datasource": f"{dataset}__table", "viz_type": "table", "query_mode": "aggregate", "groupby": ["status"], "metrics": [AMOUNT], "row_limit": 100,
                 "adhoc_filters": [], "server_page_length": 10}
    context = {"datasource": {"id": dataset, "type": "table"}, "force": False, "result_format": "json", "result_type": "full",
               "queries": [{"columns": ["status"], "metrics": [AMOUNT], "row_limit": 100, "filters": [], "orderby": [[AMOUNT, False]]}], "form_data": form_data}
    made = superset.post("chart/", {"slice_name": "By status", "viz_type": "table", "datasource_id": dataset, "datasource_type": "table", "params": json.dumps(form_data),
                                    "query_context": json.dumps(context)})
    return made["id"]


@CLIENT.step("queries", "a saved chart and its data")
def test_saved_chart(superset, chart):
    (found,) = superset.get(f"chart/{chart}/data/")["result"]
    assert sum(float(row["Sum of amounts"]) for row in found["data"]) == 625625 and len(found["data"]) == 3


def sql_lab(superset, database, sql, **more):
    body = {"database_id": database, "sql": sql, "schema": SCHEMA, "client_id": uuid.uuid4().hex[:11], "runAsync": False, "queryLimit": 1000, "expand_data": True, **more}
    return superset.post("sqllab/execute/", body)


@CLIENT.step("queries", "SQL Lab: SELECT, several statements, EXPLAIN, the columns' types")
def test_sql_lab(superset, database):
    found = sql_lab(superset, database, "select id, customer, amount, placed, seen, day, paid, tags, null as nothing from orders order by id")
    assert (found["status"], len(found["data"])) == ("success", 1000)
    assert {column["column_name"]: column["type"] for column in found["columns"]} == {
        "id": "INTEGER", "customer": "STRING", "amount": "DECIMAL", "placed": "DATETIME", "seen": "DATETIMETZ", "day": "DATE", "paid": "BOOLEAN", "tags": "STRINGARRAY", "nothing": "STRING"}
    assert found["data"][0]["tags"] in ('["a", "b1"]', ["a", "b1"])
    found = sql_lab(superset, database, "select 1 as one; select status, count(*) as n from orders group by status order by 1")
    assert [row["status"] for row in found["data"]] == ["new", "paid", "shipped"]
    assert sql_lab(superset, database, "explain select * from orders where id = 1")["data"]
    assert [row["n"] for row in sql_lab(superset, database, "with c as (select 1 as n union all select 2) select n from c order by n")["data"]] == [1, 2]


@CLIENT.step("queries", "estimate of a query's cost")
def test_estimate(superset, database):
    (found,) = superset.post("sqllab/estimate/", {"database_id": database, "sql": "select * from orders", "schema": SCHEMA})["result"]
    assert float(found["Total cost"]) > 0


@CLIENT.step("definitions", "SQL Lab: CREATE TABLE AS and CREATE VIEW AS, INSERT, DROP")
def test_definitions(superset, database, server):
    sql_lab(superset, database, "select id, amount from orders where id <= 10", select_as_cta=True, ctas_method="TABLE", tmp_table_name="ten")
    sql_lab(superset, database, "select id from orders where id <= 5", select_as_cta=True, ctas_method="VIEW", tmp_table_name="five")
    sql_lab(superset, database, "insert into ten values (11, 1.5)")
    assert server.sql(f"select (select count(*) from {SCHEMA}.ten), (select count(*) from {SCHEMA}.five)") == [(11, 5)]
    sql_lab(superset, database, "drop view five; drop table ten")
    assert server.sql("select count(*) from pg_class where relname in ('ten', 'five')") == [(0,)]


@CLIENT.step("changes", "upload of a CSV file to a new table, and again with replace and append")
def test_upload(superset, database, server):
    text = "id,name,amount,at\n" + "".join(f"{n},name {n},{n}.5,2024-01-{n:02} 10:00:00\n" for n in range(1, 21))
    for already, rows in (("fail", 20), ("append", 40), ("replace", 20)):
        superset.post(f"database/{database}/upload/", {"type": "csv", "table_name": "uploaded", "schema": SCHEMA, "already_exists": already, "delimiter": ",", "column_dates": "at"},
                      files={"file": ("rows.csv", text)})
        assert server.sql(f"select count(*), max(at)::text, sum(amount)::float8 from {SCHEMA}.uploaded") == [(rows, "2024-01-20 10:00:00", 220 * rows / 20)]
    server.sql(f"drop table {SCHEMA}.uploaded")


@CLIENT.step("errors", "errors of SQL Lab name what is wrong")
def test_errors(superset, database):
    for sql, told in (("select * from nowhere", 'relation "nowhere" does not exist'), ("select nothing from orders", 'resolve the column "nothing" at line'), ("selec 1", "")):
        with pytest.raises(AssertionError) as error:
            sql_lab(superset, database, sql)
        assert told in str(error.value).replace('\\\\\\"', '"').replace('\\"', '"')


@CLIENT.step("errors", "a running query is stopped")
def test_stop(superset, database, server):
    client_id, outcome = uuid.uuid4().hex[:11], []

    def execute():
        try:
            outcome.append(sql_lab(superset, database, "select count(*) from generate_series(1, 10000000) a(x), generate_series(1, 10000000) b(y)", client_id=client_id))
        except AssertionError as error:
            outcome.append(error)

    running = threading.Thread(target=execute)
    running.start()
    deadline = time.monotonic() + 60
    query = "select 1 from pg_stat_activity where query like '%10000000)%b(y)%' and state = 'active' and pid <> pg_backend_pid()"
    while not server.sql(query):
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)
    superset.post("query/stop", {"client_id": client_id})
    running.join(60)
    # Superset ends the connection before it notes down that the query was stopped, so that either can be first.
    (ended,) = outcome
    if isinstance(ended, AssertionError):
        assert "terminating connection" in str(ended) or "server closed the connection" in str(ended)
    else:
        assert ended["status"] == "stopped"
    while server.sql(query):
        assert time.monotonic() < deadline


@CLIENT.step("connect", "in a browser: SQL Lab and a chart, with screenshots")
def test_browser(superset, database, chart):
    # They stay, for people to look at.
    pictures = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).parents[2] / "target")) / "artifacts" / "superset"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir(parents=True)
    assert shutil.which("chromium") and shutil.which("chromedriver"), "needs Debian's packages chromium and chromium-driver"
    run = subprocess.run(
        [superset.environment.program("python"), str(pathlib.Path(superset_environment.__file__).with_name("browser.py")), superset.address, str(database), SCHEMA, str(chart), str(pictures)],
        capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-6000:]
    for picture in ("sql_lab.png", "chart.png"):
        assert (pictures / picture).stat().st_size > 10_000
