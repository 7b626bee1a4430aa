"""Copy-on-write takes row groups without a changed row over as they are: their bytes, their statistics, their place; and of
row groups in which rows are only updated, the columns in which nothing changes."""

import math
import pathlib

import psycopg
import pyarrow.parquet as pq
import pytest
from outside import Outside, of_arrow
from row_groups import GROUP, NAMES, ROWS, append_outside, check, columns, every_layout, files, fill, groups, rows_of, same, written_anew
from shape import DELTA_COPY, DELTA_TRACKED, V1, V2_COPY, V3_COPY


@every_layout
@pytest.mark.parametrize("by", ["", "partitioned by (p)"])
def test_only_row_groups_with_a_change_are_written_anew(server, schema, duck, layout, by):
    outside = fill(server, schema, layout, duck, by)
    before = rows_of(server, schema)
    [old] = files(outside)
    assert [rows for rows, _ in groups(old)] == [GROUP] * 10
    server.sql(f"update {schema}.t set name = 'new' where k in (250, 260)")
    expected = [(*row[:1], "new", *row[2:]) if row[0] in (250, 260) else row for row in before]
    check(server, schema, outside, expected)
    [new] = files(outside)
    were = groups(old)
    assert [rows for rows, _ in groups(new)] == [GROUP] * 10
    assert written_anew(old, new) == [{"name"} if i == 2 else set() for i in range(10)]
    # Readers that use the page index and the statistics find all rows.
    for k in (1, 100, 101, 250, 260, 299, 300, 301, 1000):
        assert same(server.sql(f"select * from {schema}.t where k = {k}")) == same(row for row in expected if row[0] == k)
    assert server.sql(f"select count(*), min(k), max(k), count(name), count(code) from {schema}.t") == [
        (ROWS, 1, ROWS, sum(row[1] is not None for row in expected), ROWS - 200)]
    server.sql(f"delete from {schema}.t where k between 295 and 405 or k = 1000")
    check(server, schema, outside, [row for row in expected if not (295 <= row[0] <= 405 or row[0] == 1000)])
    # Groups 0, 1, 5 to 8 stay; of the others some rows do.
    [last] = files(outside)
    assert [i for i in range(10) if were[i] in groups(last)] == [0, 1, 5, 6, 7, 8]


@pytest.mark.parametrize("layout", [V1, V2_COPY], ids=["v1", "v2"])
def test_metrics_are_those_of_all_rows(server, schema, duck, layout):
    outside = fill(server, schema, layout, duck)
    server.sql(f"update {schema}.t set name = null where k = 555")
    [task] = outside.iceberg().scan().plan_files()
    ids = {field.name: field.field_id for field in outside.iceberg().schema().fields}
    rows = rows_of(server, schema)
    for number, name in enumerate(NAMES):
        values = [row[number] for row in rows]
        if name != "tags":
            assert task.file.value_counts[ids[name]] == ROWS, name
            assert task.file.null_value_counts[ids[name]] == sum(value is None for value in values), name
    assert task.file.nan_value_counts[ids["weight"]] == sum(math.isnan(row[3]) for row in rows) == 4
    assert task.file.record_count == ROWS and len(task.file.split_offsets) == 10
    import struct

    assert struct.unpack("<d", task.file.lower_bounds[ids["weight"]])[0] == 1.0
    assert struct.unpack("<d", task.file.upper_bounds[ids["weight"]])[0] == 500.0
    assert (task.file.lower_bounds[ids["k"]], task.file.upper_bounds[ids["k"]]) == (struct.pack("<q", 1), struct.pack("<q", ROWS))


