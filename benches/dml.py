"""MERGE, UPDATE, DELETE and INSERT OVERWRITE over `lineitem`: Auric, deltalake and (where installed) Sail.

`python benches/dml.py --bin target/release --cache DIR [--scale 1] [--runs 3] [--only merge] [--layouts …]`. Times are medians; every run
has keys of its own; the others' tables begin with Auric's files. "written" is the bytes of new data files over the
bytes of the data files that hold a match."""

import argparse
import os
import pathlib
import statistics
import time

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from dml_engines import AuricTable, DeltalakeTable, SailTable, copy_of, delta_files, iceberg_files, sail_if_installed
from tpch import Auric

SCHEMA = "bench_dml"
COPY, MARK = "copy-on-write", "merge-on-read"
MODES = ", ".join(f"'write.{statement}.mode' = '{{mode}}'" for statement in ("delete", "update", "merge"))
LAYOUTS = {
    "iceberg copy": ("iceberg", "'format-version' = '2', " + MODES.format(mode=COPY)),
    "iceberg v3 copy": ("iceberg", "'format-version' = '3', " + MODES.format(mode=COPY)),
    "iceberg v3 mark": ("iceberg", "'format-version' = '3', " + MODES.format(mode=MARK)),
    "delta copy": ("delta", ""),
    "delta mark": ("delta", "'delta.enableDeletionVectors' = 'true'"),
}
FILE_SIZE = {"iceberg": "'write.target-file-size-bytes' = '{}'", "delta": "'delta.targetFileSize' = '{}'"}


class Data:
    """The tables of one scale, made once a start from the demo's `lineitem`."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.data_dir = options.cache / f"scale-{options.scale}"
        self.scratch = options.cache / f"dml-{options.scale}"
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.auric = Auric(options.bin / "auric", "demo", "--scale", options.scale, "--data-dir", str(self.data_dir))
        self.connection = psycopg.connect(self.auric.dsn, autocommit=True)
        self.connection.execute(f"create schema if not exists {SCHEMA}")
        self.sail = sail_if_installed()
        self.duck = duckdb.connect()
        base = list(iceberg_files(self.data_dir, "bronze", "lineitem"))
        self.duck.execute(f"create view base as from read_parquet({base})")
        self.rows = self.query("select count(*) from base").fetchall()[0][0]

    def table(self, layout: str, query: str = "select * from bronze.lineitem order by l_orderkey", partitioning: str = "", name: str = "") -> AuricTable:
        """A fresh table of this layout, in files of a few dozen megabytes."""
        table_format, properties = LAYOUTS[layout]
        name = name or "lineitem_" + layout.replace(" ", "_")
        size = FILE_SIZE[table_format].format(self.options.file_size * 2**20)
        self.connection.execute(f"drop table if exists {SCHEMA}.{name}")
        self.connection.execute(f"create table {SCHEMA}.{name} using {table_format} {partitioning} "
                                f"tblproperties ({', '.join(part for part in (properties, size) if part)}) as {query}")
        folder = self.data_dir / "warehouse" / SCHEMA / name
        files = (lambda: delta_files(folder)) if table_format == "delta" else (lambda: iceberg_files(self.data_dir, SCHEMA, name))
        return AuricTable(self.auric.dsn, f"{SCHEMA}.{name}", self.auric.process.pid, files)

    def engines(self, **how) -> dict[str, object]:
        """All engines on tables that hold the same."""
        found = {f"auric {layout}": self.table(layout, **how) for layout in self.options.layouts}
        folder = self.data_dir / "warehouse" / SCHEMA / found["auric delta copy"].name.split(".")[1]
        found["deltalake"] = DeltalakeTable(copy_of(folder, self.scratch / "deltalake"))
        if self.sail:
            found["sail"] = SailTable(self.sail, copy_of(folder, self.scratch / "sail"))
        return found

    def source(self, count: int, clustered: bool, seed: int) -> pathlib.Path:
        """Nine tenths existing keys, one tenth new ones."""
        path = self.scratch / "source.parquet"
        old = count * 9 // 10
        if clustered:
            skipped = (seed * 7919 * 1000) % max(1, self.rows - count)
            chosen = f"(from base order by l_orderkey, l_linenumber limit {old} offset {skipped})"
        else:
            chosen = f"(from base order by hash(l_orderkey * 8 + l_linenumber + {seed}) limit {old})"
        changed = "* replace (l_quantity + 1 as l_quantity, 'merged by the bench' as l_comment)"
        new = f"(select * replace (l_orderkey + {10**9 * (seed + 1)} as l_orderkey) from {chosen} limit {count - old})"
        arrow = self.query(f"select {changed} from {chosen} union all {new}").to_arrow_table()
        types = self.query("select * from base limit 0").to_arrow_table().schema
        pq.write_table(arrow.cast(pa.schema(types)), path)
        return path

    def query(self, text: str):
        """A relation on a connection of its own: one left half-read blocks no other."""
        return self.duck.cursor().sql(text)

    def stop(self):
        if self.sail:
            self.sail.stop()
        self.connection.close()
        self.auric.stop()


class Result:
    """What one engine took for one job."""

    def __init__(self):
        self.milliseconds: list[float] = []
        self.written: list[float] = []
        self.peaks: list[float] = []
        self.failure: str | None = None

    def __str__(self) -> str:
        if self.failure:
            return f"cannot: {self.failure}"
        written = f"  written {statistics.median(self.written):5.2f}" if self.written else ""
        peak = f"  peak {max(self.peaks):6.0f} MiB" if self.peaks else ""
        return f"{statistics.median(self.milliseconds):9.0f} ms{written}{peak}"


def measure(result: Result, engine, job, matching=None):
    """Runs the job once; `matching` tells which of the files there are hold a match."""
    if result.failure:
        return
    before = engine.files()
    held = sum(before[path] for path in matching(list(before))) if matching else 0
    if engine.memory:
        engine.memory.reset()
    # No engine's files were written so long ago that only it has to read them from the disk.
    for path in before:
        read_once(path)
    # A commit that is synced must not wait for what others have written before.
    os.sync()
    start = time.perf_counter()
    try:
        job(engine)
    except Exception as failure:  # an engine that cannot is a result, not an end
        result.failure = f"{type(failure).__name__}: {failure}".splitlines()[0][:160]
        return
    result.milliseconds.append((time.perf_counter() - start) * 1000)
    if engine.memory:
        result.peaks.append(engine.memory.peak_mib())
    after = engine.files()
    if held:
        result.written.append(sum(size for path, size in after.items() if path not in before) / held)
    # Large scales would fill the disk with what nothing reads any more.
    for path in before.keys() - after.keys():
        pathlib.Path(path).unlink()


def read_once(path: str):
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def report(title: str, results: dict[str, Result]):
    """One line an engine, and each time over the fastest of Auric's peers."""
    peers = [statistics.median(result.milliseconds) for name, result in results.items() if not name.startswith("auric") and result.milliseconds]
    print(title)
    for name, result in results.items():
        ratio = f"  best peer / this {min(peers) / statistics.median(result.milliseconds):6.2f}" if peers and result.milliseconds else ""
        print(f"  {name:22} {result}{ratio}", flush=True)


