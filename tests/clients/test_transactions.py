"""Transaction blocks as psycopg opens them by itself: every statement is in one until `commit()`."""

import contextlib
import pathlib
import random
import re
import time

import psycopg
import pyarrow
import pytest
from deltalake import DeltaTable

MODES = ["delete", "update", "merge"]


def iceberg(version: int, mode: str) -> str:
    modes = ", ".join(f"'write.{kind}.mode' = '{mode}'" for kind in MODES)
    return f"USING ICEBERG {{partitioned}} TBLPROPERTIES ('format-version' = '{version}', {modes})"


def delta(vectors: bool) -> str:
    return f"USING DELTA {{partitioned}} TBLPROPERTIES ('delta.enableDeletionVectors' = '{str(vectors).lower()}')"


TABLES = {
    "iceberg_2_cow": iceberg(2, "copy-on-write"),
    "iceberg_2_mor": iceberg(2, "merge-on-read"),
    "iceberg_3_cow": iceberg(3, "copy-on-write"),
    "iceberg_3_mor": iceberg(3, "merge-on-read"),
    "delta_cow": delta(False),
    "delta_mor": delta(True),
}


def create(server, schema, kind, partitioned="", rows=10):
    name = f"{schema}.t"
    with server.connect(autocommit=True) as conn:
        conn.execute(f"CREATE TABLE {name} (id int, p text, n bigint) "
                     + TABLES[kind].format(partitioned=partitioned))
        if rows:
            conn.execute(f"INSERT INTO {name} SELECT i, CASE WHEN i % 3 = 0 THEN 'x' ELSE 'y' END, i "
                         f"FROM generate_series(1, {rows}) g(i)")
    return name


def table(conn, name) -> dict[int, tuple]:
    found = conn.execute(f"SELECT id, p, n FROM {name}").fetchall()
    rows = {row[0]: row[1:] for row in found}
    assert len(rows) == len(found), "a row twice"
    return rows


def files(server, name) -> set[pathlib.Path]:
    """Data and delete files on disk, without the metadata of the formats."""
    root = server.warehouse / name.replace(".", "/")
    found = (path for path in root.rglob("*") if path.is_file() and "_delta_log" not in path.parts)
    return {path for path in found if path.parent.name != "metadata"}


@pytest.mark.parametrize("kind", TABLES)
def test_a_block_is_opened_by_the_first_statement_and_ended_by_commit(server, schema, kind):
    name = create(server, schema, kind)
    with server.connect(autocommit=False) as conn, server.connect(autocommit=True) as other:
        updated = conn.execute(f"UPDATE {name} SET n = n + 1 WHERE id <= 2")
        assert updated.statusmessage == "UPDATE 2"
        assert table(conn, name)[1] == ("y", 2)
        assert table(other, name)[1] == ("y", 1)
        conn.commit()
        assert table(other, name)[1] == ("y", 2)
        conn.execute(f"DELETE FROM {name}")
        assert table(conn, name) == {}
        conn.rollback()
        assert len(table(conn, name)) == 10


@pytest.mark.parametrize("kind", TABLES)
def test_many_statements_are_one_commit(server, schema, kind):
    name = create(server, schema, kind)
    with server.connect(autocommit=False) as conn:
        before = files(server, name)
        for i in range(1, 6):
            conn.execute(f"UPDATE {name} SET n = n + 100 WHERE id = %s", (i,))
            conn.execute(f"INSERT INTO {name} VALUES (%s, 'x', %s)", (100 + i, i))
            conn.execute(f"UPDATE {name} SET n = -n WHERE id = %s", (100 + i,))
        conn.cursor().executemany(f"DELETE FROM {name} WHERE id = %s", [(6,), (101,), (7,)])
        expected = table(conn, name)
        conn.commit()
        assert table(conn, name) == expected
        assert len(expected) == 12 and expected[5] == ("y", 105) and expected[105] == ("x", -5)
        kept = files(server, name) - before
        assert kept <= reachable(server, name, kind), "what the block made superfluous is gone"
        if kind.startswith("delta"):
            assert DeltaTable(str(server.warehouse / name.replace(".", "/"))).version() == 2


def reachable(server, name, kind) -> set[pathlib.Path]:
    """Files that the current version refers to, as other readers of the format find them."""
    root = server.warehouse / name.replace(".", "/")
    if kind.startswith("delta"):
        actions = pyarrow.table(DeltaTable(str(root)).get_add_actions(flatten=True)).to_pylist()
        vectors = {path for path in files(server, name) if path.name.startswith("deletion_vector_")}
        return {root / action["path"] for action in actions} | vectors
    read = server.pyiceberg().load_table(name)
    paths = set()
    for manifest in read.current_snapshot().manifests(read.io):
        for entry in manifest.fetch_manifest_entry(read.io):
            paths.add(pathlib.Path(re.sub("^file:(//)?", "", entry.data_file.file_path)))
    return paths


@pytest.mark.parametrize("kind", TABLES)
def test_nothing_is_left_of_a_block_that_does_not_commit(server, schema, kind):
    name = create(server, schema, kind)
    before = files(server, name)

    def work(conn):
        conn.execute(f"UPDATE {name} SET n = 0 WHERE id < 5")
        conn.execute(f"INSERT INTO {name} VALUES (50, 'z', 1)")
        conn.execute(f"UPDATE {name} SET n = 9 WHERE id = 50")
        assert files(server, name) > before

    with server.connect(autocommit=False) as conn:
        work(conn)
        conn.rollback()
        wait_for(lambda: files(server, name) == before)
        work(conn)
        with pytest.raises(psycopg.errors.DivisionByZero):
            conn.execute(f"UPDATE {name} SET n = 1 / (n - n)")
        conn.rollback()
        wait_for(lambda: files(server, name) == before)
    with contextlib.closing(server.connect(autocommit=False)) as conn:
        work(conn)
    wait_for(lambda: files(server, name) == before)


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


