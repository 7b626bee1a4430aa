"""Column defaults as other readers find them, and those of other writers as Auric takes them."""

import json
import pathlib
import sqlite3
import uuid

from deltalake import DeltaTable


def root(server, schema, table):
    return server.warehouse / schema / table


def evolve(server, schema, table, *fields):
    """Adds columns as the specification has it; no writer at hand evolves tables of version 3."""
    with sqlite3.connect(server.data_dir / "catalog.db") as catalog:
        key = (schema, table)
        where = "table_namespace = ? AND table_name = ?"
        (location,) = catalog.execute(f"SELECT metadata_location FROM iceberg_tables WHERE {where}", key).fetchone()
        path = pathlib.Path(location.removeprefix("file://"))
        metadata = json.loads(path.read_text())
        current = next(s for s in metadata["schemas"] if s["schema-id"] == metadata["current-schema-id"])
        evolved = {**current, "schema-id": current["schema-id"] + 1, "fields": [*current["fields"], *fields]}
        metadata["schemas"].append(evolved)
        metadata["current-schema-id"] = evolved["schema-id"]
        metadata["last-column-id"] = max(field["id"] for field in evolved["fields"])
        new = path.with_name(f"{int(path.name.split('-')[0]) + 1:05}-{uuid.uuid4()}.metadata.json")
        new.write_text(json.dumps(metadata))
        catalog.execute(
            f"UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? WHERE {where}",
            (location.replace(path.name, new.name), location, *key),
        )


def test_iceberg_keeps_write_defaults(server, schema):
    server.sql(
        f"CREATE TABLE {schema}.t (id int, n int DEFAULT 7, t text DEFAULT 'it''s', d date DEFAULT '2024-02-29', "
        "p numeric(10, 2) DEFAULT 2.5, at timestamptz DEFAULT '2024-02-29 12:30:00+02', b bytea DEFAULT '\\x01ff') "
        "TBLPROPERTIES ('format-version' = '3')"
    )
    metadata = sorted((root(server, schema, "t") / "metadata").glob("*.metadata.json"))[-1]
    fields = json.loads(metadata.read_text())["schemas"][0]["fields"]
    # Iceberg spec, "JSON single-value serialization".
    assert {field["name"]: field.get("write-default") for field in fields} == {
        "id": None,
        "n": 7,
        "t": "it's",
        "d": "2024-02-29",
        "p": "2.50",
        "at": "2024-02-29T10:30:00+00:00",
        "b": "01ff",
    }
    # Only a column that is added to a table with rows has one of these.
    assert all("initial-default" not in field for field in fields)
    table = server.pyiceberg().load_table(f"{schema}.t")
    assert table.schema().find_field("n").write_default == 7
    assert table.schema().find_field("t").write_default == "it's"


def test_columns_added_with_a_default(server, schema):
    server.sql(f"CREATE TABLE {schema}.t (id int) TBLPROPERTIES ('format-version' = '3')")
    server.sql(f"INSERT INTO {schema}.t VALUES (1), (2)")
    evolve(
        server,
        schema,
        "t",
        {"id": 2, "name": "n", "type": "int", "required": False, "initial-default": 5, "write-default": 5},
        {"id": 3, "name": "t", "type": "string", "required": True, "initial-default": "old", "write-default": "later"},
    )
    assert server.sql(f"SELECT * FROM {schema}.t ORDER BY id") == [(1, 5, "old"), (2, 5, "old")]
    assert server.sql(f"SELECT count(*) FROM {schema}.t WHERE n = 5 AND t = 'old'") == [(2,)]
    assert server.sql(f"SELECT count(*) FROM {schema}.t WHERE n <> 5 OR t IS NULL") == [(0,)]
    server.sql(f"INSERT INTO {schema}.t (id) VALUES (3)")
    server.sql(f"INSERT INTO {schema}.t VALUES (4, DEFAULT, DEFAULT), (5, NULL, 'x')")
    server.sql(f"UPDATE {schema}.t SET t = 'new' WHERE id = 1")
    expected = [(1, 5, "new"), (2, 5, "old"), (3, 5, "later"), (4, 5, "later"), (5, None, "x")]
    assert server.sql(f"SELECT * FROM {schema}.t ORDER BY id") == expected


def test_delta_keeps_defaults_as_sql(server, schema):
    server.sql(
        f"CREATE TABLE {schema}.t (id int, n int DEFAULT 3 + 4, d date DEFAULT current_date, t text DEFAULT 'x') USING delta"
    )
    server.sql(f"INSERT INTO {schema}.t (id) VALUES (1)")
    table = DeltaTable(root(server, schema, "t"))
    assert "allowColumnDefaults" in table.protocol().writer_features
    assert table.protocol().reader_features in (None, [])
    defaults = {field.name: field.metadata.get("CURRENT_DEFAULT") for field in table.schema().fields}
    assert defaults == {"id": None, "n": "3 + 4", "d": "current_date", "t": "'x'"}
    (row,) = table.to_pyarrow_table().to_pylist()
    (today,) = server.sql("SELECT current_date")[0]
    assert row == {"id": 1, "n": 7, "d": today, "t": "x"}


def test_copy_with_a_list_of_columns(server, schema):
    for options in ["USING delta", "TBLPROPERTIES ('format-version' = '3')"]:
        server.sql(f"CREATE TABLE {schema}.t (id int, n int DEFAULT 7 NOT NULL, t text) {options}")
        with server.connect() as connection, connection.cursor() as cursor:
            with cursor.copy(f"COPY {schema}.t (t, id) FROM STDIN") as copy:
                copy.write("a\t1\n\\N\t2\n")
        assert server.sql(f"SELECT * FROM {schema}.t ORDER BY id") == [(1, 7, "a"), (2, 7, None)]
        server.sql(f"DROP TABLE {schema}.t")