def holding(data: Data, condition: str):
    """The files that hold a row for which the condition over `base` columns is true."""
    def of(files: list[str]) -> set[str]:
        query = f"select distinct filename from read_parquet({files}, filename = true, hive_partitioning = false) t where {condition}"
        return {row[0] for row in data.query(query).fetchall()}
    return of


def bench_merge(data: Data):
    engines = data.engines()
    for count in (1_000, 100_000):
        for clustered in (True, False):
            results = {name: Result() for name in engines}
            for run in range(data.options.runs):
                source = data.source(count, clustered, 100 * run + count // 1000 + clustered)
                matching = holding(data, f"exists (select 1 from '{source}' s where t.l_orderkey = s.l_orderkey and t.l_linenumber = s.l_linenumber)")
                for name, engine in engines.items():
                    measure(results[name], engine, lambda engine: engine.merge(source), matching)
            report(f"MERGE of {count:,} {'clustered' if clustered else 'scattered'} rows into {data.rows:,}", results)


def bench_update_delete(data: Data):
    """0.1 % and 10 % of the rows, scattered over all files and clustered in few."""
    top = data.query("select max(l_orderkey) from base").fetchall()[0][0]
    engines = data.engines()
    # Rows of other orders for each command: those of an UPDATE are together in new files.
    for remainder, command in ((1, "update"), (2, "delete")):
        for share, name_of_share in ((1000, "0.1 %"), (10, "10 %")):
            for clustered in (True, False):
                results = {name: Result() for name in engines}
                for run in range(data.options.runs):
                    low = top // (data.options.runs + 1) * run + (top // 20 if command == "delete" else 0)
                    where = f"l_orderkey >= {low} and l_orderkey < {low + top // share}" if clustered else f"l_orderkey % {share} = {(3 * run + remainder) % share}"
                    for name, engine in engines.items():
                        measure(results[name], engine, lambda engine: getattr(engine, command)(where), holding(data, where))
                report(f"{command.upper()} of {name_of_share}, {'clustered' if clustered else 'scattered'}", results)


def bench_overwrite(data: Data):
    """One month of all months is replaced, one year of all years; the yardstick is plain DataFusion writing the same rows.
    A year has as many rows as a month at ten times the scale."""
    columns = ", ".join(row[0] for row in data.query("describe base").fetchall())
    for unit, length, name in (("month", 7, "{year}-{month:02}"), ("year", 4, "{year}")):
        engines = data.engines(query=f"select {columns}, substr(cast(l_shipdate as text), 1, {length}) as ship_period from bronze.lineitem",
                               partitioning="partitioned by (ship_period)", name="")
        results = {name: Result() for name in [*engines, "plain datafusion"]}
        for run in range(data.options.runs):
            period = name.format(year=1993 + run % 5, month=run % 12 + 1)
            source = data.scratch / "period.parquet"
            data.duck.cursor().execute(f"copy (select * from base where cast(l_shipdate as text) like '{period}%') to '{source}' (format parquet)").fetchall()
            for engine_name, engine in engines.items():
                measure(results[engine_name], engine, lambda engine: engine.overwrite(period, source))
            results["plain datafusion"].milliseconds.append(written_by_datafusion(data, source))
        report(f"INSERT OVERWRITE of one {unit} of many", results)


def written_by_datafusion(data: Data, source: pathlib.Path) -> float:
    from tpch import plain_datafusion

    target, script = data.scratch / "plain", data.scratch / "copy.sql"
    script.write_text(f"copy (select * from period) to '{target}/' stored as parquet options ('format.compression' 'zstd(1)')")
    run = plain_datafusion(data.options.bin / "plain-datafusion", {"period": [str(source)]})
    run(script)  # a server is warm, too
    os.sync()
    return run(script)


BENCHES = {"merge": bench_merge, "update-delete": bench_update_delete, "overwrite": bench_overwrite}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--scale", default="1")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--file-size", type=int, default=32, help="MiB of a data file")
    parser.add_argument("--only", choices=BENCHES, help="one part instead of all")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS), help="Auric's tables; \"delta copy\" is the others', too")
    data = Data(parser.parse_args())
    try:
        for name, bench in BENCHES.items():
            if data.options.only in (None, name):
                bench(data)
    finally:
        data.stop()


if __name__ == "__main__":
    main()
