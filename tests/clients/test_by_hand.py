"""Tables made by hand from the specs: deletes of every kind, name mapping, column mapping, v2 checkpoints."""

import datetime
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fixtures"))

import delta_by_hand  # noqa: E402
import iceberg_by_hand  # noqa: E402

ROWS = [(n, f"n{n}", "ab"[n % 2]) for n in range(10)]


def register(server, schema, location, name="t"):
    server.sql(f"create table {schema}.{name} location '{location}'")


def ids(server, schema, where="true"):
    return [row[0] for row in server.sql(f"select id from {schema}.t where {where} order by id")]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_plain(server, schema, tmp_path, version):
    table = iceberg_by_hand.HandMadeTable(tmp_path / "t", version)
    register(server, schema, table.commit([table.write_rows(ROWS)]))
    assert sorted(server.sql(f"select * from {schema}.t")) == ROWS


@pytest.mark.parametrize("version", [2, 3])
def test_position_deletes(server, schema, tmp_path, version):
    table = iceberg_by_hand.HandMadeTable(tmp_path / "t", version)
    one, two = table.write_rows(ROWS[:6]), table.write_rows(ROWS[6:])
    table.commit([one, two])
    deletes = table.write_position_deletes([(one["file_path"], 0), (one["file_path"], 3), (two["file_path"], 3)])
    register(server, schema, table.commit(deletes=[deletes]))
    assert ids(server, schema) == [1, 2, 4, 5, 6, 7, 8]
    assert ids(server, schema, "id >= 3") == [4, 5, 6, 7, 8]
    assert server.sql(f"select count(*), min(id), max(id) from {schema}.t") == [(7, 1, 8)]


def test_position_deletes_do_not_touch_later_files(server, schema, tmp_path):
    table = iceberg_by_hand.HandMadeTable(tmp_path / "t", partitioned=True)
    first = table.write_rows(ROWS[0::2])
    table.commit([first])
    table.commit(deletes=[table.write_position_deletes([(first["file_path"], 1)], "a")])
    register(server, schema, table.commit([table.write_rows([(100, "x", "a"), (101, "y", "a")])]))
    assert ids(server, schema) == [0, 4, 6, 8, 100, 101]


def test_deletion_vectors(server, schema, tmp_path):
    table = iceberg_by_hand.HandMadeTable(tmp_path / "t", 3)
    many = [(n, str(n), "a") for n in range(100_000)]
    one, two = table.write_rows(many), table.write_rows([(200_000, "x", "b")])
    table.commit([one, two])
    deleted = [0, 1, 2, 65_535, 65_536, 99_999]
    register(server, schema, table.commit(deletes=table.write_deletion_vectors({one["file_path"]: deleted, two["file_path"]: [0]})))
    assert server.sql(f"select count(*), sum(id), min(id), max(id) from {schema}.t") == \
        [(100_000 - 6, sum(range(100_000)) - sum(deleted), 3, 99_998)]
    assert ids(server, schema, "id in (2, 3, 65535, 65537)") == [3, 65537]


@pytest.mark.parametrize("partitioned", [False, True])
def test_equality_deletes(server, schema, tmp_path, partitioned):
    table = iceberg_by_hand.HandMadeTable(tmp_path / "t", partitioned=partitioned)
    table.commit([table.write_rows(ROWS[0::2]), table.write_rows(ROWS[1::2])])
    table.commit(deletes=[table.write_equality_deletes([1], [(2,), (4,), (5,)], "a")])
    table.commit([table.write_rows([(2, "again", "a"), (None, None, "a")])])
    register(server, schema, table.commit(deletes=[table.write_equality_deletes([2], [("n6",), (None,)], "a")]))
    expected = [0, 1, 2, 3, 7, 8, 9] if not partitioned else [0, 1, 2, 3, 5, 7, 8, 9]
    assert ids(server, schema) == expected
    assert server.sql(f"select count(*) from {schema}.t") == [(len(expected),)]
    assert server.sql(f"select category from {schema}.t where id = 8") == [("a",)]


def test_equality_deletes_on_several_columns(server, schema, tmp_path):
    table = iceberg_by_hand.HandMadeTable(tmp_path / "t")
    table.commit([table.write_rows(ROWS + [(3, "other", "b"), (3, None, "b")])])
    register(server, schema, table.commit(deletes=[table.write_equality_deletes([1, 2], [(3, "n3"), (3, None), (4, "n5")])]))
    assert ids(server, schema) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert server.sql(f"select name from {schema}.t where id = 3") == [("other",)]


