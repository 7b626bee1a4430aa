"""Incremental refresh of grouped gold tables after a change of a thousandth of the fact, against a full one.

`python benches/incremental.py --bin target/release --cache DIR [--rows 6000000] [--runs 3] [--only merge]`. The fact has
`--rows` rows, then ten times as many; the change is the same, a thousandth of the larger one (a day of either). Medians.
"query" is the time of the view's query alone, which a full refresh runs and writes; "grown" is the cost of the
incremental refresh with ten times the rows over that with one."""

import argparse
import pathlib
import shutil
import statistics
import time

import psycopg

from tpch import Auric

SCHEMA = "bench_incremental"
FORMATS = ("iceberg", "delta")
# Days in the smaller fact; a change is of one of the last of them, or of keys all over it.
DAYS = 100
# How many times as many rows the larger fact has.
LARGER = 10
# A series has a longest length.
SERIES = 1_000_000
BY_DAY = "select day, country, count(*) as n, sum(amount) as total, count(distinct customer) as customers from {fact} group by day, country"
SUMS = "select customer % 50000 as bucket, count(*) as n, sum(amount) as total, max(day) as last from {fact} group by 1"
JOINED = "select d.region, f.day, sum(f.amount) as total, count(distinct f.customer) as customers from {fact} f join {dim} d on f.country = d.country group by d.region, f.day"
ADD = "insert into {fact} select 1000000000 + i, date '2020-01-01' + {day}, (i * 7919) % 1000000, 'c' || i % 20, i % 1000 from generate_series(1::bigint, {count}) g(i)"
CASES = {
    "groups: added to one day": (BY_DAY, ADD),
    "groups: one day updated": (BY_DAY, "update {fact} set amount = amount + 1 where day = date '2020-01-01' + {day}"),
    "groups of a join: one day updated": (JOINED, "update {fact} set amount = amount + 1 where day = date '2020-01-01' + {day}"),
    "merge: added to all groups": (SUMS, ADD),
}


class Bench:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        folder = options.cache / "incremental"
        shutil.rmtree(folder, ignore_errors=True)
        self.auric = Auric(options.bin / "auric", "serve", "--data-dir", str(folder))
        self.connection = psycopg.connect(self.auric.dsn, autocommit=True)
        self.connection.execute(f"create schema {SCHEMA}")
        self.connection.execute(f"create table {SCHEMA}.dim as select 'c' || i as country, 'r' || i % 4 as region from generate_series(0, 19) g(i)")

    def names(self, scale: int) -> dict:
        return {"fact": f"{SCHEMA}.fact_{scale}", "dim": f"{SCHEMA}.dim"}

    def fill(self, scale: int, form: str):
        rows = self.options.rows * scale
        fact = self.names(scale)["fact"]
        self.connection.execute(f"drop table if exists {fact} cascade")
        # A day has as many rows at any scale: what grows is the past. They come day by day, as loads bring them.
        of_day = self.options.rows // DAYS
        self.connection.execute(
            f"create table {fact} using {form} partitioned by (day) as "
            f"select i as id, date '2020-01-01' - ((i - 1) / {of_day})::int as day, (i * 7919) % 1000000 as customer, "
            f"'c' || i % 20 as country, (i % 1000)::numeric(12,2) as amount "
            f"from (select a * {SERIES} + b as i from generate_series(0::bigint, {(rows - 1) // SERIES}) g(a), generate_series(1::bigint, {SERIES}) h(b)) s "
            f"where i <= {rows}")
        files, size = self.connection.execute(f'select count(*), sum(file_size_in_bytes) from "{fact.replace(".", chr(34) + "." + chr(34))}$files"').fetchone()
        counted = self.connection.execute(f"select count(*) from {fact} where amount >= 0").fetchone()[0]
        assert counted == rows, f"{counted} rows, {rows} wanted"
        print(f"{form}: {counted:,} rows in {files} files, {size / 2**20:,.0f} MiB", flush=True)

    def seconds(self, statement: str) -> float:
        began = time.perf_counter()
        self.connection.execute(statement)
        return time.perf_counter() - began

    def measure(self, scale: int, query: str, change: str) -> tuple[float, float, float, str]:
        """Medians of incremental and full refreshes and of the query, and the mode. Fails if a refresh was not
        incremental, or gave other rows than the query."""
        names, view = self.names(scale), f"{SCHEMA}.gold"
        query = query.format(**names)
        self.connection.execute(f"drop materialized view if exists {view}")
        self.connection.execute(f"create materialized view {view} refresh policy incremental as {query}")
        incremental, full, alone = [], [], []
        for run in range(self.options.runs):
            statement = change.format(**names, day=-run, count=self.options.rows * LARGER // 1000)
            self.connection.execute(statement)
            incremental.append(self.seconds(f"refresh materialized view {view}"))
            mode = self.connection.execute(
                "select mode from auric.refreshes where view_name = 'gold' order by published_at desc limit 1").fetchone()[0]
            assert mode not in ("full", "nothing"), f"{mode} after {statement}"
            differences = f"select count(*) from ((select * from {view} except all {query}) union all ({query} except all select * from {view})) d"
            if run == 0:
                assert self.connection.execute(differences).fetchone() == (0,), "not what the query gives"
            alone.append(self.seconds(f"select count(*) from ({query}) q"))
            full.append(self.seconds(f"refresh materialized view {view} full"))
        return statistics.median(incremental), statistics.median(full), statistics.median(alone), mode


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--rows", type=int, default=6_000_000)
    parser.add_argument("--scale", default="1", help="not used: the rows are given")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    options = parser.parse_args()
    bench = Bench(options)
    try:
        run(bench, options)
    finally:
        bench.auric.stop()


def run(bench: Bench, options: argparse.Namespace):
    bench.connection.execute("set result_cache to off")
    print(f"{'case':<44}{'rows':>12}{'incremental s':>15}{'full s':>9}{'query s':>9}{'faster':>8}{'grown':>7}  mode")
    for form in options.formats:
        smaller = {}
        for scale in (1, LARGER):
            bench.fill(scale, form)
            for name, (query, change) in CASES.items():
                if options.only not in name:
                    continue
                incremental, full, alone, mode = bench.measure(scale, query, change)
                grown = f"{incremental / smaller[name]:.2f}" if name in smaller else ""
                smaller.setdefault(name, incremental)
                print(f"{form + ', ' + name:<44}{options.rows * scale:>12,}{incremental:>15.3f}{full:>9.3f}{alone:>9.3f}{full / incremental:>8.1f}{grown:>7}  {mode}", flush=True)


if __name__ == "__main__":
    main()
