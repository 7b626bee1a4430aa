"""Random queries over random tables that change at random, refreshed incrementally, as wholes, and by DuckDB."""

import random
from dataclasses import dataclass, field

import deltalake
import duckdb
import psycopg
import pyarrow as pa

FACT = "id int, day date, k int, g text, amount numeric(10,2), qty int"
DIM = "k int, name text, region text"
# Modes of a refresh that computes all rows for want of a better one.
FULL = "full"


@dataclass(frozen=True)
class Query:
    """`modes`: what its refreshes may be after any change; `appends`: after additions to these tables alone."""

    name: str
    text: str
    appends: frozenset = frozenset()
    incremental: bool = True
    # Tables whose added rows are merged.
    merges: frozenset = frozenset()
    # Tables whose changes it cannot follow.
    except_of: frozenset = frozenset()
    # In place of `text`, where DuckDB says it otherwise.
    duck: str | None = None


def both(*names):
    return frozenset(names)


QUERIES = [
    Query("filter", "select id, day, amount * 2 as twice, g from {fact} where qty > 3", both("fact")),
    Query("inner join", "select f.id, f.day, d.name, d.region from {fact} f join {dim} d on f.k = d.k where f.amount > 10",
          both("fact", "dim")),
    Query("left join", "select f.id, f.qty, d.name from {fact} f left join {dim} d on f.k = d.k and d.region <> 'r1'", both("fact")),
    Query("full join", "select f.id, d.k, d.name from {fact} f full join {dim} d on f.k = d.k"),
    Query("union all", "select day, g, qty from {fact} where k = 1 union all select null, name, k from {dim}", both("fact", "dim")),
    Query("self join", "select a.id, b.id as other from {fact} a join {fact} b on a.k = b.k and a.qty = b.qty and a.id < b.id",
          both("fact")),
    Query("groups", "select day, g, count(*) as n, sum(amount) as total, min(qty) as least, max(amount) as most from {fact} group by day, g",
          merges=both("fact")),
    Query("groups of an expression",
          "select date_trunc('month', day)::date as month, coalesce(g, 'none') as g, sum(qty) as qty from {fact} group by 1, 2",
          merges=both("fact")),
    Query("distinct count", "select day, count(distinct k) as ks, count(distinct g) filter (where qty > 2) as gs from {fact} group by day"),
    Query("percentile", "select g, percentile_cont(0.5) within group (order by qty) as middle from {fact} group by g"),
    Query("average", "select k, round(avg(amount), 3) as mean, bool_and(qty > 1) as all_more, bool_or(qty > 8) as any_more from {fact} group by k"),
    Query("having", "select g, sum(qty) as qty from {fact} group by g having sum(qty) > 10"),
    Query("groups of a join", "select d.region, f.day, sum(f.amount) as total from {fact} f join {dim} d on f.k = d.k group by d.region, f.day",
          merges=both("fact", "dim")),
    Query("groups of a left join",
          "select d.region, count(*) as n, count(d.k) as matched, sum(f.qty) as qty from {fact} f left join {dim} d on f.k = d.k group by d.region"),
    Query("groups of a full join", "select coalesce(d.region, '-') as region, count(f.id) as facts, count(d.k) as dims from {fact} f full join {dim} d on f.k = d.k group by 1"),
    Query("part of the groups", "select day, sum(amount) as total from {fact} group by day, g"),
    Query("distinct", "select distinct day, g from {fact} where qty < 7"),
    Query("groups of groups",
          "select g, max(n) as most, count(*) as days from (select day, g, count(*) as n from {fact} group by day, g) s group by g"),
    Query("join of groups",
          "select f.id, f.day, s.total from {fact} f join (select day, sum(qty) as total from {fact} group by day) s on s.day = f.day"),
    Query("window", "select day, id, row_number() over (partition by day order by id) as nr, sum(qty) over (partition by day) as of_day from {fact}"),
    Query("window over groups",
          "select g, day, sum(amount) as total, rank() over (partition by g order by sum(amount), day) as place from {fact} group by g, day"),
    Query("two windows",
          "select day, g, id, sum(qty) over (partition by day) as a, sum(qty) over (partition by day, g) as b from {fact}"),
    Query("ctes", "with a as (select * from {fact} where qty > 1), b as (select k, count(*) as n from a group by k) select d.name, sum(b.n) as n from b join {dim} d on d.k = b.k group by d.name"),
    Query("subquery of an unchanged table", "select g, sum(qty) as qty from {fact} where k in (select k from {still}) group by g"),
    Query("subquery of a table", "select g, sum(qty) as qty from {fact} where k in (select k from {dim} where region <> 'r2') group by g",
          except_of=both("dim")),
    Query("except", "select k from {fact} except select k from {dim}"),
    Query("intersect", "select k from {fact} intersect select k from {dim}"),
    Query("booleans and dates", "select qty > 5 as much, extract(month from day)::int as month, count(*) as n from {fact} group by 1, 2",
          merges=both("fact")),
    Query("total", "select count(*) as n, sum(amount) as total, bool_or(qty > 9) as any_more from {fact}", incremental=False, merges=both("fact")),
    Query("computed of sums", "select g, sum(qty) * 2 as twice, sum(qty) as qty, count(*) as n, max(day) as last from {fact} group by g",
          merges=both("fact")),
    Query("subquery beside sums", "select g, sum(qty) as qty, (select max(k) from {dim}) as most from {fact} group by g",
          merges=both("fact"), except_of=both("dim")),
    Query("subquery in a sum", "select g, sum(qty * (select max(k) from {dim})) as qty from {fact} group by g",
          merges=both("fact"), except_of=both("dim")),
    Query("not exists", "select d.k, d.name from {dim} d where not exists (select 1 from {fact} f where f.k = d.k)", except_of=both("fact")),
    Query("exists", "select d.k, d.name from {dim} d where exists (select 1 from {fact} f where f.k = d.k and f.qty > 5)", except_of=both("fact")),
    Query("right anti join", "select d.k, d.name from {fact} f right anti join {dim} d on f.k = d.k",
          incremental=False, duck="select d.k, d.name from {dim} d anti join {fact} f on f.k = d.k"),
    Query("right semi join", "select d.k, d.name from {fact} f right semi join {dim} d on f.k = d.k",
          except_of=both("dim"), duck="select d.k, d.name from {dim} d semi join {fact} f on f.k = d.k"),
    Query("months as text", "select to_char(day, 'YYYY-MM') as month, count(*) as n from {fact} where day >= '2000-01-01' group by 1",
          merges=both("fact"), duck="select strftime(day, '%Y-%m') as month, count(*) as n from {fact} where day >= '2000-01-01' group by 1"),
    Query("cases", "select case when qty > 5 then 'much' when qty > 2 then 'some' end as size, sum(amount) as total from {fact} group by 1",
          merges=both("fact")),
    Query("limit", "select id, day from {fact} order by id limit 7", incremental=False),
    Query("rollup", "select day, g, sum(qty) as qty from {fact} group by rollup (day, g)", incremental=False),
    Query("window over all", "select id, row_number() over (order by id) as nr from {fact}", incremental=False),
]


