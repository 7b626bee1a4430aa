"""Delta Lake, both directions, while the server runs: deltalake and DuckDB read what Auric writes and the reverse."""

import datetime
import decimal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from conftest import rows
from test_iceberg_interop import EVENTS, EVENT_SCHEMA, check_filters

UTC = datetime.timezone.utc
TYPES = pa.schema([
    ("b", pa.bool_()), ("i8", pa.int8()), ("i16", pa.int16()), ("i", pa.int32()), ("l", pa.int64()), ("f", pa.float32()),
    ("d", pa.float64()), ("n", pa.decimal128(20, 4)), ("dt", pa.date32()), ("ts", pa.timestamp("us", tz="UTC")),
    ("ntz", pa.timestamp("us")), ("s", pa.string()), ("bin", pa.binary()), ("li", pa.list_(pa.int32())),
    ("st", pa.struct([("x", pa.int32()), ("y", pa.string())])), ("mp", pa.map_(pa.string(), pa.int64())),
])
VALUES = {
    "b": [True, None], "i8": [-128, None], "i16": [32767, None], "i": [-1, None], "l": [2**60, None], "f": [0.5, None],
    "d": [1e-300, None], "n": [decimal.Decimal("-1234.5000"), None], "dt": [datetime.date(1960, 6, 1), None],
    "ts": [datetime.datetime(2024, 1, 1, 12, tzinfo=UTC), None], "ntz": [datetime.datetime(1950, 1, 1, 0, 0, 0, 1), None],
    "s": ["häß", None], "bin": [b"\x00\x01", None], "li": [[1, None], None], "st": [{"x": 1, "y": None}, None],
    "mp": [[("a", 1)], None],
}


def delta_path(server, table: str):
    """Location of a managed Delta table."""
    return str(server.warehouse / table.replace(".", "/"))


def test_reads_every_type(server, schema, tmp_path):
    write_deltalake(str(tmp_path / "t"), pa.table(VALUES, schema=TYPES))
    server.sql(f"create table {schema}.t using delta location '{tmp_path}/t'")
    found = server.sql(f"select * from {schema}.t order by l nulls last")
    expected = [tuple(VALUES[name][k] for name in VALUES) for k in (0, 1)]
    for got, want in zip(found, expected, strict=True):
        for name, g, w in zip(VALUES, got, want, strict=True):
            assert g == (dict(w) if name == "mp" and w is not None else w), name


@pytest.mark.parametrize("partition", [["name"], ["day"], ["ts"], ["id"], ["n"], ["name", "day"]])
def test_partitioned_tables(server, schema, duck, tmp_path, partition):
    arrow = pa.Table.from_pylist(EVENTS, schema=EVENT_SCHEMA.as_arrow())
    arrow = arrow.cast(pa.schema([("id", pa.int64()), ("name", pa.string()), ("ts", pa.timestamp("us")), ("day", pa.date32()),
                                  ("n", pa.decimal128(9, 2))]))
    write_deltalake(str(tmp_path / "t"), arrow, partition_by=partition)
    server.sql(f"create table {schema}.t location '{tmp_path}/t'")
    check_filters(server, duck, f"{schema}.t", arrow)


