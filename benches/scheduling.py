"""What the scheduler itself costs: a graph of gold tables with nothing to do, and how soon a commit of another program shows.

`python benches/scheduling.py --bin target/release --cache DIR [--nodes 500] [--runs 9]`

- *cascade*: `REFRESH … CASCADE` of the last view of a graph of `--nodes` views, none of which has anything to do.
- *idle*: processor time that the server takes per second while it follows all of them (TRIGGER ON UPDATE), nothing happening.
- *freshness*: from the return of a commit by pyiceberg or deltalake until the view (TRIGGER ON UPDATE) shows it, less what the
  refresh itself took; median and longest of `--runs`."""

import argparse
import os
import pathlib
import shutil
import statistics
import threading
import time

import deltalake
import psycopg
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from tpch import Auric

WIDTH = 25
IDLE_SECONDS = 10
PATIENCE = 60


def processor_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def graph(connection: psycopg.Connection, nodes: int) -> str:
    """Layers of views, each over two of the layer before; the last one over the whole last layer."""
    connection.execute("create schema g")
    connection.execute("create table g.base as select i as n from generate_series(1, 100) g(i)")
    before, made, layer = ["base"], 0, 0
    while made < nodes - 1:
        names = [f"v{layer}_{i}" for i in range(min(WIDTH, nodes - 1 - made))]
        for i, name in enumerate(names):
            a, b = before[i % len(before)], before[(i + 1) % len(before)]
            connection.execute(f"create materialized view g.{name} trigger on update as select n from g.{a} union select n + 1 from g.{b} where n < 10")
        before, made, layer = names, made + len(names), layer + 1
    connection.execute("create materialized view g.last trigger on update as " + " union all ".join(f"select count(*) as n from g.{name}" for name in before))
    return "g.last"


def freshness(connection: psycopg.Connection, folder: pathlib.Path, form: str, runs: int) -> list[tuple[float, float]]:
    """Seconds until a row is seen, and seconds that the refresh took."""
    connection.execute(f"create schema f_{form}")
    connection.execute(f"create table f_{form}.base (n bigint) using {form}")
    connection.execute(f"create materialized view f_{form}.gold using {form} trigger on update as select max(n) as n, count(*) as rows from f_{form}.base")
    found = []
    for number in range(1, runs + 1):
        rows = pa.table({"n": pa.array([number], pa.int64())})
        if form == "iceberg":
            catalog = SqlCatalog("lake", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
            catalog.load_table((f"f_{form}", "base")).append(rows)
        else:
            deltalake.write_deltalake(str(folder / "warehouse" / f"f_{form}" / "base"), rows, mode="append")
        began = time.perf_counter()
        while connection.execute(f"select n from f_{form}.gold").fetchone()[0] != number:
            assert time.perf_counter() - began < PATIENCE, "the commit is not seen"
            threading.Event().wait(0.01)
        seen = time.perf_counter() - began
        took = connection.execute(
            "select extract(epoch from published_at - started_at)::float8 from auric.refreshes where schema_name = %s order by published_at desc limit 1",
            (f"f_{form}",)).fetchone()[0]
        found.append((seen, took))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--scale", default="1", help="not used")
    options = parser.parse_args()
    folder = options.cache / "scheduling"
    shutil.rmtree(folder, ignore_errors=True)
    auric = Auric(options.bin / "auric", "serve", "--data-dir", str(folder))
    try:
        connection = psycopg.connect(auric.dsn, autocommit=True)
        connection.execute("set result_cache to off")
        for form in ("iceberg", "delta"):
            times = freshness(connection, folder, form, options.runs)
            less = [seen - took for seen, took in times]
            print(f"freshness, {form}: {statistics.median(less):.3f} s, longest {max(less):.3f} s, beside the refresh of {statistics.median(took for _, took in times):.3f} s", flush=True)
        last = graph(connection, options.nodes)
        times = []
        for _ in range(options.runs):
            began = time.perf_counter()
            connection.execute(f"refresh materialized view {last} cascade")
            times.append(time.perf_counter() - began)
        print(f"cascade over {options.nodes} nodes with nothing to do: {statistics.median(times):.3f} s, longest {max(times):.3f} s", flush=True)
        began = processor_seconds(auric.process.pid)
        threading.Event().wait(IDLE_SECONDS)
        used = (processor_seconds(auric.process.pid) - began) / IDLE_SECONDS
        print(f"idle with {options.nodes} nodes: {used:.4f} processor seconds a second", flush=True)
    finally:
        auric.stop()


if __name__ == "__main__":
    main()
