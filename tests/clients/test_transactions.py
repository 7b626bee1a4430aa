"""Transaction blocks as psycopg opens them by itself: every statement is in one until `commit()`."""

import contextlib
import pathlib
import threading
import random
import re
import time

import psycopg
import pyarrow
import pytest
from deltalake import DeltaTable

from conftest import running

pytestmark = pytest.mark.long

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
        # What the block made superfluous goes.
        wait_for(lambda: files(server, name) - before <= reachable(server, name, kind))
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


# Several tables and definitions


def several(server, schema):
    """Two Iceberg tables with a hundred in each, for transfers between them."""
    names = [f"{schema}.a", f"{schema}.b"]
    for name in names:
        server.sql(f"CREATE TABLE {name} (id int, n bigint)")
        server.sql(f"INSERT INTO {name} VALUES (1, 60), (2, 40)")
    return names


def sums(server, *names):
    return tuple(server.sql("SELECT " + ", ".join(f"(SELECT sum(n)::bigint FROM {name})" for name in names))[0])


def test_an_outside_writer_that_wins_one_table_wins_all(server, schema):
    a, b = several(server, schema)
    before = files(server, a) | files(server, b)
    with server.connect(autocommit=False) as conn:
        conn.execute(f"INSERT INTO {a} VALUES (3, 1)")
        conn.execute(f"UPDATE {b} SET n = n + 1 WHERE id = 1")
        conn.execute(f"CREATE TABLE {schema}.c AS SELECT 1 AS id")
        conn.execute(f"CREATE TABLE {schema}.d USING DELTA AS SELECT 1 AS id")
        outside = server.pyiceberg().load_table(b)
        outside.overwrite(pyarrow.table({"id": pyarrow.array([9], pyarrow.int32()), "n": [7]}))
        with pytest.raises(psycopg.errors.SerializationFailure, match=b):
            conn.commit()
        assert sums(server, a, b) == (100, 7)
        for name in "cd":
            with pytest.raises(psycopg.errors.UndefinedTable):
                server.sql(f"SELECT * FROM {schema}.{name}")
        # Nothing is left of it: files of ours are deleted.
        read = server.pyiceberg().load_table(b)
        theirs = {pathlib.Path(re.sub("^file:(//)?", "", path)) for path in read.inspect.files()["file_path"].to_pylist()}
        wait_for(lambda: files(server, a) | files(server, b) == before | theirs)
        wait_for(lambda: not files(server, f"{schema}.c") and not files(server, f"{schema}.d"))


def test_an_outside_append_is_no_conflict(server, schema):
    a, b = several(server, schema)
    with server.connect(autocommit=False) as conn:
        conn.execute(f"INSERT INTO {a} VALUES (3, 1)")
        conn.execute(f"INSERT INTO {b} VALUES (3, 1)")
        server.pyiceberg().load_table(b).append(pyarrow.table({"id": pyarrow.array([9], pyarrow.int32()), "n": [7]}))
        conn.commit()
    assert sums(server, a, b) == (101, 108)
    for name in (a, b):
        table = server.pyiceberg().load_table(name)
        assert table.scan().to_arrow()["n"].to_pylist().count(1) == 1


def test_a_pointer_that_moves_at_the_last_moment(tmp_path):
    """Everything is written when an outside writer commits to one of the tables: that one is rebased."""
    with running(tmp_path) as server:
        server.sql("CREATE SCHEMA s")
        a, b = several(server, "s")
    with running(tmp_path, environment={"AURIC_FAILPOINTS": "commit::before-pointers=1*sleep(4000)->off"}) as server:
        metadata = server.warehouse / "s/b/metadata"
        written = len(list(metadata.glob("*.metadata.json")))
        with server.connect(autocommit=False) as conn:
            conn.execute(f"INSERT INTO {a} VALUES (3, 1)")
            conn.execute(f"INSERT INTO {b} VALUES (3, 1)")
            committing = threading.Thread(target=conn.commit)
            committing.start()
            wait_for(lambda: len(list(metadata.glob("*.metadata.json"))) > written)
            server.pyiceberg().load_table(b).append(pyarrow.table({"id": pyarrow.array([9], pyarrow.int32()), "n": [7]}))
            assert sums(server, a, b) == (100, 107)
            committing.join()
        assert sums(server, a, b) == (101, 108)
        assert len(server.pyiceberg().load_table(b).history()) == 3


