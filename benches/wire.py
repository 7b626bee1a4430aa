"""The wire beside a real PostgreSQL on the same machine, in turns: pgbench's `SELECT 1`, a million rows to a client that only
drains the socket, idle connections. Debian's packages `postgresql` and `postgresql-contrib` are taken as they are installed."""

import argparse
import glob
import os
import pathlib
import pwd
import re
import resource
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import time

import psycopg

from tpch import Auric

CONNECTIONS = (1, 8, 64)
COLUMNS = ("select i::bigint as l, (i % 1000)::int as i, i / 7.0::double precision as d, (i / 100.0)::numeric(18,2) as n, "
           "'text ' || (i % 50000)::text as t, timestamp '2024-01-01 00:00:00' + i * interval '1 second' as ts")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Postgres:
    """A cluster of its own, with PostgreSQL's defaults but for the number of connections."""

    def __init__(self):
        folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
        if not folders:
            raise SystemExit("no PostgreSQL server: install Debian's `postgresql`")
        self.bin = pathlib.Path(folders[-1])
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-postgres-"))
        # It does not run as root.
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self.port = free_port()
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", "auric", "-E", "UTF8")
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c max_connections=1100"
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-o", options, "-w", "start")
        self.dsn = f"host=127.0.0.1 port={self.port} user=auric dbname=postgres"

    def _run(self, program: str, *arguments: str):
        drop = {"user": self.user, "group": self.user} if os.geteuid() == 0 else {}
        subprocess.run([str(self.bin / program), *arguments], check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **drop)

    def stop(self):
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def memory(self) -> int:
        """Bytes of all its processes, shared pages divided among those that share them."""
        main = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(["pgrep", "-P", str(main)], capture_output=True, text=True).stdout.split()
        return sum(proportional_size(int(pid)) for pid in [main, *children])


def proportional_size(pid: int) -> int:
    try:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(re.search(r"^Pss: +(\d+) kB", text, re.M).group(1)) * 1024


def parameters(dsn: str) -> dict[str, str]:
    return psycopg.conninfo.conninfo_to_dict(dsn)


def transactions_per_second(pgbench: str, dsn: str, mode: str, clients: int, seconds: int, script: pathlib.Path) -> float:
    to = parameters(dsn)
    ran = subprocess.run([pgbench, "-n", "-f", script, "-M", mode, "-c", str(clients), "-j", str(min(2, clients)), "-T", str(seconds),
                          "-h", to["host"], "-p", to["port"], "-U", to["user"], to["dbname"]], capture_output=True, text=True)
    if ran.returncode != 0:
        raise SystemExit(ran.stdout + ran.stderr)
    return float(re.search(r"tps = ([\d.]+) \(without initial", ran.stdout).group(1))


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def connected(dsn: str) -> socket.socket:
    """A connection that is ready, spoken to by hand."""
    to = parameters(dsn)
    stream = socket.create_connection((to["host"], int(to["port"])))
    body = struct.pack("!i", 196608) + f"user\0{to['user']}\0database\0{to['dbname']}\0\0".encode()
    stream.sendall(struct.pack("!i", len(body) + 4) + body)
    drain(stream)
    return stream


def drain(stream: socket.socket, size: int = 1 << 20) -> int:
    """Receives up to the next ReadyForQuery; bytes."""
    buffer, last, total = bytearray(size), b"", 0
    view = memoryview(buffer)
    while True:
        received = stream.recv_into(view)
        if received == 0:
            raise SystemExit(f"the server closed the connection: {last!r}")
        total += received
        last = (last + bytes(view[max(0, received - 6):received]))[-6:]
        if last[:5] == b"Z\0\0\0\5":
            return total


def seconds_to_drain(stream: socket.socket, query: str, binary: bool) -> float:
    start = time.perf_counter()
    stream.sendall(message(b"P", b"\0" + query.encode() + b"\0\0\0") + message(b"B", struct.pack("!2sHHHH", b"\0\0", 0, 0, 1, int(binary)))
                   + message(b"E", b"\0" + struct.pack("!i", 0)) + message(b"S", b""))
    drain(stream)
    return time.perf_counter() - start


def report(what: str, ours: list[float], theirs: list[float], unit: str, more_is_better: bool):
    one, other = statistics.median(ours), statistics.median(theirs)
    ratio = one / other if more_is_better else other / one
    print(f"{what}: Auric {one:,.3g} {unit} ({min(ours):,.3g} to {max(ours):,.3g}), PostgreSQL {other:,.3g} {unit} "
          f"({min(theirs):,.3g} to {max(theirs):,.3g}): {ratio:.2f} of PostgreSQL's rate", flush=True)


def select_one(auric: Auric, postgres: Postgres, runs: int, seconds: int):
    pgbench = shutil.which("pgbench") or str(postgres.bin / "pgbench")
    with tempfile.TemporaryDirectory() as folder:
        script = pathlib.Path(folder) / "select.sql"
        script.write_text("SELECT 1;\n")
        for mode in ("simple", "prepared"):
            for clients in CONNECTIONS:
                found = {auric.dsn: [], postgres.dsn: []}
                for _ in range(runs):
                    for dsn, all_of in found.items():
                        all_of.append(transactions_per_second(pgbench, dsn, mode, clients, seconds, script))
                report(f"SELECT 1, {mode}, {clients} connections", *found.values(), "tps", more_is_better=True)


def a_million_rows(auric: Auric, postgres: Postgres, runs: int):
    for dsn in (auric.dsn, postgres.dsn):
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"create table wire_rows as {COLUMNS} from generate_series(1, 1000000) as g(i)")
            if dsn == postgres.dsn:
                connection.execute("vacuum analyze wire_rows")
    for name, binary in (("text", False), ("binary", True)):
        streams = [connected(dsn) for dsn in (auric.dsn, postgres.dsn)]
        found: list[list[float]] = [[], []]
        for number in range(runs + 1):
            for stream, all_of in zip(streams, found, strict=True):
                seconds = seconds_to_drain(stream, "select * from wire_rows", binary)
                if number > 0:
                    all_of.append(seconds)
        report(f"a million rows of six columns, {name}", *found, "s", more_is_better=False)
        for stream in streams:
            stream.close()


def idle_connections(auric: Auric, postgres: Postgres, number: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name, dsn, memory in (("Auric", auric.dsn, lambda: proportional_size(auric.process.pid)), ("PostgreSQL", postgres.dsn, postgres.memory)):
        # What the first ones make for all is not counted.
        first = [connected(dsn) for _ in range(20)]
        for stream in first:
            stream.sendall(message(b"Q", b"select 1\0"))
            drain(stream)
        before = memory()
        streams = [connected(dsn) for _ in range(number - len(first) - 5)]
        for stream in streams:
            stream.sendall(message(b"Q", b"select 1\0"))
            drain(stream)
        print(f"{len(streams)} idle connections, {name}: {(memory() - before) / len(streams) / 1024:.1f} KB each", flush=True)
        for stream in [*first, *streams]:
            stream.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path)
    parser.add_argument("--scale")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each run of pgbench")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        postgres = Postgres()
        auric = Auric(options.bin / "auric", "serve", "--data-dir", folder)
        try:
            select_one(auric, postgres, options.runs, options.seconds)
            a_million_rows(auric, postgres, options.runs)
            idle_connections(auric, postgres, 1000)
        finally:
            auric.stop()
            postgres.stop()


if __name__ == "__main__":
    main()