def test_name_mapping_for_files_without_ids(server, schema, tmp_path):
    mapping = '[{"field-id": 1, "names": ["old_id", "id"]}, {"field-id": 2, "names": ["name"]}]'
    table = iceberg_by_hand.HandMadeTable(tmp_path / "t", properties={"schema.name-mapping.default": mapping})
    migrated = table.write_rows(ROWS, with_ids=False, names=["old_id", "name", "category"])
    register(server, schema, table.commit([migrated, table.write_rows([(99, "new", "z")])]))
    assert server.sql(f"select id, name, category from {schema}.t where id in (3, 99) order by id") == \
        [(3, "n3", None), (99, "new", "z")]


def test_initial_default(server, schema, tmp_path):
    table = iceberg_by_hand.HandMadeTable(tmp_path / "t", 3)
    old = table.write_rows(ROWS, columns=[1, 2])
    table.fields[2] |= {"initial-default": "unknown", "write-default": "fresh"}
    register(server, schema, table.commit([old, table.write_rows([(50, "x", None)])]))
    assert server.sql(f"select count(*) from {schema}.t where category = 'unknown'") == [(10,)]
    assert server.sql(f"select category from {schema}.t where id = 50") == [(None,)]


@pytest.mark.parametrize("feature", ["variant", "geometry(srid:4326)", "unknown"])
def test_unreadable_type_is_refused_by_name(server, schema, tmp_path, feature):
    table = iceberg_by_hand.HandMadeTable(tmp_path / "t", 3)
    location = table.commit([table.write_rows(ROWS)])
    register(server, schema, location)
    catalog = server.pyiceberg()
    assert (schema, "t") in catalog.list_tables(schema)
    path = pathlib.Path(location.removeprefix("file://"))
    text = path.read_text().replace('"required": false, "type": "long"', f'"required": false, "type": "{feature}"')
    newer = path.with_name("v9.metadata.json")
    newer.write_text(text)
    with pytest.raises(Exception) as error:
        register(server, schema, f"file://{newer}", "bad")
    assert error.value.sqlstate == "0A000" and feature.split("(")[0] in str(error.value)
    assert len(ids(server, schema)) == 10


@pytest.mark.parametrize("storage", ["file", "prefix", "inline"])
def test_delta_deletion_vectors(server, schema, tmp_path, storage):
    table = delta_by_hand.HandMadeTable(tmp_path / "t", ["deletionVectors"])
    day = datetime.date(2024, 1, 1)
    positions = [0, 5, 9]
    vector = {"file": lambda: table.deletion_vector_file(positions), "prefix": lambda: table.deletion_vector_file(positions, "ab"),
              "inline": lambda: table.inline_deletion_vector(positions)}[storage]()
    table.commit([table.data_file([(n, f"n{n}", day) for n in range(10)], vector), table.data_file([(50, "x", day)])])
    register(server, schema, tmp_path / "t")
    assert ids(server, schema) == [1, 2, 3, 4, 6, 7, 8, 50]
    assert server.sql(f"select count(*), min(id), max(id) from {schema}.t") == [(8, 1, 50)]


@pytest.mark.parametrize("mode", ["name", "id"])
@pytest.mark.parametrize("partitioned", [False, True])
def test_delta_column_mapping(server, schema, tmp_path, mode, partitioned):
    table = delta_by_hand.HandMadeTable(tmp_path / "t", mapping=mode, partitioned=partitioned)
    day = datetime.date(2024, 1, 1)
    table.commit([table.data_file([(n, f"n{n}", day) for n in range(5)])])
    table.rename("name", "label")
    table.rename("day", "name")
    table.commit([table.data_file([(n, f"n{n}", None) for n in range(5, 8)])])
    register(server, schema, tmp_path / "t")
    assert server.sql(f"select id, label, name from {schema}.t order by id") == \
        [(n, f"n{n}", day if n < 5 else None) for n in range(8)]
    assert ids(server, schema, "id > 5") == [6, 7]
    assert ids(server, schema, "name = date '2024-01-01'") == [0, 1, 2, 3, 4]
    assert ids(server, schema, "name is null") == [5, 6, 7]


def test_delta_v2_checkpoint(server, schema, tmp_path):
    table = delta_by_hand.HandMadeTable(tmp_path / "t", ["v2Checkpoint"], configuration={"delta.checkpointPolicy": "v2"})
    adds = [table.data_file([(n, str(n), None)]) for n in range(4)]
    table.commit(adds)
    table.v2_checkpoint(adds)
    register(server, schema, tmp_path / "t")
    assert ids(server, schema) == [0, 1, 2, 3]
    table.commit([table.data_file([(4, "4", None)])])
    assert ids(server, schema) == [0, 1, 2, 3, 4]
