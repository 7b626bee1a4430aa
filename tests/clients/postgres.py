"""A PostgreSQL server for the tests, and Auric servers whose catalog `shared` is in it."""

import contextlib
import glob
import os
import pathlib
import shutil
import socket
import subprocess

import psycopg

from conftest import running
from packages import debian

SCRIPT = pathlib.Path(__file__).parent / "scripts" / "postgres.sh"


def programs() -> str:
    """The directory of `initdb` and `postgres`, of the newest version that Debian has installed."""
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if not found and not shutil.which("initdb"):
        debian("postgresql")
        found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    newest = max(found, key=lambda path: int(path.split("/")[-3]), default=shutil.which("initdb"))
    return os.path.dirname(newest)


class Cluster:
    """A PostgreSQL server without databases yet; the user `auric` may do everything."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # PostgreSQL does not run as root; and its user may not be allowed to read the checkout.
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen([*user, "sh", "-c", SCRIPT.read_text(), "postgres.sh", programs(), str(self.port)], cwd="/",
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer("ready")

    def _answer(self, expected: str):
        answer = self.process.stdout.readline().strip()
        assert answer == expected, f"PostgreSQL answered {answer!r} to {expected!r}"

    def order(self, command: str):
        """`stop`, as by a crash, `start`, or `restart`."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        self._answer(command)

    def url(self, database: str, user: str = "auric", password: str = "") -> str:
        return f"postgresql://{user}{password and ':' + password}@127.0.0.1:{self.port}/{database}"

    def sql(self, database: str, statement: str, parameters=None) -> list[tuple]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


class Shared:
    """A new database, and a directory for the tables of a catalog in it."""

    def __init__(self, cluster: Cluster, name: str, folder: pathlib.Path):
        self.cluster, self.name, self.folder = cluster, name, folder
        self.warehouse = folder / "warehouse"
        cluster.sql("postgres", f'create database "{name}"')

    @property
    def url(self) -> str:
        return self.cluster.url(self.name)

    @contextlib.contextmanager
    def auric(self, number: int = 1, **environment: str):
        """An Auric server; tests talk to the catalog `shared`."""
        settings = {"TYPE": "postgres", "URL": self.url, "WAREHOUSE": str(self.warehouse),
                    **{key.removeprefix("catalog_").upper(): value for key, value in environment.items() if key.startswith("catalog_")}}
        environment = {**{f"AURIC_CATALOGS__SHARED__{key}": value for key, value in settings.items()},
                       **{key: value for key, value in environment.items() if not key.startswith("catalog_")}}
        with running(self.folder / f"auric{number}", environment=environment) as server:
            server.database = "shared"
            yield server

    def pyiceberg(self, url: str = ""):
        """The same catalog, opened by pyiceberg."""
        from pyiceberg.catalog.sql import SqlCatalog

        url = (url or self.url).replace("postgresql:", "postgresql+psycopg2:")
        return SqlCatalog("shared", uri=url, warehouse=f"file://{self.warehouse}")
