"""Many writers on one table: connections of one server, a second server, pyiceberg and deltalake."""

import os
import random
import threading
import time

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import CommitFailedError
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import LongType

from conftest import running
from crowd import retrying, together, watching
from list_append import Append, Reading, check
from outside import Outside, compare, multiset
from shape import DELTA_COPY, DELTA_MARK, V2_COPY, V2_MARK, V3_MARK, Layout

LAYOUTS = {"v2_copy": V2_COPY, "v2_mark": V2_MARK, "v3_mark": V3_MARK, "delta_copy": DELTA_COPY, "delta_mark": DELTA_MARK}
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
KEYED = [name for name, layout in LAYOUTS.items() if layout.format == "iceberg"]


def statements(among=LAYOUTS, **some: str):
    """Kinds of statements on some layouts each; with AURIC_DML_ALL=1 on all of `among`."""
    pairs = [(statement, name) for statement, names in some.items()
             for name in (among if os.environ.get("AURIC_DML_ALL") else names.split())]
    return pytest.mark.parametrize("statement, layout", [(statement, LAYOUTS[name]) for statement, name in pairs],
                                   ids=["-".join(pair) for pair in pairs])


# What a reader may take beside the writers, seconds: far more than it needs, far less than a blocked one takes.
PATIENCE = 10


def create(server, table: str, columns: str, layout: Layout, partitioned: str = ""):
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in layout.properties)
    server.sql(f"create table {table} ({columns}) using {layout.format}"
               + (f" partitioned by ({partitioned})" if partitioned else "") + (f" tblproperties ({properties})" if properties else ""))


