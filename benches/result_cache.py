"""The result cache beside a real PostgreSQL in the same run: what a hit takes (PostgreSQL: its prepared `SELECT 1`), a dashboard that 200
connections load right after a commit, the cost of a miss, and the memory under queries that never come again."""

import argparse
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

import psycopg

from tpch import Auric
from wire import CONNECTIONS, Postgres, parameters, proportional_size

ROWS = 2_000_000
CHARTS = [
    "select k, count(*), sum(v) from facts group by k order by k",
    "select id % 24 as hour, avg(v) from facts group by 1 order by 1",
    "select count(distinct k), max(v) from facts where id % 3 = 0",
    "select k, min(v), max(v) from facts where v > 50 group by k order by k",
    "select id / 100000 as part, count(*) from facts group by 1 order by 1",
    "select sum(v) filter (where k = 'k1'), sum(v) filter (where k = 'k2') from facts",
    "select k, stddev(v) from facts group by k order by k",
    "select v::int as bucket, count(*) from facts group by 1 order by 2 desc, 1 limit 10",
    "select id, v from facts order by v desc, id limit 20",
    "select k, sum(v) over (order by k) from (select k, sum(v) as v from facts group by k) s order by k",
    "select count(*) from facts a where exists (select 1 from facts b where b.id = a.id + 1 and b.k = a.k)",
    "select k, id % 7 as day, count(*) from facts group by 1, 2 order by 1, 2",
]


def pgbench(program: str, dsn: str, mode: str, clients: int, seconds: int, text: str) -> tuple[float, float, float]:
    """Transactions a second; mean and 99th percentile of the latency in milliseconds. The mean is that of clients that wait for nothing else:
    with more clients than pgbench can serve, the times in its log are those at which it looked, and their median can be 0."""
    to = parameters(dsn)
    with tempfile.TemporaryDirectory() as folder:
        script = pathlib.Path(folder) / "query.sql"
        script.write_text(text + ";\n")
        ran = subprocess.run([program, "-n", "-f", script, "-M", mode, "-c", str(clients), "-j", str(min(2, clients)), "-T", str(seconds), "--log",
                              "-h", to["host"], "-p", to["port"], "-U", to["user"], to["dbname"]], capture_output=True, text=True, cwd=folder)
        if ran.returncode != 0:
            raise SystemExit(ran.stdout + ran.stderr)
        micros = sorted(int(line.split()[2]) for log in pathlib.Path(folder).glob("pgbench_log.*") for line in log.read_text().splitlines())
    return len(micros) / seconds, 1000 * clients * seconds / len(micros), micros[int(len(micros) * 0.99)] / 1000


def hits(auric: Auric, postgres: Postgres, runs: int, seconds: int):
    program = shutil.which("pgbench") or str(postgres.bin / "pgbench")
    for mode in ("simple", "prepared"):
        for clients in CONNECTIONS:
            ours, theirs = [], []
            for _ in range(runs):
                ours.append(pgbench(program, auric.dsn, mode, clients, seconds, CHARTS[0]))
                theirs.append(pgbench(program, postgres.dsn, "prepared", clients, seconds, "select 1"))
            (rate, latency, late), (other_rate, other_latency, other_late) = ([statistics.median(column) for column in zip(*all_of, strict=True)] for all_of in (ours, theirs))
            print(f"hit, {mode}, {clients} connections: {rate:,.0f} a second, {latency:.3f} ms, p99 {late:.2f} ms; PostgreSQL's prepared SELECT 1: {other_rate:,.0f}, "
                  f"{other_latency:.3f} ms, p99 {other_late:.2f} ms: throughput {rate / other_rate:.2f}, latency {latency / other_latency:.2f} of it", flush=True)


def commit(auric: Auric):
    with psycopg.connect(auric.dsn, autocommit=True) as connection:
        connection.execute("insert into facts values (0, 'k0', 0)")


def load(program: str, dsn: str, script: pathlib.Path, clients: int) -> float:
    """Seconds until all clients have all charts; the time to connect does not count."""
    to = parameters(dsn)
    ran = subprocess.run([program, "-n", "-f", script, "-M", "simple", "-c", str(clients), "-j", str(min(2, clients)), "-t", "1",
                          "-h", to["host"], "-p", to["port"], "-U", to["user"], to["dbname"]], capture_output=True, text=True, check=True)
    return clients / float(re.search(r"tps = ([0-9.]+)", ran.stdout).group(1))


def dashboard(auric: Auric, postgres: Postgres, runs: int, connections: int = 200):
    program = shutil.which("pgbench") or str(postgres.bin / "pgbench")
    alone, together = [], []
    with tempfile.TemporaryDirectory() as folder:
        script = pathlib.Path(folder) / "dashboard.sql"
        script.write_text("".join(f"{chart};\n" for chart in CHARTS))
        for _ in range(runs):
            for clients, times in ((1, alone), (connections, together)):
                commit(auric)
                before = misses(auric)
                times.append(load(program, auric.dsn, script, clients))
                ran = misses(auric) - before
                if ran != len(CHARTS):
                    print(f"! {ran} queries ran for {len(CHARTS)} charts")
    one, all_of = statistics.median(alone), statistics.median(together)
    print(f"a dashboard of {len(CHARTS)} charts after a commit: once {one:.2f} s, by {connections} connections {all_of:.2f} s: "
          f"{statistics.median(b / a for a, b in zip(alone, together, strict=True)):.2f}", flush=True)