def test_a_commit_that_has_begun_is_not_cancelled(tmp_path):
    """Neither statement_timeout nor a cancel request makes an error of a COMMIT that happens."""
    with running(tmp_path) as server:
        server.sql("CREATE SCHEMA s")
        a, b = several(server, "s")
    with running(tmp_path, environment={"AURIC_FAILPOINTS": "commit::before-pointers=sleep(2000)"}) as server:
        with server.connect(autocommit=False) as conn:
            conn.execute("SET statement_timeout = '1s'")
            conn.commit()
            conn.execute(f"INSERT INTO {a} VALUES (3, 1)")
            conn.execute(f"INSERT INTO {b} VALUES (3, 1)")
            threading.Timer(0.5, conn.cancel).start()
            conn.commit()
        assert sums(server, a, b) == (101, 101)


# Where the commit of several tables can stop (`catalog/src/failpoint.rs`), and whether it has happened then.
POINTS = {
    "commit::before-attempt=return(abort)": False, "commit::before-attempt=1*off->return(abort)": False,
    "iceberg::before-manifests=1*off->return(abort)": False, "iceberg::before-metadata=return(abort)": False,
    "iceberg::before-metadata=2*off->return(abort)": False, "delta::before-log=return(abort)": False,
    "commit::before-pointers=return(abort)": False, "commit::after-attempt=return(abort)": True,
}


def test_killed_while_it_commits_several_tables(tmp_path):
    """All or nothing, wherever the server stops."""
    with running(tmp_path) as server:
        server.sql("CREATE SCHEMA s")
        several(server, "s")
        server.sql("CREATE TABLE s.x AS SELECT 0 AS round")
    expected = [100, 100, 0]
    for number, (point, happens) in enumerate(POINTS.items(), start=1):
        with running(tmp_path, environment={"AURIC_FAILPOINTS": point}) as server:
            with contextlib.suppress(psycopg.OperationalError), server.connect(autocommit=False) as conn:
                conn.execute("UPDATE s.a SET n = n - 5 WHERE id = 1")
                conn.execute("UPDATE s.b SET n = n + 5 WHERE id = 1")
                conn.execute(f"CREATE TABLE s.y AS SELECT {number} AS round")
                conn.execute(f"CREATE TABLE s.d{number} USING DELTA AS SELECT {number} AS round")
                conn.execute("DROP TABLE s.x")
                conn.execute("ALTER TABLE s.y RENAME TO x")
                conn.execute(f"CREATE VIEW s.v{number} AS SELECT * FROM s.x")
                conn.commit()
                raise AssertionError(f"{point} was not passed")
            server.process.wait(timeout=30)
        if happens:
            expected = [expected[0] - 5, expected[1] + 5, number]
        with running(tmp_path) as server:
            assert [*sums(server, "s.a", "s.b"), server.sql("SELECT round FROM s.x")[0][0]] == expected, point
            made = server.sql("SELECT relname FROM pg_class WHERE relnamespace = 's'::regnamespace AND relname IN (%s, %s, 'y')",
                              (f"d{number}", f"v{number}"))
            assert sorted(name for name, in made) == ([f"d{number}", f"v{number}"] if happens else []), point
            read = [sum(server.pyiceberg().load_table(f"s.{name}").scan().to_arrow()["n"].to_pylist()) for name in "ab"]
            assert read == expected[:2], point


def test_a_step_that_fails_undoes_all(tmp_path):
    """The same points report an error: nothing has happened, and the next attempt succeeds."""
    with running(tmp_path) as server:
        server.sql("CREATE SCHEMA s")
        several(server, "s")
    for number, point in enumerate(point for point, happens in POINTS.items() if not happens):
        setting = re.sub("->.*|=return.*", "", point).replace("=1*off", "=1*off->1*return(error)->off")
        setting = setting.replace("=2*off", "=2*off->1*return(error)->off")
        setting = setting if "=" in setting else f"{setting}=1*return(error)->off"
        with running(tmp_path, environment={"AURIC_FAILPOINTS": setting}) as server, server.connect(autocommit=False) as conn:
            before = sums(server, "s.a", "s.b")
            kept = files(server, "s.a") | files(server, "s.b")
            for attempt in range(2):
                conn.execute("UPDATE s.a SET n = n - 5 WHERE id = 1")
                conn.execute("UPDATE s.b SET n = n + 5 WHERE id = 1")
                conn.execute(f"CREATE TABLE s.y{number} AS SELECT 1 AS one")
                conn.execute(f"CREATE TABLE s.d{number} USING DELTA AS SELECT 1 AS one")
                if attempt == 1:
                    conn.commit()
                    break
                with pytest.raises(psycopg.Error) as failed:
                    conn.commit()
                assert failed.value.sqlstate not in (None, "XX000"), setting
                assert sums(server, "s.a", "s.b") == before, setting
                wait_for(lambda: files(server, "s.a") | files(server, "s.b") == kept)
            assert sums(server, "s.a", "s.b") == (before[0] - 5, before[1] + 5), setting
            assert server.sql(f"SELECT one FROM s.d{number}") == [(1,)]


