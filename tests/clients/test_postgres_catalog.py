"""A catalog in PostgreSQL that several Auric servers and pyiceberg share."""

import os
import pathlib
import random
import re
import threading
import time
import zlib

import psycopg
import pyarrow as pa
import pytest

from conftest import eventually
from pki import Authority
from postgres import Cluster, Shared

RUNS = int(os.environ.get("AURIC_CRASH_RUNS", "8"))
FORMATS = ["iceberg", "delta"]


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture
def shared(cluster, request, tmp_path):
    return Shared(cluster, f"t{zlib.crc32(request.node.name.encode()):08x}", tmp_path)


@pytest.fixture
def own(request, tmp_path):
    """With a PostgreSQL of its own, which the test may stop."""
    cluster = Cluster()
    yield Shared(cluster, "cat", tmp_path)
    cluster.close()


@pytest.mark.parametrize("form", FORMATS)
def test_two_servers_see_each_other(shared, form):
    with shared.auric(1) as one, shared.auric(2) as other, one.connect() as a, other.connect() as b:
        a.execute("create schema s")
        a.execute(f"create table s.t (id int, p text) using {form}")
        b.execute("insert into s.t values (1, 'x')")
        assert a.execute("select * from s.t").fetchall() == [(1, "x")]
        a.execute("update s.t set p = 'y'")
        assert b.execute("select * from s.t").fetchall() == [(1, "y")]
        b.execute(f"create or replace table s.t using {form} as select 1 as id, 'y' as p, 5 as n")
        assert a.execute("select id, n from s.t").fetchall() == [(1, 5)]
        a.execute("comment on table s.t is 'theirs'")
        assert b.execute("select obj_description('s.t'::regclass)").fetchall() == [("theirs",)]
        tables = "select oid, relname from pg_class where relnamespace = 's'::regnamespace order by 1"
        assert a.execute(tables).fetchall() == b.execute(tables).fetchall() != []
        a.execute("create view s.v as select count(*) as n from s.t")
        assert b.execute("select n from s.v").fetchall() == [(1,)]
        b.execute("alter table s.t rename to u")
        with pytest.raises(psycopg.errors.UndefinedTable):
            a.execute("select * from s.t")
        assert a.execute("select p from s.u").fetchall() == [("y",)]
        with pytest.raises(psycopg.errors.DuplicateTable):
            a.execute("create table s.u (id int)")
        a.execute("drop view s.v")
        a.execute("drop table s.u")
        b.execute("drop schema s")
        assert a.execute("select nspname from pg_namespace where nspname = 's'").fetchall() == []


