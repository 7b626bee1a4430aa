"""`delta.isolationLevel = WriteSerializable`: rows that others add blindly do not conflict, all else does."""

import json

import psycopg
import pyarrow as pa
import pytest
from deltalake import write_deltalake


@pytest.fixture(params=["WriteSerializable", "Serializable"])
def table(server, schema, request):
    server.sql(
        f"CREATE TABLE {schema}.t (id int, v int) USING delta "
        f"TBLPROPERTIES ('delta.isolationLevel' = '{request.param}')"
    )
    server.sql(f"INSERT INTO {schema}.t VALUES (1, 1), (2, 2)")
    return f"{schema}.t", request.param == "WriteSerializable"


def root(server, table):
    return server.warehouse / table.replace(".", "/")


def update_meanwhile(server, table, meanwhile):
    """An UPDATE of all rows in a block that something else commits into. Whether it was committed."""
    with server.connect(autocommit=False) as connection:
        connection.execute(f"UPDATE {table} SET v = v + 10 WHERE v > 0")
        meanwhile()
        try:
            connection.commit()
        except psycopg.errors.SerializationFailure:
            return False
    return True


def test_blind_appends_pass(server, table):
    table, weak = table
    assert update_meanwhile(server, table, lambda: server.sql(f"INSERT INTO {table} VALUES (3, 3)")) == weak
    found = server.sql(f"SELECT v FROM {table} ORDER BY id")
    assert found == ([(11,), (12,), (3,)] if weak else [(1,), (2,), (3,)])
    log = root(server, table) / "_delta_log"
    last = [json.loads(line) for line in sorted(log.glob("*.json"))[-1].read_text().splitlines()]
    if weak:
        assert last[0]["commitInfo"]["isolationLevel"] == "WriteSerializable"


def test_appends_of_deltalake_are_judged_by_what_they_say(server, table):
    table, weak = table
    rows = pa.table({"id": pa.array([3], pa.int32()), "v": pa.array([3], pa.int32())})
    committed = update_meanwhile(server, table, lambda: write_deltalake(root(server, table), rows, mode="append"))
    log = root(server, table) / "_delta_log"
    commit = [json.loads(line) for line in (log / f"{2:020}.json").read_text().splitlines()]
    info = next(action["commitInfo"] for action in commit if "commitInfo" in action)
    assert committed == (weak and info.get("isBlindAppend") is True)


def test_appends_that_have_read_the_table_do_not_pass(server, table):
    table, _ = table
    other = f"INSERT INTO {table} SELECT id + 10, v FROM {table}"
    assert not update_meanwhile(server, table, lambda: server.sql(other))
    log = root(server, table) / "_delta_log"
    commit = [json.loads(line) for line in (log / f"{2:020}.json").read_text().splitlines()]
    assert commit[0]["commitInfo"]["isBlindAppend"] is False


def test_changes_do_not_pass(server, table):
    table, _ = table
    assert not update_meanwhile(server, table, lambda: server.sql(f"DELETE FROM {table} WHERE id = 1"))
    assert not update_meanwhile(server, table, lambda: server.sql(f"UPDATE {table} SET v = 5 WHERE id = 2"))
    assert server.sql(f"SELECT id, v FROM {table}") == [(2, 5)]


def test_rows_that_are_added_and_changed_do_not_pass(server, table):
    table, _ = table

    def meanwhile():
        server.sql(f"INSERT INTO {table} VALUES (3, 3)")
        server.sql(f"UPDATE {table} SET v = 4 WHERE id = 3")

    assert not update_meanwhile(server, table, meanwhile)
