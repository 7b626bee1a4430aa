"""Stock polars over connectorx and over ADBC, and the ADBC driver itself: results and ingestion by COPY in binary format."""

import datetime
import decimal
import importlib.metadata

import adbc_driver_postgresql.dbapi as adbc
import polars
import pyarrow
import pytest
from polars.testing import assert_frame_equal

from client_matrix import Client

CLIENT = Client("polars", polars.__version__, "`read_database_uri` over connectorx and ADBC, `write_database` over ADBC.")
ADBC = Client("ADBC", importlib.metadata.version("adbc-driver-postgresql"), "`adbc-driver-postgresql` (libpq).")
UTC = datetime.timezone.utc
TYPES = """select true as b, 2::int4 as i4, 3::int8 as i8, 1.5::real as f4, 0.1::float8 as f8, 'é'::text as t, 'v'::varchar(9) as v,
    date '2024-02-29' as d, timestamp '2024-02-29 01:02:03.004' as ts, timestamptz '2024-02-29 01:02:03+02' as tz, time '01:02:03.5' as ti,
    '\\x00ff'::bytea as y, 12.50::numeric(10,2) as n union all select null, null, null, null, null, null, null, null, null, null, null, null, null"""
VALUES = {"b": True, "i4": 2, "i8": 3, "f4": 1.5, "f8": 0.1, "t": "é", "v": "v", "d": datetime.date(2024, 2, 29),
          "ts": datetime.datetime(2024, 2, 29, 1, 2, 3, 4000), "tz": datetime.datetime(2024, 2, 28, 23, 2, 3, tzinfo=UTC),
          "ti": datetime.time(1, 2, 3, 500000), "y": b"\x00\xff"}


@pytest.fixture
def uri(server):
    return f"postgresql://{server.user}@{server.host}:{server.port}/{server.database}"


@pytest.mark.parametrize("engine", ["connectorx", "adbc"])
@CLIENT.step("types", "every common type and NULL, over both engines")
def test_types(uri, engine):
    first, second = sorted(polars.read_database_uri(TYPES, uri, engine=engine).to_dicts(), key=lambda row: row["b"] is None)
    assert decimal.Decimal(first.pop("n")) == decimal.Decimal("12.50")
    assert first == VALUES
    assert set(second.values()) == {None}


@pytest.mark.parametrize("engine", ["connectorx", "adbc"])
@CLIENT.step("types", "arrays, over both engines")
def test_arrays(uri, engine):
    query = "select array[1, 2, null]::int4[] as i, array['a,b', '\"']::text[] as t, array[0.5]::float8[] as f, array[true] as b, array[1.5::numeric(10,2)] as n"
    (row,) = polars.read_database_uri(query, uri, engine=engine).to_dicts()
    assert [decimal.Decimal(item) for item in row.pop("n")] == [decimal.Decimal("1.5")]
    assert row == {"i": [1, 2, None], "t": ["a,b", '"'], "f": [0.5], "b": [True]}


@CLIENT.step("queries", "a query in partitions on several connections")
def test_partitions(server, uri, schema):
    server.sql(f"create table {schema}.big (id bigint not null, price numeric(12,2))")
    server.sql(f"insert into {schema}.big select i, i * 1.25 from generate_series(1, 1000) as i")
    found = polars.read_database_uri(f"select id from {schema}.big", uri, partition_on="id", partition_num=4)
    assert sorted(found["id"]) == list(range(1, 1001))


@CLIENT.step("changes", "`write_database`: replace, append, fail")
def test_write(uri, schema):
    rows = {"i": [1, 2, None], "s": ["a", None, "c"], "f": [1.5, None, -2.5], "b": [True, None, False], "d": [datetime.date(2024, 1, 1), None, datetime.date(1969, 1, 1)],
            "ts": [datetime.datetime(2024, 1, 1, 1, 2, 3, 456), None, None], "y": [b"\x00\xff", None, b""], "l": [[1, None], None, []]}
    frame = polars.DataFrame(rows)
    for mode, rows in (("replace", 3), ("append", 6), ("replace", 3)):
        assert frame.write_database(f"{schema}.w", uri, engine="adbc", if_table_exists=mode) == 3
        assert polars.read_database_uri(f"select count(*) as n from {schema}.w", uri, engine="adbc")["n"].to_list() == [rows]
    with pytest.raises(Exception, match="already exists"):
        frame.write_database(f"{schema}.w", uri, engine="adbc", if_table_exists="fail")
    assert_frame_equal(polars.read_database_uri(f"select * from {schema}.w", uri, engine="adbc"), frame, check_row_order=False)


