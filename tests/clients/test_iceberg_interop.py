"""Iceberg, both directions, while the server runs: pyiceberg and DuckDB read what Auric writes and the reverse."""

import datetime
import decimal
import uuid

import pyarrow as pa
import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import (BucketTransform, DayTransform, HourTransform, IdentityTransform, MonthTransform,
                                  TruncateTransform, YearTransform)
from pyiceberg.types import (BinaryType, BooleanType, DateType, DecimalType, DoubleType, FixedType, FloatType,
                             IntegerType, ListType, LongType, MapType, NestedField, StringType, StructType, TimestampType,
                             TimestamptzType, TimeType, UUIDType)

from conftest import rows

UTC = datetime.timezone.utc


def auric_rows(server, statement):
    return sorted(server.sql(statement), key=repr)


ALL_TYPES = Schema(
    NestedField(1, "b", BooleanType()), NestedField(2, "i", IntegerType()), NestedField(3, "l", LongType()),
    NestedField(4, "f", FloatType()), NestedField(5, "d", DoubleType()), NestedField(6, "n", DecimalType(20, 4)),
    NestedField(7, "dt", DateType()), NestedField(8, "tm", TimeType()), NestedField(9, "ts", TimestampType()),
    NestedField(10, "tz", TimestamptzType()), NestedField(11, "s", StringType()), NestedField(12, "bin", BinaryType()),
    NestedField(13, "fx", FixedType(4)),
    NestedField(14, "li", ListType(15, IntegerType(), element_required=False)),
    NestedField(16, "st", StructType(NestedField(17, "x", IntegerType()), NestedField(18, "y", StringType()))),
    NestedField(19, "mp", MapType(20, StringType(), 21, LongType(), value_required=False)),
)
VALUES = {
    "b": [True, False, None], "i": [1, -2, None], "l": [2**40, -(2**60), None], "f": [1.5, -0.25, None],
    "d": [0.1, 1e300, None], "n": [decimal.Decimal("1.5000"), decimal.Decimal("-9999999999999999.9999"), None],
    "dt": [datetime.date(1950, 1, 1), datetime.date(2024, 2, 29), None],
    "tm": [datetime.time(1, 2, 3, 4), datetime.time(23, 59, 59, 999999), None],
    "ts": [datetime.datetime(1950, 1, 1, 1, 1, 1, 1), datetime.datetime(2024, 2, 29), None],
    "tz": [datetime.datetime(1950, 1, 1, tzinfo=UTC), datetime.datetime(2024, 2, 29, 12, tzinfo=UTC), None],
    "s": ["", "häß 🦀", None], "bin": [b"", b"\x00\xff", None], "fx": [b"abcd", b"\x00\x01\x02\x03", None],
    "li": [[1, None, 3], [], None], "st": [{"x": 1, "y": "a"}, {"x": None, "y": None}, None],
    "mp": [[("k", 1), ("l", None)], [], None],
}


@pytest.mark.parametrize("version", ["1", "2"])
def test_reads_every_type(server, schema, version):
    table = server.pyiceberg().create_table((schema, "t"), ALL_TYPES, properties={"format-version": version})
    table.append(pa.table(VALUES, schema=table.schema().as_arrow()))
    found = server.sql(f"select * from {schema}.t order by i nulls last")
    expected = [tuple(VALUES[name][k] for name in VALUES) for k in (1, 0, 2)]
    names = list(VALUES)
    for got, want in zip(found, expected, strict=True):
        for name, g, w in zip(names, got, want, strict=True):
            if name == "mp":
                w = None if w is None else dict(w)
            assert g == w, name


