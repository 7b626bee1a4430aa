"""The server is killed at random times and at every failure point: afterwards each table is exactly
as before or after the statement in flight, and nothing acknowledged is missing or doubled.

Hundreds of runs: `AURIC_CRASH_RUNS=300 python -m pytest tests/clients/dml/test_crash.py`."""

import os
import random
import threading

import psycopg
import pytest

from conftest import running
from ledger import COLUMNS, Ledger, create, tuples
from outside import Outside, compare, multiset
from shape import DELTA_COPY, DELTA_MARK, V2_COPY, V2_MARK, V3_MARK, Layout
from test_serving import until

RUNS = int(os.environ.get("AURIC_CRASH_RUNS", "8"))
SEED = int(os.environ.get("AURIC_CRASH_SEED", "1"))
LAYOUTS = {"v2_copy": V2_COPY, "v2_mark": V2_MARK, "v3_mark": V3_MARK, "delta_copy": DELTA_COPY, "delta_mark": DELTA_MARK}
ALL, MARKING = set(LAYOUTS), {"v2_mark", "v3_mark", "delta_mark"}
ICEBERG, DELTA = {"v2_copy", "v2_mark", "v3_mark"}, {"delta_copy", "delta_mark"}
# Where a crash is asked for (`catalog/src/failpoint.rs`), and the tables whose statements pass there.
FAILPOINTS = {
    "write::before-file": ALL, "write::after-file": ALL, "write::before-deletes": MARKING, "write::after-deletes": MARKING,
    "commit::before-attempt": ALL, "iceberg::before-manifests": ICEBERG, "iceberg::before-metadata": ICEBERG,
    "iceberg::before-swap": ICEBERG, "delta::before-log": DELTA, "commit::after-attempt": ALL, "commit::before-cleanup": ALL,
}
# Passed only by a statement that fails.
WHILE_FAILING = {"commit::before-cleanup": "commit::before-attempt"}
# More statements than any failure point lets pass.
ENOUGH = 40


class Table:
    """A table with its ledger, and the statement whose outcome is not known."""

    def __init__(self, name: str, layout: Layout, seed: int):
        self.name, self.layout = name, layout
        self.ledger = Ledger(name, seed)
        self.in_flight: str | None = None
        self.after: dict | None = None
        self.acknowledged = 0

    def step(self, connection: psycopg.Connection):
        """Runs one statement; raises when the server is gone, leaving it in flight."""
        self.in_flight, self.after = self.ledger.next()
        connection.execute(self.in_flight)
        self.ledger.rows, self.in_flight, self.after = self.after, None, None
        self.acknowledged += 1

    def settle(self, server, duck):
        """Decides whether the statement in flight happened, and that nothing else did."""
        found = multiset(server.sql(f"select {', '.join(COLUMNS)} from {self.name}"))
        before = multiset(tuples(self.ledger.rows))
        after = before if self.after is None else multiset(tuples(self.after))
        assert found in (before, after), (f"{self.layout.name}: neither before nor after {self.in_flight}: "
                                          f"{found.total()} rows, before {before.total()}, after {after.total()}")
        if found == after and self.after is not None:
            self.ledger.rows = self.after
        self.in_flight = self.after = None
        for reader, rows in Outside(server, duck, "public", self.name, self.layout.format).readers(COLUMNS).items():
            compare(reader, multiset(rows), found, f"of {self.layout.name}")


def run_until_gone(server, table: Table, most: int) -> bool:
    """Sends statements until the server dies; false if it outlived them all."""
    try:
        with server.connect() as connection:
            for _ in range(most):
                try:
                    table.step(connection)
                except psycopg.Error as error:
                    if error.sqlstate is None or connection.broken:
                        raise
                    table.in_flight = table.after = None
                    raise AssertionError(f"{error.sqlstate} {error}") from error
    except psycopg.OperationalError:
        server.process.wait(timeout=30)
        return True
    return False


