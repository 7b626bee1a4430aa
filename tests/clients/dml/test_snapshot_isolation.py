"""Iceberg's `write.{delete,update,merge}.isolation-level`: what others commit meanwhile, and whether it conflicts."""

import psycopg
import pyarrow as pa
import pytest

STATEMENTS = {
    "update": "UPDATE {t} SET v = v + 10 WHERE v > 0",
    "delete": "DELETE FROM {t} WHERE v = 1",
    "merge": "MERGE INTO {t} t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = 11",
}
AFTER = {"update": [(1, 11), (2, 12)], "delete": [(2, 2)], "merge": [(1, 11), (2, 2)]}


@pytest.fixture(params=["snapshot", "serializable"])
def level(request):
    return request.param


@pytest.fixture(params=["copy-on-write", "merge-on-read"])
def mode(request):
    return request.param


@pytest.fixture(params=STATEMENTS)
def kind(request):
    return request.param


@pytest.fixture
def table(server, schema, level, mode, kind):
    """Of the other kinds of statements, the other level."""
    levels = {name: level if name == kind else ({"snapshot", "serializable"} - {level}).pop() for name in STATEMENTS}
    properties = ", ".join(f"'write.{name}.mode' = '{mode}', 'write.{name}.isolation-level' = '{levels[name]}'" for name in STATEMENTS)
    server.sql(f"CREATE TABLE {schema}.t (id int, v int) USING iceberg TBLPROPERTIES ('format-version' = '2', {properties})")
    server.sql(f"INSERT INTO {schema}.t VALUES (1, 1), (2, 2)")
    return f"{schema}.t"


def commits(server, table, kind, meanwhile) -> bool:
    """Whether a statement in a block is committed if something else is before."""
    with server.connect(autocommit=False) as connection:
        connection.execute(STATEMENTS[kind].format(t=table))
        meanwhile()
        try:
            connection.commit()
        except psycopg.errors.SerializationFailure:
            return False
    return True


def rows(server, table):
    return server.sql(f"SELECT id, v FROM {table} ORDER BY id, v")


def test_rows_that_are_added_conflict_in_serializable_statements_only(server, table, level, kind):
    added = (1, 1) if kind != "update" else (3, 3)
    committed = commits(server, table, kind, lambda: server.sql(f"INSERT INTO {table} VALUES {added}"))
    assert committed == (level == "snapshot")
    assert rows(server, table) == sorted([*(AFTER[kind] if committed else [(1, 1), (2, 2)]), added])
    read = server.pyiceberg().load_table(tuple(table.split("."))).scan().to_arrow()
    assert sorted(zip(read["id"].to_pylist(), read["v"].to_pylist())) == rows(server, table)


def test_rows_that_another_program_adds(server, table, level, kind):
    def append():
        added = pa.table({"id": pa.array([1], pa.int32()), "v": pa.array([1], pa.int32())})
        server.pyiceberg().load_table(tuple(table.split("."))).append(added)

    committed = commits(server, table, kind, append)
    assert committed == (level == "snapshot")
    assert rows(server, table) == sorted([*(AFTER[kind] if committed else [(1, 1), (2, 2)]), (1, 1)])


@pytest.mark.parametrize("other", ["UPDATE {t} SET v = 100 WHERE id = 1", "DELETE FROM {t} WHERE id = 1"])
def test_the_same_row_changed_twice_conflicts_in_both(server, table, kind, other):
    assert not commits(server, table, kind, lambda: server.sql(other.format(t=table)))
    assert rows(server, table) == ([(1, 100), (2, 2)] if other.startswith("UPDATE") else [(2, 2)])
