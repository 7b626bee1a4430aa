"""Wrong statements and a world that fails: the right SQLSTATE, nothing changed, nothing left over."""

import contextlib
import pathlib
import shutil
import subprocess
import time

import psycopg
import pytest

from conftest import running
from ledger import COLUMNS, Ledger, tuples
from ledger import create as create_ledger_table
from outside import Outside, compare, multiset
from shape import DELTA_COPY, DELTA_MARK, V2_COPY, V2_MARK, V3_MARK, Layout

LAYOUTS = {"v2_copy": V2_COPY, "v2_mark": V2_MARK, "v3_mark": V3_MARK, "delta_copy": DELTA_COPY, "delta_mark": DELTA_MARK}
def on(*names: str):
    return pytest.mark.parametrize("layout", [LAYOUTS[name] for name in names], ids=names)


every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)

# Statement and the SQLSTATEs that Postgres, or the nearest thing it has, gives. `t` has columns
# id bigint not null, i int, n numeric(5,2), s text, d date, b boolean, p text (the partition).
MISTAKES = {
    # types
    "text literal for an integer": ("update t set i = 'abc'", "22P02"),
    "text literal for a date": ("update t set d = 'not a date'", "22007 22P02"),
    "text column for an integer": ("update t set i = s", "42804"),
    "date column for an integer": ("update t set i = d", "42804"),
    "boolean for an integer": ("update t set i = b", "42804"),
    "integer for a date in MERGE": ("merge into t using u on t.id = u.id when matched then update set d = u.i", "42804"),
    "text for an integer in MERGE's INSERT": ("merge into t using u on t.id = u.id + 100 when not matched then insert (id, i) values (u.id, u.s)", "42804"),
    "integer as WHERE of UPDATE": ("update t set i = 1 where i", "42804"),
    "integer as WHERE of DELETE": ("delete from t where i", "42804"),
    "integer as ON of MERGE": ("merge into t using u on t.i when matched then delete", "42804"),
    "integer as condition of a clause": ("merge into t using u on t.id = u.id when matched and u.i then delete", "42804"),
    "text column overwriting an integer": ("insert overwrite t select id, s, n, s, d, b, p from t", "42804"),
    "text that is no number, at run time": ("update t set i = cast(s as int)", "22P02"),
    "number too large for numeric(5,2)": ("update t set n = 1000 where id = 3", "22003"),
    "number too large for int": ("update t set i = 3000000000 where id = 3", "22003"),
    "overflow": ("update t set i = i + 2147483647 where id = 3", "22003"),
    "division by zero in the last row": ("update t set i = 10 / (i - 3)", "22012"),
    "division by zero in DELETE": ("delete from t where 10 / (i - 3) > 100", "22012"),
    "division by zero in MERGE": ("merge into t using u on t.id = u.id when matched then update set i = 10 / (t.i - 3)", "22012"),
    # required columns
    "NULL for a required column": ("update t set id = null", "23502"),
    "NULL for a required column, in one row": ("update t set id = case when id = 3 then null else id end", "23502"),
    "NULL inserted by MERGE": ("merge into t using u on t.id = u.id + 100 when not matched then insert (id, i) values (null, 1)", "23502"),
    "MERGE's INSERT leaves out a required column": ("merge into t using u on t.id = u.id + 100 when not matched then insert (i) values (1)", "23502"),
    "NULL by an updating MERGE": ("merge into t using u on t.id = u.id when matched then update set id = null", "23502"),
    "NULL by INSERT OVERWRITE": ("insert overwrite t select null, i, n, s, d, b, p from t", "23502"),
    "NULL by REPLACE WHERE": ("insert into t replace where p = 'a' select cast(null as bigint), i, n, s, d, b, p from t where p = 'a'", "23502"),
    # names
    "unknown target": ("update nope set i = 1", "42P01"),
    "unknown target of DELETE": ("delete from nope", "42P01"),
    "unknown target of MERGE": ("merge into nope using u on true when matched then delete", "42P01"),
    "unknown target of TRUNCATE": ("truncate nope", "42P01"),
    "unknown target of INSERT OVERWRITE": ("insert overwrite nope select 1", "42P01"),
    "unknown source": ("merge into t using nope on true when matched then delete", "42P01"),
    "unknown column set": ("update t set nope = 1", "42703"),
    "unknown column read": ("update t set i = nope", "42703"),
    "unknown column in WHERE": ("delete from t where nope = 1", "42703"),
    "unknown column set by MERGE": ("merge into t using u on t.id = u.id when matched then update set nope = 1", "42703"),
    "unknown column inserted by MERGE": ("merge into t using u on t.id = u.id when not matched then insert (nope) values (1)", "42703"),
    "unknown column in ON": ("merge into t using u on t.id = u.nope when matched then delete", "42703"),
    "unknown column in a condition": ("merge into t using u on t.id = u.id when matched and nope then delete", "42703"),
    "target's column in an INSERT of MERGE": ("merge into t using u on t.id = u.id + 100 when not matched then insert (id) values (t.id)", "42703 42P01 42P10"),
    "source's column in NOT MATCHED BY SOURCE": ("merge into t using u on t.id = u.id when not matched by source then update set i = u.i", "42703 42P01 42P10"),
    "unknown column in REPLACE WHERE": ("insert into t replace where nope = 1 select * from t", "42703"),
    "unknown column in PARTITION": ("insert overwrite table t partition (nope = 'x') select id, i, n, s, d, b from t", "42703"),
    "column in PARTITION that is no partition": ("insert overwrite table t partition (s = 'x') select id, i, n, d, b, p from t", "42703 42P16 22023 42P10 0A000"),
    "ambiguous column": ("merge into t using u on t.id = u.id when matched then update set i = id", "42702"),
    "ambiguous column in UPDATE FROM": ("update t set i = s from u where t.id = u.id", "42702"),
    # shape
    "column set twice": ("update t set i = 1, i = 2", "42601 42701"),
    "column set twice by MERGE": ("merge into t using u on t.id = u.id when matched then update set i = 1, i = 2", "42601 42701"),
    "column inserted twice by MERGE": ("merge into t using u on t.id = u.id when not matched then insert (id, id) values (1, 2)", "42701 42601"),
    "too few values in MERGE": ("merge into t using u on t.id = u.id when not matched then insert (id, i) values (1)", "42601"),
    "too many values in MERGE": ("merge into t using u on t.id = u.id when not matched then insert (id) values (1, 2)", "42601"),
    "too many columns in INSERT OVERWRITE": ("insert overwrite t select 1, 2, 3, 's', date '2024-01-01', true, 'p', 8", "42601"),
    "MERGE without a clause": ("merge into t using u on t.id = u.id", "42601"),
    "INSERT for matched rows": ("merge into t using u on t.id = u.id when matched then insert (id) values (1)", "42601"),
    "DELETE for rows that are not there": ("merge into t using u on t.id = u.id when not matched then delete", "42601"),
    "a clause after an unconditional one": ("merge into t using u on t.id = u.id when matched then delete when matched then update set i = 1", "42601"),
    "same alias twice": ("merge into t a using u a on true when matched then delete", "42712"),
    "aggregate in WHERE": ("update t set i = 1 where max(i) > 1", "42803"),
    "aggregate in SET": ("update t set i = max(i)", "42803"),
    "window function in WHERE": ("delete from t where row_number() over () > 1", "42P20"),
    "system relation as target": ("delete from pg_catalog.pg_class", "42501 42809 0A000"),
    # values found out late
    "a target row hit twice": ("merge into t using (select * from u union all select * from u) b on t.id = b.id when matched then update set i = b.i", "21000"),
    "a target row deleted twice": ("merge into t using (select * from u union all select * from u) b on t.id = b.id when matched then delete", "21000"),
    "a subquery with two rows": ("update t set i = (select i from u)", "21000"),
    "new rows outside REPLACE WHERE": ("insert into t replace where p = 'a' select * from t", "23514"),
}


