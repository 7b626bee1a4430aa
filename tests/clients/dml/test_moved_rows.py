"""Merge-on-read: updated rows go to new files, which take over what a statement does not assign: of row groups that are updated
for the most part the bytes of its columns, without the rows that stay where they were."""

import datetime
import hashlib
import pathlib
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, WriterProperties, write_deltalake
from outside import Outside
from row_groups import COLUMNS, GROUP, NAMES, ROW, ROWS, append_outside, check, columns, files, fill, groups, rows_of, same
from shape import DELTA_MARK, DELTA_TRACKED_MARK, V2_MARK, V3_MARK

LAYOUTS = {"v2": V2_MARK, "v3": V3_MARK, "delta": DELTA_MARK, "tracked": DELTA_TRACKED_MARK}
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def keys(path: pathlib.Path) -> list[int]:
    return pq.read_table(path, columns=["k"])["k"].to_pylist()


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, content in before.items() if after[name] != content}


def one_new(outside: Outside, old: list[pathlib.Path]) -> pathlib.Path:
    [new] = set(files(outside)) - set(old)
    return new


@every_layout
@pytest.mark.parametrize("by", ["", "partitioned by (p)"])
def test_row_groups_are_taken_over(server, schema, duck, layout, by):
    outside = fill(server, schema, layout, duck, by)
    before = rows_of(server, schema)
    [old] = files(outside)
    # All of groups 2 and 3, most of 4, few of 1 and 5, one of 9.
    is_updated = lambda k: 190 < k <= 480 or k in (555, 1000)
    server.sql(f"update {schema}.t set name = 'n' || k, price = null where k > 190 and k <= 480 or k in (555, 1000)")
    expected = [(row[0], f"n{row[0]}", None, *row[3:]) if is_updated(row[0]) else row for row in before]
    check(server, schema, outside, expected)
    assert old in files(outside)
    new = one_new(outside, [old])
    assert sorted(keys(new)) == [row[0] for row in expected if is_updated(row[0])]
    # Row groups in their order; the rows of others come last.
    assert [count for count, _ in groups(new)] == [GROUP, GROUP, 80, 12]
    assert keys(new)[:280] == list(range(201, 481))
    were, are = columns(old), columns(new)
    assert [changed(were[2 + i], are[i]) for i in range(2)] == [{"name", "price"}] * 2
    # Whoever looks a row up by statistics and page index finds it once.
    rows = {row[0]: row for row in expected}
    for k in (1, 190, 191, 200, 201, 300, 301, 400, 401, 480, 481, 555, 556, 1000):
        assert same(server.sql(f"select * from {schema}.t where k = {k}")) == same([rows[k]])
    for name in ("n191", "n480", "n481", "name 480", "name 481"):
        assert same(server.sql(f"select * from {schema}.t where name = '{name}'")) == same(row for row in expected if row[1] == name)


