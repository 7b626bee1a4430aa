"""Many clients at once: threads whose errors reach the test, statements retried as a client would, watchers."""

import contextlib
import threading
import time

import psycopg

CONFLICT = "40001"


def together(*jobs):
    """Runs the jobs at the same time, starting together; raises the first error of any."""
    faults: list[BaseException] = []
    barrier = threading.Barrier(len(jobs))

    def run(job):
        try:
            barrier.wait(timeout=60)
            job()
        except BaseException as fault:  # noqa: BLE001 - raised again by the caller's thread
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=240)
        assert not thread.is_alive(), "a client hangs"
    if faults:
        raise faults[0]


def retrying(connection: psycopg.Connection, statement: str, attempts: int = 200) -> str:
    """Runs a statement again after each 40001, as clients of serializable databases do; returns its tag."""
    for _ in range(attempts):
        try:
            return connection.execute(statement).statusmessage
        except psycopg.errors.SerializationFailure:
            continue
    raise AssertionError(f"{attempts} conflicts in a row: {statement}")


class Watcher:
    """Reads again and again beside the writers; `check` looks at the rows of each reading."""

    def __init__(self, server, query: str, check):
        self.server, self.query, self.check = server, query, check
        self.readings, self.slowest = 0, 0.0
        self.over = threading.Event()
        self.fault: BaseException | None = None
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        try:
            with self.server.connect() as connection:
                while not self.over.is_set():
                    start = time.monotonic()
                    rows = connection.execute(self.query).fetchall()
                    self.slowest = max(self.slowest, time.monotonic() - start)
                    self.check(rows)
                    self.readings += 1
        except BaseException as fault:  # noqa: BLE001 - raised again by the test's thread
            self.fault = fault


@contextlib.contextmanager
def watching(server, query: str, check):
    watcher = Watcher(server, query, check)
    watcher.thread.start()
    try:
        yield watcher
    finally:
        watcher.over.set()
        watcher.thread.join()
    if watcher.fault:
        raise watcher.fault
    assert watcher.readings > 0, "no reading came through beside the writers"