def create(server, schema: str, layout: Layout):
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in layout.properties)
    clause = f" tblproperties ({properties})" if properties else ""
    server.sql(f"create table {schema}.t (id bigint not null, i int, n numeric(5,2), s text, d date, b boolean, p text) "
               f"using {layout.format} partitioned by (p){clause}")
    server.sql(f"create table {schema}.u (id bigint, i int, s text)")
    server.sql(f"insert into {schema}.t values (1, 1, 1.5, 'x', date '2024-01-01', true, 'a'), (2, 2, 2.5, 'y', date '2024-01-02', false, 'a')")
    server.sql(f"insert into {schema}.t values (3, 3, 3.5, 'z', date '2024-01-03', null, 'b')")
    server.sql(f"insert into {schema}.u values (1, 10, 'one'), (2, 20, 'two'), (3, 30, 'three')")


def files(folder: pathlib.Path) -> set[pathlib.Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def left_over(folder: pathlib.Path, there: set[pathlib.Path]) -> set[pathlib.Path]:
    """New files that stay: those of a failed statement go when the last upload on its way has ended."""
    deadline = time.monotonic() + 20
    while (left := files(folder) - there) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


@pytest.mark.parametrize("layout", [V2_MARK, DELTA_COPY], ids=["iceberg", "delta"])
def test_mistakes(server, schema, layout):
    create(server, schema, layout)
    before, there, wrong = server.sql(f"select * from {schema}.t order by id"), files(server.warehouse / schema), []
    with server.connect() as connection:
        connection.execute(f"set search_path to {schema}")
        for name, (statement, codes) in MISTAKES.items():
            try:
                wrong.append(f"{name}: {connection.execute(statement).statusmessage} instead of {codes}: {statement}")
            except psycopg.Error as error:
                if error.sqlstate not in codes.split():
                    wrong.append(f"{name}: {error.sqlstate} {str(error).splitlines()[0]} instead of {codes}: {statement}")
            if connection.execute("select * from t order by id").fetchall() != before:
                wrong.append(f"{name}: changed the table: {statement}")
                break
    left = left_over(server.warehouse / schema, there)
    assert not wrong and not left, "\n".join([*wrong, *map(str, left)])


MILLION = 1_000_000
FAILING_LATE = {
    "INSERT": (f"insert into {{t}} select x, case when x = {MILLION} then null else 1 end, x % 4 from generate_series(1, {MILLION}) as g(x)", "23502"),
    "INSERT OVERWRITE": (f"insert overwrite {{t}} select x, case when x = {MILLION} then null else 1 end, x % 4 from generate_series(1, {MILLION}) as g(x)", "23502"),
    "UPDATE": (f"update {{t}} set v = 1 / (id - {MILLION})", "22012"),
    "UPDATE NULL": (f"update {{t}} set v = case when id = {MILLION} then null else 2 end", "23502"),
    "DELETE": (f"delete from {{t}} where 1 / (id - {MILLION}) = 0", "22012"),
    "MERGE": (f"merge into {{t}} a using (select x as id from generate_series(1, {MILLION}) as g(x)) b on a.id = b.id "
              f"when matched then update set v = case when b.id = {MILLION} then null else 3 end", "23502"),
    "MERGE hitting twice": (f"merge into {{t}} a using (select x as id from generate_series(1, {MILLION}) as g(x) union all select {MILLION}) b "
                            "on a.id = b.id when matched then update set v = 3", "21000"),
    "REPLACE WHERE": (f"insert into {{t}} replace where id <= {MILLION} select x, 1, x % 4 from generate_series(1, {MILLION + 1}) as g(x)", "23514"),
}


@on("v2_copy", "v3_mark", "delta_mark")
def test_a_failing_row_at_the_end_of_a_million(server, schema, layout):
    """Nothing is changed and no file is left over."""
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in layout.properties)
    clause = f" tblproperties ({properties})" if properties else ""
    table = f"{schema}.t"
    server.sql(f"create table {table} (id bigint, v bigint not null, p bigint) using {layout.format} partitioned by (p){clause}")
    server.sql(f"insert into {table} select x, 0, x % 4 from generate_series(1, {MILLION}) as g(x)")
    totals = f"select count(*), count(distinct id), cast(sum(v) as bigint) from {table}"
    there, wrong = files(server.warehouse / schema), []
    for name, (statement, code) in FAILING_LATE.items():
        with pytest.raises(psycopg.Error) as error:
            server.sql(statement.format(t=table))
        if error.value.sqlstate != code:
            wrong.append(f"{name}: {error.value.sqlstate} {error.value} instead of {code}")
        if server.sql(totals) != [(MILLION, MILLION, 0)]:
            wrong.append(f"{name} changed the table: {server.sql(totals)}")
        if left := left_over(server.warehouse / schema, there):
            wrong.append(f"{name} left {len(left)} files, such as {sorted(left)[0]}")
            there |= left
    assert not wrong, "\n".join(wrong)


