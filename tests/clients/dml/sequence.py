"""Runs one list of statements against Auric and the oracle and says where they part; shrinks what fails."""

import dataclasses
import itertools
import random
import re
import time
from collections import Counter

import psycopg

from oracle import Oracle, Refused
from outside import Differs, Outside, compare, multiset
from shape import Column, Shape, random_shape
from statement import Generator, Statement

SCHEMAS = itertools.count()


@dataclasses.dataclass
class Tally:
    """What became of the statements, by kind."""

    done: Counter = dataclasses.field(default_factory=Counter)
    refused: Counter = dataclasses.field(default_factory=Counter)
    failed_as_expected: Counter = dataclasses.field(default_factory=Counter)
    sequences: int = 0

    def __str__(self) -> str:
        kinds = sorted({*self.done, *self.failed_as_expected, *(kind for kind, _ in self.refused)})
        lines = [f"{kind:28} {self.done[kind]:6} done {self.failed_as_expected[kind]:6} failed as they must "
                 f"{sum(count for (name, _), count in self.refused.items() if name == kind):6} refused"
                 for kind in kinds]
        lines += [f"  refused: {kind}: {message} ({count})" for (kind, message), count in self.refused.items()]
        return f"{self.sequences} sequences\n" + "\n".join(lines)


@dataclasses.dataclass
class Case:
    """One shape and its statements, from one seed."""

    seed: int
    shape: Shape
    statements: list[Statement]

    @staticmethod
    def random(seed: int, length: int) -> "Case":
        rng = random.Random(seed)
        shape = random_shape(rng)
        generator = Generator(rng, shape)
        return Case(seed, shape, generator.first() + [generator.next() for _ in range(length)])

    @property
    def script(self) -> str:
        """The case to be replayed with psql."""
        lines = [f"-- seed {self.seed}: {self.shape.description}", "create schema replay;", "set search_path to replay;",
                 f"set timezone to '{self.shape.zone}';"]
        lines += [f"{self.source_shape.create('src')};", f"{self.shape.create('t')};"]
        for statement in self.statements:
            if statement.setting:
                lines.append(f"{statement.setting};")
            lines.append(f"{statement.sql};")
            if statement.setting:
                lines.append(f"{RESET};")
        return "\n".join(lines) + "\n"

    @property
    def source_shape(self) -> Shape:
        nullable = tuple(Column(column.name, column.type) for column in self.shape.columns)
        return dataclasses.replace(self.shape, columns=nullable, partitioning=())


CHANGED = ("Rows Inserted", "Rows Updated", "Rows Deleted")
RESET = "set partition_overwrite_mode = dynamic"