@dataclass
class Tally:
    modes: dict = field(default_factory=dict)
    changes: dict = field(default_factory=dict)

    def count(self, kind: str, mode: str):
        self.modes[mode] = self.modes.get(mode, 0) + 1
        self.changes[kind] = self.changes.get(kind, 0) + 1


class World:
    """One case: two tables that change, one that does not, and a few views."""

    def __init__(self, server, seed: int):
        self.server, self.seed, self.random = server, seed, random.Random(seed)
        pick = self.random.choice
        self.schema = f"incremental_{seed}"
        self.source, self.target = pick(["iceberg", "delta"]), pick(["iceberg", "delta"])
        self.merge_on_read = {"source": pick([False, True]), "target": pick([False, True])}
        self.version = pick([2, 3])
        self.partitioned = pick(["", "day", "g"])
        self.script: list[str] = []
        self.next_id = 0

    def properties(self, form: str, side: str) -> str:
        if form == "delta":
            return f"tblproperties ('delta.enableDeletionVectors' = '{str(self.merge_on_read[side]).lower()}')"
        mode = "merge-on-read" if self.merge_on_read[side] else "copy-on-write"
        modes = ", ".join(f"'write.{verb}.mode' = '{mode}'" for verb in ("delete", "update", "merge"))
        return f"tblproperties ('format-version' = '{self.version}', {modes})"

    def run(self, connection, statement: str):
        self.script.append(statement + ";")
        return connection.execute(statement)

    def names(self) -> dict:
        return {name: f"{self.schema}.{name}" for name in ("fact", "dim", "still")}

    def begin(self, connection, queries):
        run = lambda statement: self.run(connection, statement)
        run(f"create schema {self.schema}")
        partitioned = f" partitioned by ({self.partitioned})" if self.partitioned else ""
        run(f"create table {self.schema}.fact ({FACT}) using {self.source}{partitioned} {self.properties(self.source, 'source')}")
        for name in ("dim", "still"):
            run(f"create table {self.schema}.{name} ({DIM}) using {self.source} {self.properties(self.source, 'source')}")
        if self.random.random() < 0.9:
            for _ in range(self.random.randint(1, 3)):
                run(self.insert_facts(self.random.randint(1, 25)))
            run(self.insert_dims())
        run(f"insert into {self.schema}.still values (1, 'one', 'r1'), (3, 'three', 'r3'), (null, 'none', null)")
        for number, query in enumerate(queries):
            layout = ""
            if "day" in query.text.split("from")[0].split() or query.text.startswith("select day"):
                layout = self.random.choice(["", " partitioned by (day)"]) if query.text.startswith("select day") else ""
            run(f"create materialized view {self.schema}.v{number} using {self.target}{layout} {self.properties(self.target, 'target')} "
                f"refresh policy incremental as {query.text.format(**self.names())}")

    def fact(self) -> str:
        value = self.random
        self.next_id += 1
        null = lambda text, share=0.12: "null" if value.random() < share else text
        day = null(f"date '2024-0{value.randint(1, 3)}-{value.randint(1, 28):02}'", 0.05)
        return (f"({self.next_id}, {day}, {null(str(value.randint(0, 6)))}, {null(repr('g' + str(value.randint(0, 4))))}, "
                f"{null(str(value.randint(-500, 9000) / 100))}, {null(str(value.randint(0, 10)))})")

    def insert_facts(self, count: int) -> str:
        return f"insert into {self.schema}.fact values " + ", ".join(self.fact() for _ in range(count))

    def insert_dims(self) -> str:
        rows = [f"({self.random.choice(['null', *'012345678'])}, 'n{self.random.randint(0, 5)}', 'r{self.random.randint(0, 3)}')"
                for _ in range(self.random.randint(1, 5))]
        return f"insert into {self.schema}.dim values {', '.join(rows)}"

    def condition(self) -> str:
        value = self.random
        return value.choice([f"k = {value.randint(0, 6)}", f"g = 'g{value.randint(0, 4)}'", "g is null", f"id % 7 = {value.randint(0, 6)}",
                             f"day < date '2024-0{value.randint(1, 3)}-1{value.randint(0, 9)}'", f"qty > {value.randint(5, 10)}"])

    def change(self) -> tuple[str, set, list[str]]:
        """Kind, tables, statements."""
        value, schema = self.random, self.schema
        fact, dim = f"{schema}.fact", f"{schema}.dim"
        kinds = {
            "insert": lambda: ({"fact"}, [self.insert_facts(value.randint(1, 6))]),
            "inserts": lambda: ({"fact"}, [self.insert_facts(value.randint(1, 3)) for _ in range(3)]),
            "insert dim": lambda: ({"dim"}, [self.insert_dims()]),
            "insert both": lambda: ({"fact", "dim"}, [self.insert_facts(2), self.insert_dims()]),
            "update": lambda: ({"fact"}, [f"update {fact} set qty = qty + 1, g = 'g{value.randint(0, 5)}' where {self.condition()}"]),
            "move": lambda: ({"fact"}, [f"update {fact} set day = day + 1 where {self.condition()}"]),
            "delete": lambda: ({"fact"}, [f"delete from {fact} where {self.condition()}"]),
            "update dim": lambda: ({"dim"}, [f"update {dim} set region = 'r{value.randint(0, 4)}' where k = {value.randint(0, 6)}"]),
            "delete dim": lambda: ({"dim"}, [f"delete from {dim} where k % 3 = {value.randint(0, 2)}"]),
            "merge": lambda: ({"fact"}, [
                f"merge into {fact} t using (select * from (values {self.fact()}, {self.fact()}) v(id, day, k, g, amount, qty)) s on t.id = s.id - 5 "
                f"when matched and t.qty > 4 then delete when matched then update set amount = coalesce(t.amount, 0) + 1 "
                f"when not matched then insert (id, day, k, g, amount, qty) values (s.id, s.day, s.k, s.g, s.amount, s.qty)"]),
            "overwrite": lambda: ({"fact"}, [f"insert overwrite {fact} select id, day, k, g, amount, qty from {fact} where {self.condition()}"]),
            "same again": lambda: ({"fact"}, [f"insert overwrite {fact} select * from {fact}"]),
            "truncate dim": lambda: ({"dim"}, [f"truncate {dim}"]),
            "several": lambda: ({"fact", "dim"}, [self.insert_facts(3), f"delete from {fact} where {self.condition()}",
                                                  f"update {dim} set name = 'm' where k = {value.randint(0, 6)}", self.insert_facts(1)]),
            "compact": lambda: ({"fact"}, ["compact"]),
            "compact among others": lambda: ({"fact"}, [self.insert_facts(2), "compact", self.insert_facts(1)]),
            "there and back": lambda: ({"fact"}, [self.insert_facts(2), f"delete from {fact} where id > {self.next_id - 2}"]),
        }
        weights = {"insert": 4, "inserts": 2, "update": 3, "delete": 3, "truncate dim": 1}
        kind = value.choices(list(kinds), [weights.get(kind, 2) for kind in kinds])[0]
        tables, statements = kinds[kind]()
        return kind, tables, statements

    def compact(self) -> bool:
        """Another program lays the rows of a table out anew; whether it could."""
        if self.source != "delta" or self.merge_on_read["source"]:
            return False
        self.script.append("-- delta-rs compacts fact")
        table = deltalake.DeltaTable(str(self.server.warehouse / self.schema / "fact"))
        return table.optimize.compact()["numFilesRemoved"] > 0

    def base(self, connection) -> duckdb.DuckDBPyConnection:
        """The tables as they are, in DuckDB."""
        duck = duckdb.connect()
        duck.execute(f"create schema {self.schema}")
        for name, columns in (("fact", FACT), ("dim", DIM), ("still", DIM)):
            duck.execute(f"create table {self.schema}.{name} ({columns})")
            rows = connection.execute(f"select * from {self.schema}.{name}").fetchall()
            types = {"int": pa.int32(), "date": pa.date32(), "text": pa.string(), "numeric(10,2)": pa.decimal128(10, 2)}
            described = [column.split(" ") for column in columns.split(", ")]
            columns = {column: pa.array([row[i] for row in rows], types[type_name]) for i, (column, type_name) in enumerate(described)}
            arrived = pa.table(columns)
            duck.execute(f"insert into {self.schema}.{name} select * from arrived")
        return duck


