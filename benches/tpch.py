"""TPC-H, metadata answers and planning, every engine in turn in one run; prints medians and ratios."""

import argparse
import json
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

import duckdb
import psycopg

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "fixtures"))
TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]


class Auric:
    """`auric serve` over a data directory; queries over the wire."""

    def __init__(self, binary: pathlib.Path, *arguments: str):
        self.process = subprocess.Popen([binary, *arguments, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"],
                                        stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if match := re.search(r"port=(\d+)", line):
                self.dsn = f"host=127.0.0.1 port={match.group(1)} user=auric dbname=lake"
                break
        else:
            raise SystemExit("auric did not start")

    def engine(self, schema: str):
        connection = psycopg.connect(self.dsn, autocommit=True)
        connection.execute(f"set search_path to {schema}")
        # What is timed is the query.
        connection.execute("set result_cache to off")

        def run(path: pathlib.Path) -> float:
            text = path.read_text()
            start = time.perf_counter()
            connection.execute(text).fetchall()
            return (time.perf_counter() - start) * 1000

        return run

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def data_files(data_dir: pathlib.Path, schema: str) -> dict[str, list[str]]:
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog("lake", uri=f"sqlite:///{data_dir}/catalog.db")
    return {table: [path.removeprefix("file://") for path in
                    catalog.load_table((schema, table)).inspect.files()["file_path"].to_pylist()] for table in TABLES}


def plain_datafusion(binary: pathlib.Path, files: dict[str, list[str]]):
    process = subprocess.Popen([binary, *(f"{table}={','.join(paths)}" for table, paths in files.items())],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "ready"

    def run(path: pathlib.Path) -> float:
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        return float(process.stdout.readline().split()[0])

    return run


def plain_duckdb(files: dict[str, list[str]]):
    connection = duckdb.connect()
    for table, paths in files.items():
        connection.execute(f"create view {table} as select * from read_parquet({paths})")

    def run(path: pathlib.Path) -> float:
        text = path.read_text()
        start = time.perf_counter()
        connection.execute(text).fetchall()
        return (time.perf_counter() - start) * 1000

    return run


def delta_over(files: dict[str, list[str]], root: pathlib.Path):
    """Delta tables over the very same Parquet files (hard links)."""
    from deltalake import convert_to_deltalake

    for table, paths in files.items():
        folder = root / table
        if folder.exists():
            continue
        folder.mkdir(parents=True)
        for path in paths:
            (folder / pathlib.Path(path).name).hardlink_to(path)
        convert_to_deltalake(str(folder))


def with_deletion_vectors(source: pathlib.Path, target: pathlib.Path):
    """A copy of a Delta table of which every hundredth row is deleted by deletion vectors."""
    import uuid

    import pyarrow.parquet as pq
    from delta_by_hand import z85
    from roaring import deletion_vector

    if target.exists():
        return
    shutil.copytree(source, target, copy_function=lambda a, b: pathlib.Path(b).hardlink_to(a))
    log = target / "_delta_log" / f"{0:020}.json"
    actions = []
    for line in log.read_text().splitlines():
        action = json.loads(line)
        if "protocol" in action:
            old = action["protocol"]
            features = list(old.get("readerFeatures") or []) + ["deletionVectors"]
            writers = list(old.get("writerFeatures") or []) + ["deletionVectors"]
            action["protocol"] = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": writers}
        if "add" in action:
            rows = pq.ParquetFile(target / action["add"]["path"]).metadata.num_rows
            # Nations stay, or a query for GERMANY finds nothing to compute.
            positions = list(range(7, rows, 100)) if rows >= 100 else []
            if not positions:
                actions.append(action)
                continue
            framed, identifier = deletion_vector(positions), uuid.uuid4()
            (target / f"deletion_vector_{identifier}.bin").write_bytes(b"\x01" + framed)
            action["add"]["deletionVector"] = {"storageType": "u", "pathOrInlineDv": z85(identifier.bytes), "offset": 1,
                                               "sizeInBytes": len(framed) - 8, "cardinality": len(positions)}
        actions.append(action)
    log.unlink()
    log.write_text("\n".join(map(json.dumps, actions)) + "\n")


def register(auric: Auric, schema: str, root: pathlib.Path, tables: dict[str, pathlib.Path]):
    with psycopg.connect(auric.dsn, autocommit=True) as connection:
        connection.execute(f"create schema if not exists {schema}")
        for table, path in tables.items():
            connection.execute(f"create table if not exists {schema}.{table} location '{path}'")


def interleaved(engines: dict, queries: list[pathlib.Path], runs: int) -> dict[str, dict[str, float]]:
    """Median of `runs` per engine and query, after one warm-up; engines take turns, each time another one first."""
    medians = {name: {} for name in engines}
    for query in queries:
        times = {name: [] for name in engines}
        for number in range(runs + 1):
            turn = number % len(engines)
            names = list(engines)
            for name in names[turn:] + names[:turn]:
                elapsed = engines[name](query)
                if number:
                    times[name].append(elapsed)
        for name in engines:
            medians[name][query.stem] = statistics.median(times[name])
        print(query.stem, "  ".join(f"{name} {medians[name][query.stem]:8.1f}" for name in engines), flush=True)
    return medians


def ratios(medians: dict[str, dict[str, float]], engine: str):
    total = {name: sum(values.values()) for name, values in medians.items()}
    print("sum   ", "  ".join(f"{name} {value:8.1f}" for name, value in total.items()))
    for name in total:
        if name != engine:
            print(f"{name} / {engine}: {total[name] / total[engine]:.3f}")


def metadata_answers(auric: Auric, runs: int):
    with psycopg.connect(auric.dsn, autocommit=True) as connection:
        for schema in ("bronze", "bench_delta"):
            for expression in ("count(*)", "min(l_orderkey)", "max(l_shipdate)"):
                times = []
                for _ in range(runs * 4):
                    start = time.perf_counter()
                    connection.execute(f"select {expression} from {schema}.lineitem").fetchall()
                    times.append((time.perf_counter() - start) * 1000)
                print(f"{schema} {expression}: median {statistics.median(times):.2f} ms")


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
        files = data_files(data_dir, "bronze")
        same, deleted = data_dir / "same-files-delta", data_dir / "deletion-vectors"
        delta_over(files, same)
        for table in TABLES:
            with_deletion_vectors(same / table, deleted / table)
        register(auric, "bench_delta", same, {table: same / table for table in TABLES})
        register(auric, "bench_dv", deleted, {table: deleted / table for table in TABLES})
        engines = {
            "datafusion": plain_datafusion(options.bin / "plain-datafusion", files),
            "iceberg": auric.engine("bronze"),
            "delta": auric.engine("bench_delta"),
            "delta-dv": auric.engine("bench_dv"),
            "duckdb": plain_duckdb(files),
        }
        medians = interleaved(engines, sorted((REPOSITORY / "tests" / "tpch").glob("q*.sql")), options.runs)
        ratios(medians, "datafusion")
        ratios(medians, "duckdb")
        metadata_answers(auric, options.runs)
    finally:
        auric.stop()


if __name__ == "__main__":
    main()
