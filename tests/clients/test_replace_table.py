"""CREATE OR REPLACE TABLE beside other readers and writers."""

import json
import threading

import psycopg
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake


def test_iceberg_is_the_same_table_with_other_columns(server, schema):
    server.sql(f"create table {schema}.t (id bigint, word text, old int) tblproperties ('owner' = 'me')")
    server.sql(f"insert into {schema}.t values (1, 'a', 7)")
    before = server.pyiceberg().load_table((schema, "t"))
    ids = {field.name: field.field_id for field in before.schema().fields}
    server.sql(f"create or replace table {schema}.t partitioned by (bucket(4, id)) as select id, 2.5::float8 as word, 'new' as late from {schema}.t")
    after = server.pyiceberg().load_table((schema, "t"))
    assert after.metadata.table_uuid == before.metadata.table_uuid
    assert after.location() == before.location()
    assert after.properties["owner"] == "me"
    fields = {field.name: field.field_id for field in after.schema().fields}
    assert fields["id"] == ids["id"], "the same name and type: the same column"
    assert not {fields["word"], fields["late"]} & set(ids.values()), "another type or name: another column"
    assert [field.name for field in after.spec().fields] == ["id_bucket"]
    assert after.scan().to_arrow().to_pylist() == [{"id": 1, "word": 2.5, "late": "new"}]
    snapshot = after.current_snapshot()
    assert snapshot.parent_snapshot_id is None and snapshot.summary["total-records"] == "1"
    old = after.scan(snapshot_id=before.metadata.current_snapshot_id).to_arrow().to_pylist()
    assert old == [{"id": 1, "word": "a", "old": 7}]
    after.append(pa.table({"id": pa.array([2], pa.int64()), "word": [0.5], "late": ["more"]}))
    assert server.sql(f"select id, word, late from {schema}.t order by id") == [(1, 2.5, "new"), (2, 0.5, "more")]


def test_delta_is_the_same_table_with_other_columns(server, schema):
    path = server.warehouse / schema / "t"
    server.sql(f"create table {schema}.t (id bigint, word text) using delta tblproperties ('delta.appendOnly' = 'false')")
    server.sql(f"insert into {schema}.t values (1, 'a')")
    before = DeltaTable(str(path))
    server.sql(f"create or replace table {schema}.t using delta partitioned by (late) as select id, 2.5::float8 as number, 'new' as late from {schema}.t")
    after = DeltaTable(str(path))
    assert after.metadata().id == before.metadata().id
    assert after.metadata().partition_columns == ["late"]
    assert after.to_pyarrow_table().to_pylist() == [{"id": 1, "number": 2.5, "late": "new"}]
    assert after.history(1)[0]["operation"] == "CREATE OR REPLACE TABLE AS SELECT"
    assert DeltaTable(str(path), version=1).to_pyarrow_table().to_pylist() == [{"id": 1, "word": "a"}]
    actions = [json.loads(line) for line in (path / "_delta_log" / f"{after.version():020}.json").read_text().splitlines()]
    assert sum("remove" in action for action in actions) == 1 and sum("add" in action for action in actions) == 1
    write_deltalake(str(path), pa.table({"id": pa.array([2], pa.int64()), "number": [0.5], "late": ["more"]}), mode="append")
    assert server.sql(f"select id, number, late from {schema}.t order by id") == [(1, 2.5, "new"), (2, 0.5, "more")]


def test_delta_raises_its_protocol_for_what_the_new_table_has(server, schema):
    server.sql(f"create table {schema}.t (id bigint) using delta")
    server.sql(f"insert into {schema}.t values (1)")
    server.sql(f"create or replace table {schema}.t (id bigint check (id > 0), at timestamp) using delta tblproperties ('delta.enableDeletionVectors' = 'true')")
    with server.connect() as connection:
        connection.execute(f"insert into {schema}.t values (1, '2024-01-01'), (2, '2024-01-02')")
        connection.execute(f"delete from {schema}.t where id = 1")
        try:
            connection.execute(f"insert into {schema}.t values (0, null)")
        except psycopg.Error as error:
            assert error.sqlstate == "23514"
        else:
            raise AssertionError("a row that breaks the constraint was taken")
    protocol = DeltaTable(str(server.warehouse / schema / "t")).protocol()
    assert protocol.min_writer_version == 7
    assert {"checkConstraints", "deletionVectors", "timestampNtz"} <= set(protocol.writer_features)
    assert server.sql(f"select id from {schema}.t") == [(2,)]


def test_readers_see_the_table_before_or_after_and_writers_are_not_lost_silently(server, schema):
    """Rows appended meanwhile are before the replacement (and go with the old table) or after it."""
    for table_format in ("iceberg", "delta"):
        name = f"{schema}.t_{table_format}"
        server.sql(f"create table {name} using {table_format} as select x as a, x as b from generate_series(1, 1000) g(x)")
        stop, seen = threading.Event(), []

        def read():
            with server.connect() as connection:
                while not stop.is_set():
                    seen.append(connection.execute(f"select count(*), sum(a)::int8 from {name}").fetchone())

        reader = threading.Thread(target=read)
        reader.start()
        try:
            with server.connect() as connection:
                for number in range(1, 6):
                    connection.execute(f"create or replace table {name} using {table_format} as select x as a, 'r' || x as b{number} from generate_series(1, {1000 * number}) g(x)")
        finally:
            stop.set()
            reader.join()
        assert seen and set(seen) <= {(count, count * (count + 1) // 2) for count in range(1000, 6000, 1000)}
