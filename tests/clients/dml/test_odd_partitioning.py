"""Iceberg tables whose partitioning Auric would not make: dropped source columns, transforms that nobody knows."""

import pathlib
import uuid

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, IdentityTransform
from pyiceberg.types import IntegerType, LongType, NestedField, StringType

SCHEMA = Schema(NestedField(1, "id", LongType()), NestedField(2, "p", IntegerType()), NestedField(3, "q", StringType()))
ROWS = [{"id": n, "p": n % 2, "q": "ab"[n % 3 % 2]} for n in range(12)]


def arrow(rows, table):
    return pa.Table.from_pylist(rows, schema=table.schema().as_arrow())


def as_seen(server, schema, duck, expected):
    assert sorted(server.sql(f"select id, q from {schema}.t")) == expected
    table = server.pyiceberg().load_table((schema, "t"))
    assert sorted((row["id"], row["q"]) for row in table.scan().to_arrow().to_pylist()) == expected
    assert sorted(duck.sql(f"select id, q from iceberg_scan('{table.metadata_location}')").fetchall()) == expected


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("mode", ["copy-on-write", "merge-on-read"])
def test_a_dropped_source_column(server, schema, duck, version, mode):
    if (version, mode) == ("1", "merge-on-read"):
        pytest.skip("there is no such mode in version 1")
    spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "p"), PartitionField(3, 1001, IdentityTransform(), "q"))
    properties = {"format-version": version, **{f"write.{what}.mode": mode for what in ("delete", "update", "merge")}}
    table = server.pyiceberg().create_table((schema, "t"), SCHEMA, partition_spec=spec, properties=properties)
    table.append(arrow(ROWS, table))
    with table.update_spec() as update:
        update.remove_field("p")
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("p")
    if version == "1":
        # The current spec still has the field, as void. pyiceberg does not write such a table either.
        assert server.sql(f"select id, q from {schema}.t order by id") == [(row["id"], row["q"]) for row in ROWS]
        assert server.sql(f"select id from {schema}.t where q = 'b' and id < 4") == [(row["id"],) for row in ROWS if row["q"] == "b" and row["id"] < 4]
        for statement in (f"insert into {schema}.t values (100, 'a')", f"delete from {schema}.t where id = 1", f"truncate {schema}.t"):
            with pytest.raises(psycopg.Error, match="transform") as error:
                server.sql(statement)
            assert error.value.sqlstate == "0A000", statement
        return
    table.append(arrow([{"id": 100, "q": "a"}, {"id": 101, "q": None}], table))
    expected = sorted([(row["id"], row["q"]) for row in ROWS] + [(100, "a"), (101, None)], key=lambda row: row[0])
    assert server.sql(f"select id, q from {schema}.t order by id") == expected
    assert server.sql(f"select count(*) from {schema}.\"t$files\"")[0][0] == 6

    impact = dict(line.split(": ") for line, in server.sql(f"explain (impact) delete from {schema}.t where id in (0, 100)"))
    assert (impact["Rows Deleted"], impact["Partitions"]) == ("2", "2")
    server.sql(f"delete from {schema}.t where id in (0, 100)")
    server.sql(f"update {schema}.t set q = 'c' where id = 3")
    server.sql(f"merge into {schema}.t using (values (5, 'x'), (200, 'b')) s (k, v) on t.id = s.k when matched then delete when not matched then insert values (s.k, s.v)")
    expected = [(i, "c" if i == 3 else q) for i, q in expected if i not in (0, 5, 100)] + [(200, "b")]
    as_seen(server, schema, duck, expected)
    # Whole partitions of q, whatever p was.
    server.sql(f"insert overwrite {schema}.t select 300, 'b'")
    expected = [row for row in expected if row[1] != "b"] + [(300, "b")]
    as_seen(server, schema, duck, expected)
    with server.connect() as connection:
        gone = [row for row in expected if row[1] == "a"]
        assert connection.execute(f"delete from {schema}.t where q = 'a'").statusmessage == f"DELETE {len(gone)}"
    expected = [row for row in expected if row[1] != "a"]
    as_seen(server, schema, duck, expected)
    server.sql(f"truncate {schema}.t")
    as_seen(server, schema, duck, [])


