"""Random INSERTs with ON CONFLICT against a dictionary, over keys of many types and partitionings."""

import random

import psycopg
import pytest

from outside import Outside, compare, multiset
from shape import V2_COPY, V2_MARK, V3_MARK, Column, Shape, literal, random_field, random_value

LAYOUTS = {"v2_copy": V2_COPY, "v2_mark": V2_MARK, "v3_mark": V3_MARK}
KEYS = ("int", "bigint", "numeric(12,2)", "text", "date", "timestamptz", "uuid", "time")
TURNS = 12


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("key", KEYS)
def test_random_upserts(server, schema, duck, key, layout):
    rng = random.Random(f"{key} {layout.name}")
    columns = (Column("id", key, False), Column("v", "bigint", False))
    partitioning = (random_field(rng, columns[0], layout),) if rng.random() < 0.7 else ()
    shape = Shape(columns, partitioning, layout)
    text = shape.create(f"{schema}.t").replace(" not null, v", " primary key, v", 1)
    assert "primary key" in text
    held: dict = {}
    with server.connect() as connection:
        connection.execute(text)
        connection.execute("set timezone to 'America/New_York'")
        for _ in range(TURNS):
            turn(connection, rng, f"{schema}.t", columns[0], held)
            found = connection.execute(f"select id, v from {schema}.t").fetchall()
            compare("Auric", multiset(found), multiset(held.items()), f"in {shape.description}")
    for reader, rows in Outside(server, duck, schema, "t", "iceberg").readers(["id", "v"]).items():
        compare(reader, multiset(rows), multiset(held.items()), "at the end")


def turn(connection, rng: random.Random, table: str, key: Column, held: dict):
    """One statement, and what it makes of the dictionary."""
    rows = [(random_value(rng, key), rng.randint(0, 99)) for _ in range(rng.randint(1, 12))]
    values = ", ".join(f"({literal(id_, key.type)}, {v})" for id_, v in rows)
    insert = f"insert into {table} (id, v) values {values} on conflict (id) do"
    if rng.random() < 0.4:
        new = {id_: v for id_, v in reversed(rows) if id_ not in held}
        assert connection.execute(f"{insert} nothing").statusmessage == f"INSERT 0 {len(new)}"
        held.update(new)
        return
    where = rng.choice(("", f" where t.v < {rng.randint(20, 120)} and excluded.v <> 7"))
    update = f"{insert} update set v = t.v + excluded.v{where} returning id, v"
    if len({id_ for id_, _ in rows}) < len(rows):
        with pytest.raises(psycopg.errors.CardinalityViolation):
            connection.execute(update)
        return
    limit = int(where.split()[3]) if where else None
    changed = {}
    for id_, v in rows:
        if id_ not in held:
            changed[id_] = v
        elif limit is None or (held[id_] < limit and v != 7):
            changed[id_] = held[id_] + v
    returned = connection.execute(update)
    assert returned.statusmessage == f"INSERT 0 {len(changed)}"
    compare("RETURNING", multiset(returned.fetchall()), multiset(changed.items()), f"of {update}")
    held.update(changed)
