"""Identity columns when several insert at once, and as other engines see them."""

import json
import pathlib
import threading

import psycopg
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from conftest import running
from test_delta_interop import delta_path

FORMATS = ["iceberg", "delta"]
WRITERS, STATEMENTS = 6, 8


def at_once(actions):
    """Runs each in a thread of its own, and fails as the first that fails."""
    failures = []

    def caught(action):
        try:
            action()
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=caught, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def insert_at_once(servers, name):
    """Each writer inserts rows of its own; returns the key that each row was said to have got."""
    told, lock = {}, threading.Lock()

    def write(writer):
        with servers[writer % len(servers)].connect() as conn:
            for n in range(STATEMENTS):
                rows = [f"{writer}-{n}-{k}" for k in range(1 + n % 3)]
                values = ", ".join("(%s)" for _ in rows)
                while True:
                    try:
                        found = conn.execute(f"insert into {name} (name) values {values} returning id, name", rows).fetchall()
                        break
                    except psycopg.errors.SerializationFailure:
                        # Another server was faster, again and again.
                        assert len(servers) > 1
                assert [row[1] for row in found] == rows
                assert [row[0] for row in found] == list(range(found[0][0], found[0][0] + len(rows)))
                with lock:
                    told.update({row[1]: row[0] for row in found})

    at_once([lambda writer=writer: write(writer) for writer in range(WRITERS)])
    return told


def check(server, name, told):
    found = server.sql(f"select id, name from {name}")
    assert {row[1]: row[0] for row in found} == told
    assert len(found) == len(told) == WRITERS * sum(1 + n % 3 for n in range(STATEMENTS))
    assert sorted(row[0] for row in found) == list(range(1, len(found) + 1)), "each key once, and no gaps"


@pytest.mark.parametrize("form", FORMATS)
def test_many_insert_at_once(server, schema, form):
    name = f"{schema}.t"
    server.sql(f"create table {name} (id bigserial, name text) using {form}")
    check(server, name, insert_at_once([server], name))


@pytest.mark.parametrize("form", FORMATS)
def test_two_servers_insert_at_once(server, schema, form):
    name = f"{schema}.t"
    server.sql(f"create table {name} (id bigserial, name text) using {form}")
    with running(server.data_dir) as other:
        told = insert_at_once([server, other], name)
        check(other, name, told)
    check(server, name, told)


@pytest.mark.parametrize("form", FORMATS)
def test_of_two_transactions_one_is_refused(server, schema, form):
    name = f"{schema}.t"
    server.sql(f"create table {name} (id bigserial, name text) using {form}")
    with server.connect(autocommit=False) as one, server.connect(autocommit=False) as other:
        for conn in (one, other):
            conn.execute(f"insert into {name} (name) values ('x')")
        one.commit()
        with pytest.raises(psycopg.errors.SerializationFailure, match="identity column \"id\""):
            other.commit()
    assert server.sql(f"select id from {name}") == [(1,)]
    with server.connect(autocommit=False) as one, server.connect(autocommit=False) as other:
        one.execute(f"insert into {name} (name) values ('y')")
        # What takes no new values is in nobody's way.
        other.execute(f"insert into {name} values (1, 'given')")
        one.commit()
        other.commit()
    assert server.sql(f"select id, name from {name} order by 1, 2") == [(1, "given"), (1, "x"), (2, "y")]


@pytest.mark.parametrize("form", FORMATS)
def test_copy(server, schema, form):
    name = f"{schema}.t"
    server.sql(f"create table {name} (id bigint generated always as identity, name text) using {form}")
    with server.connect() as conn, conn.cursor() as cursor:
        for columns, rows in (("(name)", [("a",), ("b",)]), ("", [(10, "c")]), ("(name)", [(f"n{i}",) for i in range(20_000)])):
            with cursor.copy(f"copy {name} {columns} from stdin") as copy:
                for row in rows:
                    copy.write_row(row)
    found = server.sql(f"select id, name from {name} order by id")
    assert found == [(1, "a"), (2, "b"), (10, "c"), *((11 + i, f"n{i}") for i in range(20_000))]


