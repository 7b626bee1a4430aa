"""Views beside other programs: what pyiceberg sees of them, and what its commits do to them."""

import json

import pyarrow as pa
from pyiceberg.types import LongType

from conftest import running


def test_a_star_keeps_the_columns_of_its_time(server, schema):
    server.sql(f"create table {schema}.base (id int, name text)")
    server.sql(f"insert into {schema}.base values (1, 'a')")
    server.sql(f"create view {schema}.everything as select * from {schema}.base")
    with server.pyiceberg().load_table((schema, "base")).update_schema() as update:
        update.add_column("late", LongType())
        update.move_first("late")
    with server.connect() as connection:
        assert connection.execute(f"select * from {schema}.base").fetchall() == [(None, 1, "a")]
        assert connection.execute(f"select * from {schema}.everything").fetchall() == [(1, "a")]
    with server.pyiceberg().load_table((schema, "base")).update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("name")
    with server.connect() as connection:
        try:
            connection.execute(f"select * from {schema}.everything")
        except Exception as error:
            assert error.sqlstate == "42703"
        else:
            raise AssertionError("a view without its column was read")


def test_pyiceberg_does_not_take_a_view_for_a_table(server, schema):
    server.sql(f"create table {schema}.base (id int)")
    server.sql(f"create view {schema}.v as select id from {schema}.base")
    catalog = server.pyiceberg()
    assert catalog.list_tables(schema) == [(schema, "base")]
    catalog.load_table((schema, "base")).append(pa.table({"id": pa.array([7], pa.int32())}))
    assert server.sql(f"select id from {schema}.v") == [(7,)]


def test_the_metadata_file_is_the_one_of_the_specification(server, schema):
    server.sql(f"create view {schema}.v as select 1 as one, 'x' as two")
    folder = server.data_dir / "warehouse" / schema / "v" / "metadata"
    [path] = folder.iterdir()
    metadata = json.loads(path.read_text())
    assert metadata["format-version"] == 1 and metadata["location"].endswith(f"{schema}/v")
    [version] = metadata["versions"]
    assert version["version-id"] == metadata["current-version-id"]
    assert version["representations"] == [{"type": "sql", "sql": "select 1 as one, 'x' as two", "dialect": "auric"}]
    assert [field["name"] for field in metadata["schemas"][0]["fields"]] == ["one", "two"]
    server.sql(f"drop view {schema}.v")
    assert not path.exists()


def test_views_survive_a_restart_with_their_oid(tmp_path):
    with running(tmp_path) as server:
        server.sql("create table public.base (id int)")
        server.sql("insert into public.base values (1)")
        server.sql("create view public.v as select id from base")
        before = server.sql("select 'public.v'::regclass::oid::int8")
    with running(tmp_path) as server:
        assert server.sql("select id from v") == [(1,)]
        assert server.sql("select 'public.v'::regclass::oid::int8") == before


def test_a_prepared_statement_sees_a_replaced_view(server, schema):
    server.sql(f"create view {schema}.v as select 1 as n")
    with server.connect() as connection:
        connection.prepare_threshold = 0
        assert connection.execute(f"select n from {schema}.v").fetchall() == [(1,)]
        server.sql(f"create or replace view {schema}.v as select 2 as n")
        assert connection.execute(f"select n from {schema}.v").fetchall() == [(2,)]