def test_a_drop_of_several_drops_all_or_none(tmp_path):
    with running(tmp_path, environment={"AURIC_FAILPOINTS": "commit::before-pointers=2*return(error)->off"}) as server:
        server.sql("CREATE SCHEMA s")
        several(server, "s")
        server.sql("CREATE VIEW s.v AS SELECT * FROM s.a")
        for statement in ("DROP TABLE s.a, s.b CASCADE", "DROP SCHEMA s CASCADE"):
            with pytest.raises(psycopg.Error):
                server.sql(statement)
            assert sums(server, "s.a", "s.b", "s.v") == (100, 100, 100)
        server.sql("DROP SCHEMA s CASCADE")
        assert server.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 's'") == [(0,)]
        wait_for(lambda: not any(path.is_file() for path in (server.warehouse / "s").rglob("*")))


# Query strings of several statements; what PostgreSQL 15 says to them, and whether a block is open then.
STRINGS = [
    ("INSERT INTO {t} VALUES (1); INSERT INTO {t} VALUES (2)", [], "IDLE", 2),
    ("INSERT INTO {t} VALUES (3); COMMIT", ["there is no transaction in progress"], "IDLE", 3),
    ("INSERT INTO {t} VALUES (4); ROLLBACK; SELECT 1", ["there is no transaction in progress"], "IDLE", 3),
    ("BEGIN; BEGIN; COMMIT; COMMIT",
     ["there is already a transaction in progress", "there is no transaction in progress"], "IDLE", 3),
    ("INSERT INTO {t} VALUES (5); BEGIN; INSERT INTO {t} VALUES (6)", [], "INTRANS", 5),
    ("SELECT 1; ROLLBACK", [], "IDLE", 3),
    ("PREPARE p AS SELECT 5; EXECUTE p; DEALLOCATE p", [], "IDLE", 3),
    ("BEGIN; INSERT INTO {t} VALUES (7); COMMIT; INSERT INTO {t} VALUES (8)", [], "IDLE", 5),
]


def test_one_query_string_is_one_transaction(server, schema):
    name, notices = f"{schema}.t", []
    server.sql(f"CREATE TABLE {name} (id int)")
    with server.connect(autocommit=True) as conn:
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        for text, expected, status, count in STRINGS:
            conn.execute(text.format(t=name))
            assert (notices, conn.info.transaction_status.name) == (expected, status), text
            assert conn.execute(f"SELECT count(*) FROM {name}").fetchone() == (count,), text
            notices.clear()
        with pytest.raises(psycopg.errors.DivisionByZero):
            conn.execute(f"INSERT INTO {name} VALUES (9); CREATE TABLE {schema}.u (a int); SELECT 1 / 0; SELECT 2")
        assert conn.info.transaction_status.name == "IDLE"
        assert conn.execute(f"SELECT count(*) FROM {name}").fetchone() == (5,)


def test_copy_in_a_query_string_is_part_of_its_transaction(server, schema):
    """By libpq's own calls: psycopg's do not let COPY stand beside other statements."""
    name = f"{schema}.t"
    server.sql(f"CREATE TABLE {name} (id int)")
    with server.connect(autocommit=True) as conn:
        for last, count in (("SELECT 1", 2), ("SELECT 1 / 0", 2)):
            conn.pgconn.send_query(f"INSERT INTO {name} VALUES (1); COPY {name} FROM STDIN; {last}".encode())
            states = []
            while result := conn.pgconn.get_result():
                states.append(result.status)
                if result.status == psycopg.pq.ExecStatus.COPY_IN:
                    conn.pgconn.put_copy_data(b"2\n")
                    conn.pgconn.put_copy_end()
            assert (states[-1] == psycopg.pq.ExecStatus.FATAL_ERROR) == (last == "SELECT 1 / 0")
            assert conn.info.transaction_status.name == "IDLE"
            assert conn.execute(f"SELECT count(*) FROM {name}").fetchone() == (count,)