def test_log_with_checkpoints_and_foreign_commits(server, schema, tmp_path):
    path = str(tmp_path / "t")
    write_deltalake(path, pa.table({"id": pa.array([0], pa.int64())}))
    server.sql(f"create table {schema}.t location '{path}'")
    for n in range(1, 15):
        write_deltalake(path, pa.table({"id": pa.array([n], pa.int64())}), mode="append")
        if n == 7:
            DeltaTable(path).create_checkpoint()
        assert server.sql(f"select count(*), sum(id) from {schema}.t") == [(n + 1, n * (n + 1) // 2)]
    DeltaTable(path).delete("id < 5")
    assert server.sql(f"select min(id), count(*) from {schema}.t") == [(5, 10)]
    DeltaTable(path).update(updates={"id": "id + 100"}, predicate="id = 5")
    assert server.sql(f"select max(id) from {schema}.t") == [(105,)]


def test_added_columns(server, schema, tmp_path):
    path = str(tmp_path / "t")
    write_deltalake(path, pa.table({"id": pa.array([1], pa.int64())}))
    write_deltalake(path, pa.table({"id": pa.array([2], pa.int64()), "more": ["x"]}), mode="append", schema_mode="merge")
    server.sql(f"create table {schema}.t location '{path}'")
    assert sorted(server.sql(f"select id, more from {schema}.t"), key=repr) == [(1, None), (2, "x")]


COLUMNS = ("b boolean, i int, l bigint not null, f real, d double precision, n numeric(20,4), dt date, "
           "ts timestamp, tz timestamptz, s text, bin bytea, li int[]")
INSERT = ("insert into {t} values (true, 1, 10, 1.5, 0.1, 12.3400, date '2024-01-05', "
          "timestamp '2024-01-05 10:00:00.123456', timestamptz '2024-01-05 10:00:00+02', 'häß', '\\x00ff', array[1,2]), "
          "(null, null, 20, null, null, null, null, null, null, null, null, null)")


def test_deltalake_and_duckdb_read_what_auric_writes(server, schema, duck):
    name = f"{schema}.t"
    server.sql(f"create table {name} ({COLUMNS}) using delta comment 'a table'")
    server.sql(INSERT.format(t=name))
    server.sql(f"insert into {name} (l, s) values (30, 'later')")
    table = DeltaTable(delta_path(server, name))
    assert table.metadata().description == "a table"
    found = table.to_pyarrow_table().sort_by("l").to_pylist()
    assert [row["l"] for row in found] == [10, 20, 30]
    first = found[0]
    assert (first["b"], first["i"], first["n"], first["dt"]) == (True, 1, decimal.Decimal("12.3400"), datetime.date(2024, 1, 5))
    assert first["ts"] == datetime.datetime(2024, 1, 5, 10, 0, 0, 123456)
    assert first["tz"] == datetime.datetime(2024, 1, 5, 8, tzinfo=UTC)
    assert (first["s"], first["bin"], first["li"]) == ("häß", b"\x00\xff", [1, 2])
    assert len(table.history()) == 3
    assert duck.execute(f"select l, s from delta_scan('{delta_path(server, name)}') order by l").fetchall() == \
        server.sql(f"select l, s from {name} order by l")


@pytest.mark.parametrize("partitioning", ["name", "day", "ts", "id", "n", "name, day"])
def test_partitioned_writes(server, schema, duck, partitioning):
    name = f"{schema}.t"
    server.sql(f"create table {name} (id bigint, name text, ts timestamp, day date, n numeric(9,2)) using delta "
               f"partitioned by ({partitioning})")
    arrow = pa.Table.from_pylist(EVENTS, schema=EVENT_SCHEMA.as_arrow())
    with server.connect() as connection, connection.cursor().copy(f"copy {name} from stdin") as copy:
        for event in EVENTS:
            copy.write_row(tuple(event.values()))
    table = DeltaTable(delta_path(server, name))
    found = table.to_pyarrow_table()
    assert rows(found.select(arrow.column_names)) == rows(arrow)
    assert table.to_pyarrow_table(filters=[("id", "=", 5)]).num_rows == 1
    check_filters(server, duck, name, arrow)
    condition = "id between 20 and 33"
    assert duck.execute(f"select count(*) from delta_scan('{delta_path(server, name)}') where {condition}").fetchone() == (14,)


def test_both_write_the_same_table(server, schema):
    name = f"{schema}.t"
    server.sql(f"create table {name} (id bigint, s text) using delta")
    for n in range(12):
        server.sql(f"insert into {name} values ({n}, 'auric')")
        write_deltalake(delta_path(server, name), pa.table({"id": pa.array([100 + n], pa.int64()), "s": ["deltalake"]}), mode="append")
    expected = sorted([(n, "auric") for n in range(12)] + [(100 + n, "deltalake") for n in range(12)])
    assert sorted(server.sql(f"select id, s from {name}")) == expected
    assert sorted(tuple(row.values()) for row in DeltaTable(delta_path(server, name)).to_pyarrow_table().to_pylist()) == expected


def test_create_table_as(server, schema):
    server.sql(f"create table {schema}.t using delta partitioned by (k) as select x % 3 as k, x from generate_series(1, 100) as g(x)")
    table = DeltaTable(delta_path(server, f"{schema}.t"))
    assert table.version() == 0
    assert table.to_pyarrow_table().num_rows == 100
    assert len(table.file_uris()) == 3


def test_unsupported_reader_feature_is_named(server, schema, tmp_path):
    import json
    import pathlib

    path = tmp_path / "t"
    write_deltalake(str(path), pa.table({"id": pa.array([1], pa.int64())}))
    log = path / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            action["protocol"] = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["fromTheFuture"],
                                  "writerFeatures": ["fromTheFuture"]}
    pathlib.Path(log).write_text("\n".join(map(json.dumps, actions)))
    with server.connect() as connection:
        with pytest.raises(Exception, match="fromTheFuture") as error:
            connection.execute(f"create table {schema}.t location '{path}'")
        assert error.value.sqlstate == "0A000"
        assert connection.execute("select 1").fetchone() == (1,)