@ADBC.step("changes", "`adbc_ingest` of every arrow type: create, append, create_append, replace")
def test_ingest(uri, schema):
    table = pyarrow.table({
        "i2": pyarrow.array([1, None], pyarrow.int16()), "i8": pyarrow.array([2, None]), "f4": pyarrow.array([1.5, None], pyarrow.float32()),
        "s": ["a", None], "n": pyarrow.array([decimal.Decimal("-3.50"), None], pyarrow.decimal128(10, 2)), "d": [datetime.date(2024, 1, 1), None],
        "tz": pyarrow.array([datetime.datetime(2024, 1, 1, tzinfo=UTC), None], pyarrow.timestamp("us", "UTC")),
        "t": pyarrow.array([datetime.time(1, 2, 3), None], pyarrow.time64("us")), "l": pyarrow.array([[1, 2], None], pyarrow.list_(pyarrow.int64())),
        "ls": pyarrow.array([["a", None], None], pyarrow.list_(pyarrow.string()))})
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        for mode, rows in (("create", 2), ("append", 4), ("create_append", 6), ("replace", 2)):
            assert cursor.adbc_ingest("ingested", table, mode=mode, db_schema_name=schema) == 2
            connection.commit()
            cursor.execute(f"select count(*) from {schema}.ingested")
            assert cursor.fetchall() == [(rows,)]
        cursor.execute(f"select * from {schema}.ingested where i8 = 2")
        row = dict(zip((column[0] for column in cursor.description), cursor.fetchone()))
        assert decimal.Decimal(row.pop("n")) == decimal.Decimal("-3.5")
        assert row == {name: values[0] for name, values in table.drop(["n"]).to_pydict().items()}


@ADBC.step("introspection", "schema of a table; `adbc_get_objects` down to columns")
def test_objects(server, uri, schema):
    server.sql(f"create table {schema}.m (id bigint not null, s varchar(20), n numeric(10,2), a int[], j jsonb)")
    with adbc.connect(uri) as connection:
        types = {field.name: field.metadata.get(b"POSTGRESQL:type") if field.metadata else field.type for field in connection.adbc_get_table_schema("m", db_schema_filter=schema)}
        assert types["j"] == b"'jsonb'" or types["j"] == b"jsonb", types
        found = connection.adbc_get_objects(catalog_filter=server.database, db_schema_filter=schema, table_name_filter="m").read_all().to_pylist()
        (catalog,) = found
        (namespace,) = catalog["catalog_db_schemas"]
        (table,) = namespace["db_schema_tables"]
        assert (table["table_name"], table["table_type"]) == ("m", "table")
        columns = sorted(table["table_columns"], key=lambda column: column["ordinal_position"])
        assert [column["column_name"] for column in columns] == ["id", "s", "n", "a", "j"]


@ADBC.step("queries", "parameters of every type, `executemany`, transactions, SQLSTATEs")
def test_dbapi(uri, schema):
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(f"create table {schema}.p (id bigint, s text, f float8, b boolean, d date, ts timestamp, tz timestamptz, y bytea)")
        values = (1, "é", 1.5, True, datetime.date(2024, 1, 2), datetime.datetime(2024, 1, 2, 3, 4, 5, 6), datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), b"\x01")
        cursor.execute(f"insert into {schema}.p values ($1, $2, $3, $4, $5, $6, $7, $8)", values)
        cursor.executemany(f"insert into {schema}.p (id, s) values ($1, $2)", [(i, str(i)) for i in range(2, 10)])
        connection.commit()
        cursor.execute(f"select * from {schema}.p where id = 1")
        assert cursor.fetchall() == [values]
        cursor.execute(f"delete from {schema}.p")
        connection.rollback()
        cursor.execute(f"select count(*) from {schema}.p")
        assert cursor.fetchall() == [(9,)]
        with pytest.raises(adbc.ProgrammingError) as failed:
            cursor.execute("select * from nowhere")
        assert failed.value.sqlstate == "42P01"
