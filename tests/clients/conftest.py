"""Starts the real server for the tests of this folder; clients, readers and writers are other people's."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import threading
import time
import zlib

import duckdb
import psycopg
import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# How long is waited for what has to come, in seconds.
PATIENCE = 60
READY = re.compile(r'auric is ready: psql "host=(\S+) port=(\d+) user=(\S+) dbname=([^"]+)"(?: \((http://[^)]+)\))?')


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def auric_binary() -> str:
    """The binary under test: AURIC_BIN, or the release build of this checkout."""
    default = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "release" / "auric"
    return os.environ.get("AURIC_BIN", str(default))


def eventually(what, is_it=bool):
    """The first answer that is what is waited for."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = what()
        if is_it(answer):
            return answer
        assert time.monotonic() < end, f"still {answer!r} after {PATIENCE} s"
        threading.Event().wait(0.05)


class Server:
    """A running `auric serve` with a data directory of its own."""

    def __init__(self, data_dir: pathlib.Path, *arguments: str, subcommand: tuple[str, ...] = ("serve",),
                 environment: dict[str, str] | None = None, listen: str = "127.0.0.1:0"):
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [auric_binary(), *subcommand, "--data-dir", str(data_dir), "--listen", listen,
             "--http", "127.0.0.1:0", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**{key: value for key, value in os.environ.items() if not key.startswith("AURIC_")}, **(environment or {})},
        )
        self.log: list[str] = []
        for line in self.process.stdout:
            self.log.append(line)
            if match := READY.search(line):
                self.host, port, self.user, self.database, self.http = match.groups()
                self.port = int(port)
                break
        else:
            raise AssertionError("the server ended before it was ready:\n" + "".join(self.log))
        self._drain = threading.Thread(target=self._read_log, daemon=True)
        self._drain.start()

    def _read_log(self):
        for line in self.process.stdout:
            self.log.append(line)

    @property
    def warehouse(self) -> pathlib.Path:
        return self.data_dir / "warehouse"

    def dsn(self, **parameters) -> str:
        values = {"host": self.host, "port": self.port, "user": self.user, "dbname": self.database, **parameters}
        return " ".join(f"{key}={value}" for key, value in values.items())

    def connect(self, **parameters) -> psycopg.Connection:
        return psycopg.connect(self.dsn(), **{"autocommit": True, **parameters})

    def sql(self, statement: str, parameters=None) -> list[tuple]:
        """Runs one statement on a connection of its own and returns its rows."""
        with self.connect() as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def pyiceberg(self):
        """The embedded catalog, opened by pyiceberg while the server runs."""
        from pyiceberg.catalog.sql import SqlCatalog

        return SqlCatalog("lake", uri=f"sqlite:///{self.data_dir}/catalog.db", warehouse=f"file://{self.warehouse}")

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@contextlib.contextmanager
def running(data_dir: pathlib.Path, *arguments: str, **options):
    server = Server(data_dir, *arguments, **options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
        try:
            server.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


class Postgres:
    """A running PostgreSQL in place of Auric, for those who want to see that a test of a client asks for what is right."""

    def __init__(self, conninfo: str):
        found = psycopg.conninfo.conninfo_to_dict(conninfo)
        self.host, self.port, self.user, self.database = found["host"], int(found["port"]), found["user"], found["dbname"]

    dsn, connect, sql = Server.dsn, Server.connect, Server.sql


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for all tests that do not need their own; each test uses a schema of its own."""
    if conninfo := os.environ.get("AURIC_TEST_POSTGRES"):
        yield Postgres(conninfo)
        return
    # It need not wait long for transactions that tests have left open.
    with running(tmp_path_factory.mktemp("auric"), environment={"AURIC_SERVER__SHUTDOWN_GRACE": "1s"}) as server:
        yield server


@pytest.fixture
def schema(server, request):
    """A fresh schema named after the test and its file."""
    module = request.node.module.__name__.removeprefix("test_")
    name = re.sub(r"\W+", "_", f"{module}_{request.node.name}").strip("_").lower()
    # Names are cut at 63 bytes.
    name = f"{name[:50]}_{zlib.crc32(name.encode()):08x}"
    server.sql(f'create schema "{name}"')
    return name


def open_duckdb() -> duckdb.DuckDBPyConnection:
    """DuckDB with its Iceberg and Delta extensions."""
    import importlib.util

    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for extension in ("avro", "iceberg", "delta"):
        package = pathlib.Path(importlib.util.find_spec(f"duckdb_extension_{extension}").origin).parent
        path = next(package.glob("extensions/*/*.duckdb_extension"))
        connection.execute(f"LOAD '{path}'")
    return connection


@pytest.fixture(scope="session")
def duck():
    """One DuckDB for all tests that only read."""
    return open_duckdb()


def rows(table) -> list[tuple]:
    """Rows of a pyarrow table, sorted, for comparison as a multiset."""
    columns = [column.to_pylist() for column in table.columns]
    return sorted(zip(*columns), key=repr) if columns else []