def test_killed_at_random_while_it_transfers(tmp_path):
    """Transfers between tables, with a counter in a third one: whatever was acknowledged is there, and no half."""
    choose, acknowledged = random.Random(1), 0
    with running(tmp_path) as server:
        server.sql("CREATE SCHEMA s")
        several(server, "s")
        server.sql("CREATE TABLE s.count (n bigint)")
        server.sql("INSERT INTO s.count VALUES (0)")
    for _ in range(4):
        with running(tmp_path) as server:
            done = []

            def transfer(server=server, done=done):
                with contextlib.suppress(psycopg.OperationalError), server.connect(autocommit=False) as conn:
                    while True:
                        conn.execute("UPDATE s.a SET n = n - 1 WHERE id = 1")
                        conn.execute("UPDATE s.b SET n = n + 1 WHERE id = 1")
                        conn.execute("UPDATE s.count SET n = n + 1")
                        conn.commit()
                        done.append(1)

            busy = threading.Thread(target=transfer)
            busy.start()
            goal = choose.randrange(1, 5)
            wait_for(lambda: len(done) >= goal)
            threading.Event().wait(choose.uniform(0, 0.1))
            server.process.kill()
            busy.join()
            acknowledged += len(done)
        with running(tmp_path) as server:
            (count,), = server.sql("SELECT n FROM s.count")
            assert acknowledged <= count <= acknowledged + 1
            assert sums(server, "s.a", "s.b") == (100 - count, 100 + count)
            acknowledged = count


@pytest.mark.parametrize("format", ["ICEBERG", "DELTA"])
def test_readers_never_miss_a_table_that_is_swapped(server, schema, format):
    name = f"{schema}.a"
    server.sql(f"CREATE TABLE {name} USING {format} AS SELECT 0 AS round, i FROM generate_series(1, 1000) g(i)")
    stop, seen, faults = threading.Event(), [set(), set()], []

    def read(mine):
        try:
            with server.connect(autocommit=True) as conn:
                while not stop.is_set():
                    rows = conn.execute(f"SELECT round, count(*), sum(i) FROM {name} GROUP BY round").fetchall()
                    assert [row[1:] for row in rows] == [(1000, 500500)]
                    mine.add(rows[0][0])
        except BaseException as fault:  # noqa: BLE001 - reported by the test's thread
            faults.append(fault)

    readers = [threading.Thread(target=read, args=(mine,)) for mine in seen]
    for reader in readers:
        reader.start()
    with server.connect(autocommit=True) as conn:
        for number in range(1, 13):
            conn.execute(f"CREATE TABLE {schema}.new USING {format} AS "
                         f"SELECT {number} AS round, i FROM generate_series(1, 1000) g(i)")
            conn.execute(f"BEGIN; ALTER TABLE {name} RENAME TO old; ALTER TABLE {schema}.new RENAME TO a; "
                         f"DROP TABLE {schema}.old; COMMIT")
            wait_for(lambda: all(number in mine for mine in seen) or faults)
    stop.set()
    for reader in readers:
        reader.join()
    assert not faults, faults[0]
    assert all(set(range(1, 13)) <= mine for mine in seen)


def test_nothing_is_left_of_tables_that_are_not_made(server, schema):
    root = server.warehouse / schema

    def left():
        return [path for path in root.rglob("*") if path.is_file()]

    with server.connect(autocommit=False) as conn:
        for ending in ("rollback", "failure", "disconnect"):
            conn.execute(f"CREATE TABLE {schema}.i AS SELECT i FROM generate_series(1, 10) g(i)")
            conn.execute(f"CREATE TABLE {schema}.d USING DELTA AS SELECT * FROM {schema}.i")
            conn.execute(f"CREATE VIEW {schema}.v AS SELECT * FROM {schema}.d")
            conn.execute(f"CREATE OR REPLACE VIEW {schema}.v AS SELECT *, 1 AS one FROM {schema}.d")
            conn.execute(f"DELETE FROM {schema}.i WHERE i < 5")
            assert left()
            match ending:
                case "rollback":
                    conn.rollback()
                case "failure":
                    with pytest.raises(psycopg.errors.DivisionByZero):
                        conn.execute(f"UPDATE {schema}.i SET i = 1 / (i - i)")
                    conn.rollback()
                case _:
                    conn.close()
            wait_for(lambda: not left())


def test_oids_and_relations_of_others_stay_as_they_are(server, schema):
    """What one transaction makes has its OID from the start, and disturbs nobody else's."""
    server.sql(f"CREATE TABLE {schema}.other (id int)")
    oid = f"SELECT '{schema}.other'::regclass::oid"
    before = server.sql(oid)
    with server.connect(autocommit=False) as conn:
        conn.execute(f"CREATE TABLE {schema}.mine (id int)")
        conn.execute(f"CREATE VIEW {schema}.view AS SELECT * FROM {schema}.mine")
        mine = conn.execute(f"SELECT '{schema}.mine'::regclass::oid, '{schema}.view'::regclass::oid").fetchone()
        server.sql(f"CREATE TABLE {schema}.later (id int)")
        conn.commit()
        assert conn.execute(f"SELECT '{schema}.mine'::regclass::oid, '{schema}.view'::regclass::oid").fetchone() == mine
    later = server.sql(f"SELECT '{schema}.later'::regclass::oid")[0][0]
    assert server.sql(oid) == before and later not in mine
