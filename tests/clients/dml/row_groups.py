"""A table whose files have many small row groups, and what is in them."""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from outside import Outside
from shape import DELTA_COPY, DELTA_TRACKED, V1, V2_COPY, V3_COPY, Layout

LAYOUTS = {"v1": V1, "v2": V2_COPY, "v3": V3_COPY, "delta": DELTA_COPY, "tracked": DELTA_TRACKED}
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
ROWS, GROUP = 1000, 100
COLUMNS = """k bigint not null, name text, price numeric(10,2), weight double precision, day date, at timestamp, flag boolean,
    code int, tags text[], p int"""
ROW = """n, case when n % 7 = 0 then null else 'name ' || n end, n / 4.0, case when n % 250 = 1 then 'NaN'::float8 else n * 0.5 end,
    date '2024-01-01' + n::int, timestamp '2024-01-01 00:00:00' + n * interval '1 minute', n % 3 = 0,
    case when n <= 200 then null else n end, case when n % 5 = 0 then null else array['a' || n, null] end, 1"""
LINEAGE = ("_row_id", "_last_updated_sequence_number", "_row-id-col-", "_row-commit-version-col-")
NAMES = ["k", "name", "price", "weight", "day", "at", "flag", "code", "tags", "p"]


def fill(server, schema: str, layout: Layout, duck, by: str = "", more: str = "") -> Outside:
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in (*layout.properties, ("write.parquet.row-group-limit", str(GROUP))))
    server.sql(f"create table {schema}.t ({COLUMNS}) using {layout.format} {by} tblproperties ({properties}{more})")
    server.sql(f"insert into {schema}.t select {ROW} from generate_series(1, {ROWS}) as g(n)")
    return Outside(server, duck, schema, "t", layout.format)


def files(outside: Outside) -> list[pathlib.Path]:
    """The live data files."""
    if outside.format == "iceberg":
        return [pathlib.Path(task.file.file_path.removeprefix("file://")) for task in outside.iceberg().scan().plan_files()]
    return [pathlib.Path(uri.removeprefix("file://")) for uri in DeltaTable(str(outside.folder)).file_uris()]


def columns(path: pathlib.Path) -> list[dict[str, bytes]]:
    """The bytes of each column of the table, of each row group."""
    content, metadata = path.read_bytes(), pq.ParquetFile(path).metadata
    found = []
    for group in (metadata.row_group(i) for i in range(metadata.num_row_groups)):
        chunks = [group.column(i) for i in range(group.num_columns)]
        starts = [chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks]
        found.append({chunk.path_in_schema: content[at:at + chunk.total_compressed_size] for at, chunk in zip(starts, chunks)
                      if not chunk.path_in_schema.startswith(LINEAGE)})
    return found


def groups(path: pathlib.Path) -> list[tuple[int, bytes]]:
    """Rows and bytes of each row group."""
    metadata = pq.ParquetFile(path).metadata
    return [(metadata.row_group(i).num_rows, b"".join(chunks.values())) for i, chunks in enumerate(columns(path))]


def written_anew(old: pathlib.Path, new: pathlib.Path) -> list[set[str]]:
    """Of each row group the columns whose bytes are other ones."""
    were, are = columns(old), columns(new)
    assert len(were) == len(are)
    return [{name for name, content in after.items() if before[name] != content} for before, after in zip(were, are)]


def same(rows) -> list[tuple]:
    """NaN is equal to itself; text for what has no order."""
    return sorted(tuple(repr(value) for value in row) for row in rows)


def check(server, schema, outside: Outside, expected: list[tuple]):
    assert same(server.sql(f"select * from {schema}.t")) == same(expected)
    if outside.format == "iceberg":
        assert same(outside.by_pyiceberg(NAMES)) == same(expected)
    else:
        assert same(outside.by_deltalake(NAMES)) == same(expected)


def rows_of(server, schema) -> list[tuple]:
    return server.sql(f"select * from {schema}.t")


def append_outside(outside: Outside, rows: int):
    """A file of another program, with rows that follow those of the table."""
    values = {"k": pa.array([ROWS + n for n in range(1, rows + 1)]), "code": pa.array([n for n in range(1, rows + 1)], pa.int32()),
              "p": pa.array([1] * rows, pa.int32())}
    if outside.format == "iceberg":
        table = outside.iceberg()
        wanted = table.schema().as_arrow()
        arrays = [values[field.name] if field.name in values else pa.nulls(rows, field.type) for field in wanted]
        table.append(pa.Table.from_arrays(arrays, schema=wanted))
    else:
        wanted = pa.schema(DeltaTable(str(outside.folder)).schema())
        arrays = [values[field.name] if field.name in values else pa.nulls(rows, field.type) for field in wanted]
        write_deltalake(str(outside.folder), pa.Table.from_arrays(arrays, schema=wanted), mode="append")
