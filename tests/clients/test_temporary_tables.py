"""Temporary tables: seen by their session alone, through every client's way of asking; gone with it."""

import os
import subprocess

import psycopg
import pytest
import sqlalchemy

from conftest import running
from test_serving import until


def left_over(server) -> list:
    """Files of temporary tables on disk."""
    found = []
    # Unlike pathlib's, this walk does not mind a folder that vanishes.
    for _, _, names in os.walk(server.data_dir / "temporary"):
        found += [name for name in names if name.endswith(".parquet")]
    return found


def test_other_sessions_see_nothing(tmp_path):
    with running(tmp_path) as server:
        with server.connect() as one, server.connect() as two:
            for connection, count in ((one, 3), (two, 5)):
                connection.execute("create temp table t (id int)")
                with connection.cursor().copy("copy t from stdin") as copy:
                    for n in range(count):
                        copy.write_row((n,))
            assert one.execute("select count(*) from t").fetchone() == (3,)
            assert two.execute("select count(*) from t").fetchone() == (5,)
            of_one = one.execute("select nspname from pg_namespace where oid = pg_my_temp_schema()").fetchone()[0]
            assert of_one == f"pg_temp_{one.info.backend_pid}"
            with pytest.raises(psycopg.errors.UndefinedTable):
                two.execute(f"select * from {of_one}.t")
            assert server.sql("select count(*) from pg_class where relname = 't'") == [(0,)]
            assert server.sql("select count(*) from information_schema.columns where table_name = 't'") == [(0,)]
            assert left_over(server)
        until(lambda: not left_over(server))
        assert not list((tmp_path / "warehouse").rglob("*.parquet"))
        assert server.pyiceberg().list_tables("public") == []


def test_files_go_with_their_tables(tmp_path):
    with running(tmp_path) as server, server.connect() as connection:
        for ending in ("drop table t", "discard temp", "discard all"):
            connection.execute("create temp table t as select 1 as id")
            assert left_over(server)
            connection.execute(ending)
            until(lambda: not left_over(server))
        # Undone, and dropped where that can still be undone.
        connection.execute("create temp table kept as select 1 as id")
        before = left_over(server)
        for statements in (["create temp table t as select 1 as id"], ["drop table kept"]):
            connection.execute("begin")
            for statement in statements:
                connection.execute(statement)
            connection.execute("rollback")
            until(lambda: left_over(server) == before)
            assert connection.execute("select id from kept").fetchone() == (1,)


def test_a_killed_server_leaves_nothing(tmp_path):
    with running(tmp_path) as server:
        connection = server.connect()
        connection.execute("create temp table t as select 1 as id")
        assert left_over(server)
        server.process.kill()
        server.process.wait()
        assert left_over(server)
    with running(tmp_path) as server:
        assert not left_over(server)


def test_sqlalchemy_and_psql_find_it(server, schema):
    engine = sqlalchemy.create_engine(
        f"postgresql+psycopg://{server.user}@{server.host}:{server.port}/{server.database}")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("create temp table of_sqlalchemy (id bigint not null, word text)"))
        inspector = sqlalchemy.inspect(connection)
        assert inspector.has_table("of_sqlalchemy")
        assert inspector.get_temp_table_names() == ["of_sqlalchemy"]
        columns = {column["name"]: column["nullable"] for column in inspector.get_columns("of_sqlalchemy")}
        assert columns == {"id": False, "word": True}
        connection.commit()
    with engine.connect() as connection:
        connection.connection.invalidate()
    with engine.connect() as connection:
        assert not sqlalchemy.inspect(connection).has_table("of_sqlalchemy")
    shown = subprocess.run(
        ["psql", "-X", server.dsn(), "-c", "create temp table mine (id int)", "-c", "\\d mine", "-c", "\\dt"],
        capture_output=True, text=True, check=True).stdout
    assert f'Table "pg_temp_' in shown and "mine" in shown


def test_a_fetched_cursor_and_a_prepared_statement_follow_the_name(server, schema):
    with server.connect() as connection:
        connection.execute(f'set search_path = "{schema}"')
        connection.execute("create table t as select 1 as id")
        statement = "select id from t where id > %s"
        for _ in range(8):
            assert connection.execute(statement, (0,)).fetchall() == [(1,)]
        connection.execute("create temp table t as select 2 as id")
        assert connection.execute(statement, (0,)).fetchall() == [(2,)]
        connection.execute("insert into t values (3)")
        assert sorted(connection.execute(statement, (0,)).fetchall()) == [(2,), (3,)]
        connection.execute("drop table t")
        assert connection.execute(statement, (0,)).fetchall() == [(1,)]