def canonical(rows) -> list:
    def value(v):
        if v is None or isinstance(v, (bool, str)):
            return repr(v)
        if hasattr(v, "isoformat"):
            return v.isoformat()[:10]
        return f"{round(float(v), 4):.4f}"
    return sorted(tuple(value(v) for v in row) for row in rows)


def last_mode(connection, schema: str, view: str) -> tuple[str, str]:
    rows = connection.execute(
        "select mode, reason from auric.refreshes where schema_name = %s and view_name = %s order by published_at desc, version desc limit 1",
        (schema, view)).fetchall()
    return rows[0]


def difference(server, seed: int, views: int, steps: int, tally: Tally) -> str | None:
    """What is wrong after one of the steps."""
    world = World(server, seed)
    queries = world.random.sample(QUERIES, views)
    with server.connect() as connection:
        try:
            return play(world, connection, queries, steps, tally)
        except psycopg.Error as error:
            return f"{error}\n" + "\n".join(world.script)
        finally:
            connection.execute(f"drop schema {world.schema} cascade")


def play(world: World, connection, queries, steps: int, tally: Tally) -> str | None:
    world.begin(connection, queries)
    schema = world.schema
    for step in range(steps):
        kind, tables, statements = world.change()
        changed = False
        for statement in statements:
            if statement == "compact":
                changed |= world.compact()
                continue
            changed |= world.run(connection, statement).rowcount > 0
        duck = world.base(connection)
        final = step == steps - 1
        for number, query in enumerate(queries):
            view = f"{schema}.v{number}"
            world.run(connection, f"refresh materialized view {view}")
            expected = canonical(duck.execute((query.duck or query.text).format(**world.names())).fetchall())
            where = f"step {step} ({kind}) of \"{query.name}\", {world.source} to {world.target}, {world.merge_on_read}"
            found = canonical(connection.execute(f"select * from {view}").fetchall())
            mode, reason = last_mode(connection, schema, f"v{number}")
            if found != expected:
                extra = [row for row in found if row not in expected][:5]
                missing = [row for row in expected if row not in found][:5]
                return f"{where}, {mode}, {reason}: too much {extra}, missing {missing} ({len(found)} for {len(expected)})\n" + "\n".join(world.script)
            read = {name for name in ("fact", "dim") if "{" + name + "}" in query.text}
            if not (read & tables) or not changed:
                continue
            tally.count(kind, mode)
            if query.incremental and not (tables & query.except_of) and mode == FULL:
                return f"{where}: full, {reason}\n" + "\n".join(world.script)
            if not query.incremental and mode not in (FULL, "nothing", *(["merge"] if query.merges else [])):
                return f"{where}: {mode}, {reason}"
            if kind in ("insert", "inserts", "insert dim", "insert both") and (read & tables) <= query.appends and mode not in ("append", "nothing"):
                return f"{where}: {mode} and not append, {reason}\n" + "\n".join(world.script)
            if kind in ("insert", "inserts", "insert dim", "insert both") and (read & tables) <= query.merges and mode not in ("merge", "nothing"):
                return f"{where}: {mode} and not merge, {reason}\n" + "\n".join(world.script)
            if kind == "compact" and mode != "nothing":
                return f"{where}: {mode}, {reason}\n" + "\n".join(world.script)
            if final:
                world.run(connection, f"refresh materialized view {view} full")
                found = canonical(connection.execute(f"select * from {view}").fetchall())
                if found != expected:
                    return f"{where}: full is not the same\n" + "\n".join(world.script)
        duck.close()
    return None