def misses(auric: Auric) -> int:
    with psycopg.connect(auric.dsn, autocommit=True) as connection:
        return connection.execute("select misses from auric.cache where name = 'results'").fetchone()[0]


def cost_of_a_miss(auric: Auric, runs: int):
    """The same queries, each with another constant, with the cache and without, in turns."""
    found: dict[str, list[float]] = {"on": [], "off": []}
    with psycopg.connect(auric.dsn, autocommit=True) as connection:
        for number in range(runs * 20):
            for setting, all_of in found.items():
                connection.execute(f"set result_cache = {setting}")
                start = time.perf_counter()
                connection.execute(f"select k, count(*), sum(v * {number + 1}), avg(v), max(id) from facts where id <> {number} group by k order by k").fetchall()
                all_of.append((time.perf_counter() - start) * 1000)
    on, off = statistics.median(found["on"]), statistics.median(found["off"])
    print(f"a miss: {on:.2f} ms with the cache, {off:.2f} ms without: {on / off - 1:+.1%}", flush=True)


# What a client asks in its `i`th transaction; each asks what no other does.
STREAMS = {"simple": "select id, t, {i} as n from texts where id <> {i} order by id", "prepared": "select id, t from texts where id <> {i} order by id"}


def memory(auric: Auric, postgres: Postgres, queries: int, every: float):
    """Queries that never come again, of 2 kB each, by four connections, half of them with parameters: the process' memory while they run."""
    program = shutil.which("pgbench") or str(postgres.bin / "pgbench")
    to, clients, streams = parameters(auric.dsn), 2, []
    with tempfile.TemporaryDirectory() as folder:
        for number, (mode, text) in enumerate(STREAMS.items()):
            script = pathlib.Path(folder) / f"{mode}.sql"
            script.write_text(f"\\set n :n + {clients}\n\\set i :n + :client_id\n{text.format(i=':i')};\n")
            # Ids are below a thousand: no answer lacks a row.
            streams.append(subprocess.Popen([program, "-n", "-f", script, "-M", mode, "-c", str(clients), "-t", str(queries // (clients * len(STREAMS))),
                                             "-D", f"n={10_000 + number * queries}", "-h", to["host"], "-p", to["port"], "-U", to["user"], to["dbname"]],
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        start = time.perf_counter()
        with psycopg.connect(auric.dsn, autocommit=True) as connection:
            while any(stream.poll() is None for stream in streams):
                tell_memory(auric, connection, start)
                time.sleep(every)
            tell_memory(auric, connection, start)
        for stream in streams:
            if stream.wait() != 0:
                raise SystemExit(stream.stdout.read())


def tell_memory(auric: Auric, connection: psycopg.Connection, start: float):
    of = {name: facts for name, *facts in connection.execute("select name, entries, bytes, budget, misses from auric.cache").fetchall()}
    entries, size, budget, asked = of["results"]
    others = ", ".join(f"{name} {facts[1] / 1e6:.1f}" for name, facts in of.items() if name != "results")
    print(f"{time.perf_counter() - start:,.0f} s, {asked:,} distinct queries: process {proportional_size(auric.process.pid) / 1e6:.0f} MB; {entries:,} answers of {size / 1e6:.1f} MB "
          f"kept, budget {budget / 1e6:.1f} MB; {others} MB", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path)
    parser.add_argument("--scale")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of each run of pgbench")
    parser.add_argument("--queries", type=int, default=20_000, help="that never come again")
    parser.add_argument("--every", type=float, default=5, help="seconds between two looks at the memory")
    parser.add_argument("--memory-only", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # What is measured is what users wait for: nothing is asked before they do.
        if not options.memory_only:
            os.environ["AURIC_CACHE__REFRESH_AFTER"] = "0"
        postgres = Postgres()
        auric = Auric(options.bin / "auric", "serve", "--data-dir", folder)
        try:
            with psycopg.connect(auric.dsn, autocommit=True) as connection:
                connection.execute("create table texts as select i::bigint as id, repeat(chr(64 + i), 170) as t from generate_series(1, 10) as g(i)")
                if not options.memory_only:
                    connection.execute(f"create table facts as select i::bigint as id, 'k' || i % 12 as k, (i % 1000 / 7.0)::float8 as v from generate_series(1, {ROWS}) as g(i)")
            if not options.memory_only:
                hits(auric, postgres, options.runs, options.seconds)
                dashboard(auric, postgres, options.runs)
                cost_of_a_miss(auric, options.runs)
            memory(auric, postgres, options.queries, options.every)
        finally:
            auric.stop()
            postgres.stop()


if __name__ == "__main__":
    main()
