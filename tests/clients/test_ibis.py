"""Stock ibis: its Postgres backend introspects, compiles expressions and fetches by psycopg."""

import datetime
import decimal

import ibis
import pytest
from ibis import _

from client_matrix import Client

CLIENT = Client("ibis", ibis.__version__)


@pytest.fixture
def connection(server, schema):
    connection = ibis.postgres.connect(host=server.host, port=server.port, user=server.user, database=server.database, schema=schema)
    yield connection
    connection.disconnect()


@pytest.fixture
def items(server, schema, connection):
    server.sql(f"create table {schema}.items (id bigint not null, grp text, price numeric(12,2), q int, f float8, at timestamptz, ts timestamp, d date, doc jsonb, tags text[])")
    server.sql(f"""insert into {schema}.items values
        (1, 'a', 1.25, 1, 0.5, '2024-01-01 00:00:00+00', '2024-01-01 01:02:03', '2024-02-29', '{{"a":1}}', '{{x,"y z"}}'),
        (2, 'a', 2.50, 2, 1.5, null, '2024-01-02 01:02:03', '2024-03-01', null, null), (3, 'b', null, 3, null, null, null, null, '[]', '{{}}')""")
    return connection.table("items")


def rows(expression):
    return expression.to_pyarrow().to_pylist()


@CLIENT.step("introspection", "tables, schemas, types of columns")
def test_schema(connection, schema, items):
    assert connection.list_tables() == ["items"] and schema in connection.list_databases()
    types = {name: str(found) for name, found in items.schema().items()}
    assert types == {"id": "!int64", "grp": "string", "price": "decimal(12, 2)", "q": "int32", "f": "float64", "at": "timestamp('UTC', 6)", "ts": "timestamp(6)",
                     "d": "date", "doc": "jsonb", "tags": "array<string>"}


@CLIENT.step("types", "values of every type, arrays and documents among them")
def test_values(items):
    first, second, third = rows(items.order_by("id").drop("doc"))
    assert first == {"id": 1, "grp": "a", "price": decimal.Decimal("1.25"), "q": 1, "f": 0.5, "at": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
                     "ts": datetime.datetime(2024, 1, 1, 1, 2, 3), "d": datetime.date(2024, 2, 29), "tags": ["x", "y z"]}
    assert (second["tags"], third["tags"]) == (None, [])
    assert items.order_by("id").execute()["doc"].tolist()[0] == {"a": 1}


@CLIENT.step("queries", "groups, windows, joins, distinct")
def test_queries(items):
    assert rows(items.group_by("grp").agg(n=_.count(), s=_.price.sum()).order_by("grp")) == [
        {"grp": "a", "n": 2, "s": decimal.Decimal("3.75")}, {"grp": "b", "n": 1, "s": None}]
    window = items.select("id", r=ibis.row_number().over(order_by=items.id), s=items.q.sum().over(group_by="grp", order_by="id"), l=items.q.lag().over(order_by=items.id))
    assert [tuple(row.values()) for row in rows(window.order_by("id"))] == [(1, 0, 3, None), (2, 1, 3, 1), (3, 2, 3, 2)]
    assert rows(items.semi_join(items.view().filter(_.q > 1), "id").order_by("id").select("id")) == [{"id": 2}, {"id": 3}]
    assert rows(items.select("grp").distinct().order_by("grp")) == [{"grp": "a"}, {"grp": "b"}]


@CLIENT.step("queries", "expressions over times, texts, arrays and documents")
def test_expressions(items):
    first = items.filter(_.id == 1)
    found = rows(first.select(
        trunc=first.ts.truncate("M"), year=first.ts.year(), date=first.ts.date(), later=first.ts + ibis.interval(days=1), bucket=first.ts.bucket(minutes=5),
        replaced=first.grp.re_replace("a", "z"), starts=first.grp.startswith("a"), has=first.tags.contains("x"), joined=first.tags.join("-"), length=first.tags.length(),
        member=first.doc["a"].cast("string")))
    assert found == [{"trunc": datetime.datetime(2024, 1, 1), "year": 2024, "date": datetime.date(2024, 1, 1), "later": datetime.datetime(2024, 1, 2, 1, 2, 3),
                      "bucket": datetime.datetime(2024, 1, 1, 1, 0), "replaced": "z", "starts": True, "has": True, "joined": "x-y z", "length": 2, "member": "1"}]
    assert rows(items.select("id", x=items.tags.unnest()).order_by("id", "x")) == [{"id": 1, "x": "x"}, {"id": 1, "x": "y z"}]


@CLIENT.step("definitions", "`create_table` of data and of an expression, insert, truncate, views")
def test_definitions(connection, items):
    made = connection.create_table("made", ibis.memtable({"a": [1, 2], "b": ["x", None]}))
    assert rows(made.order_by("a")) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    ids = connection.create_table("ids", items.select("id"))
    connection.insert("ids", items.select("id"))
    assert ids.count().execute() == 6
    assert connection.create_view("v", items.select("id", "grp")).count().execute() == 3
    connection.truncate_table("ids")
    assert ids.count().execute() == 0
    assert sorted(connection.list_tables()) == ["ids", "items", "made", "v"]