def test_schema_evolution(server, schema):
    catalog = server.pyiceberg()
    table = catalog.create_table((schema, "t"), Schema(
        NestedField(1, "id", IntegerType(), required=False), NestedField(2, "name", StringType()),
        NestedField(3, "price", FloatType()), NestedField(4, "gone", LongType()),
        NestedField(5, "inner", StructType(NestedField(6, "a", IntegerType()), NestedField(7, "b", StringType()))),
        NestedField(8, "amount", DecimalType(9, 2)),
    ))
    table.append(pa.Table.from_pylist(
        [{"id": 1, "name": "one", "price": 1.5, "gone": 9, "inner": {"a": 10, "b": "x"}, "amount": decimal.Decimal("1.25")}],
        schema=table.schema().as_arrow()))
    with table.update_schema() as update:
        update.update_column("id", LongType())
        update.update_column("price", DoubleType())
        update.update_column("amount", DecimalType(18, 2))
        update.rename_column("name", "label")
        update.delete_column("gone")
        update.add_column("extra", DateType())
        update.rename_column(("inner", "b"), "text")
        update.update_column(("inner", "a"), LongType())
        update.add_column(("inner", "c"), BooleanType())
    with table.update_schema() as update:
        update.move_first("label")
        update.add_column("gone", StringType())  # a new column under an old name
    with table.update_schema() as update:
        update.rename_column("extra", "name")
    table.append(pa.Table.from_pylist(
        [{"label": "two", "id": 2**40, "price": 0.1, "inner": {"a": 2**41, "text": "y", "c": True},
          "amount": decimal.Decimal("9999999999.99"), "name": datetime.date(2024, 1, 2), "gone": "new"}],
        schema=table.schema().as_arrow()))
    columns = [field.name for field in table.schema().fields]
    found = server.sql(f"select {', '.join(columns)} from {schema}.t order by id")
    expected = table.scan().to_arrow().sort_by("id").to_pylist()
    assert found == [tuple(row[column] for column in columns) for row in expected]
    assert server.sql(f"select label from {schema}.t where gone is null") == [("one",)]
    assert server.sql(f"select label from {schema}.t where gone = 'new' and id > 5") == [("two",)]
    assert server.sql(f"select label from {schema}.t where price < 1.0") == [("two",)]


EVENTS = [
    {"id": n, "name": f"name-{n % 17}", "ts": datetime.datetime(2023, 12, 30) + datetime.timedelta(hours=7 * n),
     "day": datetime.date(1969, 12, 25) + datetime.timedelta(days=n), "n": decimal.Decimal(n * 37 % 1000) / 100}
    for n in range(120)
] + [{"id": None, "name": None, "ts": None, "day": None, "n": None}]
EVENT_SCHEMA = Schema(NestedField(1, "id", LongType()), NestedField(2, "name", StringType()),
                      NestedField(3, "ts", TimestampType()), NestedField(4, "day", DateType()),
                      NestedField(5, "n", DecimalType(9, 2)))
SPECS = {
    "identity": (1, IdentityTransform()), "identity_string": (2, IdentityTransform()), "bucket_long": (1, BucketTransform(7)),
    "bucket_string": (2, BucketTransform(5)), "bucket_decimal": (5, BucketTransform(4)), "truncate_long": (1, TruncateTransform(10)),
    "truncate_string": (2, TruncateTransform(6)), "truncate_decimal": (5, TruncateTransform(50)), "year": (3, YearTransform()),
    "month": (3, MonthTransform()), "day": (3, DayTransform()), "hour": (3, HourTransform()), "day_of_date": (4, DayTransform()),
    "month_of_date": (4, MonthTransform()), "year_of_date": (4, YearTransform()),
}
FILTERS = ["id = 5", "id in (3, 77, 500)", "id between 20 and 33", "id is null", "id is not null and name = 'name-3'",
           "name >= 'name-14'", "name like 'name-1%'", "name <> 'name-2'", "ts >= timestamp '2024-01-01'",
           "ts = timestamp '2024-01-01 01:00:00'", "ts < timestamp '2023-12-31 23:59:59'", "day < date '1970-01-01'",
           "day = date '1970-02-01'", "n = 3.70", "n > 9.5", "id > 100 or name = 'name-0'", "not (id < 90)"]


