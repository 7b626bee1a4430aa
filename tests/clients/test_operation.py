"""Starting, stopping, restarting, configuring; broken tables in a healthy catalog."""

import pathlib
import subprocess
import threading
import urllib.request

import psycopg
import pytest

from conftest import REPOSITORY, auric_binary, running
from test_serving import until


def test_tables_and_oids_survive_a_restart(tmp_path):
    with running(tmp_path) as server:
        server.sql("create schema s")
        server.sql("create table s.i (x int)")
        server.sql("create table s.d (x int) using delta")
        for table in ("i", "d"):
            server.sql(f"insert into s.{table} values (1), (2)")
        oids = server.sql("select relname, oid from pg_class where relname in ('i', 'd') order by 1")
        assert server.stop() == 0
    with running(tmp_path) as server:
        assert server.sql("select sum(i.x), sum(d.x) from s.i i join s.d d on i.x = d.x") == [(3, 3)]
        assert server.sql("select relname, oid from pg_class where relname in ('i', 'd') order by 1") == oids


def test_a_killed_server_loses_no_commit(tmp_path):
    with running(tmp_path) as server:
        server.sql("create table t (x int)")
        for n in range(5):
            server.sql(f"insert into t values ({n})")
        server.process.kill()
        server.process.wait()
    with running(tmp_path) as server:
        assert server.sql("select count(*) from t") == [(5,)]


def test_shutdown_lets_statements_finish(tmp_path):
    with running(tmp_path) as server:
        connection = server.connect()
        result = []
        statement = "select sum(x % 7) from generate_series(1, 60000000) as g(x)"
        thread = threading.Thread(target=lambda: result.append(connection.execute(statement).fetchone()))
        thread.start()
        until(lambda: server.sql("select count(*) from pg_stat_activity where state = 'active' and query = %s", (statement,))[0][0] == 1)
        assert server.stop() == 0
        thread.join()
        assert result


def test_shutdown_cancels_what_does_not_end(tmp_path):
    with running(tmp_path, environment={"AURIC_SERVER__SHUTDOWN_GRACE": "1s"}) as server:
        from test_serving import HEAVY

        connection = server.connect()
        errors = []

        def run():
            try:
                connection.execute(HEAVY)
            except psycopg.Error as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: server.sql("select count(*) from pg_stat_activity where state = 'active' and query = %s", (HEAVY,))[0][0] == 1)
        assert server.stop() == 0
        thread.join()
        assert errors


def test_health(server):
    with urllib.request.urlopen(f"{server.http}/healthz") as response:
        assert response.status == 200


def check_config(tmp_path: pathlib.Path, text: str):
    path = tmp_path / "auric.toml"
    path.write_text(text)
    return subprocess.run([auric_binary(), "check-config", str(path)], capture_output=True, text=True)


def test_the_shipped_config_is_right():
    result = subprocess.run([auric_binary(), "check-config", str(REPOSITORY / "config" / "auric.toml")], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_mistake_in_a_config_is_reported(tmp_path):
    result = check_config(tmp_path, '[server]\nlisten = "nonsense"\nmax_conections = 5\nshutdown_grace = "soon"\n[nowhere]\nx = 1\n')
    assert result.returncode != 0
    said = result.stdout + result.stderr
    for part in ("server.listen", "max_conections", "max_connections", "shutdown_grace", "nowhere"):
        assert part in said


def test_broken_tables_hurt_nobody_else(server, schema):
    for name in ("good", "truncated", "no_data", "no_manifest"):
        server.sql(f"create table {schema}.{name} (x int)")
        server.sql(f"insert into {schema}.{name} values (1)")
    for name in ("half_log", "no_log"):
        server.sql(f"create table {schema}.{name} (x int) using delta")
        server.sql(f"insert into {schema}.{name} values (1)")
    catalog = server.pyiceberg()

    def metadata(name):
        return pathlib.Path(catalog.load_table((schema, name)).metadata_location.removeprefix("file://"))

    truncated = metadata("truncated")
    copy = truncated.with_name("00009-00000000-0000-0000-0000-000000000000.metadata.json")
    copy.write_bytes(truncated.read_bytes()[:200])
    import sqlite3
    with sqlite3.connect(server.data_dir / "catalog.db") as database:
        database.execute("update iceberg_tables set metadata_location = ? where table_name = 'truncated' and table_namespace = ?",
                         (f"file://{copy}", schema))
    for path in (server.warehouse / schema / "no_data").rglob("*.parquet"):
        path.unlink()
    server.sql(f"create table {schema}.fresh location '{catalog.load_table((schema, 'no_manifest')).location()}'")
    log = server.warehouse / schema / "half_log" / "_delta_log"
    (log / f"{2:020}.json").write_text('{"commitInfo":{"operation":"WRITE"}}\n{"add":{"path":"x.par')
    for path in (server.warehouse / schema / "no_log" / "_delta_log").iterdir():
        path.unlink()
    for name in ("truncated", "no_data", "half_log", "no_log"):
        with server.connect() as connection:
            with pytest.raises(psycopg.Error) as error:
                connection.execute(f"select * from {schema}.{name}").fetchall()
            assert error.value.sqlstate not in (None, "XX000"), (name, error.value)
    assert server.sql(f"select * from {schema}.good") == [(1,)]
    names = [row[0] for row in server.sql("select table_name from information_schema.tables where table_schema = %s order by 1", (schema,))]
    assert {"good", "truncated", "no_data", "half_log", "no_log"} <= set(names)


def test_unreadable_catalog_is_a_clear_error(tmp_path):
    (tmp_path / "catalog.db").write_bytes(b"this is not a database, whatever it says" * 100)
    result = subprocess.run([auric_binary(), "serve", "--data-dir", str(tmp_path), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"],
                            capture_output=True, text=True, timeout=60)
    assert result.returncode != 0
    assert "catalog.db" in result.stdout + result.stderr
    assert "panicked" not in result.stdout + result.stderr


def test_delta_directory_catalog(tmp_path):
    import pyarrow as pa
    from deltalake import write_deltalake

    root = tmp_path / "tree"
    for path in ("sales/orders", "sales/items", "stock/levels"):
        write_deltalake(str(root / path), pa.table({"id": pa.array([1, 2, 3], pa.int64())}))
    config = tmp_path / "auric.toml"
    config.write_text(f'[catalogs.tree]\ntype = "delta"\nroot = "file://{root}"\n')
    with running(tmp_path / "data", "--config", str(config)) as server:
        assert server.sql("select sum(o.id) from tree.sales.orders o join tree.stock.levels l on o.id = l.id") == [(6,)]
        with psycopg.connect(server.dsn(dbname="tree"), autocommit=True) as connection:
            assert connection.execute("select count(*) from sales.items").fetchone() == (3,)
            write_deltalake(str(root / "sales/new"), pa.table({"id": [7]}))
            assert connection.execute("select id from sales.new").fetchone() == (7,)
            connection.execute("create table sales.made (x int)")
            connection.execute("insert into sales.made values (5)")
            assert connection.execute("select x from sales.made").fetchone() == (5,)
