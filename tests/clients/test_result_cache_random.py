"""The result cache beside no cache: random queries, users and settings on two servers while Auric and others commit.

A long run: `AURIC_DIFFERENTIAL_SECONDS=60 AURIC_DIFFERENTIAL_SEEDS=10-20 python -m pytest tests/clients/test_result_cache_random.py`."""

import contextlib
import decimal
import itertools
import os
import pathlib
import random
import shutil
import threading
import time

import deltalake
import psycopg
import pyarrow as pa
import pytest

from conftest import running
from postgres import Cluster, Shared
from test_result_cache import Client, wait_until

pytestmark = pytest.mark.long

SECONDS = float(os.environ.get("AURIC_DIFFERENTIAL_SECONDS", "8"))
FIRST, LAST = (int(seed) for seed in os.environ.get("AURIC_DIFFERENTIAL_SEEDS", "1-2").split("-"))

SCHEMA = "ledger"
# {t} and {d} are tables, {f} is a file, {n} a small number.
COMMON = [
    "select count(*), sum(v), max(id) from {t}",
    "select k, count(*), sum(v) from {t} group by k order by k",
    "select id, v from {t} where id % 7 = {n} order by id, v limit 5",
    "select d.label, count(*), sum(t.v) from {t} t join {d} d on d.k = t.k group by d.label order by d.label",
]
RARE = [
    "select count(*) from {t} where at >= timestamptz '2024-01-10 00:00' and k <> 'k{n}'",
    "select max(at)::text, min(at)::date::text from {t} where id > {n}",
    "with x as (select k, sum(v) as s from {t} group by k) select count(*), sum(s) from x where s > {n}",
    "select current_user, count(distinct k) from {t}",
    "select count(*), min(v) from {t} where id > %s::int",
    "select k, max(at) - min(at) as span, max(at) from {t} group by k order by k",
    "select a.k, count(*) from {t} a where exists (select 1 from {t} b where b.id = a.id + {n} and b.k <> a.k) group by a.k order by a.k",
    "select x.n, row_number() over (order by x.n) from (select count(*) as n from {t} group by k union all select {n}) x order by 1, 2",
    "select k, label, (select count(*) from {t} t where t.k = d.k) as n from {d} d order by k, label",
    "select k from {d} except select k from {t} where id < 500 + {n} order by 1",
    "select f.k, f.price, d.label from {f} f left join {d} d using (k) order by 1, 2, 3",
    "select count(*), sum(price * {n}) from {f}",
    "select sum(t.v * f.price) from {t} t, {f} f where t.k = f.k",
]
# A view is what its query is over versions of the tables beneath.
VIEWS = {"v": "select * from {t}", "w": "select t.*, d.label from {t} t join {d} d on d.k = t.k"}
OVER_VIEWS = ["select label, max(id), count(*) from {w} group by label order by label", "select max(v), min(k) from {v} where id > {n}"]
SETTINGS = {"timezone": ["'UTC'", "'Europe/Paris'", "'America/New_York'"], "intervalstyle": ["postgres", "iso_8601"],
            "search_path": [SCHEMA, "public", f"public, {SCHEMA}"], "application_name": ["a", "b"]}


class Table:
    """A table, to which Auric and another program commit."""

    def __init__(self, world: "World", name: str, form: str):
        self.world, self.name, self.format = world, f"{SCHEMA}.{name}", form
        self.names = [self.name, f"\n{self.name} ", name]

    def versions(self, plain: Client) -> list:
        return [row[0] for row in plain.rows(f'select snapshot_id from {SCHEMA}."{self.names[2]}$snapshots" order by committed_at, snapshot_id')]

    def at(self, version) -> str:
        return f"{self.name} version as of {version}"

    def foreign(self):
        if self.format == "iceberg":
            return self.world.catalog().load_table((SCHEMA, self.names[2]))
        return deltalake.DeltaTable(str(self.world.warehouse / SCHEMA / self.names[2]))

    def append(self, rows: pa.Table) -> None:
        if self.format == "iceberg":
            self.foreign().append(rows)
        else:
            deltalake.write_deltalake(self.foreign(), rows, mode="append")

    def delete(self, column: str, number: int) -> None:
        self.foreign().delete(f"{column} {'==' if self.format == 'iceberg' else '='} {number}")


class File:
    """A CSV file that others are put in place of; a copy of each is kept."""

    def __init__(self, folder: pathlib.Path):
        self.path, self.copies, self.announced, self.in_place = folder / "prices.csv", folder / "copies", 0, 0
        self.copies.mkdir()
        self.replace(random.Random(0))

    @property
    def names(self) -> list[str]:
        return [f"read_csv('{self.path}')"]

    def versions(self, plain: Client) -> list:
        return list(range(1, self.announced + 1))

    def seen(self) -> int:
        return self.in_place

    def at(self, version) -> str:
        return f"read_csv('{self.copies / str(version)}.csv')"

    def replace(self, chance: random.Random) -> None:
        copy = self.copies / f"{self.announced + 1}.csv"
        # Of the same size each.
        copy.write_text("k,price\n" + "".join(f"k{i},{chance.randrange(10, 99)}.5\n" for i in range(6)))
        self.announced += 1
        shutil.copyfile(copy, self.path.with_suffix(".next"))
        self.path.with_suffix(".next").replace(self.path)
        self.in_place = self.announced