@every_layout
def test_merges_on_disjoint_partitions_all_succeed(server, schema, layout, duck):
    """No error is seen by anybody."""
    table, writers, rounds = f"{schema}.t", 10, 3
    create(server, table, "p int, id bigint, v bigint", layout, "p")
    server.sql(f"insert into {table} select x % {writers} as p, x as id, 0 as v from generate_series(0, 1999) as g(x)")

    def writer(part: int):
        with server.connect() as connection:
            for turn in range(1, rounds + 1):
                tag = connection.execute(
                    f"merge into {table} a using (select x as id from generate_series({part}, {1999 + 10 * turn}, {writers}) as g(x)) b "
                    f"on a.p = {part} and a.id = b.id when matched then update set v = a.v + 1 "
                    f"when not matched then insert (p, id, v) values ({part}, b.id, 0)").statusmessage
                assert tag == f"MERGE {200 + turn}"

    with watching(server, f"select p, count(*), min(v), count(distinct v) from {table} where id < 2000 group by p", whole_partitions) as watcher:
        together(*(lambda part=part: writer(part) for part in range(writers)))
    assert watcher.slowest < PATIENCE
    expected = multiset((id_ % writers, id_, rounds if id_ < 2000 else (2029 - id_) // 10) for id_ in range(2030))
    compare("Auric", multiset(server.sql(f"select p, id, v from {table}")), expected, "at the end")
    for reader, rows in Outside(server, duck, schema, "t", layout.format).readers(["p", "id", "v"]).items():
        compare(reader, multiset(rows), expected, "at the end")


@statements(KEYED, merge="v2_copy v3_mark", upsert="v2_mark")
def test_keys_of_different_buckets_do_not_conflict(server, schema, layout, statement):
    """Only the keys tell that the statements have nothing to do with each other. No error is seen by anybody."""
    table, writers, rounds, keys = f"{schema}.t", 10, 2, 10_000
    create(server, table, "id bigint primary key, v bigint", layout, "bucket(10, id)")
    server.sql(f"insert into {table} select x, 0 from generate_series(0, {keys - 1}) as g(x)")
    bucket = [_bucket(id_, 10) for id_ in range(keys)]
    wanted = [[id_ for id_ in range(keys) if bucket[id_] == part][:900] for part in range(writers)]
    for part in range(writers):  # keys that are not there yet
        wanted[part] += [id_ for id_ in range(keys, 2 * keys) if _bucket(id_, 10) == part][:100]

    def writer(part: int):
        source = ", ".join(f"({id_})" for id_ in wanted[part])
        with server.connect() as connection:
            for _ in range(rounds):
                if statement == "merge":
                    tag = connection.execute(
                        f"merge into {table} a using (values {source}) as b(id) on a.id = b.id "
                        f"when matched then update set v = a.v + 1 when not matched then insert (id, v) values (b.id, 1)").statusmessage
                    assert tag == f"MERGE {len(wanted[part])}"
                else:
                    tag = connection.execute(
                        f"insert into {table} (id, v) select id, 1 from (values {source}) as b(id) "
                        f"on conflict (id) do update set v = t.v + 1").statusmessage
                    assert tag == f"INSERT 0 {len(wanted[part])}"

    together(*(lambda part=part: writer(part) for part in range(writers)))
    changed = sum(map(len, wanted))
    assert server.sql(f"select v, count(*) from {table} group by v order by v") == [(0, keys - 9_000), (rounds, changed)]
    assert server.sql(f"select count(distinct id) from {table}") == [(keys + changed - 9_000,)]


def _bucket(key: int, buckets: int) -> int:
    return BucketTransform(buckets).transform(LongType())(key)


@statements(merge="v2_mark delta_copy", upsert="v2_copy v3_mark", update="v2_copy v3_mark delta_mark")
def test_statements_on_one_row_wait_for_each_other(server, schema, layout, statement):
    """Whatever the number of those that were faster, nobody sees an error."""
    table, writers, rounds = f"{schema}.t", 10, 4
    key = layout.format == "iceberg"
    if statement == "upsert" and not key:
        pytest.skip("Delta tables have no key")
    create(server, table, f"id int{' primary key' if key else ''}, v bigint", layout)
    server.sql(f"insert into {table} values (1, 0)")
    text = {
        "merge": f"merge into {table} a using (values (1)) as b(id) on a.id = b.id when matched then update set v = a.v + 1",
        "upsert": f"insert into {table} values (1, 1) on conflict (id) do update set v = t.v + 1",
        "update": f"update {table} set v = v + 1 where id = 1",
    }[statement]

    def writer():
        with server.connect() as connection:
            for _ in range(rounds):
                connection.execute(text)

    together(*(writer for _ in range(writers)))
    assert server.sql(f"select id, v from {table}") == [(1, writers * rounds)]


def whole_partitions(rows):
    """A MERGE changes all rows of its partition or none."""
    assert sorted(row[0] for row in rows) == list(range(10))
    assert all(count == 200 and values == 1 for _, count, _, values in rows), rows


ACCOUNTS, EACH = 40, 100


def make_bank(server, table: str, layout: Layout):
    create(server, table, "id int, balance bigint", layout)
    for quarter in range(4):  # several files
        server.sql(f"insert into {table} select x, {EACH} from generate_series({quarter * 10}, {quarter * 10 + 9}) as g(x)")


def transfer(rng: random.Random, table: str) -> str:
    giver, taker = rng.sample(range(ACCOUNTS), 2)
    amount = rng.randint(1, 30)
    if rng.random() < 0.5:
        return (f"update {table} set balance = case when id = {giver} then balance - {amount} else balance + {amount} end "
                f"where id in ({giver}, {taker})")
    return (f"merge into {table} a using (values ({giver}, -{amount}), ({taker}, {amount})) as b(id, delta) on a.id = b.id "
            f"when matched then update set balance = a.balance + b.delta")


def consistent(rows):
    assert rows == [(ACCOUNTS, ACCOUNTS, ACCOUNTS * EACH)], rows


BANK_TOTAL = "select count(*), count(distinct id), cast(sum(balance) as bigint) from {}"


def transfers(server, table: str, seed: int, count: int):
    rng = random.Random(seed)
    with server.connect() as connection:
        for _ in range(count):
            tag = retrying(connection, transfer(rng, table))
            assert tag.endswith(" 2"), tag


@every_layout
def test_bank_transfers_keep_the_total(server, schema, layout):
    table = f"{schema}.t"
    make_bank(server, table, layout)
    with watching(server, BANK_TOTAL.format(table), consistent) as watcher:
        together(*(lambda seed=seed: transfers(server, table, seed, 5) for seed in range(5)))
    assert watcher.slowest < PATIENCE
    consistent(server.sql(BANK_TOTAL.format(table)))


@every_layout
def test_no_write_skew(server, schema, layout):
    """Both accounts together must not go below zero; each writer looks at both and takes from one."""
    table = f"{schema}.t"
    create(server, table, "id int, balance bigint", layout)
    for account in (1, 2):
        server.sql(f"insert into {table} values ({account}, 50)")

    def taker(account: int):
        with server.connect() as connection:
            for _ in range(5):
                retrying(connection, f"update {table} set balance = balance - 10 where id = {account} "
                                     f"and (select sum(balance) from {table}) >= 10")

    together(*(lambda account=account: taker(account) for account in (1, 2, 1, 2)))
    assert server.sql(f"select cast(sum(balance) as bigint) from {table}") == [(0,)]


@every_layout
def test_appends_to_lists_are_serializable(server, schema, layout):
    table, keys, writers = f"{schema}.t", 4, 5
    create(server, table, "k int, items text", layout)
    for key in range(keys):
        server.sql(f"insert into {table} values ({key}, '')")
    appends: list[Append] = []
    readings: list[Reading] = []
    over = threading.Event()

    def lists(rows) -> dict[int, list[str]]:
        return {key: items.split(",")[1:] for key, items in rows}

    def writer(number: int):
        rng = random.Random(number)
        with server.connect() as connection:
            for turn in range(5):
                append = Append(f"{number}.{turn}", tuple(rng.sample(range(keys), 2)))
                where = f"k in {append.keys}" if rng.random() < 0.5 else " or ".join(f"k = {key}" for key in append.keys)
                append.began = time.monotonic()
                assert retrying(connection, f"update {table} set items = items || ',{append.name}' where {where}") == "UPDATE 2"
                append.ended = time.monotonic()
                appends.append(append)

    def reader():
        with server.connect() as connection:
            while not over.is_set():
                began = time.monotonic()
                rows = connection.execute(f"select k, items from {table}").fetchall()
                readings.append(Reading(lists(rows), began, time.monotonic()))

    watcher = threading.Thread(target=reader)
    watcher.start()
    try:
        together(*(lambda number=number: writer(number) for number in range(writers)))
    finally:
        over.set()
        watcher.join()
    sample = random.Random(1).sample(readings, min(150, len(readings)))
    check(lists(server.sql(f"select k, items from {table}")), appends, sample)


@pytest.mark.parametrize("name", ["v2_mark", "delta_mark", "v2_copy", "delta_copy"])
def test_two_servers_on_one_catalog(name, tmp_path):
    layout = LAYOUTS[name]
    with running(tmp_path) as one, running(tmp_path) as two:
        make_bank(one, "t", layout)
        assert two.sql(BANK_TOTAL.format("t")) == one.sql(BANK_TOTAL.format("t"))
        with watching(one, BANK_TOTAL.format("t"), consistent), watching(two, BANK_TOTAL.format("t"), consistent):
            together(*(lambda seed=seed: transfers((one, two)[seed % 2], "t", seed, 6) for seed in range(4)))
        consistent(one.sql(BANK_TOTAL.format("t")))
        assert sorted(one.sql("select * from t")) == sorted(two.sql("select * from t"))


ROUNDS = 8


def append_by_pyiceberg(server, schema: str, first: int):
    rows = pa.table({"id": pa.array(range(first, first + 5), pa.int64()), "v": pa.array([0] * 5, pa.int64())})
    for _ in range(100):
        try:
            return server.pyiceberg().load_table((schema, "t")).append(rows)
        except CommitFailedException:
            continue
    raise AssertionError("pyiceberg never came through")


def append_by_deltalake(server, schema: str, first: int):
    rows = pa.table({"id": pa.array(range(first, first + 5), pa.int64()), "v": pa.array([0] * 5, pa.int64())})
    for _ in range(100):
        try:
            return write_deltalake(str(server.warehouse / schema / "t"), rows, mode="append")
        except CommitFailedError:
            continue
    raise AssertionError("deltalake never came through")


@pytest.mark.parametrize("name", ["v2_copy", "v2_mark", "delta_copy", "delta_mark"])
def test_other_programs_append_meanwhile(server, schema, name, duck):
    """Rows appended by others are neither lost nor changed by statements about other rows."""
    layout, table = LAYOUTS[name], f"{schema}.t"
    create(server, table, "id bigint, v bigint", layout)
    server.sql(f"insert into {table} select x, 0 from generate_series(0, 99) as g(x)")
    append = append_by_pyiceberg if layout.format == "iceberg" else append_by_deltalake

    def outsider():
        for turn in range(ROUNDS):
            append(server, schema, 1000 + 5 * turn)

    def updater():
        with server.connect() as connection:
            for _ in range(ROUNDS):
                assert retrying(connection, f"update {table} set v = v + 1 where id < 50") == "UPDATE 50"

    def merger():
        with server.connect() as connection:
            for _ in range(ROUNDS):
                assert retrying(connection, f"merge into {table} a using (select x as id from generate_series(50, 99) as g(x)) b "
                                            "on a.id = b.id when matched then update set v = a.v + 2") == "MERGE 50"

    def whole(rows):
        assert rows[0][0] % 5 == 0 and rows[0][1] == 1 and rows[0][2] == 1, rows

    # Appends come five at a time, and each statement changes all of its rows.
    query = (f"select count(*), count(distinct case when id < 50 then v end), count(distinct case when id between 50 and 99 then v end) from {table}")
    with watching(server, query, whole):
        together(outsider, updater, merger)
    expected = multiset([(id_, ROUNDS if id_ < 50 else 2 * ROUNDS) for id_ in range(100)] + [(1000 + id_, 0) for id_ in range(5 * ROUNDS)])
    compare("Auric", multiset(server.sql(f"select id, v from {table}")), expected, "at the end")
    for reader, rows in Outside(server, duck, schema, "t", layout.format).readers(["id", "v"]).items():
        compare(reader, multiset(rows), expected, "at the end")