@every_layout
def test_overwrite_by_a_query_that_reads_the_table(server, schema, layout, duck):
    create(server, schema, layout)
    table = f"{schema}.t"
    server.sql(f"insert overwrite {table} select id + 10, i * 2, n, s, d, b, p from {table} where p = 'a'")
    assert server.sql(f"select id, i, p from {table} order by id") == [(3, 3, "b"), (11, 2, "a"), (12, 4, "a")]
    server.sql(f"insert overwrite {table} select a.id, a.i + b.i, a.n, a.s, a.d, a.b, a.p from {table} a join {table} b on true where a.id = 3 and b.id = 11")
    expected = [(3, 5, "b"), (11, 2, "a"), (12, 4, "a")]
    assert server.sql(f"select id, i, p from {table} order by id") == expected
    for reader, rows in Outside(server, duck, schema, "t", layout.format).readers(["id", "i", "p"]).items():
        assert sorted(rows) == expected, reader


@contextlib.contextmanager
def small_disk(folder: pathlib.Path, size: str):
    """A file system of that size at the folder; skips where mounting is not allowed."""
    folder.mkdir()
    if not shutil.which("mount") or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def start_ledger(server, layout: Layout) -> Ledger:
    server.sql(create_ledger_table("t", layout))
    ledger = Ledger("t", 3)
    for _ in range(3):
        sql, ledger.rows = ledger.next()
        server.sql(sql)
    return ledger