def check_filters(server, duck, table_name, arrow):
    duck.register("events", arrow)
    for condition in FILTERS:
        expected = sorted(duck.execute(f"select id, name, ts, day, n from events where {condition}").fetchall(), key=repr)
        assert auric_rows(server, f"select id, name, ts, day, n from {table_name} where {condition}") == expected, condition


@pytest.mark.parametrize("spec", SPECS)
def test_pruning_by_transform(server, schema, duck, spec):
    source, transform = SPECS[spec]
    table = server.pyiceberg().create_table((schema, "t"), EVENT_SCHEMA, partition_spec=PartitionSpec(
        PartitionField(source, 1000, transform, "part")))
    arrow = pa.Table.from_pylist(EVENTS, schema=table.schema().as_arrow())
    table.append(arrow)
    check_filters(server, duck, f"{schema}.t", arrow)


def test_partition_evolution(server, schema, duck):
    table = server.pyiceberg().create_table((schema, "t"), EVENT_SCHEMA, partition_spec=PartitionSpec(
        PartitionField(3, 1000, MonthTransform(), "ts_month")))
    arrow = pa.Table.from_pylist(EVENTS, schema=table.schema().as_arrow())
    table.append(arrow.slice(0, 40))
    with table.update_spec() as update:
        update.remove_field("ts_month")
        update.add_field("id", BucketTransform(3))
    table.append(arrow.slice(40, 40))
    with table.update_spec() as update:
        update.add_field("name", IdentityTransform())
    table.append(arrow.slice(80))
    check_filters(server, duck, f"{schema}.t", arrow)


def test_foreign_commits_are_seen_at_the_next_statement(server, schema):
    server.sql(f"create table {schema}.t (id bigint)")
    with server.connect() as connection:
        connection.prepare_threshold = 0
        for n in range(1, 4):
            server.pyiceberg().load_table((schema, "t")).append(pa.table({"id": pa.array([n], pa.int64())}))
            assert connection.execute(f"select count(*) from {schema}.t").fetchone() == (n,)
    server.pyiceberg().drop_table((schema, "t"))
    with pytest.raises(Exception, match="does not exist"):
        server.sql(f"select * from {schema}.t")


def test_branches_and_tags(server, schema):
    server.sql(f"create table {schema}.t (id bigint)")
    server.sql(f"insert into {schema}.t values (1)")
    table = server.pyiceberg().load_table((schema, "t"))
    first = table.current_snapshot().snapshot_id
    server.sql(f"insert into {schema}.t values (2)")
    table.refresh()
    second = table.current_snapshot().snapshot_id
    table.manage_snapshots().create_tag(first, "start", max_ref_age_ms=10**11).create_branch(
        second, "side", max_ref_age_ms=10**12, max_snapshot_age_ms=10**9, min_snapshots_to_keep=3).commit()
    columns = "name, type, snapshot_id, max_reference_age_in_ms, min_snapshots_to_keep, max_snapshot_age_in_ms"
    found = server.sql(f"select {columns} from {schema}.\"t$refs\" order by name")
    assert found == [("main", "BRANCH", second, None, None, None), ("side", "BRANCH", second, 10**12, 3, 10**9),
                     ("start", "TAG", first, 10**11, None, None)]
    rows = table.refresh().inspect.refs().to_pylist()
    assert found == sorted(tuple(row[name] for name in columns.split(", ")) for row in rows)
    assert server.sql(f"select count(*) from {schema}.t version as of 'start'") == [(1,)]


COLUMNS = ("b boolean, i int, l bigint not null, f real, d double precision, n numeric(20,4), dt date, tm time, "
           "ts timestamp, tz timestamptz, s text, bin bytea, u uuid, li int[]")
