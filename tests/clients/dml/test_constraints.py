"""CHECK and NOT NULL between Auric and deltalake: each keeps what the other has declared."""

import json

import psycopg
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from test_serving import until

ROWS = 1_000_000


@pytest.fixture
def connection(server):
    with server.connect() as connection:
        yield connection


def location(server, schema, table):
    return server.warehouse / schema / table


def data_files(root):
    return {path for path in root.rglob("*.parquet") if "_delta_log" not in path.parts}


def refused(connection, sql, code, **facts):
    with pytest.raises(psycopg.Error) as failure:
        connection.execute(sql)
    assert failure.value.sqlstate == code, failure.value
    for fact, value in facts.items():
        assert value in (getattr(failure.value.diag, fact) or ""), (fact, failure.value)


def test_deltalake_enforces_ours(server, connection, schema):
    connection.execute(
        f'CREATE TABLE {schema}.t (id int NOT NULL, price double precision CHECK (price > 0), "Kind" text, '
        f"CHECK (\"Kind\" <> 'x')) USING delta"
    )
    root = location(server, schema, "t")
    table = DeltaTable(root)
    configuration = table.metadata().configuration
    assert configuration == {
        "delta.constraints.t_price_check": "(price > 0) IS NOT FALSE",
        "delta.constraints.t_Kind_check": "(`Kind` <> 'x') IS NOT FALSE",
    }
    assert table.protocol().min_writer_version == 3
    fields = [pa.field("id", pa.int32(), False), pa.field("price", pa.float64()), pa.field("Kind", pa.string())]

    def write(*row):
        columns = [pa.array([value], field.type) for value, field in zip(row, fields)]
        write_deltalake(root, pa.table(columns, schema=pa.schema(fields)), mode="append")

    write(1, 1.0, "a")
    write(2, None, None)
    for row in [(3, -1.0, "a"), (3, 1.0, "x")]:
        with pytest.raises(Exception, match="(?i)invariant|constraint|check"):
            write(*row)
    assert connection.execute(f"SELECT id FROM {schema}.t ORDER BY id").fetchall() == [(1,), (2,)]


def test_ours_enforce_those_of_deltalake(server, connection, schema, tmp_path):
    root = tmp_path / "t"
    write_deltalake(root, pa.table({"id": pa.array([1], pa.int64()), "v": pa.array(["a"])}))
    DeltaTable(root).alter.add_constraint({"positive": "id > 0 AND v != 'no'"})
    connection.execute(f"CREATE TABLE {schema}.t USING delta LOCATION '{root}'")
    connection.execute(f"INSERT INTO {schema}.t VALUES (2, 'b')")
    for sql in [
        f"INSERT INTO {schema}.t VALUES (-1, 'a')",
        f"INSERT INTO {schema}.t VALUES (1, 'no')",
        # To Delta, unlike SQL, a condition that is null is violated.
        f"INSERT INTO {schema}.t VALUES (1, NULL)",
        f"UPDATE {schema}.t SET v = 'no' WHERE id = 2",
        f"MERGE INTO {schema}.t USING (VALUES (9)) AS s (id) ON t.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (-9, 'x')",
        f"INSERT OVERWRITE {schema}.t VALUES (-1, 'a')",
    ]:
        refused(connection, sql, "23514", message_primary='violates check constraint "positive"')
    connection.execute(f"ALTER TABLE {schema}.t DROP CONSTRAINT positive")
    connection.execute(f"INSERT INTO {schema}.t VALUES (-1, 'a')")
    connection.execute(f"ALTER TABLE {schema}.t ADD CHECK (id > -2)")
    with pytest.raises(Exception, match="(?i)invariant|constraint|check"):
        write_deltalake(root, pa.table({"id": pa.array([-2], pa.int64()), "v": pa.array(["a"])}), mode="append")
    assert sorted(DeltaTable(root).to_pyarrow_table()["id"].to_pylist()) == [-1, 1, 2]


