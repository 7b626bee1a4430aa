"""What deltalake's reader of the change data feed sees of every kind of statement, and of blocks of them."""

import pytest
from deltalake import DeltaTable

from test_serving import until


@pytest.fixture
def table(server, schema):
    server.sql(
        f"CREATE TABLE {schema}.t (id int, v text) USING delta "
        "TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true', 'delta.enableDeletionVectors' = 'false')"
    )
    server.sql(f"INSERT INTO {schema}.t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    return f"{schema}.t"


def root(server, table):
    return server.warehouse / table.replace(".", "/")


def feed(server, table, version):
    """Changes of one version as (kind, id, v), sorted."""
    changes = DeltaTable(root(server, table)).load_cdf(starting_version=version, ending_version=version)
    rows = changes.read_all() if hasattr(changes, "read_all") else changes
    names = rows.column_names if hasattr(rows, "column_names") else rows.schema.names
    columns = {name: list(rows.column(names.index(name)).to_pylist()) for name in ("_change_type", "id", "v")}
    return sorted(zip(*columns.values()))


def block(server, *statements):
    with server.connect(autocommit=False) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_whole_files_need_no_change_files(server, table):
    server.sql(f"INSERT OVERWRITE {table} VALUES (4, 'd')")
    assert feed(server, table, 2) == [
        ("delete", 1, "a"),
        ("delete", 2, "b"),
        ("delete", 3, "c"),
        ("insert", 4, "d"),
    ]
    server.sql(f"TRUNCATE {table}")
    assert feed(server, table, 3) == [("delete", 4, "d")]
    server.sql(f"INSERT INTO {table} VALUES (5, 'e')")
    assert feed(server, table, 4) == [("insert", 5, "e")]
    assert not (root(server, table) / "_change_data").exists()


def test_a_block_that_inserts_and_changes_rows(server, table):
    block(
        server,
        f"INSERT INTO {table} VALUES (4, 'd')",
        f"UPDATE {table} SET v = 'B' WHERE id = 2",
        f"DELETE FROM {table} WHERE id = 3",
        f"INSERT INTO {table} SELECT 5, 'e'",
    )
    assert DeltaTable(root(server, table)).version() == 2
    assert feed(server, table, 2) == [
        ("delete", 3, "c"),
        ("insert", 4, "d"),
        ("insert", 5, "e"),
        ("update_postimage", 2, "B"),
        ("update_preimage", 2, "b"),
    ]
    assert server.sql(f"SELECT * FROM {table} ORDER BY id") == [(1, "a"), (2, "B"), (4, "d"), (5, "e")]


def test_copy_and_returning_in_a_block(server, table):
    with server.connect(autocommit=False) as connection:
        connection.execute(f"DELETE FROM {table} WHERE id = 1")
        with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
            copy.write("7\tg\n8\th\n")
        returned = connection.execute(f"INSERT INTO {table} VALUES (9, 'i') RETURNING v || '!', id").fetchall()
        connection.commit()
    assert returned == [("i!", 9)]
    assert feed(server, table, 2) == [("delete", 1, "a"), ("insert", 7, "g"), ("insert", 8, "h"), ("insert", 9, "i")]


def test_a_block_that_replaces_and_inserts(server, table):
    block(server, f"TRUNCATE {table}", f"INSERT INTO {table} VALUES (4, 'd')")
    assert feed(server, table, 2) == [("delete", 1, "a"), ("delete", 2, "b"), ("delete", 3, "c"), ("insert", 4, "d")]
    block(server, f"INSERT INTO {table} VALUES (5, 'e')", f"INSERT OVERWRITE {table} VALUES (6, 'f')")
    assert feed(server, table, 3) == [("delete", 4, "d"), ("insert", 6, "f")]
    block(server, f"INSERT INTO {table} VALUES (7, 'g')", f"INSERT INTO {table} VALUES (8, 'h')")
    assert feed(server, table, 4) == [("insert", 7, "g"), ("insert", 8, "h")]


def test_replacing_and_changing_rows_is_refused_and_leaves_nothing(server, table):
    before = set(root(server, table).rglob("*.parquet"))
    with server.connect(autocommit=False) as connection:
        connection.execute(f"UPDATE {table} SET v = 'B' WHERE id = 2")
        with pytest.raises(Exception) as failure:
            connection.execute(f"INSERT OVERWRITE {table} VALUES (6, 'f')")
        assert failure.value.sqlstate == "0A000"
        connection.rollback()
    until(lambda: set(root(server, table).rglob("*.parquet")) == before)