INSERT = ("insert into {t} values (true, 1, 10, 1.5, 0.1, 12.3400, date '2024-01-05', time '01:02:03', "
          "timestamp '2024-01-05 10:00:00.123456', timestamptz '2024-01-05 10:00:00+02', 'häß', '\\x00ff', "
          "'01234567-89ab-cdef-0123-456789abcdef', array[1,2]), "
          "(null, null, 20, null, null, null, null, null, null, null, null, null, null, null)")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_pyiceberg_and_duckdb_read_what_auric_writes(server, schema, duck, version):
    name = f"{schema}.t"
    server.sql(f"create table {name} ({COLUMNS}) comment 'a table' tblproperties ('format-version' = '{version}')")
    server.sql(INSERT.format(t=name))
    server.sql(f"insert into {name} (l, s) values (30, 'later')")
    table = server.pyiceberg().load_table((schema, "t"))
    assert table.metadata.format_version == version
    assert table.schema().find_field("l").required
    found = table.scan().to_arrow().sort_by("l").to_pylist()
    assert [row["l"] for row in found] == [10, 20, 30]
    first = found[0]
    assert (first["b"], first["i"], first["n"], first["dt"]) == (True, 1, decimal.Decimal("12.3400"), datetime.date(2024, 1, 5))
    assert first["ts"] == datetime.datetime(2024, 1, 5, 10, 0, 0, 123456)
    assert first["tz"] == datetime.datetime(2024, 1, 5, 8, tzinfo=UTC)
    assert (first["s"], first["bin"], first["li"]) == ("häß", b"\x00\xff", [1, 2])
    assert first["u"] in (uuid.UUID("01234567-89ab-cdef-0123-456789abcdef"), uuid.UUID("01234567-89ab-cdef-0123-456789abcdef").bytes)
    summary = table.current_snapshot().summary
    assert (summary["added-records"], summary["total-records"], summary["total-data-files"]) == ("1", "3", "2")
    location = table.metadata_location.removeprefix("file://")
    assert duck.execute(f"select l, s from iceberg_scan('{location}') order by l").fetchall() == server.sql(f"select l, s from {name} order by l")


@pytest.mark.parametrize("files", [[(10, 2), (20, 3), (20_000, 2)], [(20_000, 2), (10, 3), (40_000, 7), (200, 5), (20, 3)],
                                   [(4_000 * n, n) for n in range(2, 8)], [(200 + 2_000 * n, 2 + n % 7) for n in range(12)]])
def test_deletion_vectors_that_share_a_file(server, schema, duck, files):
    """DuckDB 1.5 takes a vector that is longer than what follows it, the footer too, for all that follows."""
    name = f"{schema}.t"
    server.sql(f"create table {name} (f int, i int) tblproperties ('format-version' = '3', 'write.delete.mode' = 'merge-on-read')")
    for number, (rows, _) in enumerate(files):
        server.sql(f"insert into {name} select {number}, i from generate_series(1, {rows}) as g(i)")
    server.sql(f"delete from {name} where {' or '.join(f'f = {n} and i % {every} = 0' for n, (_, every) in enumerate(files))}")
    table = server.pyiceberg().load_table((schema, "t"))
    deletes = table.inspect.delete_files().to_pylist()
    assert len(deletes) == len(files) and len({delete["file_path"] for delete in deletes}) == 1
    expected = sorted((number, i) for number, (rows, every) in enumerate(files) for i in range(1, rows + 1) if i % every)
    assert sorted(server.sql(f"select f, i from {name}")) == expected
    assert sorted(duck.execute(f"select f, i from iceberg_scan('{table.metadata_location.removeprefix('file://')}')").fetchall()) == expected


def test_statistics_are_written_as_the_spec_asks(server, schema):
    server.sql(f"create table {schema}.t (id int, s text, d double precision)")
    server.sql(f"insert into {schema}.t values (3, '{'x' * 40}', 'NaN'), (-7, 'abc', 2.5), (null, null, null)")
    files = server.pyiceberg().load_table((schema, "t")).inspect.files().to_pylist()
    metrics = files[0]["readable_metrics"]
    assert (metrics["id"]["lower_bound"], metrics["id"]["upper_bound"]) == (-7, 3)
    assert metrics["id"]["null_value_count"] == 1 and metrics["id"]["value_count"] == 3
    assert metrics["s"]["lower_bound"] == "abc" and metrics["s"]["upper_bound"] == "x" * 15 + "y"
    assert (metrics["d"]["lower_bound"], metrics["d"]["upper_bound"], metrics["d"]["nan_value_count"]) == (2.5, 2.5, 1)