class World:
    """Two servers on one catalog, and what queries are about."""

    def __init__(self, servers: list, catalog, form: str, folder: pathlib.Path):
        self.servers, self.catalog = servers, catalog
        self.warehouse = folder / "warehouse"
        other = {"iceberg": "delta", "delta": "iceberg"}[form]
        self.sources = {"t": Table(self, "t", form), "d": Table(self, "d", other), "f": File(folder)}
        one = servers[0]
        one.sql(f"create schema {SCHEMA}")
        one.sql(f"create table {SCHEMA}.t (id int, k text, v numeric(10,2), at timestamptz) using {form}")
        one.sql(f"insert into {SCHEMA}.t select g, 'k' || g % 5, g / 4.0, timestamptz '2024-01-01 00:00Z' + g * interval '1 hour' "
                f"from generate_series(1, 1000) as s(g)")
        one.sql(f"create table {SCHEMA}.d (k text, label text, weight int) using {other}")
        one.sql(f"insert into {SCHEMA}.d select 'k' || g, 'label ' || g % 3, g from generate_series(0, 5) as s(g)")
        for name, query in VIEWS.items():
            one.sql(f"create view {SCHEMA}.{name} as {query.format(t=f'{SCHEMA}.t', d=f'{SCHEMA}.d')}")

    def used(self, query: str) -> list[str]:
        return [name for name in self.sources if f"{{{name}}}" in expanded(query)]


def expanded(query: str) -> str:
    """With the queries of views in place of their names."""
    for name, of in VIEWS.items():
        query = query.replace(f"{{{name}}}", f"({of}) as {name}")
    return query


def filled(query: str, names: dict[str, str]) -> str:
    for placeholder, name in names.items():
        query = query.replace(f"{{{placeholder}}}", name)
    return query


class Writer:
    """Changes tables and the file, by Auric and by others."""

    def __init__(self, world: World, seed: int):
        self.world, self.random, self.next, self.commits = world, random.Random(seed), 10_000, 0

    def step(self) -> None:
        chance = self.random.random()
        if chance < 0.15:
            self.world.sources["f"].replace(self.random)
        elif chance < 0.4:
            self.change_d(self.world.sources["d"])
        else:
            self.change_t(self.world.sources["t"])
        self.commits += 1

    def own(self, statements: list[str]) -> None:
        self.random.choice(self.world.servers).sql(self.random.choice(statements))

    def change_t(self, table: Table) -> None:
        self.next += 1
        i, t, some, chance = self.next, table.name, self.random.randrange(1, 1000), self.random.random()
        if chance < 0.5:
            self.own([f"insert into {t} values ({i}, 'k{i % 5}', {i % 100}, timestamptz '2024-02-01 00:00Z')", f"update {t} set v = v + 1 where id = {some}",
                      f"delete from {t} where id = {some}",
                      f"merge into {t} using (select {some} as id) s on s.id = {t}.id when matched then update set k = 'k9'"])
        elif chance < 0.8:
            table.append(pa.table({"id": pa.array([i], pa.int32()), "k": ["other"], "v": pa.array([decimal.Decimal("1.50")], pa.decimal128(10, 2)),
                                   "at": pa.array([1704067200000000], pa.timestamp("us", "UTC"))}))
        else:
            table.delete("id", some)

    def change_d(self, table: Table) -> None:
        self.next += 1
        d, some, chance = table.name, self.random.randrange(6), self.random.random()
        if chance < 0.6:
            self.own([f"update {d} set label = 'label {self.next}' where k = 'k{some}'", f"insert overwrite {d} select k, label, weight + 1 from {d}",
                      f"delete from {d} where weight > 50", f"insert into {d} values ('k{some}', 'again', {self.next})"])
        elif chance < 0.9:
            table.append(pa.table({"k": [f"k{some}"], "label": ["theirs"], "weight": pa.array([self.next], pa.int32())}))
        else:
            table.delete("weight", some)


@contextlib.contextmanager
def two_servers(tmp_path: pathlib.Path, seed: int):
    """Their catalog is in SQLite or in PostgreSQL; they ask the most used queries again after commits, or do not."""
    environment = {} if seed % 4 in (2, 3) else {"AURIC_CACHE__REFRESH_AFTER": "0"}
    if seed % 2:
        with running(tmp_path, environment=environment) as one, running(tmp_path, environment=environment) as other:
            yield [one, other], one.pyiceberg
    else:
        cluster = Cluster()
        try:
            shared = Shared(cluster, "cat", tmp_path)
            with shared.auric(1, **environment) as one, shared.auric(2, **environment) as other:
                yield [one, other], shared.pyiceberg
        finally:
            cluster.close()


