"""Tables that DuckDB and Sail (an engine that speaks Spark Connect) write are read by Auric row for row, and the reverse."""

import contextlib
import json
import re
import sys

import pytest

from conftest import open_duckdb, rows

TYPES = ("id bigint, i int, b boolean, f float, db double, n decimal(20,4), dt date, tz timestamp, ts timestamp_ntz, s string, "
         "bin binary, li array<bigint>, st struct<x: bigint, y: string>, mp map<string, int>, k string")
# Values of the columns between the first and the last, in Spark's dialect. The session's time zone is UTC.
EXPRESSIONS = {
    "i": "cast(id - 5 as int)", "b": "id % 2 = 0", "f": "cast(id / 4 as float)", "db": "id * 1.0e300D",
    "n": "cast(id * -37 as decimal(20,4)) / 100", "dt": "date_add(date'1969-12-25', cast(id as int))",
    "tz": "timestamp'1969-12-31 23:59:59.123456' + make_interval(0, 0, 0, cast(id as int))",
    "ts": "timestamp_ntz'2024-02-28 23:59:59.999999' + make_interval(0, 0, 0, cast(id as int))",
    "s": "concat('häß 🦀 ', id)", "bin": "cast(concat('x', id) as binary)", "li": "array(id, null, -id)",
    "st": "named_struct('x', id, 'y', 'y')", "mp": "map('a', cast(id as int))",
}
NAMES = ", ".join(["id", *EXPRESSIONS, "k"])


def select_rows(start: int, end: int) -> str:
    """The rows `start..end` of a table of `TYPES`; every third has NULL in all columns but the first and the last."""
    columns = ", ".join(f"case when id % 3 <> 1 then {value} end {name}" for name, value in EXPRESSIONS.items())
    return f"select id, {columns}, concat('k', id % 3) k from range({start}, {end})"


class Sail:
    """A Sail server on a free port of the loopback interface, and a session of it."""

    def __init__(self):
        # pyspark takes a main module without a file, such as that of pytest-xdist's workers, for a doctest.
        main = sys.modules["__main__"]
        if not hasattr(main, "__file__"):
            main.__file__ = __file__
        from pysail.spark import SparkConnectServer
        from pyspark.sql import SparkSession

        self.server = SparkConnectServer(ip="127.0.0.1", port=0)
        self.server.start(background=True)
        _, port = self.server.listening_address
        self.session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
        self.session.conf.set("spark.sql.session.timeZone", "UTC")

    def run(self, *statements: str):
        for statement in statements:
            self.session.sql(statement).collect()

    def rows(self, query: str) -> list[tuple]:
        return rows(self.session.sql(query).toArrow())

    def load(self, format: str, location, *columns: str) -> list[tuple]:
        return rows(self.session.read.format(format).load(str(location)).select(*columns).toArrow())

    def stop(self):
        self.session.stop()
        self.server.stop()


@pytest.fixture(scope="module")
def sail():
    sail = Sail()
    yield sail
    sail.stop()


def auric(server, query: str) -> list[tuple]:
    """Rows of Auric in the shape of `rows`: maps as lists of pairs."""
    def value(of):
        # A struct has these two columns; every other object is a map.
        return list(of.items()) if isinstance(of, dict) and set(of) != {"x", "y"} else of

    return sorted((tuple(map(value, row)) for row in server.sql(query)), key=repr)


def check(server, schema, sail, location, table, count):
    """Auric reads a table of Sail's as Sail itself does, whole and filtered."""
    server.sql(f"create table {schema}.t location '{location}'")
    found = auric(server, f"select {NAMES} from {schema}.t")
    assert len(found) == count
    assert sorted(map(repr, map(plain, found))) == sorted(map(repr, map(plain, sail.rows(f"select {NAMES} from {table}"))))
    for condition in ("k = 'k1'", "id > 14", "i is null", "n < -3", "dt < date'1970-01-01'", "ts >= timestamp'2024-03-05 00:00:00'"):
        of_spark = condition.replace("timestamp'", "timestamp_ntz'")
        assert server.sql(f"select count(*) from {schema}.t where {condition}") == sail.rows(f"select count(*) from {table} where {of_spark}"), condition


def plain(row: tuple) -> tuple:
    """Without the class of the time zone, which the two clients do not share."""
    return tuple(value.isoformat() if hasattr(value, "isoformat") else value for value in row)