def with_transform(folder: pathlib.Path, old: bytes, new: bytes) -> int:
    """Gives a transform another name of the same length everywhere; returns the number of files changed."""
    changed = 0
    for path in (folder / "metadata").iterdir():
        content = path.read_bytes()
        if old in content:
            assert len(old) == len(new)
            path.write_bytes(content.replace(old, new))
            changed += 1
    return changed


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("others", [(), (PartitionField(2, 1001, IdentityTransform(), "p"),)], ids=["alone", "with another"])
def test_an_unknown_transform(server, schema, version, others):
    spec = PartitionSpec(PartitionField(1, 1000, BucketTransform(4), "id_z"), *others)
    table = server.pyiceberg().create_table((schema, "t"), SCHEMA, partition_spec=spec, properties={"format-version": version})
    table.append(arrow(ROWS, table))
    table.append(arrow([{"id": 100, "p": 7, "q": "z"}], table))
    folder = pathlib.Path(table.location().removeprefix("file://"))
    assert with_transform(folder, b"bucket[4]", b"zorder[4]") >= 4
    rows = [(row["id"], row["p"], row["q"]) for row in ROWS] + [(100, 7, "z")]
    assert server.sql(f"select id, p, q from {schema}.t order by id") == rows
    # Pruning goes by what is known.
    assert server.sql(f"select id from {schema}.t where id = 100 and p = 7") == [(100,)]
    assert server.sql(f"select count(*) from {schema}.t where p = 1") == [(6,)]
    assert server.sql(f"select sum(record_count)::int from {schema}.\"t$files\"") == [(13,)]
    assert server.sql(f"select sum(record_count)::int from {schema}.\"t$partitions\"") == [(13,)]
    before = sorted(folder.rglob("*"))
    for statement in ("insert into {t} values (1, 1, 'x')", "delete from {t} where id = 1", "delete from {t}", "update {t} set q = 'x'",
                      "truncate {t}", "insert overwrite {t} select * from {t}",
                      "merge into {t} using (select 1 as k) s on id = k when matched then delete"):
        with pytest.raises(psycopg.Error, match="transform") as error:
            server.sql(statement.format(t=f"{schema}.t"))
        assert error.value.sqlstate == "0A000", statement
    assert sorted(folder.rglob("*")) == before
    # The table is as it was, and its own writers go on.
    assert with_transform(folder, b"zorder[4]", b"bucket[4]") >= 4
    server.pyiceberg().load_table((schema, "t")).append(arrow([{"id": 101, "p": 7, "q": "z"}], table))
    assert server.sql(f"select count(*) from {schema}.t") == [(14,)]


