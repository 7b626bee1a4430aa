"""Random statements, each with its text for Auric and what it does to the oracle."""

import dataclasses
import random
from collections.abc import Callable

import expression
from expression import Scope, predicate, subquery_predicate, subquery_value
from merge import BY_SOURCE, BY_TARGET, MATCHED, Clause, Merge
from oracle import Oracle
from shape import Column, Shape, literal, random_key, random_row, random_value, row_literal


@dataclasses.dataclass(frozen=True)
class Statement:
    """`apply` changes the oracle, returns the rows counted, or raises `Refused`."""

    kind: str
    sql: str
    apply: Callable[[Oracle], int]
    setting: str | None = None
    merge: Merge | None = None
    returning: bool = False


class Generator:
    def __init__(self, rng: random.Random, shape: Shape):
        self.rng, self.shape = rng, shape
        self.target = Scope(rng, ("a", shape.columns))
        self.both = Scope(rng, ("a", shape.columns), ("b", shape.columns))

    def first(self) -> list[Statement]:
        """Rows to begin with, in several commits, so that there are several files."""
        return [self.insert_rows("src", unique=True), self.insert_rows("t"), self.insert_series(), self.insert_rows("t")]

    def next(self) -> Statement:
        kinds = ((14, self.update), (8, self.update_from), (12, self.delete), (6, self.delete_using), (30, self.merge),
                 (4, self.insert_select), (6, self.insert_series), (8, lambda: self.insert_rows("t")), (3, lambda: self.insert_rows("src")),
                 (8, self.overwrite), (4, self.overwrite_partition), (5, self.replace_where), (1, self.truncate),
                 (3, self.failing_cast), (3, self.null_into_required), (3, self.merge_hitting_twice))
        return self.rng.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])[0]()

    def plain(self, kind: str, sql: str) -> Statement:
        if kind in ("INSERT VALUES", "INSERT SELECT", "UPDATE", "DELETE") and self.rng.random() < 0.15:
            columns = self.rng.sample(self.shape.columns, self.rng.randint(1, len(self.shape.columns)))
            sql += f" returning {', '.join(column.name for column in columns)}"
            return Statement(kind, sql, lambda oracle: oracle.run_returning(sql), returning=True)
        return Statement(kind, sql, lambda oracle: oracle.run(sql))

    # -- INSERT

    def insert_rows(self, table: str, unique: bool = False) -> Statement:
        count = self.rng.randint(1, 30)
        rows = [random_row(self.rng, self.shape.columns) for _ in range(count)]
        if unique:
            rows = [(20 + 3 * number, *row[1:]) for number, row in enumerate(rows)]
        values = ", ".join(row_literal(row, self.shape.columns) for row in rows)
        return self.plain("INSERT VALUES", f"insert into {table} values {values}")

    def insert_series(self) -> Statement:
        return self.plain("INSERT SELECT", f"insert into t {self.series(self.rng.choice((5, 60, 60, 2000)))}")

    def series(self, count: int, start: int = 1) -> str:
        return f"select {', '.join(f'{series_value(column)} as {column.name}' for column in self.shape.columns)} from generate_series({start}, {start + count - 1}) as g(x)"

    def insert_select(self) -> Statement:
        """Some columns only, from the table itself or the source."""
        columns = [column for column in self.shape.columns if not column.nullable or self.rng.random() < 0.7]
        columns = columns or [self.shape.columns[0]]
        values = ", ".join(expression.value(self.target, column.type) for column in columns)
        names = ", ".join(column.name for column in columns)
        table = self.rng.choice(("t", "src"))
        return self.plain("INSERT SELECT", f"insert into t ({names}) select {values} from {table} a where {predicate(self.target)} and a.k < 40")

    # -- UPDATE and DELETE

    def where(self) -> str:
        if self.rng.random() < 0.3:
            asked = subquery_predicate(self.target, "a", self.rng.choice(("src", "src", "t")), self.shape.columns)
            connective = "or" if self.rng.random() < 0.1 else "and"
            return f"{asked} {connective} {predicate(self.target)}" if self.rng.random() < 0.5 else asked
        return predicate(self.target)

    def assignments(self, scope: Scope, subqueries: bool = False) -> list[tuple[str, str]]:
        columns = self.rng.sample(self.shape.columns, self.rng.randint(1, min(3, len(self.shape.columns))))
        found = []
        for column in columns:
            asked = subquery_value(scope, "a", "src", self.shape.columns, column.type) if subqueries and self.rng.random() < 0.15 else None
            found.append((column.name, asked or expression.value(scope, column.type)))
        return found

    def update(self) -> Statement:
        sets = ", ".join(f"{name} = {value}" for name, value in self.assignments(self.target, subqueries=True))
        where = f" where {self.where()}" if self.rng.random() < 0.9 else ""
        return self.plain("UPDATE", f"update t as a set {sets}{where}")

    def update_from(self) -> Statement:
        """The source has one row a key, so that the result is defined."""
        scope = self.both
        sets = ", ".join(f"{name} = {value}" for name, value in self.assignments(scope))
        source = self.unique_source()
        return self.plain("UPDATE FROM", f"update t as a set {sets} from {source} b where a.k = b.k and {predicate(scope)}")

    def delete(self) -> Statement:
        # Halved, so that tables do not run empty.
        half = f"a.k % 2 = {self.rng.randint(0, 1)} and " if self.rng.random() < 0.5 else ""
        if self.rng.random() < 0.2 and self.shape.partitioning:
            # Whole files, maybe.
            name = self.rng.choice(self.shape.partitioning).column
            only = Scope(self.rng, ("a", (name,)))
            return self.plain("DELETE", f"delete from t as a where {predicate(only, 1)}")
        return self.plain("DELETE", f"delete from t as a where {half}({self.where()})")

    def delete_using(self) -> Statement:
        on = self.rng.choice(("a.k = b.k", "a.k = b.k", "a.k between b.k and b.k + 1"))
        return self.plain("DELETE USING", f"delete from t as a using {self.any_source()} b where {on} and {predicate(self.both)}")

    def truncate(self) -> Statement:
        return self.plain("TRUNCATE", self.rng.choice(("truncate table t", "truncate t")))

    # -- MERGE

    def names(self, alias: str = "") -> str:
        return ", ".join(f"{alias}{column.name}" for column in self.shape.columns)

    def unique_source(self) -> str:
        """One row a key: the lowest value of each other column."""
        others = "".join(f", {aggregate(column)} as {column.name}" for column in self.shape.columns[1:])
        return f"(select k{others} from {self.rng.choice(('src', 'src', 't'))} group by k)"

    def any_source(self) -> str:
        inner = Scope(self.rng, ("y", self.shape.columns))
        rows = [row_literal(random_row(self.rng, self.shape.columns), self.shape.columns) for _ in range(3)]
        return self.rng.choice((
            "src", f"(select * from src y where {predicate(inner)})", f"(select * from t y where {predicate(inner)})",
            f"({self.series(20, 30)})", f"(select * from (values {', '.join(rows)}) as v({self.names()}))",
        ))

    def merge_source(self) -> tuple[str, str]:
        """The source and what goes before MERGE."""
        if self.rng.random() < 0.1:
            inner = Scope(self.rng, ("y", self.shape.columns))
            return "chosen", f"with chosen as (select * from src y where {predicate(inner)}) "
        return (self.unique_source() if self.rng.random() < 0.6 else self.any_source()), ""

    def merge(self) -> Statement:
        source, prefix = self.merge_source()
        # No sum here may overflow: where the rest is false, nobody need compute it.
        on = self.rng.choices(("a.k = b.k", f"a.k = b.k and {predicate(self.both, 1)}", f"a.k = b.k and {predicate(self.target, 1)}",
                               f"a.k between b.k and b.k % 1000000 + 1 and {predicate(self.both, 1)}", "false", "a.k > b.k + 50"),
                              (60, 12, 12, 8, 2, 2))[0]
        clauses = []
        for when, most in ((MATCHED, 3), (BY_TARGET, 2), (BY_SOURCE, 2)):
            clauses += self.clauses(when, self.rng.randint(0, most))
        if not clauses:
            clauses = self.clauses(MATCHED, 1)
        self.rng.shuffle(clauses)
        return merge_statement("MERGE", Merge(source, on, tuple(last_unconditional(clauses)), prefix))

    def clauses(self, when: str, count: int) -> list[Clause]:
        scope = {MATCHED: self.both, BY_TARGET: Scope(self.rng, ("b", self.shape.columns)), BY_SOURCE: self.target}[when]
        return [self.clause(when, scope) for _ in range(count)]

    def clause(self, when: str, scope: Scope) -> Clause:
        condition = predicate(scope) if self.rng.random() < 0.6 else None
        if self.rng.random() < 0.1:
            return Clause(when, condition, "do nothing")
        if when == BY_TARGET:
            every = self.rng.random() < 0.4
            return Clause(when, condition, "insert", () if every else self.inserted(scope), every)
        if self.rng.random() < 0.3:
            return Clause(when, condition, "delete")
        every = when == MATCHED and self.rng.random() < 0.3
        return Clause(when, condition, "update", () if every else tuple(self.assignments(scope)), every)

    def inserted(self, scope: Scope) -> tuple[tuple[str, str], ...]:
        columns = [column for column in self.shape.columns if not column.nullable or self.rng.random() < 0.8] or [self.shape.columns[0]]
        self.rng.shuffle(columns)
        return tuple((column.name, f"b.{column.name}" if self.rng.random() < 0.5 else expression.value(scope, column.type))
                     for column in columns)

    def merge_hitting_twice(self) -> Statement:
        """Source rows come twice: refused if any target row is matched and changed."""
        clauses = self.clauses(MATCHED, 1) + self.clauses(BY_TARGET, 1)
        return merge_statement("MERGE hitting twice", Merge("(select * from src union all select * from src)", "a.k = b.k", tuple(clauses)))

    # -- overwriting

    def result(self) -> str:
        inner = Scope(self.rng, ("y", self.shape.columns))
        return self.rng.choice((f"select * from src y where {predicate(inner)} and {self.required('y')}", self.series(12, 25),
                                f"select * from t y where {predicate(inner)}",
                                f"select * from t y where {predicate(inner)} union all {self.series(3, 40)}"))

    def required(self, alias: str) -> str:
        return " and ".join([f"{alias}.{column.name} is not null" for column in self.shape.columns if not column.nullable] or ["true"])

    def overwrite(self) -> Statement:
        query = self.result()
        word = self.rng.choice(("insert overwrite table t", "insert overwrite t"))
        if self.rng.random() < 0.25:
            return Statement("INSERT OVERWRITE static", f"{word} {query}", lambda oracle: oracle.overwrite(query, "true"),
                             "set partition_overwrite_mode = static")
        return Statement("INSERT OVERWRITE dynamic", f"{word} {query}", lambda oracle: oracle.overwrite(query, oracle.partitions_of_result()))

    def overwrite_partition(self) -> Statement:
        """PARTITION (p = value) with the other columns from the query; needs an identity field."""
        fields = [field for field in self.shape.partitioning if field.transform == "identity" and field.column.name != "k"]
        if not fields or len(self.shape.partitioning) != 1:
            return self.overwrite()
        column = fields[0].column
        chosen = literal(random_value(self.rng, Column("", column.type, False)), column.type)
        if column.name in self.shape.empty_is_null and chosen == "''":
            chosen = literal(None, column.type)
        others = [other for other in self.shape.columns if other != column]
        where = f"{self.required('y')} and y.k % 3 = {self.rng.randint(0, 2)}"
        rest = f"select {', '.join(f'y.{other.name}' for other in others)} from src y where {where}"
        full = ", ".join(chosen if other == column else f"y.{other.name}" for other in self.shape.columns)
        query = f"select {full} from src y where {where}"
        return Statement("INSERT OVERWRITE PARTITION", f"insert overwrite table t partition ({column.name} = {chosen}) {rest}",
                         lambda oracle: oracle.overwrite(query, f"a.{column.name} is not distinct from {chosen}"))

    def replace_where(self) -> Statement:
        """Mostly rows that satisfy the predicate; now and then not, which must change nothing."""
        low = random_key(self.rng)
        where = self.rng.choice((f"k >= {low} and k < {low + 15}", f"k = {low}", f"k < {low}"))
        if self.rng.random() < 0.4 and self.shape.partitioning:
            column = self.rng.choice(self.shape.partitioning).column
            where = predicate(Scope(self.rng, ("", (column,))), 1).replace(f".{column.name}", column.name)
        inside = f" and {where}" if self.rng.random() < 0.8 else ""
        query = f"select * from src where {self.required('src')}{inside}"
        return Statement("REPLACE WHERE", f"insert into t replace where {where} {query}", lambda oracle: oracle.replace_where(where, query))

    # -- errors

    def failing_cast(self) -> Statement:
        """One row in the middle cannot be cast."""
        key = random_key(self.rng)
        numbers = self.shape.of_type("int", "bigint")
        bad = f"cast(case when a.k = {key} then 'nope' else '1' end as {numbers[0].type})"
        return self.plain("UPDATE failing", f"update t as a set {numbers[0].name} = {bad} where {predicate(self.target, 1)}")

    def null_into_required(self) -> Statement:
        required = [column for column in self.shape.columns if not column.nullable]
        if not required:
            return self.update()
        column = self.rng.choice(required)
        name, key = column.name, random_key(self.rng)
        null = f"case when a.k = {key} then null else a.{name} end"
        if self.rng.random() < 0.5:
            return self.plain("UPDATE NULL", f"update t as a set {name} = {null}")
        update = Clause(MATCHED, None, "update", ((name, null),))
        return merge_statement("MERGE NULL", Merge(self.unique_source(), "a.k = b.k", (update,)))