@pytest.fixture
def table(sail, request):
    """A name of a table in Sail's catalog."""
    name = "t_" + re.sub(r"\W+", "_", request.node.name).lower()
    yield name
    sail.run(f"drop table if exists {name}")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_sail_writes_iceberg(server, schema, sail, table, tmp_path, version):
    """Appends, updates, a merge (copy-on-write) and, in version 3, deletion vectors, on a partitioned table."""
    sail.run(f"create table {table} ({TYPES}) using iceberg partitioned by (k) location '{tmp_path}/t' "
             f"tblproperties ('format-version' = '{version}', 'write.delete.mode' = 'merge-on-read')",
             f"insert into {table} {select_rows(0, 10)}", f"insert into {table} {select_rows(10, 20)}",
             f"update {table} set n = 1.5, s = 'updated' where id = 4",
             f"merge into {table} t using (select * from range(18, 25)) s on t.id = s.id when matched then update set i = 99 "
             "when not matched then insert (id, k) values (s.id, 'k1')")
    count = 25
    if version == 3:
        sail.run(f"delete from {table} where id in (3, 6, 19)", f"delete from {table} where id = 7")
        count = 21
        assert list(tmp_path.glob("t/**/*.puffin"))
    check(server, schema, sail, f"{tmp_path}/t", table, count)


def test_sail_writes_equality_deletes(server, schema, sail, table, tmp_path):
    sail.run(f"create table {table} (id bigint, s string, d date) using iceberg location '{tmp_path}/t' "
             "tblproperties ('format-version' = '2', 'write.delete.mode' = 'merge-on-read')")
    for start in (0, 10, 20):
        sail.run(f"insert into {table} select id, case when id % 4 > 0 then concat('s', id) end s, date'2024-01-01' d "
                 f"from range({start}, {start + 10})")
    sail.run(f"delete from {table} where id in (3, 4, 25)", f"insert into {table} values (3, 's3', date'2024-01-01'), (4, 'again', null)",
             f"delete from {table} where s = 'again'")
    snapshots = [json.loads(file.read_text()) for file in (tmp_path / "t/metadata").glob("*.metadata.json")]
    assert any("equality" in json.dumps(metadata) for metadata in snapshots)
    server.sql(f"create table {schema}.t location '{tmp_path}/t'")
    found = auric(server, f"select id, s, d from {schema}.t")
    assert [row[0] for row in sorted(found)] == [n for n in range(30) if n not in (4, 25)]
    assert found == sail.rows(f"select id, s, d from {table}")


@pytest.mark.parametrize("transform", ["bucket(4, id)", "days(ts)", "years(dt)", "truncate(2, s)", "months(ts)", "hours(ts)"])
def test_sail_writes_partition_transforms(server, schema, sail, table, tmp_path, transform):
    sail.run(f"create table {table} ({TYPES}) using iceberg partitioned by ({transform}) location '{tmp_path}/t'",
             f"insert into {table} {select_rows(0, 40)}")
    check(server, schema, sail, f"{tmp_path}/t", table, 40)


@pytest.mark.parametrize("vectors", [False, True])
def test_sail_writes_delta(server, schema, sail, table, tmp_path, vectors):
    sail.run(f"create table {table} ({TYPES}) using delta partitioned by (k) location '{tmp_path}/t' "
             f"tblproperties ('delta.enableDeletionVectors' = '{str(vectors).lower()}')",
             f"insert into {table} {select_rows(0, 10)}", f"insert into {table} {select_rows(10, 20)}",
             f"delete from {table} where id in (3, 6, 19)", f"update {table} set n = 1.5, s = 'updated' where id = 4",
             f"merge into {table} t using (select * from range(18, 25)) s on t.id = s.id when matched then update set i = 99 "
             "when not matched then insert (id, k) values (s.id, 'k1')")
    check(server, schema, sail, f"{tmp_path}/t", table, 23)


COLUMNS = ("id bigint, b boolean, i int, f real, d double precision, n numeric(20,4), dt date, ts timestamp, tz timestamptz, s text, "
           "bin bytea, li int[]")
VALUES = ("(1, true, 1, 1.5, 0.1, 12.34, '1950-01-05', '2024-01-05 10:00:00.123456', '1960-01-05 10:00:00+02', 'häß', '\\x00ff', "
          "array[1, null]), (2, null, null, null, null, null, null, null, null, null, null, null)")


