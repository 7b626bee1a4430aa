"""A case of another engine's test suite, told anew: tables, a statement, and what must come of it."""

import dataclasses
import itertools
import os
import re

import psycopg
import pytest

from outside import Differs, Outside, compare, multiset
from shape import DELTA_COPY, DELTA_MARK, V2_COPY, V2_MARK, V3_MARK, Layout

LAYOUTS = {"v2_copy": V2_COPY, "v2_mark": V2_MARK, "v3_mark": V3_MARK, "delta_copy": DELTA_COPY, "delta_mark": DELTA_MARK}
ICEBERG, DELTA = ("v2_copy", "v2_mark", "v3_mark"), ("delta_copy", "delta_mark")

SCHEMAS = itertools.count()
SOURCES: dict[tuple, str] = {}

ROWS = "(1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c')"
SOURCE = "(1, 100, 'x'), (4, 400, 'y')"
COLUMNS = "id int, v int, s text"


@dataclasses.dataclass(frozen=True)
class Case:
    """`t` holds `target` rows, `u` holds `source` rows; `rows` are those of `t` afterwards, in any order.

    `origins` name the suites that check the same; `fails` is the SQLSTATE of a statement that must fail and
    change nothing; `differs` says how Auric's answer is another one than theirs."""

    name: str
    origins: str
    sql: str
    rows: list[tuple] | None = None
    count: int | None = None
    fails: str | None = None
    target: str = ROWS
    source: str = SOURCE
    columns: str = COLUMNS
    source_columns: str = ""
    partitioning: str = ""
    before: tuple[str, ...] = ()
    differs: str = ""

    @property
    def identifier(self) -> str:
        """Unique: the command and the name."""
        words = self.sql.split()
        command = "merge" if "merge" in self.sql.lower() else words[0].lower()
        return f"{command}: {self.name}"

    @property
    def outcome(self) -> str:
        if self.differs:
            return f"differs: {self.differs}"
        if self.fails == "0A000":
            return "refused with 0A000"
        return f"works: refused with {self.fails}" if self.fails else "works"


def spread(cases: list["Case"]):
    """Each case with one layout of either format, in turn; with all if AURIC_DML_ALL is set."""
    chosen = []
    for number, case in enumerate(cases):
        names = LAYOUTS if os.environ.get("AURIC_DML_ALL") else (ICEBERG[number % 3], DELTA[number % 2])
        chosen += [pytest.param(case, LAYOUTS[name], id=f"{case.identifier}-{name}") for name in names]
    return pytest.mark.parametrize("case, layout", chosen)


def create(name: str, columns: str, layout: Layout, partitioning: str = "") -> str:
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in layout.properties)
    return (f"create table {name} ({columns}) using {layout.format}" + (f" partitioned by ({partitioning})" if partitioning else "")
            + (f" tblproperties ({properties})" if properties else ""))


def fill(connection: psycopg.Connection, table: str, rows: str):
    """Two commits, so that there is more than one file."""
    parts = rows.split("), ")
    halves = ["), ".join(part) for part in (parts[:len(parts) // 2], parts[len(parts) // 2:]) if part]
    for half in halves:
        if half:
            connection.execute(f"insert into {table} values {half}{'' if half.endswith(')') else ')'}")


def source_of(connection: psycopg.Connection, server, case: Case) -> str:
    """The schema of a table `u` with the case's source rows; cases with the same rows share it."""
    key = server.port, case.source_columns or case.columns, case.source
    if key not in SOURCES:
        SOURCES[key] = f"source_{len(SOURCES)}"
        connection.execute(f"create schema {SOURCES[key]}")
        connection.execute(f"create table {SOURCES[key]}.u ({case.source_columns or case.columns})")
        if case.source:
            connection.execute(f"insert into {SOURCES[key]}.u values {case.source}")
    return SOURCES[key]


def check(case: Case, server, duck, layout: Layout):
    schema = f"case_{next(SCHEMAS)}"
    with server.connect() as connection:
        connection.execute(f"create schema {schema}")
        connection.execute(f"set search_path to {schema}, {source_of(connection, server, case)}")
        connection.execute(create("t", case.columns, layout, fields(case.partitioning, layout)))
        fill(connection, "t", case.target)
        for statement in case.before:
            connection.execute(statement)
        kept = connection.execute("select * from t").fetchall()
        if case.fails:
            with pytest.raises(psycopg.Error) as error:
                connection.execute(case.sql)
            if error.value.sqlstate not in case.fails.split(" or "):
                raise Differs(f"{error.value.sqlstate} {error.value} instead of {case.fails}")
        else:
            tag = connection.execute(case.sql).statusmessage
            if case.count is not None and tag.split()[-1] != str(case.count):
                raise Differs(f"{tag} instead of {case.count} rows")
        expected = multiset(kept if case.rows is None else case.rows)
        compare("Auric", multiset(connection.execute("select * from t").fetchall()), expected, "afterwards")
        names = [column.name for column in connection.execute("select * from t limit 0").description]
    for reader, rows in Outside(server, duck, schema, "t", layout.format).readers(names).items():
        compare(reader, multiset(rows), expected, "afterwards")


def fields(partitioning: str, layout: Layout) -> str:
    """Delta partitions by columns only: a transform's column stands for it."""
    wanted = [field for field in partitioning.split("; ") if field]
    if layout.format == "delta":
        wanted = [re.sub(r"^\w+\((?:\d+, )?(\w+)\)$", r"\1", field) for field in wanted]
    return ", ".join(wanted)