@pytest.mark.parametrize("form", ["iceberg", "delta"])
@pytest.mark.parametrize("seed", range(FIRST, LAST + 1))
def test_random_queries_and_commits(tmp_path, form, seed):
    """Each answer of a cached connection is that of versions that there were while it was asked for."""
    with two_servers(tmp_path, seed) as (servers, catalog):
        world = World(servers, catalog, form, tmp_path)
        writer, stop, failures, checked = Writer(world, seed), threading.Event(), [], []

        def write():
            # Between two commits, each reader asks some times.
            while not stop.is_set():
                asked = len(checked)
                wait_until(lambda: stop.is_set() or len(checked) >= asked + 6, 120)
                try:
                    writer.step()
                except Exception as error:
                    if "Conflict" not in str(error) and "conflict" not in str(error) and "CommitFailed" not in type(error).__name__ and not isinstance(error, psycopg.errors.SerializationFailure):
                        failures.append(error)
                        return

        def read(number: int):
            chance = random.Random(seed * 100 + number)
            try:
                while not stop.is_set() and not failures:
                    # Another user and server, now and then.
                    user = chance.choice(["anna", "ben"])
                    with (Client(chance.choice(servers), user=user) as cached,
                          Client(chance.choice(servers), user=user, cached=False) as plain):
                        ask(chance, cached, plain)
            except Exception as error:
                failures.append(error)

        def ask(chance: random.Random, cached: Client, plain: Client):
            for _ in range(20):
                if stop.is_set() or failures:
                    return
                for setting, values in SETTINGS.items():
                    if chance.random() < 0.3:
                        value = chance.choice(values)
                        for client in (cached, plain):
                            client.run(f"set {setting} = {value}")
                if failed := one(world, chance, cached, plain):
                    failures.append(f"{cached.connection.info.user}: {failed}")
                checked.extend(cached.notices[-1:])

        threads = [threading.Thread(target=write), *[threading.Thread(target=read, args=(n,)) for n in range(3)]]
        [thread.start() for thread in threads]
        deadline = time.monotonic() + SECONDS
        wait_until(lambda: failures or (time.monotonic() > deadline and "result cache: hit" in checked and writer.commits > 3), SECONDS + 180)
        stop.set()
        [thread.join() for thread in threads]
        assert not failures, failures[0]
        assert {"result cache: hit", "result cache: miss"} <= set(checked)


def one(world: World, chance: random.Random, cached: Client, plain: Client) -> str | None:
    """Asks one query, and says what is wrong with its answer."""
    query = chance.choice(COMMON if chance.random() < 0.6 else RARE + OVER_VIEWS).replace("{n}", str(chance.randrange(3)))
    parameters = (chance.randrange(900, 903),) if "%s" in query else None
    used = {name: world.sources[name] for name in world.used(query)}
    # Versions before the last one from before the question are over.
    over = {name: set(source.versions(plain)[:-1] if isinstance(source, Table) else range(source.seen())) for name, source in used.items()}
    binary = chance.random() < 0.5
    # By its name, by another text of the same, by a view, by the search path.
    names = {name: chance.choice(source.names) for name, source in used.items()}
    names |= {name: chance.choice([f"{SCHEMA}.{name}", name]) for name in VIEWS}
    if "{t}" in query and chance.random() < 0.2:
        names["t"] = f"{SCHEMA}.v"
    text = filled(query, names)
    try:
        answer = answered(chance, cached, text, parameters, binary, is_pinned="f" not in used)
    except psycopg.errors.UndefinedTable as error:
        path = plain.rows("show search_path")[0][0]
        is_hidden = any(f"{{{name}}}" in query and names[name] == name for name in names) and SCHEMA not in path
        return None if is_hidden else f"{text}: {error} with {path}"
    if answer is None:
        return f"{text}: two answers in one transaction"
    candidates = [[version for version in source.versions(plain) if version not in over[name]] for name, source in used.items()]
    for versions in itertools.product(*candidates):
        at = {name: source.at(version) for (name, source), version in zip(used.items(), versions)}
        if answer == plain.raw(filled(expanded(query), at), parameters, binary=binary):
            return None
    return f"{text} with {parameters}: {answer} is of none of {candidates}, {cached.notices[-1:]}"


def answered(chance: random.Random, cached: Client, text: str, parameters, binary: bool, is_pinned: bool) -> list | None:
    """At once, in a transaction, or by a cursor. `None`: two answers in one transaction, which reads one version of each table."""
    options = {"binary": binary, "prepare": chance.choice([None, True, False])}
    way = chance.random()
    if way < 0.2:
        size = chance.choice([1, 3, "all"])
        with cached.connection.transaction():
            cached.run(f"declare c cursor for {text}", parameters)
            rows = []
            while piece := cached.raw(f"fetch {size} from c", binary=binary):
                rows += piece
            return rows
    if way < 0.4:
        with cached.connection.transaction():
            answer = cached.raw(text, parameters, **options)
            return answer if not is_pinned or cached.raw(text, parameters, **options) == answer else None
    return cached.raw(text, parameters, **options)