@every_layout
def test_a_merge_writes_the_columns_that_it_changes(server, schema, duck, layout):
    """`UPDATE SET *` gives every column a value; which of them are new, the rows tell. Rows that go leave a row group
    that is one of fewer rows, and new rows come last."""
    outside = fill(server, schema, layout, duck)
    [old] = files(outside)
    rows = {row[0]: row for row in rows_of(server, schema)}
    source = f"{schema}.s"
    server.sql(f"create table {source} as select * from {schema}.t where k in (7, 150, 199, 320, 555, 1000)")
    server.sql(f"update {source} set code = -code where k in (150, 1000)")
    server.sql(f"update {source} set weight = 'NaN', name = null where k = 320")
    server.sql(f"insert into {source} select 5000 + k, name, price, weight, day, at, flag, code, tags, p from {source} where k = 7")
    server.sql(f"merge into {schema}.t t using {source} s on t.k = s.k when matched and s.k = 555 then delete "
               "when matched then update set * when not matched then insert *")
    merged = {row[0]: row for row in server.sql(f"select * from {source}")}
    del rows[555]
    rows |= {k: row for k, row in merged.items() if k != 555}
    assert (rows[150][7], rows[1000][7], rows[320][1]) == (None, -1000, None) and 5007 in rows
    check(server, schema, outside, list(rows.values()))
    [new] = files(outside)
    were, are = columns(old), columns(new)
    assert [count for count, _ in groups(new)] == [*[GROUP] * 5, GROUP - 1, *[GROUP] * 4, 1]
    changed = [{name for name in were[i] if were[i][name] != are[i][name]} for i in range(10)]
    assert changed[:5] == [set(), set(), set(), {"name", "weight"}, set()] and changed[6:] == [set(), set(), set(), {"code"}]


@every_layout
def test_rows_that_go_to_another_partition(server, schema, duck, layout):
    """A file of which a row goes to another partition loses it; files in which all stay keep their places."""
    outside = fill(server, schema, layout, duck, "partitioned by (p)")
    server.sql(f"insert into {schema}.t select k + {ROWS}, name, price, weight, day, at, flag, code, tags, 2 from {schema}.t")
    rows = {row[0]: row for row in rows_of(server, schema)}
    server.sql(f"update {schema}.t set p = case when k = 12 then 2 else p end, code = 7 where k in (12, 13, {ROWS + 900})")
    for k in (12, 13, ROWS + 900):
        rows[k] = (*rows[k][:7], 7, rows[k][8], 2 if k == 12 else rows[k][9])
    check(server, schema, outside, list(rows.values()))
    # Partition values are right in both, however a reader comes to them.
    assert server.sql(f"select p, count(*) from {schema}.t group by p order by p") == [(1, ROWS - 1), (2, ROWS + 1)]
    assert server.sql(f"select k from {schema}.t where p = 2 and k <= {ROWS}") == [(12,)]
    assert sum(len(groups(path)) for path in files(outside)) <= 22


@every_layout
def test_columns_behind_a_partition_column(server, schema, duck, layout):
    """Which is in no data file of a Delta table: columns that a statement assigns are others by number there."""
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in (*layout.properties, ("write.parquet.row-group-limit", str(GROUP))))
    server.sql(f"create table {schema}.t (a int, p int, b int, c text) using {layout.format} partitioned by (p) tblproperties ({properties})")
    server.sql(f"insert into {schema}.t select n, 1, n, 'c' || n from generate_series(1, {ROWS}) as g(n)")
    outside = Outside(server, duck, schema, "t", layout.format)

    def expect(expected: list[tuple], changed: list[set[str]], before: pathlib.Path) -> pathlib.Path:
        assert same(server.sql(f"select a, b, c from {schema}.t where p = 1")) == same(expected)
        names = ["a", "b", "c"]
        assert same(outside.by_pyiceberg(names) if outside.format == "iceberg" else outside.by_deltalake(names)) == same(expected)
        [after] = files(outside)
        assert written_anew(before, after) == changed
        return after

    [file] = files(outside)
    server.sql(f"update {schema}.t set b = -b where a % 50 = 1")
    rows = [(n, -n if n % 50 == 1 else n, f"c{n}") for n in range(1, ROWS + 1)]
    file = expect(rows, [{"b"}] * 10, file)
    # Clauses that assign different columns.
    server.sql(f"merge into {schema}.t t using (values (5), (505), (905)) as s(k) on t.a = s.k "
               "when matched and s.k < 100 then update set c = 'new' when matched and s.k < 600 then update set b = 0, p = 1")
    rows[4], rows[504] = (5, 5, "new"), (505, 0, "c505")
    expect(rows, [{"c"}, *[set()] * 4, {"b"}, *[set()] * 4], file)