@pytest.mark.parametrize("kind", TABLES)
def test_a_conflict_ends_the_block_and_leaves_nothing(server, schema, kind):
    name = create(server, schema, kind)
    with server.connect(autocommit=False) as one, server.connect(autocommit=False) as two:
        one.execute(f"UPDATE {name} SET n = n + 1 WHERE id = 1")
        two.execute(f"UPDATE {name} SET n = n + 10 WHERE id = 1")
        two.commit()
        before = files(server, name)
        with pytest.raises(psycopg.errors.SerializationFailure):
            one.commit()
        assert one.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert table(one, name)[1] == ("y", 11)
        wait_for(lambda: files(server, name) < before)
        one.rollback()


class Model:
    """A table as it should be, with a stack of savepoints."""

    def __init__(self, rows):
        self.rows = dict(rows)
        self.savepoints: list[tuple[str, dict]] = []


def statement(name: str, model: Model, choose: random.Random) -> str:
    """A random statement, made in the model too."""
    rows, low = model.rows, choose.randrange(30)
    ids = set(range(low, low + choose.randrange(1, 8)))
    where = f"id BETWEEN {min(ids)} AND {max(ids)}"
    match choose.randrange(6):
        case 0:
            new = {i: (choose.choice("xyz"), choose.randrange(100)) for i in ids - rows.keys()}
            rows.update(new)
            if not new:
                return f"DELETE FROM {name} WHERE false"
            return f"INSERT INTO {name} VALUES " + ", ".join(f"({i}, '{p}', {n})" for i, (p, n) in new.items())
        case 1:
            for i in ids & rows.keys():
                del rows[i]
            return f"DELETE FROM {name} WHERE {where}"
        case 2 | 3:
            for i in ids & rows.keys():
                rows[i] = (rows[i][0], rows[i][1] + 1)
            return f"UPDATE {name} SET n = n + 1 WHERE {where}"
        case 4:
            for i in ids & rows.keys():
                rows[i] = ("m", rows[i][1])
            return f"UPDATE {name} SET p = 'm' WHERE {where}"
        case _:
            for i in ids:
                if i not in rows:
                    rows[i] = ("i", 0)
                elif i % 2:
                    del rows[i]
                else:
                    rows[i] = (rows[i][0], -rows[i][1])
            return (f"MERGE INTO {name} t USING (SELECT i FROM generate_series({min(ids)}, {max(ids)}) g(i)) s "
                    "ON t.id = s.i WHEN MATCHED AND t.id % 2 = 1 THEN DELETE "
                    "WHEN MATCHED THEN UPDATE SET n = -t.n WHEN NOT MATCHED THEN INSERT VALUES (s.i, 'i', 0)")


@pytest.mark.parametrize("partitioned", ["", "PARTITIONED BY (p)"])
@pytest.mark.parametrize("kind", TABLES)
def test_random_blocks_leave_what_a_model_says(server, duck, schema, kind, partitioned):
    name = create(server, schema, kind, partitioned)
    choose = random.Random(f"{kind} {partitioned}")
    with server.connect(autocommit=False) as conn, server.connect(autocommit=True) as other:
        committed = table(other, name)
        for _ in range(6):
            model = Model(committed)
            for _ in range(choose.randrange(2, 9)):
                match choose.randrange(8):
                    case 0:
                        model.savepoints.append((f"s{len(model.savepoints)}", dict(model.rows)))
                        conn.execute(f"SAVEPOINT {model.savepoints[-1][0]}")
                    case 1 if model.savepoints:
                        at = choose.randrange(len(model.savepoints))
                        savepoint, rows = model.savepoints[at]
                        del model.savepoints[at + 1:]
                        model.rows = dict(rows)
                        conn.execute(f"ROLLBACK TO {savepoint}")
                    case _:
                        conn.execute(statement(name, model, choose))
                assert table(conn, name) == model.rows
                n = sum(row[1] for row in model.rows.values())
                counted = conn.execute(f"SELECT count(*), coalesce(sum(n), 0) FROM {name} WHERE id >= 0").fetchone()
                assert counted == (len(model.rows), n)
            assert table(other, name) == committed
            if choose.randrange(4):
                conn.commit()
                committed = model.rows
            else:
                conn.rollback()
            assert table(other, name) == committed
    assert read_elsewhere(server, duck, name, kind) == committed


def read_elsewhere(server, duck, name, kind):
    """The rows as another reader of the format finds them."""
    root = server.warehouse / name.replace(".", "/")
    if kind.startswith("delta"):
        found = duck.execute(f"SELECT id, p, n FROM delta_scan('{root}')").fetchall()
    elif kind == "iceberg_3_mor":
        metadata = re.sub("^file:(//)?", "", server.pyiceberg().load_table(name).metadata_location)
        found = duck.execute(f"SELECT id, p, n FROM iceberg_scan('{metadata}')").fetchall()
    else:
        read = server.pyiceberg().load_table(name).scan().to_arrow().to_pylist()
        found = [(row["id"], row["p"], row["n"]) for row in read]
    return {i: (p, n) for i, p, n in found}
