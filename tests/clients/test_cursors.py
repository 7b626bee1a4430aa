"""DECLARE, FETCH, MOVE and CLOSE as PostgreSQL does them. With AURIC_TEST_POSTGRES the same tests run against PostgreSQL."""

import random

import psycopg
import pytest
from psycopg import pq


def run(connection, text):
    """`TAG: first column of each row` of one statement, or its SQLSTATE."""
    result = connection.pgconn.exec_(text.encode())
    if result.status == pq.ExecStatus.FATAL_ERROR:
        return result.error_field(pq.DiagnosticField.SQLSTATE).decode()
    values = [result.get_value(row, 0) for row in range(result.ntuples)]
    shown = ",".join("∅" if value is None else value.decode() for value in values)
    tag = result.command_status.decode()
    return f"{tag}: {shown}" if result.status == pq.ExecStatus.TUPLES_OK else tag


SERIES = "select i from generate_series(1, {n}) as g(i) order by i"

SCRIPTS = {
    "every movement": (f"begin; declare c scroll cursor for {SERIES.format(n=10)}", [
        ("fetch c", "FETCH 1: 1"), ("fetch next c", "FETCH 1: 2"), ("fetch 3 from c", "FETCH 3: 3,4,5"),
        ("fetch prior in c", "FETCH 1: 4"), ("fetch backward 2 from c", "FETCH 2: 3,2"), ("fetch 0 from c", "FETCH 1: 2"),
        ("fetch relative 0 from c", "FETCH 1: 2"), ("move 0 in c", "MOVE 1"), ("fetch relative 3 from c", "FETCH 1: 5"),
        ("fetch relative -2 from c", "FETCH 1: 3"), ("fetch absolute 7 from c", "FETCH 1: 7"), ("fetch absolute -2 from c", "FETCH 1: 9"),
        ("fetch absolute 7 from c", "FETCH 1: 7"), ("fetch first from c", "FETCH 1: 1"), ("fetch last from c", "FETCH 1: 10"),
        ("fetch c", "FETCH 0: "), ("fetch c", "FETCH 0: "), ("fetch 0 from c", "FETCH 0: "), ("move 0 in c", "MOVE 0"),
        ("fetch prior c", "FETCH 1: 10"), ("fetch forward all in c", "FETCH 0: "), ("fetch backward 3 in c", "FETCH 3: 10,9,8"),
        ("move 1 in c", "MOVE 1"), ("move all in c", "MOVE 1"), ("move backward all in c", "MOVE 10"), ("fetch prior c", "FETCH 0: "),
        ("fetch 0 c", "FETCH 0: "), ("fetch -1 c", "FETCH 0: "), ("fetch forward c", "FETCH 1: 1"), ("fetch forward 2 c", "FETCH 2: 2,3"),
        ("fetch forward -1 c", "FETCH 1: 2"), ("fetch backward -1 c", "FETCH 1: 3"), ("fetch backward c", "FETCH 1: 2"),
        ("fetch absolute 11 c", "FETCH 0: "), ("fetch prior c", "FETCH 1: 10"), ("fetch absolute -11 c", "FETCH 0: "), ("fetch c", "FETCH 1: 1"),
        ("fetch absolute 0 c", "FETCH 0: "), ("fetch next c", "FETCH 1: 1"), ("move absolute 5 c", "MOVE 1"), ("fetch c", "FETCH 1: 6"),
        ("move absolute 50 c", "MOVE 0"), ("fetch backward all c", "FETCH 10: 10,9,8,7,6,5,4,3,2,1"), ("move forward 4 c", "MOVE 4"),
        ("move backward 2 c", "MOVE 2"), ("fetch c", "FETCH 1: 3"), ("move relative 100 c", "MOVE 0"), ("move relative -1 c", "MOVE 1"),
        ("fetch 0 c", "FETCH 1: 10"), ("move backward 100 c", "MOVE 9"), ("fetch all c", "FETCH 10: 1,2,3,4,5,6,7,8,9,10"),
        ("move last c", "MOVE 1"), ("move first c", "MOVE 1"), ("fetch backward 0 c", "FETCH 1: 1"), ("close c", "CLOSE CURSOR"),
    ]),
    "no rows": ("begin; declare c scroll cursor for select 1 where false", [
        ("fetch c", "FETCH 0: "), ("fetch prior c", "FETCH 0: "), ("fetch last c", "FETCH 0: "), ("move all c", "MOVE 0"),
        ("move backward all c", "MOVE 0"), ("fetch absolute 1 c", "FETCH 0: "), ("fetch absolute -1 c", "FETCH 0: "),
    ]),
    "forward only": (f"begin; declare c no scroll cursor for {SERIES.format(n=5)}", [
        ("fetch 2 c", "FETCH 2: 1,2"), ("fetch absolute 4 c", "FETCH 1: 4"), ("move 0 c", "MOVE 1"), ("fetch relative 1 c", "FETCH 1: 5"),
        ("fetch all c", "FETCH 0: "), ("fetch forward 0 c", "FETCH 0: "), ("savepoint s", "SAVEPOINT"), ("fetch prior c", "55000"), ("rollback to s", "ROLLBACK"),
    ]),
    "forward only: first": (f"begin; declare c no scroll cursor for {SERIES.format(n=5)}", [
        ("fetch first c", "FETCH 1: 1"), ("fetch c", "FETCH 1: 2"), ("fetch first c", "55000"), ("fetch c", "25P02"), ("rollback", "ROLLBACK"),
    ]),
    "forward only: the same row": (f"begin; declare c no scroll cursor for {SERIES.format(n=5)}", [
        ("fetch absolute 0 c", "FETCH 0: "), ("fetch c", "FETCH 1: 1"), ("fetch 0 c", "55000"),
    ]),
    "forward only: last": (f"begin; declare c no scroll cursor for {SERIES.format(n=5)}", [("fetch last c", "55000")]),
    "forward only: back": (f"begin; declare c no scroll cursor for {SERIES.format(n=5)}", [("move c", "MOVE 1"), ("move backward all c", "55000")]),
    "not said": (f"begin; declare c cursor for {SERIES.format(n=5)}", [
        ("fetch 3 c", "FETCH 3: 1,2,3"), ("fetch prior c", "FETCH 1: 2"), ("fetch last c", "FETCH 1: 5"), ("fetch first c", "FETCH 1: 1"),
    ]),
    "with hold": (f"begin; declare c scroll cursor with hold for {SERIES.format(n=5)}", [
        ("fetch 2 c", "FETCH 2: 1,2"), ("commit", "COMMIT"), ("fetch c", "FETCH 1: 3"), ("fetch backward all c", "FETCH 2: 2,1"),
        ("begin", "BEGIN"), ("fetch 2 c", "FETCH 2: 1,2"), ("rollback", "ROLLBACK"), ("fetch c", "FETCH 1: 3"),
        ("select 1/0", "22012"), ("fetch last c", "FETCH 1: 5"), ("close c", "CLOSE CURSOR"), ("fetch c", "34000"),
    ]),
    "with hold: without scroll": (f"declare c cursor with hold for {SERIES.format(n=5)}", [
        ("fetch 2 c", "FETCH 2: 1,2"), ("fetch all c", "FETCH 3: 3,4,5"), ("close all", "CLOSE CURSOR ALL"), ("fetch c", "34000"),
    ]),
    "with hold: rolled back": (f"begin; declare c cursor with hold for {SERIES.format(n=5)}", [
        ("fetch c", "FETCH 1: 1"), ("rollback", "ROLLBACK"), ("fetch c", "34000"),
    ]),
    "savepoints": ("begin; savepoint a; declare c scroll cursor with hold for select 1; savepoint b; declare d scroll cursor for select 2", [
        ("fetch d", "FETCH 1: 2"), ("rollback to b", "ROLLBACK"), ("fetch c", "FETCH 1: 1"), ("release a", "RELEASE"), ("savepoint a", "SAVEPOINT"),
        ("rollback to a", "ROLLBACK"), ("fetch first c", "FETCH 1: 1"), ("fetch d", "34000"), ("rollback", "ROLLBACK"), ("fetch c", "34000"),
    ]),
    "names": ("begin; declare next scroll cursor for select 1", [
        ("fetch next", "FETCH 1: 1"), ("fetch prior from next", "FETCH 0: "), ("fetch from next", "FETCH 1: 1"), ("fetch all in next", "FETCH 0: "),
        ("savepoint s", "SAVEPOINT"), ("declare next cursor for select 2", "42P03"), ("rollback to s", "ROLLBACK"),
        ("declare \"A b\" cursor for select 3", "DECLARE CURSOR"), ("move \"A b\"", "MOVE 1"), ("close \"A b\"", "CLOSE CURSOR"),
        ("close \"A b\"", "34000"), ("fetch next", "25P02"), ("rollback", "ROLLBACK"), ("fetch next", "34000"),
        ("move next", "34000"), ("declare c cursor for select 1", "25P01"), ("close all", "CLOSE CURSOR ALL"),
    ]),
    "errors of the query": ("begin; declare c scroll cursor for select 10 / (3 - i) from generate_series(1, 5) as g(i)", [
        ("savepoint s", "SAVEPOINT"), ("fetch all c", "22012"), ("rollback to s", "ROLLBACK"), ("fetch c", "55000"), ("rollback", "ROLLBACK"),
    ]),
    "syntax": ("begin", [("fetch absolute c", "42601"), ("rollback", "ROLLBACK"), ("declare c scroll no scroll cursor for select 1", "42601")]),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(server, name):
    before, steps = SCRIPTS[name]
    with server.connect() as connection:
        connection.execute(before)
        found = [(text, run(connection, text)) for text, _ in steps]
    if "syntax" == name:
        # PostgreSQL knows a code of its own for the last.
        found = [(text, "42601" if code == "42P11" else code) for text, code in found]
    assert found == steps


def model(position: int, rows: int, movement: str, count: int | None) -> tuple[int, list[int]]:
    """Where a scrolling cursor over 1..rows stands after a FETCH, and what that gives. Behind the last row is rows + 1."""
    if movement in ("forward", "backward") and count is not None and count < 0:
        movement, count = "backward" if movement == "forward" else "forward", -count
    if movement == "relative" and count == 0 or movement in ("forward", "backward") and count == 0:
        return position, [position] if 1 <= position <= rows else []
    if movement == "forward":
        end = rows + 1 if count is None else min(position + count, rows + 1)
        return end, [row for row in range(position + 1, end + 1) if row <= rows]
    if movement == "backward":
        end = 0 if count is None else max(position - count, 0)
        return end, [row for row in range(position - 1, end - 1, -1) if row >= 1]
    target = position + count if movement == "relative" else count if count >= 0 else rows + 1 + count
    target = max(0, min(target, rows + 1))
    return target, [target] if 1 <= target <= rows else []


@pytest.mark.parametrize("rows", [1, 7, 25000])
def test_any_sequence_of_movements(server, rows):
    chosen = random.Random(rows)
    with server.connect() as connection:
        connection.execute(f"begin; declare c scroll cursor for {SERIES.format(n=rows)}")
        position = 0
        for _ in range(150):
            movement = chosen.choice(["forward", "backward", "absolute", "relative"])
            span = chosen.choice([3, rows + 2])
            count = chosen.randint(-span, span)
            if movement in ("forward", "backward") and chosen.random() < 0.1:
                count = None
            verb = chosen.choice(["fetch", "fetch", "move"])
            position, expected = model(position, rows, movement, count)
            text = f"{verb} {movement} {'all' if count is None else count} from c"
            shown = f"FETCH {len(expected)}: {','.join(map(str, expected))}" if verb == "fetch" else f"MOVE {len(expected)}"
            assert run(connection, text) == shown, text


def test_pg_cursors(server):
    with server.connect() as connection:
        connection.execute("begin")
        assert connection.execute("select count(*) from pg_cursors").fetchone() == (0,)
        connection.execute("declare a scroll cursor for select 1 as x")
        connection.execute("declare b binary no scroll cursor with hold for select 2 as y")
        listed = "select name, statement, is_holdable, is_binary, is_scrollable, creation_time = now() from pg_cursors order by name"
        assert connection.execute(listed).fetchall() == [
            ("a", "declare a scroll cursor for select 1 as x", False, False, True, False),
            ("b", "declare b binary no scroll cursor with hold for select 2 as y", True, True, False, False),
        ]
        connection.execute("commit")
        assert connection.execute("select name from pg_cursors").fetchall() == [("b",)]
        connection.execute("close all")
        assert connection.execute("select name from pg_cursors").fetchall() == []


def test_binary_cursors_give_binary_rows(server):
    with server.connect() as connection:
        connection.execute("begin; declare c binary scroll cursor for select 258::int4 as x, 'ä' as t")
        result = connection.pgconn.exec_(b"fetch c")
        assert (result.fformat(0), result.get_value(0, 0), result.get_value(0, 1)) == (1, b"\x00\x00\x01\x02", "ä".encode())
        # The extended protocol's own formats win.
        result = connection.pgconn.exec_params(b"fetch prior c", [], result_format=0)
        result = connection.pgconn.exec_params(b"fetch c", [], result_format=0)
        assert (result.fformat(0), result.get_value(0, 0)) == (0, b"258")


def test_cursors_with_parameters(server):
    with server.connect(autocommit=False) as connection:
        with connection.cursor(name="c", scrollable=True) as cursor:
            cursor.execute("select i, %s || i::text from generate_series(1, %s::int) as g(i) order by i", ("n", 5))
            assert cursor.fetchone() == (1, "n1")
            assert cursor.fetchall() == [(i, f"n{i}") for i in range(2, 6)]
            cursor.scroll(-2)
            assert cursor.fetchmany(1) == [(5, "n5")]
            cursor.scroll(1, mode="absolute")
            assert cursor.fetchmany(1) == [(2, "n2")]


def test_large_scrolling_cursors(server):
    """More rows than a cursor keeps in memory: they go to disk and come back."""
    rows = 1_500_000
    with server.connect() as connection:
        query = f"select i, repeat('x', 60) || i::text from generate_series(1, {rows}) as g(i) order by i"
        connection.execute(f"begin; declare c scroll cursor for {query}")
        assert run(connection, "move all c") == f"MOVE {rows}"
        for row in (1, rows, 3, rows // 2, rows - 1, 2):
            assert connection.execute(f"fetch absolute {row} c").fetchall() == [(row, "x" * 60 + str(row))]
        assert connection.execute("fetch 3 c").fetchall() == [(row, "x" * 60 + str(row)) for row in (3, 4, 5)]
        connection.execute("fetch last c")
        assert [row for row, _ in connection.execute("fetch backward 3 c").fetchall()] == [rows - 1, rows - 2, rows - 3]
        connection.execute("rollback")


def test_cursors_that_say_nothing_scroll_while_they_are_small(server):
    with server.connect() as connection:
        connection.execute("begin; declare c cursor for select i, repeat('x', 100) from generate_series(1, 400000) as g(i) order by i")
        assert run(connection, "fetch 2 c") == "FETCH 2: 1,2"
        assert run(connection, "fetch prior c") == "FETCH 1: 1"
        assert run(connection, "move 399998 c") == "MOVE 399998"
        assert run(connection, "fetch 5 c") == "FETCH 1: 400000"


def test_a_prepared_fetch_is_of_the_cursor_that_is_there(server):
    """Prepared for one cursor, run for another of that name with other columns."""
    with server.connect() as connection:
        for columns in ("i", "i, 'x' || i", "i, i, i", "i"):
            with connection.transaction():
                connection.execute(f"declare c cursor for select {columns} from generate_series(1, 3) as g(i) order by 1")
                found = connection.execute("fetch 2 from c", prepare=True)
                assert len(found.description) == columns.count(",") + 1 and [row[0] for row in found.fetchall()] == [1, 2]