def fail_until_gone(server, table: Table, most: int) -> bool:
    """The same where every statement fails before its commit is attempted."""
    try:
        with server.connect() as connection:
            for _ in range(most):
                table.in_flight, table.after = table.ledger.next()
                try:
                    connection.execute(table.in_flight)
                except psycopg.Error:
                    if connection.broken:
                        server.process.wait(timeout=30)
                        return True
    except psycopg.OperationalError:
        server.process.wait(timeout=30)
        return True
    return False


@pytest.mark.parametrize("name", LAYOUTS)
def test_killed_at_every_failure_point(name, tmp_path, duck):
    rng = random.Random(SEED)
    table = Table("t", LAYOUTS[name], SEED)
    with running(tmp_path) as server:
        server.sql(create("t", table.layout))
        with server.connect() as connection:
            for _ in range(4):
                table.step(connection)
    points = [point for point, passed_by in FAILPOINTS.items() if name in passed_by]
    for point in points * max(1, RUNS // 100):
        setting = f"{point}={rng.choice((0, 0, 1, 3))}*off->return(abort)".replace("=0*off->", "=")
        failing = WHILE_FAILING.get(point)
        if failing:
            setting = f"{failing}=return(error);{setting}"
        with running(tmp_path, environment={"AURIC_FAILPOINTS": setting}) as server:
            table.settle(server, duck)
            gone = (fail_until_gone if failing else run_until_gone)(server, table, ENOUGH)
            assert gone, f"{ENOUGH} statements did not pass {setting}"
    with running(tmp_path) as server:
        table.settle(server, duck)
        with server.connect() as connection:
            table.step(connection)
        table.settle(server, duck)


@pytest.mark.parametrize("name", ["v2_copy", "v3_mark", "delta_mark"])
def test_a_step_that_fails_changes_nothing(name, tmp_path, duck):
    """The same points report an error instead: one statement fails, and the server goes on."""
    table = Table("t", LAYOUTS[name], SEED)
    with running(tmp_path) as server:
        server.sql(create("t", table.layout))
        with server.connect() as connection:
            for _ in range(3):
                table.step(connection)
    for point in [point for point, passed_by in FAILPOINTS.items() if name in passed_by and point not in WHILE_FAILING]:
        with running(tmp_path, environment={"AURIC_FAILPOINTS": f"{point}=1*return(error)"}) as server:
            with server.connect() as connection:
                for _ in range(3):
                    try:
                        table.step(connection)
                    except psycopg.Error as error:
                        assert error.sqlstate not in (None, "XX000"), (point, error)
                        table.settle(server, duck)
            table.settle(server, duck)


def test_killed_at_random_times(tmp_path, duck):
    """One connection a table, all busy when the server is killed."""
    rng = random.Random(SEED)
    tables = [Table(name, layout, SEED + number) for number, (name, layout) in enumerate(LAYOUTS.items())]
    with running(tmp_path) as server:
        for table in tables:
            server.sql(create(table.name, table.layout))
    for _ in range(RUNS):
        with running(tmp_path) as server:
            for table in tables:
                table.settle(server, duck)
            kill_while_busy(server, tables, rng)
    with running(tmp_path) as server:
        for table in tables:
            table.settle(server, duck)


def kill_while_busy(server, tables: list[Table], rng: random.Random):
    """Kills the server after a random number of statements, at a random moment of the next."""
    faults: list[BaseException] = []

    def work(table: Table):
        try:
            while run_until_gone(server, table, 1000) is False:
                pass
        except BaseException as fault:  # noqa: BLE001 - reported by the test's thread
            faults.append(fault)

    goal = sum(table.acknowledged for table in tables) + rng.randint(2, 25)
    threads = [threading.Thread(target=work, args=(table,)) for table in tables]
    for thread in threads:
        thread.start()
    until(lambda: faults or sum(table.acknowledged for table in tables) >= goal, timeout=60)
    threading.Event().wait(rng.uniform(0, 0.03))
    server.process.kill()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]