@every_layout
def test_a_column_of_all_rows(server, schema, duck, layout):
    outside = fill(server, schema, layout, duck)
    [old] = files(outside)
    rows = rows_of(server, schema)
    server.sql(f"update {schema}.t set flag = not flag")
    check(server, schema, outside, [(*row[:6], not row[6], *row[7:]) for row in rows])
    [new] = files(outside)
    assert written_anew(old, new) == [{"flag"}] * 10
    # Nothing changes at all.
    server.sql(f"update {schema}.t set flag = flag, k = k + 0")
    check(server, schema, outside, [(*row[:6], not row[6], *row[7:]) for row in rows])
    assert written_anew(new, files(outside)[0]) == [set()] * 10


@pytest.mark.parametrize("layout", [V2_COPY, DELTA_COPY], ids=["v2", "delta"])
def test_columns_of_every_type_are_taken_over_or_replaced(server, schema, duck, layout):
    """Each in turn: first all others stay, then only this one does. Zero and minus zero, and nothing and an empty one, differ."""
    values = {
        "numeric(38,9)": ("1.5", "-2"), "real": ("'-0'", "0"), "double precision": ("0", "'-0'"), "bytea": ("'\\x00ff'", "''"), "text": ("''", "null"),
        "timestamptz": ("'2024-06-01 12:00Z'", "'1969-01-01Z'"), "timestamp": ("'2024-06-01 12:00'", "null"), "boolean": ("true", "false"),
        "smallint": ("1", "-1"), "date": ("'2024-02-29'", "'1900-01-01'"), "int[]": ("array[1,null]", "array[]::int[]"), "text[]": ("array['a']", "null"),
    }
    if layout.format == "iceberg":
        values |= {"time": ("'12:00'", "null"), "uuid": ("gen_random_uuid()", "null")}
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in (*layout.properties, ("write.parquet.row-group-limit", str(GROUP))))
    names = [f"c{i}" for i in range(len(values))]
    definitions = ", ".join(f"{name} {type}" for name, type in zip(names, values))
    server.sql(f"create table {schema}.t (k int, {definitions}) using {layout.format} tblproperties ({properties})")
    server.sql(f"insert into {schema}.t select n, {', '.join(f'{first}::{type}' for type, (first, _) in values.items())} from generate_series(1, 300) as g(n)")
    outside = Outside(server, duck, schema, "t", layout.format)
    expected = {row[0]: row for row in rows_of(server, schema)}
    for number, (type, (_, second)) in enumerate(values.items()):
        [old] = files(outside)
        server.sql(f"update {schema}.t set c{number} = {second}::{type} where k in ({101 + number}, 150)")
        [[value]] = server.sql(f"select {second}::{type}")
        for k in (101 + number, 150):
            expected[k] = (*expected[k][:number + 1], value, *expected[k][number + 2:])
        assert same(rows_of(server, schema)) == same(expected.values()), type
        [new] = files(outside)
        anew = [{path.split(".")[0] for path in found} for found in written_anew(old, new)]
        assert anew == [set(), {f"c{number}"}, set()], type
    by_duckdb = outside.readers(["k", *names])["duckdb"]
    shown = [value for value in values if value not in ("time", "uuid", "timestamptz", "int[]", "text[]", "bytea")]
    keep = [0, *(1 + list(values).index(type) for type in shown)]
    assert same([row[i] for i in keep] for row in by_duckdb) == same([row[i] for i in keep] for row in expected.values())


