"""COMMENT ON and table properties, as other readers and psql see them."""

import json
import subprocess
import threading

import psycopg
from deltalake import DeltaTable


def test_iceberg_has_them_where_others_look(server, schema):
    with server.connect() as connection:
        connection.execute(f'create table "{schema}".t (id bigint primary key, word text, b bigint) using iceberg')
        connection.execute(f'insert into "{schema}".t values (1, \'a\', 2)')
        table = server.pyiceberg().load_table((schema, "t"))
        ids = {field.name: field.field_id for field in table.schema().fields}
        snapshot = table.metadata.current_snapshot_id
        connection.execute(f'comment on table "{schema}".t is \'of the table\'')
        connection.execute(f'comment on column "{schema}".t.word is \'of the word\'')
        connection.execute(f'alter table "{schema}".t set tblproperties (\'owner\' = \'me\')')
        table = server.pyiceberg().load_table((schema, "t"))
        assert table.properties["comment"] == "of the table"
        assert table.properties["owner"] == "me"
        assert {field.name: field.doc for field in table.schema().fields} == {"id": None, "word": "of the word", "b": None}
        assert {field.name: field.field_id for field in table.schema().fields} == ids
        assert list(table.schema().identifier_field_ids) == [ids["id"]]
        assert table.metadata.current_snapshot_id == snapshot, "no new snapshot"
        assert table.scan().to_arrow().to_pylist() == [{"id": 1, "word": "a", "b": 2}]
        # What others say is read here.
        with table.update_schema() as update:
            update.update_column("b", doc="by pyiceberg")
        assert connection.execute("select col_description(%s::regclass, 3)", (f'"{schema}".t',)).fetchone() == ("by pyiceberg",)
        connection.execute(f'insert into "{schema}".t values (2, \'b\', 3)')
        assert server.pyiceberg().load_table((schema, "t")).scan().to_arrow().num_rows == 2
        connection.execute(f'comment on schema "{schema}" is \'of the schema\'')
        assert server.pyiceberg().load_namespace_properties(schema)["comment"] == "of the schema"
        connection.execute(f'comment on schema "{schema}" is null')
        assert "comment" not in server.pyiceberg().load_namespace_properties(schema)


def test_delta_has_them_where_others_look(server, schema):
    with server.connect() as connection:
        connection.execute(f'create table "{schema}".t (id bigint not null, word text) using delta')
        connection.execute(f'insert into "{schema}".t values (1, \'a\')')
        connection.execute(f'comment on table "{schema}".t is \'of the table\'')
        connection.execute(f'comment on column "{schema}".t.word is \'of the word\'')
        connection.execute(f'alter table "{schema}".t set tblproperties (\'delta.appendOnly\' = \'true\', \'owner\' = \'me\')')
        table = DeltaTable(str(server.warehouse / schema / "t"))
        assert table.metadata().description == "of the table"
        assert table.metadata().configuration == {"delta.appendOnly": "true", "owner": "me"}
        fields = json.loads(table.schema().to_json())["fields"]
        assert [(field["name"], field["nullable"], field["metadata"]) for field in fields] == [
            ("id", False, {}), ("word", True, {"comment": "of the word"})]
        assert [commit["operation"] for commit in reversed(table.history())][-3:] == [
            "SET TBLPROPERTIES", "CHANGE COLUMN", "SET TBLPROPERTIES"]
        assert table.to_pyarrow_table().to_pylist() == [{"id": 1, "word": "a"}]


def test_a_view_keeps_its_query(server, schema):
    with server.connect() as connection:
        connection.execute(f'create view "{schema}".v as select 1 as a, 2 as b')
        connection.execute(f'comment on view "{schema}".v is \'of the view\'')
        connection.execute(f'comment on column "{schema}".v.b is \'of b\'')
        assert connection.execute(f'select * from "{schema}".v').fetchall() == [(1, 2)]
        files = sorted((server.warehouse / schema / "v" / "metadata").glob("*.json"))
        metadata = json.loads(files[-1].read_text())
        assert metadata["properties"]["comment"] == "of the view"
        version = next(v for v in metadata["versions"] if v["version-id"] == metadata["current-version-id"])
        current = next(s for s in metadata["schemas"] if s["schema-id"] == version["schema-id"])
        assert [(field["name"], field.get("doc")) for field in current["fields"]] == [("a", None), ("b", "of b")]
    shown = subprocess.run(["psql", "-X", server.dsn(), "-c", f'\\dv+ "{schema}".*', "-c", f'\\d+ "{schema}".v'],
                           capture_output=True, text=True, check=True).stdout
    assert "of the view" in shown and "of b" not in shown.split("View definition")[-1]


def test_comments_and_rows_at_the_same_time(server, schema):
    """Both are commits of one table: none is lost."""
    for name, kind in (("i", "iceberg"), ("d", "delta")):
        server.sql(f'create table "{schema}".{name} (id bigint, a text, b text) using {kind}')
        failures = []

        def run(statements):
            try:
                with server.connect() as connection:
                    for statement in statements:
                        connection.execute(statement)
            except psycopg.Error as e:
                failures.append(e)

        threads = [threading.Thread(target=run, args=(statements,)) for statements in (
            [f'insert into "{schema}".{name} values ({n})' for n in range(6)],
            [f'comment on column "{schema}".{name}.a is \'a{n}\'' for n in range(6)],
            [f'comment on column "{schema}".{name}.b is \'b{n}\'' for n in range(6)])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert server.sql(f'select count(*) from "{schema}".{name}') == [(6,)]
        relation = f'"{schema}".{name}'
        assert server.sql("select col_description(%s::regclass, 2), col_description(%s::regclass, 3)",
                          (relation, relation)) == [("a5", "b5")]
