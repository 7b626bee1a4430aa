"""Random tables: columns, partitioning, format, version and mode, and values to fill them."""

import dataclasses
import datetime
import decimal
import random
import uuid

TYPES = ("int", "bigint", "smallint", "numeric(12,2)", "double precision", "real", "text", "date", "timestamp", "timestamptz", "boolean")
# Delta has no such types.
ICEBERG_TYPES = ("time", "uuid")
NUMBERS = {"smallint": 2**15, "int": 2**31, "bigint": 2**63}
# Of the session. None of them changes its clocks at a time that is generated here.
ZONES = ("UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata")


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    type: str
    nullable: bool = True


@dataclasses.dataclass(frozen=True)
class PartitionField:
    """`identity`, `bucket`, `truncate`, `days`, `months`, `years` or `hours` of a column."""

    transform: str
    column: Column
    parameter: int | None = None

    @property
    def sql(self) -> str:
        if self.transform == "identity":
            return self.column.name
        if self.parameter is None:
            return f"{self.transform}({self.column.name})"
        return f"{self.transform}({self.parameter}, {self.column.name})"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a table is stored: what must make no difference to what its statements do."""

    format: str
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return " ".join([self.format, *(f"{key.removeprefix('write.').removeprefix('delta.')}={value}" for key, value in self.properties)])


def iceberg(version: int, delete: str = "", update: str = "", merge: str = "") -> Layout:
    modes = {"write.delete.mode": delete, "write.update.mode": update, "write.merge.mode": merge}
    return Layout("iceberg", (("format-version", str(version)), *((key, value) for key, value in modes.items() if value)))


COPY, MARK = "copy-on-write", "merge-on-read"
V1 = iceberg(1)
V2_COPY = iceberg(2, COPY, COPY, COPY)
V2_MARK = iceberg(2, MARK, MARK, MARK)
V2_MIXED = iceberg(2, MARK, COPY, MARK)
V3_COPY = iceberg(3, COPY, COPY, COPY)
V3_MARK = iceberg(3, MARK, MARK, MARK)
DELTA_COPY = Layout("delta")
DELTA_MARK = Layout("delta", (("delta.enableDeletionVectors", "true"),))
DELTA_TRACKED = Layout("delta", (("delta.enableRowTracking", "true"), ("delta.checkpointInterval", "4")))
DELTA_TRACKED_MARK = Layout("delta", (*DELTA_TRACKED.properties, *DELTA_MARK.properties))
LAYOUTS = (V1, V2_COPY, V2_MARK, V2_MIXED, V3_COPY, V3_MARK, DELTA_COPY, DELTA_MARK, DELTA_TRACKED, DELTA_TRACKED_MARK)


@dataclasses.dataclass(frozen=True)
class Shape:
    columns: tuple[Column, ...]
    partitioning: tuple[PartitionField, ...]
    layout: Layout
    zone: str = "UTC"

    @property
    def empty_is_null(self) -> list[str]:
        """Columns in which an empty string is read as NULL: a Delta log cannot tell them apart."""
        return [field.column.name for field in self.partitioning if self.layout.format == "delta" and field.column.type == "text"]

    def named(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def of_type(self, *types: str) -> list[Column]:
        return [column for column in self.columns if column.type in types]

    def create(self, table: str) -> str:
        """The statement that makes the table in Auric."""
        clauses = [f"create table {table} ({column_list(self.columns)}) using {self.layout.format}"]
        if self.partitioning:
            clauses.append(f"partitioned by ({', '.join(field.sql for field in self.partitioning)})")
        if self.layout.properties:
            pairs = ", ".join(f"'{key}' = '{value}'" for key, value in self.layout.properties)
            clauses.append(f"tblproperties ({pairs})")
        return " ".join(clauses)

    @property
    def description(self) -> str:
        by = f" by {', '.join(field.sql for field in self.partitioning)}" if self.partitioning else ""
        return f"{self.layout.name}{by} in {self.zone}"


def column_list(columns) -> str:
    return ", ".join(f"{column.name} {column.type}{'' if column.nullable else ' not null'}" for column in columns)


def random_shape(rng: random.Random, layout: Layout | None = None) -> Shape:
    """A key column `k` and two to six others."""
    layout = layout or rng.choice(LAYOUTS)
    types = rng.sample(TYPES + (ICEBERG_TYPES if layout.format == "iceberg" else ()), rng.randint(2, 6))
    columns = [Column("k", rng.choice(("int", "bigint")), rng.random() < 0.5)]
    columns += [Column(f"c{number}", type_, rng.random() < 0.8) for number, type_ in enumerate(types, 1)]
    partitioning, zone = random_partitioning(rng, columns, layout), rng.choice(ZONES)
    if rng.random() < 0.5:  # what is rewritten takes row groups over
        limit = ("write.parquet.row-group-limit", str(rng.choice((1, 2, 3, 5))))
        layout = dataclasses.replace(layout, properties=(*layout.properties, limit))
    return Shape(tuple(columns), partitioning, layout, zone)


def random_partitioning(rng: random.Random, columns: list[Column], layout: Layout) -> tuple[PartitionField, ...]:
    """None for four tables of ten, else one or two fields over different columns."""
    if rng.random() < 0.4:
        return ()
    if layout.format == "delta":  # reads an empty string in a partition column as NULL
        columns = [column for column in columns if column.type != "text" or column.nullable]
    chosen = rng.sample(columns, min(len(columns), rng.choice((1, 1, 2))))
    return tuple(random_field(rng, column, layout) for column in chosen)


def random_field(rng: random.Random, column: Column, layout: Layout) -> PartitionField:
    identity = PartitionField("identity", column)
    if layout.format == "delta" or column.type in ("boolean", "double precision", "real"):
        return identity
    options = [identity]
    if column.type in NUMBERS:
        options += [PartitionField("bucket", column, rng.randint(2, 6)), PartitionField("truncate", column, 20)]
    elif column.type == "text":
        options += [PartitionField("bucket", column, rng.randint(2, 6)), PartitionField("truncate", column, rng.randint(1, 3))]
    elif column.type == "numeric(12,2)":
        options += [PartitionField("bucket", column, 4)]
    elif column.type in ICEBERG_TYPES:
        options += [PartitionField("bucket", column, 3)]
    elif column.type == "date":
        options += [PartitionField(name, column) for name in ("days", "months", "years")]
    else:
        options += [PartitionField(name, column) for name in ("days", "months", "years", "hours")]
    return rng.choice(options)


WORDS = ("", "a", "ab", "abc", "Abcd", "x y", "häø", "🦀", "it''s", "100%", "none", "zz")


def random_value(rng: random.Random, column: Column):
    """A Python value of the column; few distinct ones, so that predicates and joins hit."""
    if column.nullable and rng.random() < 0.12:
        return None
    match column.type:
        case "int":
            return rng.choice((rng.randint(-20, 80), rng.randint(-20, 80), extreme(rng, column)))
        case "bigint":
            return rng.choice((rng.randint(-20, 80), rng.randint(-20, 80), -(2**50), extreme(rng, column)))
        case "smallint":
            return rng.choice((rng.randint(-20, 80), rng.randint(-20, 80), extreme(rng, column)))
        case "numeric(12,2)":
            return decimal.Decimal(rng.choice((rng.randint(-500, 500), rng.randint(-500, 500), 99999999))).scaleb(-2)
        case "double precision":
            return rng.choice((-0.5, 0.0, 0.1, 1.5, 2.25, 1e10, -3.75, float("nan")))
        case "real":  # equal in 32 and 64 bits
            return rng.choice((-0.5, 0.0, 1.5, 2.25, 65536.0, -3.75, float("nan")))
        case "text":
            return rng.choice(WORDS).replace("''", "'")
        case "date":
            return datetime.date(2023, 12, 20) + datetime.timedelta(days=rng.choice((0, 1, 5, 20, 45, 400, -20000)))
        case "timestamp":
            return datetime.datetime(2023, 12, 31, 22) + datetime.timedelta(
                hours=rng.choice((0, 1, 2, 3, 30, 900, -500000)), microseconds=rng.choice((0, 0, 123456)))
        case "timestamptz":
            return datetime.datetime(2023, 12, 31, 22, tzinfo=datetime.UTC) + datetime.timedelta(
                hours=rng.choice((0, 1, 2, 3, 5, 30, 900, -500000)), microseconds=rng.choice((0, 0, 123456)))
        case "time":
            return datetime.time(rng.choice((0, 5, 12, 23)), rng.choice((0, 30, 59)), 0, rng.choice((0, 0, 123456)))
        case "uuid":
            return uuid.UUID(int=rng.choice((0, 1, 2, 2**127, 2**128 - 1, 2**64 + 5)))
        case "boolean":
            return rng.random() < 0.5
    raise AssertionError(column.type)


def extreme(rng: random.Random, column: Column) -> int:
    """The least or greatest numbers of a type. Keys are added to, and have none."""
    limit = 70 if column.name == "k" else NUMBERS[column.type]
    return rng.choice((-limit, 1 - limit, limit - 1))


def random_key(rng: random.Random) -> int:
    return rng.randint(0, 60)


def random_row(rng: random.Random, columns) -> tuple:
    return tuple(random_key(rng) if column.name == "k" and rng.random() < 0.95 else random_value(rng, column) for column in columns)


def literal(value, type_: str) -> str:
    """The value in SQL, with its type, as Auric and DuckDB read it alike."""
    if value is None:
        return f"cast(null as {type_})"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if type_ == "int" and value >= 0 else f"cast({value} as {type_})"
    if isinstance(value, datetime.datetime):
        return f"{type_} '{value.isoformat(' ')}'"
    if isinstance(value, datetime.date):
        return f"date '{value}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"cast('{value}' as {type_})"


def row_literal(row: tuple, columns) -> str:
    return f"({', '.join(literal(value, column.type) for value, column in zip(row, columns, strict=True))})"