PARTITIONINGS = ["id", "bucket(4, id)", "truncate(5, name)", "days(ts)", "months(ts)", "years(ts)", "hours(ts)",
                 "bucket(3, name), days(ts)", "day", "truncate(50, n)", "months(day)"]


@pytest.mark.parametrize("partitioning", PARTITIONINGS)
def test_partitioned_writes(server, schema, duck, partitioning):
    name = f"{schema}.t"
    server.sql(f"create table {name} (id bigint, name text, ts timestamp, day date, n numeric(9,2)) "
               f"partitioned by ({partitioning}) sorted by (id desc)")
    arrow = pa.Table.from_pylist(EVENTS, schema=EVENT_SCHEMA.as_arrow())
    with server.connect() as connection, connection.cursor().copy(f"copy {name} from stdin") as copy:
        for event in EVENTS:
            copy.write_row(tuple(event.values()))
    table = server.pyiceberg().load_table((schema, "t"))
    assert rows(table.scan().to_arrow()) == rows(arrow)
    from pyiceberg.expressions import EqualTo
    assert table.scan(row_filter=EqualTo("id", 5)).to_arrow().num_rows == 1
    assert table.scan(row_filter=EqualTo("name", "name-3")).to_arrow().num_rows == 7
    check_filters(server, duck, name, arrow)
    assert len(table.inspect.snapshots()) == 1


def test_both_write_the_same_table(server, schema):
    catalog = server.pyiceberg()
    server.sql(f"create table {schema}.t (id bigint, s text) partitioned by (bucket(2, id))")
    for n in range(3):
        server.sql(f"insert into {schema}.t values ({n}, 'auric')")
        table = catalog.load_table((schema, "t"))
        table.append(pa.table({"id": pa.array([100 + n], pa.int64()), "s": ["pyiceberg"]}))
    expected = sorted([(n, "auric") for n in range(3)] + [(100 + n, "pyiceberg") for n in range(3)])
    assert sorted(server.sql(f"select id, s from {schema}.t")) == expected
    assert rows(catalog.load_table((schema, "t")).scan().to_arrow()) == sorted(expected, key=repr)


def test_registers_an_existing_table(server, schema, tmp_path):
    from pyiceberg.catalog.sql import SqlCatalog

    other = SqlCatalog("other", uri=f"sqlite:///{tmp_path}/other.db", warehouse=f"file://{tmp_path}/warehouse")
    other.create_namespace("ns")
    table = other.create_table(("ns", "t"), Schema(NestedField(1, "id", LongType())))
    table.append(pa.table({"id": pa.array([1, 2, 3], pa.int64())}))
    server.sql(f"create table {schema}.registered location '{table.location()}'")
    assert server.sql(f"select sum(id) from {schema}.registered") == [(6,)]
    server.sql(f"drop table {schema}.registered")
    assert other.load_table(("ns", "t")).scan().to_arrow().num_rows == 3


def test_concurrent_appends_all_land(server, schema):
    from concurrent.futures import ThreadPoolExecutor

    server.sql(f"create table {schema}.t (id bigint)")

    def append(n):
        if n % 3 == 0:
            for _ in range(20):  # pyiceberg does not retry by itself
                try:
                    return server.pyiceberg().load_table((schema, "t")).append(pa.table({"id": pa.array([n], pa.int64())}))
                except Exception as error:
                    if "updated by another process" not in str(error) and "branch main" not in str(error) and "locked" not in str(error):
                        raise
            raise AssertionError("pyiceberg never got its turn")
        return server.sql(f"insert into {schema}.t values ({n})")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(append, range(24)))
    assert server.sql(f"select count(*), count(distinct id) from {schema}.t") == [(24, 24)]