@pytest.mark.parametrize("form", FORMATS)
def test_conflicts_are_serialization_failures(shared, form):
    with shared.auric(1) as one, shared.auric(2) as other:
        one.sql(f"create table t (id int, n int) using {form}")
        one.sql("insert into t values (1, 0), (2, 0)")
        with one.connect(autocommit=False) as a, other.connect() as b:
            a.execute("update t set n = n + 1 where id = 1")
            b.execute("update t set n = n + 10 where id = 1")
            with pytest.raises(psycopg.errors.SerializationFailure):
                a.commit()
        assert other.sql("select n from t order by id") == [(10,), (0,)]
        # No conflict: appends from both sides, all at once.
        def append(server):
            for number in range(5):
                server.sql("insert into t values (%s, 7)", (100 + number,))
        threads = [threading.Thread(target=append, args=(server,)) for server in (one, other, one, other)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert one.sql("select count(*) from t where n = 7") == [(20,)]


def test_transactions_over_tables_are_not_torn(shared):
    """Money moves between two tables on two servers; nobody ever sees some of it missing."""
    with shared.auric(1) as one, shared.auric(2) as other:
        for name in ("a", "b"):
            one.sql(f"create table {name} (id int, n int)")
            one.sql(f"insert into {name} values (1, 500)")
        moved, stop, sums = [], threading.Event(), set()

        def move(server, amount, tables):
            with server.connect(autocommit=False) as connection:
                for _ in range(8):
                    try:
                        for table, change in zip(tables, (-amount, amount)):
                            connection.execute(f"update {table} set n = n + %s", (change,))
                        connection.commit()
                        moved.append((tables[1], amount))
                    except psycopg.errors.SerializationFailure:
                        connection.rollback()

        def watch(catalog):
            """An outside reader of both pointers, in one statement of the database."""
            while not stop.is_set():
                found = shared.cluster.sql(shared.name, "select table_name, metadata_location from iceberg_tables order by 1")
                sums.add(sum(row["n"] for _, location in found for row in static(location)))

        def static(location):
            from pyiceberg.table import StaticTable
            return StaticTable.from_metadata(location).scan().to_arrow().to_pylist()

        movers = [threading.Thread(target=move, args=arguments) for arguments in
                  ((one, 1, "ab"), (other, 10, "ba"), (one, 3, "ba"), (other, 7, "ab"))]
        watcher = threading.Thread(target=watch, args=(shared,))
        [thread.start() for thread in [*movers, watcher]]
        [thread.join() for thread in movers]
        stop.set()
        watcher.join()
        assert sums == {1000}
        gained = sum(amount if to == "a" else -amount for to, amount in moved)
        assert len(moved) >= 4
        assert one.sql("select n from a") == [(500 + gained,)] and other.sql("select n from b") == [(500 - gained,)]


def test_pyiceberg_opens_what_auric_made(shared):
    with shared.auric() as server:
        server.sql("create schema s")
        server.sql("create table s.t (id bigint, p text) partitioned by (p)")
        server.sql("insert into s.t values (1, 'x')")
        server.sql("create table s.d (id bigint) using delta")
        server.sql("create table s.gone (id bigint)")
        # Another program's user, who has no rights on our own tables.
        shared.cluster.sql("postgres", "drop role if exists them")
        shared.cluster.sql("postgres", "create role them login")
        shared.cluster.sql(shared.name, "grant select, insert, update, delete on iceberg_tables, iceberg_namespace_properties to them")
        catalog = shared.pyiceberg(shared.cluster.url(shared.name, "them"))
        assert sorted(catalog.list_namespaces()) == [("public",), ("s",)]
        assert sorted(catalog.list_tables("s")) == [("s", "gone"), ("s", "t")]
        table = catalog.load_table("s.t")
        table.append(pa.table({"id": pa.array([2], pa.int64()), "p": pa.array(["y"])}))
        assert server.sql("select id, p from s.t order by id") == [(1, "x"), (2, "y")]
        server.sql("insert into s.t values (3, 'x')")
        assert sorted(table.refresh().scan().to_arrow()["id"].to_pylist()) == [1, 2, 3]
        [(oid,)] = server.sql("select 's.gone'::regclass::oid")
        catalog.rename_table("s.gone", "s.moved")
        assert server.sql("select 's.moved'::regclass::oid") == [(oid,)]
        catalog.drop_table("s.moved")
        assert server.sql("select relname from pg_class where relnamespace = 's'::regnamespace order by 1") == [("d",), ("t",)]
        with pytest.raises(Exception, match="(?i)already exists"):
            catalog.create_table("s.d", table.schema())
        # A commit of theirs on what is no longer current: refused, or made anew by pyiceberg, but never in its place.
        from pyiceberg.exceptions import CommitFailedException
        stale, rows = catalog.load_table("s.t"), pa.table({"id": pa.array([4], pa.int64()), "p": pa.array(["z"])})
        server.sql("delete from s.t where id = 1")
        try:
            stale.append(rows)
        except CommitFailedException:
            catalog.load_table("s.t").append(rows)
        assert server.sql("select id from s.t order by id") == [(2,), (3,), (4,)]


def test_what_pyiceberg_made_is_opened(shared):
    from pyiceberg.schema import Schema
    from pyiceberg.types import LongType, NestedField

    catalog = shared.pyiceberg()
    catalog.create_namespace("theirs", {"owner": "them"})
    table = catalog.create_table("theirs.t", Schema(NestedField(1, "id", LongType())))
    table.append(pa.table({"id": pa.array([1, 2], pa.int64())}))
    with shared.auric() as server:
        # A catalog that has a schema is not given another one.
        assert server.sql("select nspname from pg_namespace where nspname in ('theirs', 'public') order by 1") == [("theirs",)]
        assert server.sql("select sum(id) from theirs.t") == [(3,)]
        server.sql("delete from theirs.t where id = 1")
        server.sql("create view theirs.v as select * from theirs.t")
        assert table.refresh().scan().to_arrow()["id"].to_pylist() == [2]
        assert catalog.list_tables("theirs") == [("theirs", "t")]


@pytest.mark.timeout(900)
def test_killed_servers_lose_nothing(shared):
    """One of two servers is killed at any time while both commit, over one and over two tables."""
    rng = random.Random(1)
    with shared.auric(1) as server:
        server.sql("create table t (id int, source int)")
        server.sql("create table u (id int, source int)")
    acknowledged, next_id = set(), 0
    for run in range(RUNS):
        with shared.auric(1) as survivor, shared.auric(2) as victim:
            lock, killed = threading.Lock(), threading.Event()

            def write(server, source):
                nonlocal next_id
                try:
                    with server.connect(autocommit=False) as connection:
                        while not killed.is_set():
                            with lock:
                                next_id += 1
                                mine = next_id
                            connection.execute("insert into t values (%s, %s)", (mine, source))
                            connection.execute("insert into u values (%s, %s)", (mine, source))
                            try:
                                connection.commit()
                            except psycopg.errors.SerializationFailure:
                                connection.rollback()
                            else:
                                acknowledged.add(mine)
                except psycopg.OperationalError:
                    assert server is victim

            threads = [threading.Thread(target=write, args=arguments) for arguments in ((survivor, 1), (victim, 2), (victim, 3))]
            [thread.start() for thread in threads]
            # In the middle of what it does, whatever that is then.
            wanted = len(acknowledged) + rng.randint(3, 12)
            eventually(lambda: len(acknowledged) >= wanted)
            victim.process.kill()
            victim.process.wait()
            killed.set()
            [thread.join() for thread in threads]
            found = [row for (row,) in survivor.sql("select id from t")]
            assert sorted(found) == sorted(row for (row,) in survivor.sql("select id from u")), "half of a transaction"
            assert len(set(found)) == len(found) and acknowledged <= set(found)
            # At most the one statement in flight of each writer is there without an answer.
            assert len(set(found) - acknowledged) <= 3 * (run + 1)
            # Nothing that the dead one has held is in the way.
            survivor.sql(f"create table after{run} (id int)")
    assert len(acknowledged) > RUNS
    assert sorted(shared.pyiceberg().load_table("public.t").scan().to_arrow()["id"].to_pylist()) == sorted(found)


@pytest.mark.timeout(600)
def test_the_database_may_restart(own):
    with own.auric(1, catalog_timeout="3s") as one, own.auric(2, catalog_timeout="3s") as other, one.connect() as session:
        one.sql("create table t (id int)")
        inserted, stop = set(), threading.Event()

        def insert(server, start):
            number = start
            while not stop.is_set():
                number += 1
                try:
                    server.sql("insert into t values (%s)", (number,))
                    inserted.add(number)
                except psycopg.Error as error:
                    # The catalog's database was away, or it is not known what it has done; our own connection is well.
                    assert error.sqlstate in ("58000", "58030", "08007"), (error.sqlstate, error)

        threads = [threading.Thread(target=insert, args=arguments) for arguments in ((one, 0), (other, 10_000))]
        [thread.start() for thread in threads]
        for orders in (["restart"], ["stop", "start"], ["stop", "start"]):
            wanted = len(inserted) + 6
            eventually(lambda: len(inserted) >= wanted)
            [own.cluster.order(order) for order in orders]
        before = len(inserted)
        eventually(lambda: len(inserted) >= before + 4)
        stop.set()
        [thread.join() for thread in threads]
        found = [row for (row,) in session.execute("select id from t").fetchall()]
        assert len(inserted) >= before + 4
        assert len(set(found)) == len(found) and inserted <= set(found)

        own.cluster.order("stop")
        started = time.monotonic()
        with pytest.raises(psycopg.errors.SystemError) as failed:
            session.execute("select * from t")
        assert failed.value.sqlstate == "58000" and "/cat " in str(failed.value), failed.value
        assert time.monotonic() - started < 30
        assert session.execute("select 1").fetchall() == [(1,)]
        own.cluster.order("start")
        assert len(session.execute("select * from t").fetchall()) == len(found)


@pytest.mark.parametrize("form", FORMATS)
def test_a_refresh_is_published_once(shared, form):
    with shared.auric(1) as one, shared.auric(2) as other:
        one.sql(f"create table base (id int) using {form}")
        one.sql(f"create materialized view gold using {form} as select id from base")
        errors = []

        def refresh(server):
            for _ in range(3):
                try:
                    server.sql("refresh materialized view gold")
                except psycopg.Error as error:
                    errors.append(error)

        for step in range(4):
            one.sql("insert into base values (%s)", (step,))
            threads = [threading.Thread(target=refresh, args=(server,)) for server in (one, other, one, other)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            assert other.sql("select id from gold order by id") == [(id,) for id in range(step + 1)]
        assert {error.sqlstate for error in errors} <= {"40001"}, errors
        # The view's creation, and each of the four.
        for server in (one, other):
            assert server.sql("select count(*), count(distinct run_id) from auric.refreshes where view_name = 'gold'") == [(5, 5)]


def test_servers_start_together(shared):
    """On an empty database, in a schema that is not there yet."""
    servers, failures = [], []

    def start(number):
        try:
            with shared.auric(number, catalog_schema="My Lake") as server:
                servers.append(server.sql("select nspname from pg_namespace where nspname = 'public'"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failures and servers == [[("public",)]] * 4
    made = shared.cluster.sql(shared.name, "select distinct table_schema from information_schema.tables where table_name ~ 'iceberg|auric'")
    assert made == [("My Lake",)]


def test_passwords_and_certificates(own, tmp_path):
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "Stranger")
    certificate, key = authority.issue("db.test", server=True)
    directory = own.cluster.sql("postgres", "show data_directory")[0][0]
    for path, file in ((certificate, "server.crt"), (key, "server.key")):
        # By the database itself: its directory is another user's.
        with psycopg.connect(own.url, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("create temp table f (line text)")
            with cursor.copy("copy f from stdin") as copy:
                for line in pathlib.Path(path).read_text().splitlines():
                    copy.write_row((line,))
            cursor.execute(f"copy f to program 'cat > {directory}/{file} && chmod 600 {directory}/{file}'")
    hba = "hostssl all carol 127.0.0.1/32 scram-sha-256\\nhost all auric 127.0.0.1/32 trust"
    own.cluster.sql("postgres", f"copy (select 1) to program 'cat > /dev/null && printf \"{hba}\\n\" > {directory}/pg_hba.conf'")
    own.cluster.sql("postgres", "alter system set ssl = on")
    own.cluster.sql("postgres", "create role carol login password 'p@/:%? s'")
    own.cluster.sql("cat", "grant create on schema public to carol")
    own.cluster.order("restart")

    secret = tmp_path / "password"
    secret.write_text("p@/:%? s\n")
    url = own.cluster.url("cat", "carol") + "?sslmode="
    with own.auric(1, catalog_url=url + f"verify-full&sslrootcert={authority.path}", catalog_password=f"file:{secret}") as server:
        server.sql("create table t (id int)")
        encrypted = "select distinct ssl from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'carol'"
        assert own.cluster.sql("cat", encrypted) == [(True,)]
    for settings, reason in (
        ({"catalog_url": url + "require", "catalog_password": "wrong"}, "does not accept the user or the password"),
        ({"catalog_url": url + "disable", "catalog_password": f"file:{secret}"}, "does not accept the user or the password"),
        # Another authority's; an authority that the machine does not know.
        ({"catalog_url": url + f"verify-ca&sslrootcert={stranger.path}", "catalog_password": f"file:{secret}"}, "certificate"),
        ({"catalog_url": url + "verify-ca", "catalog_password": f"file:{secret}"}, "certificate"),
    ):
        with pytest.raises(AssertionError, match="the server ended before it was ready") as failed, own.auric(2, **settings):
            pass
        text = str(failed.value)
        assert re.search(reason, text) and "p@/" not in text and "wrong" not in text, text

