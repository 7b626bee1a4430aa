"""A MERGE as data: its text, and the query of the changes it asks for."""

import dataclasses

from shape import Column

MATCHED, BY_TARGET, BY_SOURCE = "matched", "not matched", "not matched by source"


@dataclasses.dataclass(frozen=True)
class Clause:
    """`assignments` are those of UPDATE and INSERT; `every` is their `*`."""

    when: str
    condition: str | None
    action: str
    assignments: tuple[tuple[str, str], ...] = ()
    every: bool = False

    @property
    def sql(self) -> str:
        condition = f" and {self.condition}" if self.condition else ""
        return f"when {self.when}{condition} then {self.action_sql}"

    @property
    def action_sql(self) -> str:
        match self.action:
            case "update" if self.every:
                return "update set *"
            case "update":
                return "update set " + ", ".join(f"{name} = {value}" for name, value in self.assignments)
            case "insert" if self.every:
                return "insert *"
            case "insert":
                names, values = zip(*self.assignments)
                return f"insert ({', '.join(names)}) values ({', '.join(values)})"
            case action:
                return action

    def value(self, column: Column) -> str:
        """The new value of a column of the row that this clause makes or changes."""
        if self.every:
            return f"b.{column.name}"
        given = dict(self.assignments).get(column.name)
        if given is not None:
            return given
        return f"a.{column.name}" if self.action == "update" else "null"


@dataclasses.dataclass(frozen=True)
class Merge:
    """Target `t` as `a`, the source as `b`."""

    source: str
    on: str
    clauses: tuple[Clause, ...]
    prefix: str = ""

    @property
    def sql(self) -> str:
        return " ".join([f"{self.prefix}merge into t a using {self.source} b on {self.on}", *(clause.sql for clause in self.clauses)])

    def of(self, when: str) -> list[Clause]:
        return [clause for clause in self.clauses if clause.when == when]

    def changes(self, columns: tuple[Column, ...]) -> str:
        """A query with a row for each change: `rid` (null for new rows), `kind`, and the new values."""
        pairs = f"from t a, {self.source} b where ({self.on})"
        unmatched_target = f"from t a where not exists (select 1 from {self.source} b where ({self.on}))"
        unmatched_source = f"from {self.source} b where not exists (select 1 from t a where ({self.on}))"
        parts = [empty_changes(columns)]
        for when, rid, rows in ((MATCHED, "a.rowid", pairs), (BY_TARGET, "cast(null as bigint)", unmatched_source),
                                (BY_SOURCE, "a.rowid", unmatched_target)):
            clauses = self.of(when)
            for number, clause in enumerate(clauses):
                if clause.action != "do nothing":
                    parts.append(f"select {rid}, '{clause.action}', {values_of(clause, columns)} {rows} and ({first(clauses)}) = {number}")
        return self.prefix + " union all ".join(parts)


def empty_changes(columns: tuple[Column, ...]) -> str:
    nulls = ", ".join(f"cast(null as {column.type}) as {column.name}" for column in columns)
    return f"select cast(null as bigint) as rid, '' as kind, {nulls} where false"


def values_of(clause: Clause, columns: tuple[Column, ...]) -> str:
    if clause.action == "delete":
        return ", ".join(f"cast(null as {column.type})" for column in columns)
    return ", ".join(f"cast({clause.value(column)} as {column.type})" for column in columns)


def first(clauses: list[Clause]) -> str:
    """The number of the first clause whose condition holds."""
    return "case " + " ".join(f"when {clause.condition or 'true'} then {number}" for number, clause in enumerate(clauses)) + " end"
