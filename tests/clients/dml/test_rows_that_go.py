"""Rows that go leave their row groups: of a page in which one goes only the bytes of the others stay, and pages in which none
does are copied."""

import pathlib
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outside import Outside
from row_groups import COLUMNS, NAMES, ROW, check, every_layout, files, groups, rows_of, same
from shape import DELTA_COPY, V2_COPY

ROWS, GROUP, PAGE = 12_000, 6_000, 1_024


def fill(server, schema: str, layout, duck, **more: str) -> Outside:
    """Row groups of some pages: the Parquet writer ends them after 1,024 rows at the least."""
    properties = dict(layout.properties) | {"write.parquet.row-group-limit": GROUP, "write.parquet.page-row-limit": PAGE}
    properties |= more
    listed = ", ".join(f"'{key}' = '{value}'" for key, value in properties.items())
    server.sql(f"create table {schema}.t ({COLUMNS}) using {layout.format} tblproperties ({listed})")
    server.sql(f"insert into {schema}.t select {ROW} from generate_series(1, {ROWS}) as g(n)")
    return Outside(server, duck, schema, "t", layout.format)


def places(path: pathlib.Path) -> list[int]:
    return pq.read_table(path, columns=["k"])["k"].to_pylist()


def expect(server, schema, outside: Outside, rows: dict[int, tuple]):
    check(server, schema, outside, list(rows.values()))
    # Whoever looks a row up by statistics and page index finds it, and none that went.
    for k in (1, 2, 1024, 1025, 3000, 6000, 6001, 7777, ROWS):
        assert same(server.sql(f"select * from {schema}.t where k = {k}")) == same([rows[k]] if k in rows else [])
        assert same(server.sql(f"select * from {schema}.t where name = 'name {k}'")) == same(
            [rows[k]] if k in rows and rows[k][1] == f"name {k}" else [])
    assert server.sql(f"select count(*), count(name), min(k), max(k), min(day), max(price) from {schema}.t where code > 5000") == [
        (len(found := [row for row in rows.values() if (row[7] or 0) > 5000]), sum(row[1] is not None for row in found),
         min(row[0] for row in found), max(row[0] for row in found), min(row[4] for row in found), max(row[2] for row in found))]


@every_layout
def test_rows_go_here_and_there(server, schema, duck, layout):
    outside = fill(server, schema, layout, duck)
    rows = {row[0]: row for row in rows_of(server, schema)}
    [old] = files(outside)
    order = places(old)
    assert [count for count, _ in groups(old)] == [GROUP] * 2
    for condition, goes in [
        ("k % 10 = 3", lambda k: k % 10 == 3),
        ("k = 12000 or k = 1 or k = 500", lambda k: k in (12000, 1, 500)),
        # Whole pages, and the ends of others.
        ("k between 2000 and 4200", lambda k: 2000 <= k <= 4200),
        ("code is null", lambda k: k <= 200),
        ("name is null and k > 6000", lambda k: k % 7 == 0 and k > 6000),
    ]:
        [old] = files(outside)
        server.sql(f"delete from {schema}.t where {condition}")
        rows = {k: row for k, row in rows.items() if not goes(k)}
        expect(server, schema, outside, rows)
        [new] = files(outside)
        left = [[k for k in half if k in rows] for half in (order[:GROUP], order[GROUP:])]
        assert [count for count, _ in groups(new)] == [len(half) for half in left]
        assert places(new) == left[0] + left[1]
        assert new.stat().st_size < 1.02 * old.stat().st_size
    # Too little is left: row groups are joined.
    server.sql(f"delete from {schema}.t where k % 3 > 0")
    rows = {k: row for k, row in rows.items() if k % 3 == 0}
    expect(server, schema, outside, rows)
    assert [count for count, _ in groups(files(outside)[0])] == [len(rows)]