@every_layout
@pytest.mark.parametrize("by", ["", "partitioned by (p)"])
def test_rows_stay_where_others_go(server, schema, duck, layout, by):
    """Of a row group of which a row goes the others stay, updated ones in their places."""
    outside = fill(server, schema, layout, duck, by)
    rows = {row[0]: row for row in rows_of(server, schema)}
    [old] = files(outside)
    server.sql(f"merge into {schema}.t t using (values (150), (151), (552), (555), (560), (999)) as s(k) on t.k = s.k "
               "when matched and s.k in (151, 555) then delete when matched then update set name = 'new', tags = array['x', null]")
    for k in (150, 552, 560, 999):
        rows[k] = (rows[k][0], "new", *rows[k][2:8], ["x", None], rows[k][9])
    del rows[151], rows[555]
    check(server, schema, outside, list(rows.values()))
    [new] = files(outside)
    assert of_arrow(pq.read_table(new, columns=["k"])) == [(k,) for k in rows]
    were, are = columns(old), columns(new)
    changed = [{name.split(".")[0] for name in were[i] if were[i][name] != are[i][name]} for i in (0, 2, 3, 4, 6, 7, 8, 9)]
    assert changed == [*[set()] * 7, {"name", "tags"}]


@every_layout
@pytest.mark.parametrize("by", ["", "partitioned by (p)"])
def test_files_of_other_programs(server, schema, duck, layout, by):
    """Of which no row group is taken over: what is not assigned comes from them."""
    if layout in (V3_COPY, DELTA_TRACKED):
        pytest.skip("neither pyiceberg nor deltalake appends to them")
    outside = fill(server, schema, layout, duck, by)
    append_outside(outside, 500)
    before = rows_of(server, schema)
    assert len(before) == ROWS + 500
    server.sql(f"update {schema}.t set name = 'n' || code where k % 3 = 0")
    expected = [(*row[:1], None if row[7] is None else f"n{row[7]}", *row[2:]) if row[0] % 3 == 0 else row for row in before]
    check(server, schema, outside, expected)
    server.sql(f"merge into {schema}.t t using (select k from {schema}.t where k % 100 < 2) s on t.k = s.k "
               "when matched and s.k % 100 = 0 then delete when matched then update set weight = -s.k, flag = null")
    expected = [(*row[:3], -float(row[0]), *row[4:6], None, *row[7:]) if row[0] % 100 == 1 else row for row in expected if row[0] % 100]
    check(server, schema, outside, expected)


def test_constraints_see_whole_rows(server, schema, duck):
    """Also the values that the statement does not assign, and that are not stored again."""
    outside = fill(server, schema, DELTA_COPY, duck)
    server.sql(f"alter table {schema}.t add constraint small check (code is null or code <= k * 10)")
    before = rows_of(server, schema)
    with pytest.raises(psycopg.errors.CheckViolation) as failure:
        server.sql(f"update {schema}.t set code = 5000 where k in (500, 499)")
    assert "(499, name 499, 124.75" in failure.value.diag.message_detail
    with pytest.raises(psycopg.errors.NotNullViolation):
        server.sql(f"update {schema}.t set k = nullif(k, 700) where k > 600")
    check(server, schema, outside, before)
    assert server.sql(f"update {schema}.t set code = 5000 where k = 500 returning k, name, code") == [(500, "name 500", 5000)]
    check(server, schema, outside, [(*row[:7], 5000, *row[8:]) if row[0] == 500 else row for row in before])


