"""A case of another engine's test suite, told anew: tables, a statement, and what must come of it."""

import dataclasses
import re

import psycopg
import pytest

from outside import Outside, multiset
from shape import DELTA_COPY, DELTA_MARK, V2_COPY, V2_MARK, V3_MARK, Layout

LAYOUTS = {"v2_copy": V2_COPY, "v2_mark": V2_MARK, "v3_mark": V3_MARK, "delta_copy": DELTA_COPY, "delta_mark": DELTA_MARK}
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)

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


def check(case: Case, server, duck, schema: str, layout: Layout):
    with server.connect() as connection:
        connection.execute(f"set search_path to {schema}")
        connection.execute(create("t", case.columns, layout, fields(case.partitioning, layout)))
        connection.execute(create("u", case.source_columns or case.columns, layout))
        fill(connection, "t", case.target)
        fill(connection, "u", case.source)
        for statement in case.before:
            connection.execute(statement)
        kept = connection.execute("select * from t").fetchall()
        if case.fails:
            with pytest.raises(psycopg.Error) as error:
                connection.execute(case.sql)
            assert error.value.sqlstate in case.fails.split(" or "), error.value
        else:
            tag = connection.execute(case.sql).statusmessage
            if case.count is not None:
                assert tag.split()[-1] == str(case.count), tag
        expected = multiset(kept if case.rows is None else case.rows)
        assert multiset(connection.execute("select * from t").fetchall()) == expected
        names = [column.name for column in connection.execute("select * from t limit 0").description]
    for reader, rows in Outside(server, duck, schema, "t", layout.format).readers(names).items():
        assert multiset(rows) == expected, reader


def fields(partitioning: str, layout: Layout) -> str:
    """Delta partitions by columns only: a transform's column stands for it."""
    wanted = [field for field in partitioning.split("; ") if field]
    if layout.format == "delta":
        wanted = [re.sub(r"^\w+\((?:\d+, )?(\w+)\)$", r"\1", field) for field in wanted]
    return ", ".join(wanted)