def test_the_last_of_a_million_leaves_nothing(server, connection, schema):
    connection.execute(
        f"CREATE TABLE {schema}.t (id int NOT NULL, v int CHECK (v >= 0)) USING delta"
    )
    connection.execute(f"INSERT INTO {schema}.t VALUES (0, 0)")
    root = location(server, schema, "t")
    before = data_files(root)
    bad = f"CASE WHEN x = {ROWS} THEN -1 ELSE 1 END"
    rows = f"generate_series(1, {ROWS}) AS g (x)"
    detail = f"Failing row contains ({ROWS}, -1)."
    for sql in [
        f"INSERT INTO {schema}.t SELECT x, {bad} FROM {rows}",
        f"INSERT OVERWRITE {schema}.t SELECT x, {bad} FROM {rows}",
        f"MERGE INTO {schema}.t USING (SELECT x, {bad} AS v FROM {rows}) AS s ON t.id = s.x "
        f"WHEN NOT MATCHED THEN INSERT VALUES (s.x, s.v)",
    ]:
        names = {"schema_name": schema, "table_name": "t", "constraint_name": "t_v_check"}
        refused(connection, sql, "23514", message_primary='"t_v_check"', message_detail=detail, **names)
        until(lambda: data_files(root) == before)
    with pytest.raises(psycopg.Error) as failure, connection.cursor() as cursor:
        with cursor.copy(f"COPY {schema}.t FROM STDIN") as copy:
            for start in range(1, ROWS, 10_000):
                copy.write("".join(f"{x}\t1\n" for x in range(start, start + 10_000)))
            copy.write(f"{ROWS + 1}\t-1\n")
    assert failure.value.sqlstate == "23514"
    until(lambda: data_files(root) == before)
    refused(
        connection,
        f"INSERT INTO {schema}.t SELECT CASE WHEN x < {ROWS} THEN x END, 1 FROM {rows}",
        "23502",
        message_primary='null value in column "id" of relation "t"',
        message_detail="Failing row contains (null, 1).",
        table_name="t",
        column_name="id",
    )
    until(lambda: data_files(root) == before)
    assert connection.execute(f"SELECT count(*) FROM {schema}.t").fetchone() == (1,)


def test_a_constraint_of_a_concurrent_commit_is_a_conflict(server, connection, schema):
    connection.execute(f"CREATE TABLE {schema}.t (id int) USING delta")
    root = location(server, schema, "t")
    with server.connect(autocommit=False) as other:
        other.execute(f"INSERT INTO {schema}.t VALUES (-1)")
        DeltaTable(root).alter.add_constraint({"positive": "id > 0"})
        with pytest.raises(psycopg.errors.SerializationFailure, match="positive"):
            other.commit()
    assert connection.execute(f"SELECT count(*) FROM {schema}.t").fetchone() == (0,)
    connection.execute(f"INSERT INTO {schema}.t VALUES (1)")
    # One that is dropped meanwhile is none.
    with server.connect(autocommit=False) as other:
        other.execute(f"INSERT INTO {schema}.t VALUES (2)")
        connection.execute(f"ALTER TABLE {schema}.t DROP CONSTRAINT positive")
        other.commit()
    assert connection.execute(f"SELECT count(*) FROM {schema}.t").fetchone() == (2,)


def test_the_log_says_what_was_altered(server, connection, schema):
    connection.execute(f"CREATE TABLE {schema}.t (id int) USING delta")
    connection.execute(f"ALTER TABLE {schema}.t ADD CONSTRAINT c CHECK (id > 0)")
    connection.execute(f"ALTER TABLE {schema}.t DROP CONSTRAINT c")
    log = location(server, schema, "t") / "_delta_log"
    actions = [json.loads(line) for line in (log / f"{1:020}.json").read_text().splitlines()]
    assert [next(iter(action)) for action in actions] == ["commitInfo", "protocol", "metaData"]
    assert actions[0]["commitInfo"]["operation"] == "ADD CONSTRAINT"
    assert not actions[0]["commitInfo"]["isBlindAppend"]
    assert actions[1]["protocol"] == {"minReaderVersion": 1, "minWriterVersion": 3}
    assert DeltaTable(log.parent).metadata().configuration == {}
    assert [entry["operation"] for entry in DeltaTable(log.parent).history()] == [
        "DROP CONSTRAINT",
        "ADD CONSTRAINT",
        "CREATE TABLE",
    ]