def merge_statement(kind: str, merge: Merge) -> Statement:
    return Statement(kind, merge.sql, lambda oracle: oracle.merge(merge), merge=merge)


def last_unconditional(clauses: list[Clause]) -> list[Clause]:
    """Clauses after an unconditional one of their kind could never act: Postgres refuses them."""
    found, closed = [], set()
    for clause in clauses:
        if clause.when not in closed:
            found.append(clause)
        if clause.condition is None:
            closed.add(clause.when)
    return found


def aggregate(column: Column) -> str:
    if column.type == "uuid":
        return f"cast(min(cast({column.name} as text)) as uuid)"
    return f"bool_and({column.name})" if column.type == "boolean" else f"min({column.name})"


def series_value(column: Column) -> str:
    if column.name == "k":
        return f"cast(x as {column.type})"
    day = "'2024-01-' || lpad(cast(x % 28 + 1 as text), 2, '0')"
    return {
        "int": "cast(x * 37 % 90 as int)", "bigint": "cast(x * 1000003 % 70 as bigint)", "numeric(12,2)": "cast(x % 50 as numeric(12,2))",
        "double precision": "cast(x % 16 as double precision)", "text": "'v' || cast(x % 9 as text)", "date": f"cast({day} as date)",
        "timestamp": f"cast({day} || ' 0' || cast(x % 10 as text) || ':30:00' as timestamp)", "boolean": "x % 3 = 0",
        "smallint": "cast(x * 7 % 60 as smallint)", "real": "cast(x % 16 as real)", "time": "cast('0' || cast(x % 10 as text) || ':30:00' as time)",
        "timestamptz": f"cast({day} || ' 0' || cast(x % 10 as text) || ':30:00+00' as timestamptz)",
        "uuid": "cast('00000000-0000-4000-8000-00000000000' || cast(x % 10 as text) as uuid)",
    }[column.type]