@every_layout
def test_a_merge_deletes_some_and_updates_others(server, schema, duck, layout):
    """In the same pages; the updated rows stay in their places."""
    outside = fill(server, schema, layout, duck)
    rows = {row[0]: row for row in rows_of(server, schema)}
    order = places(files(outside)[0])
    server.sql(f"merge into {schema}.t t using (select generate_series * 5 as k from generate_series(1, {ROWS // 5})) s on t.k = s.k "
               "when matched and s.k % 3 = 0 then delete when matched and s.k % 4 = 0 then update set name = 'new ' || s.k, tags = null")
    rows = {k: (*row[:1], f"new {k}", *row[2:8], None, *row[9:]) if k % 5 == 0 and k % 4 == 0 else row
            for k, row in rows.items() if k % 15}
    expect(server, schema, outside, rows)
    # `UPDATE SET *` gives values to all columns.
    server.sql(f"create table {schema}.s as select k, name, price, weight, day, at, flag, -code as code, tags, p from {schema}.t where k % 2 = 0")
    server.sql(f"merge into {schema}.t t using {schema}.s s on t.k = s.k when matched and s.k % 6 = 0 then delete when matched then update set *")
    rows = {k: (*row[:7], None if row[7] is None else -row[7], *row[8:]) if k % 2 == 0 else row for k, row in rows.items() if k % 6}
    expect(server, schema, outside, rows)
    [new] = files(outside)
    assert places(new) == [k for k in order if k in rows]


@pytest.mark.parametrize("codec", ["snappy", "uncompressed", "gzip", "lz4"])
def test_compressed_as_it_was(server, schema, duck, codec):
    """By codecs of which pages are not taken apart, too."""
    outside = fill(server, schema, V2_COPY, duck, **{"write.parquet.compression-codec": codec})
    rows = {row[0]: row for row in rows_of(server, schema) if row[0] % 9}
    codecs = lambda: {pq.ParquetFile(path).metadata.row_group(0).column(0).compression for path in files(outside)}
    before = codecs()
    server.sql(f"delete from {schema}.t where k % 9 = 0")
    expect(server, schema, outside, rows)
    assert codecs() == before
    # What stays in its page keeps its codec, whatever the table's is by now.
    server.sql(f"alter table {schema}.t set tblproperties ('write.parquet.compression-codec' = 'zstd')")
    server.sql(f"delete from {schema}.t where k % 9 = 1")
    expect(server, schema, outside, {k: row for k, row in rows.items() if k % 9 != 1})


def test_metrics_are_those_of_what_is_left(server, schema, duck):
    outside = fill(server, schema, V2_COPY, duck)
    # NaN where k % 250 = 1; the least and the largest of some columns go.
    server.sql(f"delete from {schema}.t where k in (1, 2, 250, 251, 12000) or k % 11 = 5")
    rows = rows_of(server, schema)
    [task] = outside.iceberg().scan().plan_files()
    ids = {field.name: field.field_id for field in outside.iceberg().schema().fields}
    assert task.file.record_count == len(rows)
    for number, name in enumerate(NAMES):
        if name != "tags":
            assert task.file.value_counts[ids[name]] == len(rows), name
            assert task.file.null_value_counts[ids[name]] == sum(row[number] is None for row in rows), name
    numbers = [row[3] for row in rows]
    assert task.file.nan_value_counts[ids["weight"]] == sum(number != number for number in numbers) > 0
    bounds = lambda name: (task.file.lower_bounds[ids[name]], task.file.upper_bounds[ids[name]])
    finite = [number for number in numbers if number == number]
    assert bounds("weight") == (struct.pack("<d", min(finite)), struct.pack("<d", max(finite)))
    assert bounds("k") == (struct.pack("<q", 3), struct.pack("<q", 11999))
    names = [row[1].encode() for row in rows if row[1]]
    assert bounds("name") == (min(names), max(names))


def test_statistics_are_those_of_what_is_left(server, schema, duck):
    outside = fill(server, schema, DELTA_COPY, duck)
    server.sql(f"delete from {schema}.t where k in (1, 2, 250, 251, 12000) or k % 11 = 5")
    rows = rows_of(server, schema)
    from deltalake import DeltaTable

    [added] = pa.table(DeltaTable(str(outside.folder)).get_add_actions(flatten=True)).to_pylist()
    assert added["num_records"] == len(rows)
    for number, name in enumerate(NAMES):
        values = [row[number] for row in rows if row[number] is not None]
        if name != "tags":
            assert added[f"null_count.{name}"] == len(rows) - len(values), name
        if name in ("k", "name", "price", "day", "code"):
            assert (added[f"min.{name}"], added[f"max.{name}"]) == (min(values), max(values)), name