@every_layout
def test_all_rows(server, schema, duck, layout):
    """The file goes; another one has its row groups."""
    outside = fill(server, schema, layout, duck)
    before = rows_of(server, schema)
    [old] = files(outside)
    were = columns(old)
    server.sql(f"update {schema}.t set code = -1")
    expected = [(*row[:7], -1, *row[8:]) for row in before]
    check(server, schema, outside, expected)
    [new] = files(outside)
    assert keys(new) == keys(old)
    assert [changed(*pair) for pair in zip(were, columns(new), strict=True)] == [{"code"}] * 10
    # Of rows that have moved before, too.
    server.sql(f"update {schema}.t set weight = weight + 1, tags = array[name] where k % 4 <> 1")
    expected = [(*row[:3], row[3] + 1, *row[4:8], [row[1]], *row[9:]) if row[0] % 4 != 1 else row for row in expected]
    check(server, schema, outside, expected)
    newer = one_new(outside, [new])
    assert [count for count, _ in groups(newer)] == [GROUP * 3 // 4] * 10
    server.sql(f"delete from {schema}.t where k <= 500")
    server.sql(f"update {schema}.t set day = '2000-01-01'")
    expected = [(*row[:4], datetime.date(2000, 1, 1), *row[5:]) for row in expected if row[0] > 500]
    check(server, schema, outside, expected)


@every_layout
def test_files_of_one_partition_are_joined(server, schema, duck, layout):
    outside = fill(server, schema, layout, duck, "partitioned by (p)")
    for p in (1, 2, 2):
        server.sql(f"insert into {schema}.t select k + {ROWS}, name, price, weight, day, at, flag, code, tags, {p} "
                   f"from {schema}.t where p = 1 and k <= {ROWS}")
    before = rows_of(server, schema)
    old = files(outside)
    assert len(old) == 4
    server.sql(f"update {schema}.t set code = k where (k - 1) % {ROWS} between 100 and 299")
    expected = [(*row[:7], row[0], *row[8:]) if 100 <= (row[0] - 1) % ROWS <= 299 else row for row in before]
    check(server, schema, outside, expected)
    new = set(files(outside)) - set(old)
    assert len(new) == 2
    assert sorted(count for path in new for count, _ in groups(path)) == [GROUP] * 8
    # A few rows of each file, which none of their row groups is worth.
    server.sql(f"update {schema}.t set flag = null where k % 100 = 7")
    expected = [(*row[:6], None, *row[7:]) if row[0] % 100 == 7 else row for row in expected]
    check(server, schema, outside, expected)
    assert len(set(files(outside)) - set(old) - new) == 2


@every_layout
def test_a_merge_updates_and_deletes(server, schema, duck, layout):
    outside = fill(server, schema, layout, duck)
    rows = {row[0]: row for row in rows_of(server, schema)}
    [old] = files(outside)
    server.sql(f"merge into {schema}.t t using (select generate_series as k from generate_series(1, {ROWS})) s on t.k = s.k "
               "when matched and s.k % 10 = 0 then delete when matched and s.k % 10 = 1 then do nothing "
               "when matched and s.k > 300 then update set name = 'new', tags = array['x', null]")
    rows = {k: (k, "new", *row[2:8], ["x", None], *row[9:]) if k > 300 and k % 10 != 1 else row
            for k, row in rows.items() if k % 10}
    check(server, schema, outside, list(rows.values()))
    new = one_new(outside, [old])
    assert [count for count, _ in groups(new)] == [80] * 7
    # `UPDATE SET *` gives values to all columns, and most are those that are there.
    server.sql(f"create table {schema}.s as select k, name, price, weight, day, at, flag, -code as code, tags, p from {schema}.t where k > 500")
    server.sql(f"merge into {schema}.t t using {schema}.s s on t.k = s.k when matched then update set *")
    rows = {k: (*row[:7], -row[7], *row[8:]) if k > 500 else row for k, row in rows.items()}
    check(server, schema, outside, list(rows.values()))


@every_layout
def test_statements_that_have_whole_rows(server, schema, duck, layout):
    """Because they insert, or assign most of the columns."""
    outside = fill(server, schema, layout, duck)
    rows = {row[0]: row for row in rows_of(server, schema)}
    server.sql(f"merge into {schema}.t t using (select generate_series as k from generate_series(901, 1100)) s on t.k = s.k "
               "when matched and s.k % 2 = 0 then delete when matched then update set code = -t.k "
               "when not matched then insert (k, name, p) values (s.k, 'in', 1)")
    for k in range(901, 1101):
        rows[k] = (*rows[k][:7], -k, *rows[k][8:]) if k <= ROWS else (k, "in", *[None] * 7, 1)
        if k <= ROWS and k % 2 == 0:
            del rows[k]
    check(server, schema, outside, list(rows.values()))
    server.sql(f"create table {schema}.s as select k, 's' as name, price, weight, day, at, flag, code, tags, p from {schema}.t where k <= 400")
    server.sql(f"merge into {schema}.t t using {schema}.s s on t.k = s.k when matched then update set *")
    rows = {k: (k, "s", *row[2:]) if k <= 400 else row for k, row in rows.items()}
    check(server, schema, outside, list(rows.values()))


@every_layout
def test_what_is_told_of_moved_rows(server, schema, duck, layout):
    fill(server, schema, layout, duck)
    before = {row[0]: row for row in rows_of(server, schema)}
    statement = f"update {schema}.t set code = k where k between 150 and 400"
    impact = dict(line.split(": ") for (line,) in server.sql(f"explain (impact) {statement}"))
    assert [impact[name] for name in ("Rows Updated", "Rows Deleted", "Rows Copied", "Files Added", "Files Marked")] == ["251", "0", "0", "1", "1"]
    assert same(rows_of(server, schema)) == same(before.values())
    returned = server.sql(f"{statement} returning k, name, code, tags")
    assert same(returned) == same((k, before[k][1], k, before[k][8]) for k in range(150, 401))


@every_layout
def test_pages_of_which_some_rows_move(server, schema, duck, layout):
    """Of each page of a row group some rows are updated; the others stay behind."""
    group, rows = 6_000, 12_000
    properties = dict(layout.properties) | {"write.parquet.row-group-limit": group, "write.parquet.page-row-limit": 1_024}
    listed = ", ".join(f"'{key}' = '{value}'" for key, value in properties.items())
    server.sql(f"create table {schema}.t ({COLUMNS}) using {layout.format} tblproperties ({listed})")
    server.sql(f"insert into {schema}.t select {ROW} from generate_series(1, {rows}) as g(n)")
    outside = Outside(server, duck, schema, "t", layout.format)
    before = rows_of(server, schema)
    old = files(outside)
    server.sql(f"update {schema}.t set code = 1 where k % 3 > 0")
    expected = [(*row[:7], 1, *row[8:]) if row[0] % 3 else row for row in before]
    check(server, schema, outside, expected)
    new = one_new(outside, old)
    # In their order, whatever that was.
    assert keys(new) == [k for k in keys(old[0]) if k % 3]
    for k in (1, 2, 3, 1024, 1025, 6000, 6001, 11999, 12000):
        assert same(server.sql(f"select * from {schema}.t where k = {k}")) == same(row for row in expected if row[0] == k)


@every_layout
def test_rows_of_many_files(server, schema, duck, layout):
    """None of which has a row group that is worth it: they make one file."""
    outside = fill(server, schema, layout, duck)
    for n in range(1, 41):
        server.sql(f"insert into {schema}.t (k, code, p) values ({ROWS + n}, {n}, 1), ({ROWS + 100 + n}, {n}, 1)")
    before = rows_of(server, schema)
    old = files(outside)
    assert len(old) == 41
    server.sql(f"update {schema}.t set name = 'c' || code where k > {ROWS} and k % 20 <> 0")
    expected = [(row[0], f"c{row[7]}", *row[2:]) if row[0] > ROWS and row[0] % 20 else row for row in before]
    check(server, schema, outside, expected)
    assert len(keys(one_new(outside, old))) == 76


@every_layout
def test_rows_that_the_transaction_has_moved(server, schema, duck, layout):
    outside = fill(server, schema, layout, duck)
    rows = {row[0]: row for row in rows_of(server, schema)}
    with server.connect(autocommit=False) as connection:
        connection.execute(f"update {schema}.t set code = 1 where k <= 700")
        connection.execute(f"update {schema}.t set name = 'twice' where k between 650 and 750")
        connection.execute(f"delete from {schema}.t where k = 660")
        connection.execute(f"update {schema}.t set flag = true where k between 655 and 670")
        connection.commit()
    for k, row in rows.items():
        rows[k] = (k, "twice" if 650 <= k <= 750 else row[1], *row[2:6], True if 655 <= k <= 670 else row[6], 1 if k <= 700 else row[7], *row[8:])
    del rows[660]
    check(server, schema, outside, list(rows.values()))


@every_layout
def test_files_of_other_programs(server, schema, duck, layout):
    if layout in (V3_MARK, DELTA_TRACKED_MARK):
        pytest.skip("neither pyiceberg nor deltalake appends to them")
    outside = fill(server, schema, layout, duck)
    append_outside(outside, 500)
    before = rows_of(server, schema)
    server.sql(f"update {schema}.t set name = 'n' || code where k > 900")
    expected = [(*row[:1], None if row[7] is None else f"n{row[7]}", *row[2:]) if row[0] > 900 else row for row in before]
    check(server, schema, outside, expected)


@pytest.mark.parametrize("layout", [V2_MARK, DELTA_MARK], ids=["v2", "delta"])
def test_files_of_another_schema(server, schema, duck, layout):
    """Which lack a column."""
    outside = fill(server, schema, layout, duck)
    before = rows_of(server, schema)
    server.sql(f"alter table {schema}.t add column extra text")
    server.sql(f"update {schema}.t set flag = true where k <= 600")
    server.sql(f"update {schema}.t set extra = 'e' || k where k between 500 and 800")
    expected = [(*row[:6], True if row[0] <= 600 else row[6], *row[7:], f"e{row[0]}" if 500 <= row[0] <= 800 else None) for row in before]
    assert same(server.sql(f"select * from {schema}.t")) == same(expected)
    names = [*NAMES, "extra"]
    assert same(outside.by_pyiceberg(names) if outside.format == "iceberg" else outside.by_deltalake(names)) == same(expected)


def test_sorted_tables_stay_sorted(server, schema, duck):
    """Rows of several files are put in order together."""
    server.sql(f"create table {schema}.t (k bigint, v text) using iceberg sorted by (k) tblproperties ('format-version' = '2', "
               "'write.update.mode' = 'merge-on-read', 'write.parquet.row-group-limit' = '100')")
    for first in (1, 301):
        server.sql(f"insert into {schema}.t select n, 'v' from generate_series({first}, {first} + 299) as g(n)")
    outside = Outside(server, duck, schema, "t", "iceberg")
    old = files(outside)
    server.sql(f"update {schema}.t set v = 'new' where k > 50")
    [new] = set(files(outside)) - set(old)
    assert keys(new) == list(range(51, 601))
    [task] = [task for task in outside.iceberg().scan().plan_files() if task.file.file_path.endswith(new.name)]
    assert task.file.sort_order_id == outside.iceberg().metadata.default_sort_order_id


@pytest.mark.parametrize("layout", [V2_MARK, V3_MARK], ids=["v2", "v3"])
def test_metrics_are_those_of_the_moved_rows(server, schema, duck, layout):
    outside = fill(server, schema, layout, duck)
    [old] = files(outside)
    server.sql(f"update {schema}.t set name = null where k > 320")
    rows = [row for row in rows_of(server, schema) if row[0] > 320]
    new = one_new(outside, [old])
    [task] = [task for task in outside.iceberg().scan().plan_files() if task.file.file_path.endswith(new.name)]
    ids = {field.name: field.field_id for field in outside.iceberg().schema().fields}
    assert task.file.record_count == len(rows) == 680
    for number, name in enumerate(NAMES):
        values = [row[number] for row in rows]
        if name != "tags":
            assert task.file.value_counts[ids[name]] == len(rows), name
            assert task.file.null_value_counts[ids[name]] == sum(value is None for value in values), name
    assert task.file.nan_value_counts[ids["weight"]] == sum(row[3] != row[3] for row in rows) == 2
    assert (task.file.lower_bounds[ids["k"]], task.file.upper_bounds[ids["k"]]) == (struct.pack("<q", 321), struct.pack("<q", ROWS))
    assert struct.unpack("<d", task.file.lower_bounds[ids["weight"]])[0] == 160.5
    assert ids["name"] not in task.file.lower_bounds


def test_statistics_are_those_of_the_moved_rows(server, schema, duck):
    outside = fill(server, schema, DELTA_MARK, duck)
    [old] = files(outside)
    server.sql(f"update {schema}.t set name = null where k > 320")
    new = one_new(outside, [old])
    adds = {add["path"]: add for add in pa.table(DeltaTable(str(outside.folder)).get_add_actions(flatten=True)).to_pylist()}
    added = adds[new.name]
    rows = [row for row in rows_of(server, schema) if row[0] > 320]
    assert added["num_records"] == len(rows)
    for number, name in enumerate(NAMES):
        values = [row[number] for row in rows if row[number] is not None]
        if name != "tags":
            assert added[f"null_count.{name}"] == len(rows) - len(values), name
        if name in ("k", "price", "day", "code"):
            assert (added[f"min.{name}"], added[f"max.{name}"]) == (min(values), max(values)), name


@every_layout
def test_what_is_read_goes_to_the_file_of_row_groups(server, schema, duck, layout):
    """Rows of a file without a row group that is worth it, and those of one that has some."""
    outside = fill(server, schema, layout, duck)
    server.sql(f"insert into {schema}.t (k, code, p) select {ROWS} + n, n, 1 from generate_series(1, 20) as g(n)")
    before = rows_of(server, schema)
    old = files(outside)
    assert len(old) == 2
    server.sql(f"update {schema}.t set flag = k % 2 = 0 where k > 500")
    expected = [(*row[:6], row[0] % 2 == 0, *row[7:]) if row[0] > 500 else row for row in before]
    check(server, schema, outside, expected)
    assert len(keys(one_new(outside, old))) == 520


@pytest.mark.parametrize("layout", [V2_MARK, DELTA_MARK], ids=["v2", "delta"])
def test_ranges_of_a_large_file(server, schema, duck, layout):
    """Threads share what is to be read of one file: each row is found once, at its place."""
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in (*layout.properties, ("write.parquet.row-group-limit", "50000")))
    server.sql(f"create table {schema}.t (k bigint, name text, v int, w int) using {layout.format} tblproperties ({properties})")
    outside, rows = Outside(server, duck, schema, "t", layout.format), 600_000
    names = [hashlib.sha256(str(k).encode()).hexdigest() for k in range(1, rows + 1)]
    zeros = pa.array([0] * rows, pa.int32())
    table = pa.table({"k": range(1, rows + 1), "name": names, "v": zeros, "w": zeros})
    # Auric writes as many files as it has threads.
    if layout.format == "iceberg":
        outside.iceberg().append(table)
    else:
        writer = WriterProperties(max_row_group_size=50_000)
        write_deltalake(str(outside.folder), table, mode="append", writer_properties=writer)
    [file] = files(outside)
    assert file.stat().st_size > 16 << 20 and pq.ParquetFile(file).num_row_groups == 12
    server.sql(f"update {schema}.t set v = k % 10 + 1 where k % 1000 = 7 or k between 200001 and 330000")
    server.sql(f"delete from {schema}.t where k % 500 = 7 or k between 320001 and 340000")
    left = [k for k in range(1, rows + 1) if k % 500 != 7 and not 320_000 < k <= 340_000]
    changed = sum(k * (k % 10 + 1) for k in left if 200_000 < k <= 330_000)
    name = "encode(sha256(k::text::bytea), 'hex')"
    assert server.sql(f"select count(*), sum(k), sum(k * v) from {schema}.t where name = {name}") == [(len(left), sum(left), changed)]
