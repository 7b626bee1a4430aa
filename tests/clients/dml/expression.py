"""Random expressions and predicates that Auric and DuckDB must evaluate alike."""

import random

from shape import Column, literal, random_value

# Compared with each other, in the session's time zone.
TIMES = ("date", "timestamp", "timestamptz")
COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")


class Scope:
    """The columns an expression may use: alias and column."""

    def __init__(self, rng: random.Random, *relations: tuple[str, tuple[Column, ...]]):
        self.rng = rng
        self.columns = [(f"{alias}.{column.name}", column) for alias, columns in relations for column in columns]

    def of(self, *types: str) -> list[str]:
        return [name for name, column in self.columns if column.type in types]

    def pick(self, *types: str) -> str | None:
        names = self.of(*types)
        return self.rng.choice(names) if names else None


def constant(rng: random.Random, type_: str) -> str:
    return literal(random_value(rng, Column("", type_, False)), type_)


def value(scope: Scope, type_: str, depth: int = 2) -> str:
    """An expression of exactly this type (an assignment casts the rest)."""
    rng = scope.rng
    if depth and rng.random() < 0.15:
        return f"case when {predicate(scope, 0)} then {value(scope, type_, 0)} else {value(scope, type_, 0)} end"
    name = scope.pick(type_)
    if name is None or rng.random() < 0.2:
        return converted(scope, type_)
    if rng.random() < 0.25:
        return name
    if rng.random() < 0.15:
        return f"coalesce({name}, {constant(rng, type_)})"
    return rng.choice(FORMS[type_]).format(name)


FORMS = {
    "int": ("{0} % 97 + 1", "-({0} % 50)", "abs({0} % 40)", "({0} % 100) * 3 - 7", "{0} % 1000 - 1"),
    "bigint": ("{0} % 97 + 1", "-({0} % 50)", "{0} % 100000 + 1", "({0} % 100) * 3"),
    "smallint": ("cast({0} % 97 + 1 as smallint)", "cast(-({0} % 50) as smallint)"),
    "real": ("cast({0} * cast('0.5' as real) as real)", "cast({0} + cast('0.25' as real) as real)", "abs({0})"),
    "time": ("{0} + interval '1 hour'", "{0} - interval '30 minutes'"),
    "uuid": ("{0}",),
    "timestamptz": ("{0} + interval '1 hour'", "{0} - interval '3 hours'", "date_trunc('day', {0})"),
    "numeric(12,2)": ("cast({0} + cast('1.25' as numeric(12,2)) as numeric(12,2))", "-{0}", "cast({0} - cast('0.01' as numeric(12,2)) as numeric(12,2))"),
    "double precision": ("{0} * cast('0.5' as double precision)", "{0} + cast('0.25' as double precision)", "cast('1.5' as double precision) - {0}", "abs({0})"),
    "text": ("substr({0}, 1, 6) || 'x'", "upper({0})", "lower({0})", "substr({0}, 2, 3)", "'<' || substr({0}, 1, 4) || '>'"),
    "date": ("cast({0} + interval '1 day' as date)", "cast({0} - interval '1 month' as date)", "cast(date_trunc('month', {0}) as date)"),
    "timestamp": ("{0} + interval '1 hour'", "{0} - interval '3 days'", "date_trunc('day', {0})"),
    "boolean": ("not {0}", "{0} is not true", "{0} is null"),
}


def converted(scope: Scope, type_: str) -> str:
    """A value made from a column of another type, or a constant."""
    rng = scope.rng
    options = [constant(rng, type_)]
    if type_ in ("int", "bigint", "smallint", "numeric(12,2)", "double precision", "real") and (name := scope.pick("int", "bigint", "smallint")):
        options.append(f"cast({name} % 1000 as {type_})")
    if type_ == "int" and (name := scope.pick("text")):
        options.append(f"cast(length({name}) as int)")
    if type_ == "text" and (name := scope.pick("int", "bigint", "date")):
        options.append(f"cast({name} as text)")
    if type_ == "date" and (name := scope.pick("timestamp", "timestamptz")):
        options.append(f"cast({name} as date)")
    if type_ == "timestamp" and (name := scope.pick("date", "timestamptz")):
        options.append(f"cast({name} as timestamp)")
    if type_ == "timestamptz" and (name := scope.pick("date", "timestamp")):
        options.append(f"cast({name} as timestamptz)")
    if type_ == "time" and (name := scope.pick("timestamp")):
        options.append(f"cast({name} as time)")
    if type_ == "boolean":
        options.append(f"({predicate(scope, 0)})")
    return rng.choice(options)


def predicate(scope: Scope, depth: int = 2) -> str:
    rng = scope.rng
    if depth and rng.random() < 0.35:
        connective = rng.choice(("and", "and", "or"))
        return f"({predicate(scope, depth - 1)} {connective} {predicate(scope, depth - 1)})"
    if depth and rng.random() < 0.1:
        return f"not ({predicate(scope, depth - 1)})"
    name, column = rng.choice(scope.columns)
    if rng.random() < 0.12:
        return f"{name} is {rng.choice(('', 'not '))}null"
    if column.type == "boolean":
        return rng.choice((name, f"{name} = true", f"({name} is distinct from {constant(rng, 'boolean')})"))
    shape = rng.random()
    if shape < 0.12:
        return f"{name} {rng.choice(('', 'not '))}in ({', '.join(constant(rng, column.type) for _ in range(rng.randint(1, 4)))})"
    if shape < 0.22:
        return f"{name} between {constant(rng, column.type)} and {constant(rng, column.type)}"
    if column.type == "text" and shape < 0.4:
        return f"{name} {rng.choice(('', 'not '))}like '{rng.choice(('a%', '%b%', '%', '_', '<%'))}'"
    if shape < 0.45:
        return f"({name} is distinct from {constant(rng, column.type)})"
    if column.type in TIMES and shape < 0.65:
        other_time = rng.choice((*TIMES, "now"))
        limit = rng.choice(("now()", "current_date")) if other_time == "now" else constant(rng, other_time)
        return f"{name} {rng.choice(COMPARISONS)} {limit}"
    other = scope.pick(column.type) if rng.random() < 0.3 else None
    return f"{name} {rng.choice(COMPARISONS)} {other or constant(rng, column.type)}"


def subquery_predicate(scope: Scope, alias: str, source: str, columns: tuple[Column, ...]) -> str:
    """A predicate over the rows of `alias` that asks another table."""
    rng = scope.rng
    inner = Scope(rng, ("x", columns))
    where = predicate(inner, 1)
    choices = [
        f"{alias}.k in (select x.k from {source} x where {where})",
        f"{alias}.k not in (select x.k from {source} x where x.k is not null and {where})",
        f"exists (select 1 from {source} x where x.k = {alias}.k and {where})",
        f"not exists (select 1 from {source} x where x.k = {alias}.k and {where})",
        f"{alias}.k > (select min(x.k) from {source} x where {where})",
        f"{alias}.k = (select max(x.k) from {source} x where {where})",
    ]
    return rng.choice(choices)


def subquery_value(scope: Scope, alias: str, source: str, columns: tuple[Column, ...], type_: str) -> str | None:
    """A scalar subquery of the type, correlated or not; None where the table has no such column."""
    rng = scope.rng
    names = [column.name for column in columns if column.type == type_ and type_ not in ("boolean", "uuid")]
    if not names:
        return None
    correlated = f" where x.k = {alias}.k" if rng.random() < 0.6 else ""
    return f"(select {rng.choice(('max', 'min'))}(x.{rng.choice(names)}) from {source} x{correlated})"
