"""How others fare beside a heavy query, and how long planning takes over many files."""

import argparse
import pathlib
import statistics
import threading
import time

import psycopg

from tpch import Auric

# A join that never ends within the measurement.
HEAVY = "select count(*) from bronze.lineitem a join bronze.lineitem b on a.l_suppkey = b.l_suppkey"


def beside_a_heavy_join(auric: Auric, connections: int, rounds: int):
    """`SELECT 1` on many connections, round after round, while one connection runs a heavy join."""
    heavy = psycopg.connect(auric.dsn, autocommit=True)
    heavy.execute("set result_cache to off")
    ended = []

    def run():
        try:
            heavy.execute(HEAVY)
        except psycopg.errors.QueryCanceled:
            ended.append(time.perf_counter())

    thread = threading.Thread(target=run)
    thread.start()
    others = [psycopg.connect(auric.dsn, autocommit=True) for _ in range(connections)]
    times = []
    for _ in range(rounds):
        for other in others:
            start = time.perf_counter()
            other.execute("select 1").fetchone()
            times.append((time.perf_counter() - start) * 1000)
    cancelled = time.perf_counter()
    heavy.cancel_safe()
    thread.join()
    times.sort()
    print(f"SELECT 1 on {connections} connections beside a heavy join: median {statistics.median(times):.2f} ms, "
          f"p99 {times[int(len(times) * 0.99)]:.2f} ms, worst {times[-1]:.2f} ms")
    print(f"cancel to 57014: {(ended[0] - cancelled) * 1000:.1f} ms" if ended else "the join ended by itself")


def planning(auric: Auric, files: int, runs: int):
    """EXPLAIN with a one-partition filter on a table of many files, warm."""
    with psycopg.connect(auric.dsn, autocommit=True) as connection:
        connection.execute("create schema if not exists planning")
        for table_format in ("iceberg", "delta"):
            table = f"planning.{table_format}"
            connection.execute(f"create table if not exists {table} using {table_format} partitioned by (p) as "
                               f"select x as p, x * 2 as v from generate_series(1, {files}) as g(x)")
            times = []
            for number in range(runs + 2):
                start = time.perf_counter()
                connection.execute(f"explain select v from {table} where p = {number + 17}").fetchall()
                times.append((time.perf_counter() - start) * 1000)
            print(f"{table_format}, {files} files, one-partition filter: first {times[0]:.1f} ms, "
                  f"warm median {statistics.median(times[2:]):.2f} ms")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--scale", default="1")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    data_dir = options.cache / f"scale-{options.scale}"
    auric = Auric(options.bin / "auric", "demo", "--scale", options.scale, "--data-dir", str(data_dir))
    try:
        beside_a_heavy_join(auric, 50, 20)
        planning(auric, 10_000, 4 * options.runs)
    finally:
        auric.stop()


if __name__ == "__main__":
    main()