@pytest.mark.parametrize("partitioned", ["", "partitioned by (dt)"])
@pytest.mark.parametrize("format", ["iceberg", "delta"])
def test_sail_reads_what_auric_writes(server, schema, sail, format, partitioned):
    name = f"{schema}.t"
    server.sql(f"create table {name} ({COLUMNS}) using {format} {partitioned}")
    server.sql(f"insert into {name} values {VALUES}")
    server.sql(f"insert into {name} (id, dt) values (3, '2024-02-29')")
    expected = auric(server, f"select * from {name}")
    assert len(expected) == 3
    found = sail.load(format, server.warehouse / schema / "t", *(column.split()[0] for column in COLUMNS.split(", ")))
    assert sorted(map(plain, found)) == sorted(map(plain, expected))


def test_sail_and_auric_write_the_same_delta_table(server, schema, sail, table):
    server.sql(f"create table {schema}.t (id bigint, s text) using delta")
    sail.run(f"create table {table} using delta location '{server.warehouse / schema / 't'}'")
    for n in range(12):
        server.sql(f"insert into {schema}.t values ({n}, 'auric')")
        sail.run(f"insert into {table} values ({100 + n}, 'sail')")
    sail.run(f"delete from {table} where id in (3, 104)")
    expected = sorted([(n, "auric") for n in range(12) if n != 3] + [(100 + n, "sail") for n in range(12) if n != 4])
    assert sorted(server.sql(f"select * from {schema}.t")) == expected
    assert sorted(sail.rows(f"select * from {table}")) == expected


DUCKDB_ROWS = """select i::bigint id, x::int i, (x % 2 = 0) b, (x / 4)::float f, x * 1e300 d, (x * -37)::decimal(20,4) n,
  date '1969-12-25' + x::int dt, time '23:59:59.999999' tm, timestamp '1969-12-31 23:59:59.123456' + to_days(x::int) ts,
  timestamptz '2024-02-28 23:59:59.999999+00' + to_days(x::int) tz, 'häß 🦀 ' || x s, ('x' || x)::blob bin,
  if(x is null, null, '01234567-89ab-cdef-0123-456789abcdef'::uuid) u, if(x is null, null, [x, null, -x]) li,
  if(x is null, null, {'x': x, 'y': 'y'}) st
  from (select i, case when i % 3 <> 1 then i end x from range(20) r(i))"""


def test_duckdb_writes_iceberg(server, schema, duck, tmp_path):
    duck.execute("set timezone = 'UTC'")
    expected = duck.execute(DUCKDB_ROWS).fetchall()
    duck.execute(f"copy ({DUCKDB_ROWS}) to '{tmp_path}/t' (format iceberg)")
    server.sql(f"create table {schema}.t location '{tmp_path}/t'")
    found = server.sql(f"select * from {schema}.t order by id")
    assert [plain(row) for row in found] == [plain(row) for row in expected]
    assert server.sql(f"select count(*), min(dt) from {schema}.t where n < -400") == \
        duck.execute(f"select count(*), min(dt) from ({DUCKDB_ROWS}) where n < -400").fetchall()


@pytest.fixture
def duck_of_its_own():
    """An error inside DuckDB's Delta extension ends the whole database."""
    with contextlib.closing(open_duckdb()) as connection:
        yield connection


# DuckDB 1.5 fails on rows of several partitions in one statement.
@pytest.mark.parametrize("partitioned", ["", "partitioned by (k)"])
def test_duckdb_appends_to_delta(server, schema, duck_of_its_own, partitioned):
    """DuckDB writes into Delta tables that exist; here into one of Auric's, with both writing in turn."""
    name, duck, path = f"{schema}.t", duck_of_its_own, server.warehouse / schema / "t"
    server.sql(f"create table {name} (id bigint, s text, n numeric(20,4), dt date, ts timestamp, k text) using delta {partitioned}")
    server.sql(f"insert into {name} values (100, 'auric', 1.5, '2024-02-29', '2024-02-29 10:00:00', 'k0')")
    duck.execute(f"attach '{path}' as written (type delta)")
    for k in range(3):
        duck.execute("insert into written select i, 's' || i, i / 4, date '1969-12-25' + i::int, timestamp '1969-12-31 23:59:59.123456', "
                     f"'k{k}' from range(10) r(i) where i % 3 = {k}")
    duck.execute("insert into written values (50, null, null, null, null, null)")
    server.sql(f"insert into {name} (id) values (101)")
    expected = duck.execute(f"select * from delta_scan('{path}') order by id").fetchall()
    assert len(expected) == 13
    assert server.sql(f"select * from {name} order by id") == expected
    assert server.sql(f"select count(*) from {name} where k = 'k1'") == [(3,)]
    assert server.sql(f"select count(*) from {name} where k is null") == [(2,)]