@pytest.mark.parametrize("version", ["1", "2", "3"])
@pytest.mark.parametrize("mode", ["copy-on-write", "merge-on-read"])
def test_uuids(server, schema, duck, version, mode):
    """Values of type uuid: in manifests they are sixteen fixed bytes with a logical type."""
    if (version, mode) == ("1", "merge-on-read"):
        pytest.skip("there is no such mode in version 1")
    settings = ", ".join([f"'format-version' = '{version}'", *(f"'write.{what}.mode' = '{mode}'" for what in ("delete", "update", "merge")),
                          "'commit.manifest.min-count-to-merge' = '3'"])
    server.sql(f"create table {schema}.t (id int, u uuid, v int) partitioned by (u, v) tblproperties ({settings})")
    ids = [uuid.UUID(int=5), uuid.UUID("f79c3e09-677c-4bbd-a479-3f349cb785e7"), None]
    expected = {}
    for n in range(9):
        expected[n] = (ids[n % 3], n // 3 or None)
        server.sql(f"insert into {schema}.t values (%s, %s, %s)", (n, *expected[n]))

    def check():
        rows = sorted((id, u, v) for id, (u, v) in expected.items())
        assert server.sql(f"select id, u, v from {schema}.t order by id") == rows
        table = server.pyiceberg().load_table((schema, "t"))
        as_uuid = lambda value: None if value is None else value if isinstance(value, uuid.UUID) else uuid.UUID(bytes=value)
        theirs = table.scan().to_arrow().to_pylist()
        assert sorted((row["id"], as_uuid(row["u"]), row["v"]) for row in theirs) == rows
        assert sorted(duck.sql(f"select id, u, v from iceberg_scan('{table.metadata_location}')").fetchall()) == rows
        for manifest in table.current_snapshot().manifests(table.io):
            assert manifest.manifest_length == pathlib.Path(manifest.manifest_path.removeprefix("file://")).stat().st_size
            for entry in manifest.fetch_manifest_entry(table.io):
                assert isinstance(entry.data_file.partition[0], uuid.UUID | None), entry.data_file.partition

    check()
    for u in ids[:2]:
        wanted = [(id,) for id, (found, _) in sorted(expected.items()) if found == u]
        assert server.sql(f"select id from {schema}.t where u = %s order by id", (u,)) == wanted
    files = server.sql(f"select count(*) from {schema}.\"t$files\"")[0][0]
    server.sql(f"update {schema}.t set id = id + 100 where id = 4")
    expected[104] = expected.pop(4)
    server.sql(f"delete from {schema}.t where u = %s", (ids[0],))
    expected = {id: values for id, values in expected.items() if values[0] != ids[0]}
    server.sql(f"update {schema}.t set u = %s where id = 8", (ids[0],))
    expected[8] = (ids[0], expected[8][1])
    check()
    assert files == 9
    if version != "3":  # which pyiceberg does not write
        with server.pyiceberg().load_table((schema, "t")).update_schema() as update:
            update.add_column("late", StringType())
    server.sql(f"insert into {schema}.t (id, u) values (300, %s)", (ids[1],))
    expected[300] = (ids[1], None)
    server.sql(f"delete from {schema}.t where id = 7")
    del expected[7]
    check()


def test_two_uuids_are_refused(server, schema):
    with pytest.raises(psycopg.Error, match="several columns of type uuid") as error:
        server.sql(f"create table {schema}.t (a uuid, b uuid) partitioned by (a, b)")
    assert error.value.sqlstate == "0A000"


def test_uuids_of_others(server, schema):
    """Manifests that pyiceberg has written."""
    from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
    from pyiceberg.typedef import Record
    from pyiceberg.types import UUIDType

    fields = Schema(NestedField(1, "id", IntegerType()), NestedField(2, "u", UUIDType()))
    spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "u"))
    table = server.pyiceberg().create_table((schema, "t"), fields, partition_spec=spec)
    ids = [uuid.UUID(int=7), uuid.UUID(int=2**127 + 1)]
    folder = pathlib.Path(table.location().removeprefix("file://")) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
        for n, value in enumerate(ids):
            path = folder / f"{n}.parquet"
            columns = [pa.field("id", pa.int32(), metadata={"PARQUET:field_id": "1"}), pa.field("u", pa.binary(16), metadata={"PARQUET:field_id": "2"})]
            pq.write_table(pa.table([pa.array([n], pa.int32()), pa.array([value.bytes], pa.binary(16))], schema=pa.schema(columns)), path)
            append.append_data_file(DataFile.from_args(
                content=DataFileContent.DATA, file_path=str(path), file_format=FileFormat.PARQUET, partition=Record(value), record_count=1,
                file_size_in_bytes=path.stat().st_size, column_sizes={}, value_counts={}, null_value_counts={}, nan_value_counts={},
                lower_bounds={}, upper_bounds={}, key_metadata=None, split_offsets=None, equality_ids=None, sort_order_id=None, spec_id=0))
    assert server.sql(f"select id, u from {schema}.t order by id") == list(enumerate(ids))
    assert server.sql(f"select id from {schema}.t where u = %s", (ids[1],)) == [(1,)]
    server.sql(f"insert into {schema}.t values (2, %s)", (ids[0],))
    assert server.sql(f"delete from {schema}.t where u = %s and id = 0", (ids[0],)) == []
    rows = server.pyiceberg().load_table((schema, "t")).scan().to_arrow().to_pylist()
    assert sorted(row["id"] for row in rows) == [1, 2]