def test_pyiceberg_reads_and_appends(server, schema):
    server.sql(f"create table {schema}.t (id bigserial, name text)")
    server.sql(f"insert into {schema}.t (name) values ('a'), ('b')")
    table = server.pyiceberg().load_table((schema, "t"))
    assert json.loads(table.properties["auric.identity.1"])["high-water-mark"] == 2
    table.append(pa.table({"id": pa.array([3], pa.int64()), "name": ["theirs"]}, schema=table.schema().as_arrow()))
    assert server.sql(f"select * from {schema}.t order by id") == [(1, "a"), (2, "b"), (3, "theirs")]


def identities(path) -> dict:
    fields = json.loads(DeltaTable(path).schema().to_json())["fields"]
    return {key.removeprefix("delta.identity."): value for key, value in fields[0]["metadata"].items()}


def test_deltalake_reads_what_the_protocol_says(server, schema):
    server.sql(f"create table {schema}.t (id bigint generated always as identity (start 5 increment 2), name text) using delta")
    path = delta_path(server, f"{schema}.t")
    assert identities(path) == {"start": 5, "step": 2, "allowExplicitInsert": False}
    server.sql(f"insert into {schema}.t (name) values ('a'), ('b')")
    assert identities(path) == {"start": 5, "step": 2, "allowExplicitInsert": False, "highWaterMark": 7}
    assert DeltaTable(path).to_pyarrow_table().sort_by("id").to_pylist() == [{"id": 5, "name": "a"}, {"id": 7, "name": "b"}]
    assert "identityColumns" in DeltaTable(path).protocol().writer_features


def test_a_delta_table_of_another_engine(server, schema, tmp_path):
    """Its log as Spark writes it: a protocol without named features."""
    identity = {f"delta.identity.{key}": value
                for key, value in {"start": 100, "step": 10, "allowExplicitInsert": False, "highWaterMark": 130}.items()}
    fields = [{"name": "id", "type": "long", "nullable": True, "metadata": identity},
              {"name": "name", "type": "string", "nullable": True, "metadata": {"comment": "theirs"}}]
    metadata = {"id": "8f3c1b52-6a0d-4a0f-9f0e-0d7f3d1f0a11", "format": {"provider": "parquet", "options": {}},
                "schemaString": json.dumps({"type": "struct", "fields": fields}), "partitionColumns": [], "configuration": {}}
    log = tmp_path / "t" / "_delta_log"
    log.mkdir(parents=True)
    actions = [{"protocol": {"minReaderVersion": 1, "minWriterVersion": 6}}, {"metaData": metadata}]
    (log / f"{0:020}.json").write_text("".join(json.dumps(action) + "\n" for action in actions))
    server.sql(f"create table {schema}.t using delta location '{tmp_path}/t'")
    assert server.sql(f"insert into {schema}.t (name) values ('a'), ('b') returning id") == [(140,), (150,)]
    with pytest.raises(psycopg.errors.GeneratedAlways):
        server.sql(f"insert into {schema}.t values (1, 'a')")
    committed = [json.loads(line) for line in pathlib.Path(log / f"{1:020}.json").read_text().splitlines()]
    [schema_string] = [action["metaData"]["schemaString"] for action in committed if "metaData" in action]
    after = json.loads(schema_string)["fields"]
    assert after[0]["metadata"] == {**identity, "delta.identity.highWaterMark": 150}
    assert after[1] == fields[1]
    assert not [action for action in committed if "protocol" in action]


def test_a_smaller_type_is_none_of_the_protocol(server, schema):
    """Delta's protocol knows identity columns of type long only."""
    server.sql(f"create table {schema}.t (id serial, name text) using delta")
    assert server.sql(f"insert into {schema}.t (name) values ('a') returning id") == [(1,)]
    path = delta_path(server, f"{schema}.t")
    assert all(not key.startswith("delta.") for key in identities(path))
    assert "identityColumns" not in (DeltaTable(path).protocol().writer_features or [])
    assert server.sql(f"insert into {schema}.t (name) values ('b') returning id") == [(2,)]