class Run:
    """A case on a server, in a schema of its own."""

    def __init__(self, server, duck, case: Case, tally: Tally):
        self.case, self.tally = case, tally
        self.schema = f"sequence_{next(SCHEMAS)}"
        self.names = [column.name for column in case.shape.columns]
        self.oracle = Oracle(case.shape)
        self.outside = Outside(server, duck, self.schema, "t", case.shape.layout.format)
        self.connection = server.connect()
        self.connection.execute(f"create schema {self.schema}")
        self.connection.execute(f"set search_path to {self.schema}")
        self.connection.execute(f"set timezone to '{case.shape.zone}'")
        self.returned: list[tuple] = []
        self.history: dict[int, Counter] = {}
        self.turns = itertools.count()

    def close(self):
        self.connection.close()

    def run(self):
        """Raises `Differs` at the first difference."""
        self.connection.execute(self.case.source_shape.create("src"))
        self.connection.execute(self.case.shape.create("t"))
        for statement in self.case.statements:
            self.one(statement)
        self.check_outside()
        self.check_history()
        self.tally.sequences += 1

    def one(self, statement: Statement):
        foretold = self.impact(statement) if next(self.turns) % 4 == 0 else None
        try:
            count = self.in_auric(statement)
        except psycopg.errors.FeatureNotSupported as error:
            self.tally.refused[statement.kind, first_line(error)] += 1
            self.check_rows(statement)
            return
        except psycopg.Error as error:
            self.must_fail(statement, error)
            return
        try:
            expected = statement.apply(self.oracle)
        except Refused as refusal:
            raise Differs(f"had to fail with {refusal}, but did {count} rows: {statement.sql}") from None
        self.tally.done[statement.kind] += 1
        self.check_rows(statement)
        if statement.returning:
            # What is read back as NULL was returned as it was written.
            compare("RETURNING", multiset(self.returned), multiset(self.oracle.returned), f"of {statement.sql}")
        if count is not None and count != expected:
            raise Differs(f"counted {count} rows instead of {expected}: {statement.sql}")
        if foretold is not None and foretold != expected:
            raise Differs(f"EXPLAIN (IMPACT) foretold {foretold} rows instead of {expected}: {statement.sql}")
        if (version := self.outside.version()) is not None:
            self.history[version] = multiset(self.oracle.rows())

    def impact(self, statement: Statement) -> int | None:
        """Rows that EXPLAIN (IMPACT) foretells, where that is what the tag counts; it must commit nothing."""
        if not statement.kind.startswith(("MERGE", "UPDATE", "DELETE")):
            return None
        version = self.outside.version()
        try:
            lines = [row[0] for row in self.connection.execute(f"explain (impact) {statement.sql}").fetchall()]
        except psycopg.Error:  # the statement itself will show whether it had to fail
            return None
        if self.outside.version() != version:
            raise Differs(f"EXPLAIN (IMPACT) committed: {statement.sql}")
        return sum(int(line.split(": ")[1]) for line in lines if line.split(": ")[0] in CHANGED)

    def in_auric(self, statement: Statement) -> int | None:
        """Rows that the command tag counts."""
        if statement.setting:
            self.connection.execute(statement.setting)
        try:
            cursor = self.connection.execute(statement.sql)
            tag = cursor.statusmessage
            self.returned = cursor.fetchall() if statement.returning else []
        finally:
            if statement.setting:
                self.connection.execute(RESET)
        found = re.search(r" (\d+)$", tag or "")
        return int(found.group(1)) if found else None

    def must_fail(self, statement: Statement, error: psycopg.Error):
        if not isinstance(error, psycopg.DatabaseError) or error.sqlstate is None:
            raise Differs(f"{type(error).__name__} {error}: {statement.sql}") from error
        try:
            statement.apply(self.oracle)
        except Refused as refusal:
            if error.sqlstate not in refusal.codes:
                raise Differs(f"failed with {error.sqlstate} ({first_line(error)}) instead of {refusal}: {statement.sql}") from error
        else:
            raise Differs(f"failed with {error.sqlstate} ({first_line(error)}), but had to work: {statement.sql}") from error
        self.tally.failed_as_expected[statement.kind] += 1
        self.check_rows(statement)

    def select(self, version: str = "") -> Counter:
        return multiset(self.connection.execute(f"select {', '.join(self.names)} from t{version}").fetchall())

    def check_rows(self, statement: Statement):
        compare("Auric", self.select(), multiset(self.oracle.rows()), f"after {statement.sql}")

    def check_outside(self):
        expected = multiset(self.oracle.rows())
        for reader, rows in self.outside.readers(self.names).items():
            compare(reader, multiset(rows), expected, "at the end")

    def check_history(self):
        versions = {row[0] for row in self.connection.execute('select snapshot_id from "t$snapshots"').fetchall()}
        if versions != (known := self.outside.versions()):
            raise Differs(f'"t$snapshots" has {sorted(versions)} instead of {sorted(known)}')
        for version, expected in self.history.items():
            compare("Auric", self.select(f" version as of {version}"), expected, f"as of version {version}")


def first_line(error: psycopg.Error) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def difference(server, duck, case: Case, tally: Tally | None = None) -> str | None:
    """What is wrong with the case, or None."""
    run = Run(server, duck, case, tally or Tally())
    try:
        run.run()
    except Differs as differs:
        return str(differs)
    except psycopg.Error as error:
        return f"{type(error).__name__} {error.sqlstate}: {error}"
    finally:
        run.close()
    return None


def signature(found: str | None) -> str:
    """What two differences share when they are of one kind."""
    found = found or ""
    return found[:17] if found.startswith("failed with") else re.sub(r"\d+", "", found)[:24]


def shrink(server, duck, case: Case, found: str, seconds: float) -> Case:
    """The case without the statements that its difference does not need, as far as the time allows."""
    deadline, wanted = time.monotonic() + seconds, signature(found)
    statements, size = list(case.statements), max(1, len(case.statements) // 2)
    while size:
        at = 0
        while at < len(statements) and time.monotonic() < deadline:
            fewer = statements[:at] + statements[at + size:]
            if signature(difference(server, duck, dataclasses.replace(case, statements=fewer))) == wanted:
                statements = fewer
            else:
                at += size
        size //= 2
    return dataclasses.replace(case, statements=statements)