@pytest.mark.parametrize("by", ["", "partitioned by (p)"])
def test_sorted_files_stay_sorted(server, schema, duck, by):
    outside = fill(server, schema, V2_COPY, duck, by + " sorted by (day desc)")
    [old] = files(outside)
    order = [(k,) for k in range(ROWS, 0, -1)]
    assert of_arrow(pq.read_table(old, columns=["k"])) == order
    # What they are sorted by stays: so do their places.
    server.sql(f"update {schema}.t set name = 'new', day = day + 0 where k in (150, 850)")
    [new] = files(outside)
    assert of_arrow(pq.read_table(new, columns=["k"])) == order
    assert written_anew(old, new) == [{"name"} if i in (1, 8) else set() for i in range(10)]
    # It does not, of one: the rows of its row group go where they belong.
    server.sql(f"update {schema}.t set day = case k when 151 then date '2000-01-01' else day end, name = 'newer' where k in (149, 151, 849)")
    found = sorted(files(outside), key=lambda path: path.stat().st_size)
    assert [of_arrow(pq.read_table(path, columns=["k"])) for path in found] == [[(149,), (151,)], [(k,) for k in range(ROWS, 0, -1) if k not in (149, 151)]]
    assert [rows for rows, _ in groups(found[1])] == [*[GROUP] * 8, GROUP - 2, GROUP]
    assert server.sql(f"select k, name from {schema}.t where name like 'new%' order by k") == [
        (149, "newer"), (150, "new"), (151, "newer"), (849, "newer"), (850, "new")]
    orders = [task.file.sort_order_id for task in outside.iceberg().scan().plan_files()]
    assert orders == [outside.iceberg().sort_order().order_id] * 2


@every_layout
def test_many_changes_leave_no_crumbs(server, schema, duck, layout):
    outside = fill(server, schema, layout, duck)
    rows = {row[0]: row for row in rows_of(server, schema)}
    for number in range(30):
        k = (number * 37) % ROWS + 1
        server.sql(f"update {schema}.t set code = {number} where k = {k}")
        rows[k] = (*rows[k][:7], number, *rows[k][8:])
    check(server, schema, outside, list(rows.values()))
    [last] = files(outside)
    assert len(groups(last)) <= 2 * ROWS // GROUP


@every_layout
def test_new_rows_in_each_of_many_changes_leave_no_crumbs(server, schema, duck, layout):
    outside = fill(server, schema, layout, duck)
    rows = {row[0]: row for row in rows_of(server, schema)}
    for number in range(1, 31):
        k = (number * 37) % ROWS + 1
        server.sql(f"merge into {schema}.t t using (values ({k}, {number}), ({ROWS + number}, {number})) s (k, code) on t.k = s.k "
                   "when matched then update set code = s.code when not matched then insert (k, code, p) values (s.k, s.code, 1)")
        rows[k] = (*rows[k][:7], number, *rows[k][8:])
        rows[ROWS + number] = (ROWS + number, *[None] * 6, number, None, 1)
    check(server, schema, outside, list(rows.values()))
    assert sum(len(groups(path)) for path in files(outside)) <= 13


@every_layout
def test_files_of_another_schema_are_written_anew(server, schema, duck, layout):
    outside = fill(server, schema, layout, duck)
    [old] = files(outside)
    before = rows_of(server, schema)
    server.sql(f"alter table {schema}.t add column extra text")
    server.sql(f"update {schema}.t set extra = 'x' where k = 5")
    assert same(rows_of(server, schema)) == same((*row, "x" if row[0] == 5 else None) for row in before)
    [new] = files(outside)
    assert not set(groups(old)) & set(groups(new))
    # The next change finds files as they are written now.
    server.sql(f"update {schema}.t set extra = 'y' where k = 999")
    [last] = files(outside)
    assert len(set(groups(new)) & set(groups(last))) >= 8


def test_bloom_filters_are_kept(server, schema, duck):
    outside = fill(server, schema, V2_COPY, duck, more=", 'write.parquet.bloom-filter-enabled.column.k' = 'true'")
    server.sql(f"update {schema}.t set code = 0 where k = 5")
    [new] = files(outside)
    metadata = pq.ParquetFile(new).metadata
    assert len(groups(new)) == 10
    assert duck.sql(f"select count(*) from parquet_metadata('{new}') where path_in_schema = 'k' and bloom_filter_offset is null").fetchall() == [(0,)]
    assert metadata.num_rows == ROWS
