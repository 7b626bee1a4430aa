"""The result cache beside no cache: random queries, users and settings while Auric and others commit.

A long run: `AURIC_DIFFERENTIAL_SECONDS=60 AURIC_DIFFERENTIAL_SEEDS=10-20 python -m pytest tests/clients/test_result_cache_random.py`."""

import decimal
import os
import random
import threading
import time

import deltalake
import psycopg
import pyarrow as pa
import pytest

from test_result_cache import Client, table, wait_until  # noqa: F401 (a fixture)

SECONDS = float(os.environ.get("AURIC_DIFFERENTIAL_SECONDS", "8"))
FIRST, LAST = (int(seed) for seed in os.environ.get("AURIC_DIFFERENTIAL_SEEDS", "1-2").split("-"))


QUERIES = [
    "select count(*), sum(v), max(id) from {t}",
    "select k, count(*), sum(v) from {t} group by k order by k",
    "select id, v from {t} where id % 7 = {n} order by id, v limit 5",
    "select count(*) from {t} where at >= timestamptz '2024-01-10 00:00' and k <> 'k{n}'",
    "select max(at)::text, min(at)::date::text from {t} where id > {n}",
    "with x as (select k, sum(v) as s from {t} group by k) select count(*), sum(s) from x where s > {n}",
    "select current_user, count(distinct k) from {t}",
    "select count(*), min(v) from {t} where id > %s::int",
    "select k, max(at) - min(at) as span, max(at) from {t} group by k order by k",
    "select a.k, count(*) from {t} a where exists (select 1 from {t} b where b.id = a.id + {n} and b.k <> a.k) group by a.k order by a.k",
    "select x.n, row_number() over (order by x.n) from (select count(*) as n from {t} group by k union all select {n}) x order by 1, 2",
]
SETTINGS = {"timezone": ["'UTC'", "'Europe/Paris'", "'America/New_York'"], "intervalstyle": ["postgres", "iso_8601"], "search_path": ["{s}", "public", "public, {s}"],
            "application_name": ["a", "b"]}


class Writer:
    """Commits to a table, by Auric and by others, until it is told to stop."""

    def __init__(self, server, schema: str, form: str, seed: int):
        self.server, self.schema, self.format, self.random, self.next = server, schema, form, random.Random(seed), 10_000
        self.commits = 0

    def step(self) -> None:
        self.next += 1
        i, t = self.next, f"{self.schema}.t"
        some = self.random.randrange(1, 1000)
        own = [f"insert into {t} values ({i}, 'k{i % 5}', {i % 100}, timestamptz '2024-02-01 00:00Z')", f"update {t} set v = v + 1 where id = {some}",
               f"delete from {t} where id = {some}", f"merge into {t} using (select {some} as id) s on s.id = {t}.id when matched then update set k = 'k9'"]
        chance = self.random.random()
        if chance < 0.5:
            self.server.sql(self.random.choice(own))
        elif chance < 0.8:
            self.append(pa.table({"id": pa.array([i], pa.int32()), "k": ["other"], "v": pa.array([decimal.Decimal("1.50")], pa.decimal128(10, 2)),
                                  "at": pa.array([1704067200000000], pa.timestamp("us", "UTC"))}))
        else:
            self.delete(some)
        self.commits += 1

    def append(self, rows: pa.Table) -> None:
        if self.format == "iceberg":
            self.server.pyiceberg().load_table((self.schema, "t")).append(rows)
        else:
            deltalake.write_deltalake(str(self.server.warehouse / self.schema / "t"), rows, mode="append")

    def delete(self, number: int) -> None:
        if self.format == "iceberg":
            self.server.pyiceberg().load_table((self.schema, "t")).delete(f"id == {number}")
        else:
            deltalake.DeltaTable(str(self.server.warehouse / self.schema / "t")).delete(f"id = {number}")


def versions(client: Client, schema: str) -> list:
    return [row[0] for row in client.rows(f'select snapshot_id from {schema}."t$snapshots" order by committed_at, snapshot_id')]


@pytest.mark.parametrize("seed", range(FIRST, LAST + 1))
def test_random_queries_and_commits(server, schema, table, request, seed):
    """Each answer of a cached connection is that of one of the versions that there were while it was asked for."""
    form = request.node.callspec.params["table"]
    server.sql(f"create view {schema}.v as select * from {table}")
    writer, stop, failures, checked = Writer(server, schema, form, seed), threading.Event(), [], []

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
        try:
            compare(number)
        except Exception as error:
            failures.append(error)

    def compare(number: int):
        chance = random.Random(seed * 100 + number)
        while not stop.is_set() and not failures:
            # Another user, now and then.
            user = chance.choice(["anna", "ben"])
            with Client(server, user=user) as cached, Client(server, user=user, cached=False) as plain:
                for _ in range(20):
                    if stop.is_set():
                        return
                    for setting, values in SETTINGS.items():
                        if chance.random() < 0.3:
                            value = chance.choice(values).replace("{s}", schema)
                            for client in (cached, plain):
                                client.run(f"set {setting} = {value}")
                    failed = one(chance, cached, plain)
                    if failed:
                        failures.append(f"{user}: {failed}")
                        return

    def one(chance, cached: Client, plain: Client) -> str | None:
        query = chance.choice(QUERIES[:3] if chance.random() < 0.6 else QUERIES).replace("{n}", str(chance.randrange(3)))
        parameters = (chance.randrange(900, 903),) if "%s" in query else None
        first = versions(plain, schema)[-1:]
        binary = chance.random() < 0.5
        # By its name, by another text of the same, by a view, in a transaction, by a cursor.
        text = query.replace("{t}", chance.choice([table, table, f"\n{table} ", f"{schema}.v", "t"]))
        options = {"binary": binary, "prepare": chance.choice([None, True, False])}
        try:
            way = chance.random()
            if way < 0.2:
                answer = by_cursor(cached, text, parameters, binary, chance.choice([1, 3, "all"]))
            elif way < 0.4:
                with cached.connection.transaction():
                    answer = cached.raw(text, parameters, **options)
                    if cached.raw(text, parameters, **options) != answer:
                        return f"{text}: two answers in one transaction"
            else:
                answer = cached.raw(text, parameters, **options)
        except psycopg.errors.UndefinedTable:
            is_hidden = schema not in text and schema not in plain.rows("show search_path")[0][0]
            return None if is_hidden else f"{text}: there is no such table"
        said = cached.notices[-1:]
        during = versions(plain, schema)
        candidates = during[during.index(first[0]):]
        for version in candidates:
            if answer == plain.raw(query.replace("{t}", f"{table} version as of {version}"), parameters, binary=binary):
                break
        else:
            return f"{text} with {parameters}: {answer} is of none of {candidates}, {said}"
        checked.extend(said)
        return None

    def by_cursor(cached: Client, text: str, parameters, binary: bool, size) -> list:
        with cached.connection.transaction():
            cached.run(f"declare c cursor for {text}", parameters)
            rows = []
            while piece := cached.raw(f"fetch {size} from c", binary=binary):
                rows += piece
            return rows

    threads = [threading.Thread(target=write), *[threading.Thread(target=read, args=(n,)) for n in range(3)]]
    [thread.start() for thread in threads]
    deadline = time.monotonic() + SECONDS
    wait_until(lambda: failures or (time.monotonic() > deadline and "result cache: hit" in checked and writer.commits > 3), SECONDS + 180)
    stop.set()
    [thread.join() for thread in threads]
    assert not failures, failures[0]
    assert {"result cache: hit", "result cache: miss"} <= set(checked)