def holds(server, duck, ledger: Ledger, layout: Layout):
    expected = multiset(tuples(ledger.rows))
    compare("Auric", multiset(server.sql(f"select {', '.join(COLUMNS)} from t")), expected, "afterwards")
    for reader, rows in Outside(server, duck, "public", "t", layout.format).readers(COLUMNS).items():
        compare(reader, multiset(rows), expected, "at the end")


BIG = "select x, cast(x % 4 as int), cast(x as bigint) * 7919 from generate_series(1, 5000000) as g(x)"


@on("v3_mark", "delta_copy")
def test_disk_full(layout, tmp_path, duck):
    with small_disk(tmp_path / "small", "12m") as disk, running(disk) as server:
        ledger = start_ledger(server, layout)
        there = files(server.warehouse)
        for statement in (f"insert into t {BIG}", f"insert overwrite t {BIG}",
                          f"merge into t a using ({BIG}) as b(id, part, v) on a.id = b.id when matched then update set v = b.v "
                          "when not matched then insert (id, part, v) values (b.id, b.part, b.v)"):
            with pytest.raises(psycopg.Error) as error:
                server.sql(statement)
            assert error.value.sqlstate in ("53100", "58030"), error.value
            holds(server, duck, ledger, layout)
            assert not left_over(server.warehouse, there)
        sql, ledger.rows = ledger.merge()
        server.sql(sql)
        holds(server, duck, ledger, layout)


@on("v2_mark", "delta_mark")
def test_read_only_warehouse(layout, tmp_path, duck):
    """The data cannot be written any more: statements fail, reading goes on, and so does writing afterwards."""
    with small_disk(tmp_path / "disk", "64m") as disk, running(disk / "data") as server:
        ledger = start_ledger(server, layout)
        there = files(server.warehouse)
        # The catalog stays writable: only the table's folder is closed.
        folder = Outside(server, duck, "public", "t", layout.format).folder
        subprocess.run(["mount", "--bind", folder, folder], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        try:
            for statement in ("update t set v = 0", "delete from t where id % 2 = 0", "insert overwrite t select * from t", "truncate t",
                              "merge into t using (select 1 as id) b on t.id = b.id when not matched by source then delete"):
                with pytest.raises(psycopg.Error) as error:
                    server.sql(statement)
                assert error.value.sqlstate in ("58030", "42501", "25006"), (statement, error.value)
                holds(server, duck, ledger, layout)
        finally:
            subprocess.run(["umount", folder], check=True)
        assert files(server.warehouse) == there
        sql, ledger.rows = ledger.merge()
        server.sql(sql)
        holds(server, duck, ledger, layout)
