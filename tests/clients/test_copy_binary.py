"""COPY in binary format by psycopg and asyncpg. With AURIC_TEST_POSTGRES the same tests run against PostgreSQL."""

import asyncio
import datetime
import decimal
import random
import struct
import uuid

import asyncpg
import psycopg
import pytest

UTC = datetime.timezone.utc
COLUMNS = [
    ("b", "bool", True), ("i", "int4", 2**31 - 1), ("l", "int8", -(2**63)), ("f", "float4", 1.5),
    ("d", "float8", -0.1), ("n", "numeric(38,10)", decimal.Decimal("-1234567890.0123456789")), ("t", "text", "häß\t'\\\n"),
    ("v", "varchar", ""), ("x", "bytea", b"\x00\xff\\"), ("dt", "date", datetime.date(1969, 12, 31)),
    ("tm", "time", datetime.time(23, 59, 59, 999999)), ("ts", "timestamp", datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)),
    ("tz", "timestamptz", datetime.datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)), ("u", "uuid", uuid.UUID("01234567-89ab-cdef-0123-456789abcdef")),
    ("ai", "int4[]", [1, None, 3]), ("at", "text[]", ["a,b", None, '"', "", "NULL"]),
]
TYPES = [pg_type.split("(")[0] for _, pg_type, _ in COLUMNS]
ROWS = [tuple(value for *_, value in COLUMNS), (None,) * len(COLUMNS)]
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def create(server, schema):
    server.sql(f"create table {schema}.t ({', '.join(f'{name} {pg_type}' for name, pg_type, _ in COLUMNS)})")
    return f"{schema}.t"


def test_every_type_goes_in_and_comes_out(server, schema):
    table = create(server, schema)
    with server.connect() as connection:
        with connection.cursor().copy(f"copy {table} from stdin (format binary)") as copy:
            copy.set_types(TYPES)
            for row in ROWS:
                copy.write_row(row)
        assert sorted(connection.execute(f"select * from {table}").fetchall(), key=str) == sorted(ROWS, key=str)
        assert connection.cursor(binary=True).execute(f"select * from {table} where i is not null").fetchall() == ROWS[:1]
        for source in (table, f"(select * from {table} order by i nulls last)"):
            with connection.cursor().copy(f"copy {source} to stdout with (format binary)") as copy:
                copy.set_types(TYPES)
                assert sorted(copy.rows(), key=str) == sorted(ROWS, key=str)


def test_results_of_expressions(server):
    query = ("select 1::int4, interval '1 mon -2 days 3 s', 'x'::varchar(3), 12345678901234567890::numeric(20,0), null::int8, "
             "array[1.5, null]::numeric[], array['2024-02-29'::date], 7::oid, 'a'::name, -7::int2")
    with server.connect() as connection, connection.cursor().copy(f"copy ({query}) to stdout (format binary)") as copy:
        data = b"".join(copy)
    assert data[:19] == HEADER and data[-2:] == b"\xff\xff"
    fields, at = [], 21
    assert struct.unpack(">h", data[19:21]) == (10,)
    for _ in range(10):
        (length,) = struct.unpack_from(">i", data, at)
        fields.append(None if length < 0 else data[at + 4:at + 4 + length])
        at += 4 + max(length, 0)
    assert at == len(data) - 2
    assert fields[0] == b"\0\0\0\1" and fields[1] == struct.pack(">qii", 3_000_000, -2, 1) and fields[2] == b"x"
    assert fields[3] == struct.pack(">hhhh", 5, 4, 0, 0) + struct.pack(">hhhhh", 1234, 5678, 9012, 3456, 7890)
    assert fields[4] is None and fields[7] == struct.pack(">I", 7) and fields[8] == b"a" and fields[9] == b"\xff\xf9"
    assert fields[6] == struct.pack(">iiiii", 1, 0, 1082, 1, 1) + struct.pack(">ii", 4, 8825)


def test_the_header_comes_with_the_first_row(server):
    with server.connect() as connection:
        with connection.cursor().copy("copy (select i from generate_series(1, 2) as g(i) order by i) to stdout (format binary)") as copy:
            assert [bytes(message)[:19] == HEADER for message in copy] == [True, False, False]
        with connection.cursor().copy("copy (select 1 where false) to stdout (format binary)") as copy:
            assert [bytes(message) for message in copy] == [HEADER + b"\xff\xff"]


def test_asyncpg(server, schema):
    table = create(server, schema)
    columns = [column for column in COLUMNS if not column[1].endswith("[]")]
    rows = [tuple(value for *_, value in columns)] * 3 + [(None,) * len(columns)]

    async def main():
        connection = await asyncpg.connect(host=server.host, port=server.port, user=server.user, database=server.database)
        try:
            tag = await connection.copy_records_to_table("t", records=rows, schema_name=schema, columns=[name for name, *_ in columns])
            assert tag == "COPY 4"
            data = []

            async def keep(piece):
                data.append(bytes(piece))

            tag = await connection.copy_from_query(f"select i, t from {table} where i > $1", 5, output=keep, format="binary")
            assert tag == "COPY 3" and b"".join(data).startswith(HEADER)
            tag = await connection.copy_to_table("t", schema_name=schema, columns=["i", "t"], source=iter_async(data), format="binary")
            assert tag == "COPY 3"
            found = await connection.fetch(f"select i, t, b from {table} where i is not null order by b nulls last")
            assert [tuple(row) for row in found] == [(2**31 - 1, "häß\t'\\\n", True)] * 3 + [(2**31 - 1, "häß\t'\\\n", None)] * 3
        finally:
            await connection.close(timeout=10)

    asyncio.run(main())


async def iter_async(pieces):
    for piece in pieces:
        yield piece


def field(value):
    return struct.pack(">i", len(value)) + value


def row(a, b):
    return struct.pack(">h", 2) + field(struct.pack(">i", a)) + field(b.encode())


def send(connection, table, data, piece=None):
    """The tag of a COPY of these bytes, or its SQLSTATE."""
    cursor = connection.cursor()
    try:
        with cursor.copy(f"copy {table} from stdin (format binary)") as copy:
            for at in range(0, len(data), piece or len(data) or 1):
                copy.write(data[at:at + (piece or len(data))])
    except psycopg.Error as error:
        return error.sqlstate
    return cursor.statusmessage


GOOD = HEADER + row(1, "one") + row(2, "two")

FAULTS = {
    "signature only in part": (GOOD[:7], "22P04"),
    "another signature": (b"PGCOPY\r\n" + GOOD[8:], "22P04"),
    "text": (b"1\tone\n2\ttwo\n", "22P04"),
    "unknown critical flag": (GOOD[:11] + b"\0\2\0\0" + GOOD[15:], "22P04"),
    "oids": (GOOD[:11] + b"\0\1\0\0" + GOOD[15:], "22P04"),
    "negative extension": (GOOD[:15] + b"\xff\xff\xff\xff" + GOOD[19:], "22P04"),
    "extension that is not there": (GOOD[:15] + b"\0\1\0\0" + GOOD[19:], "22P04"),
    "header only in part": (GOOD[:15], "22P04"),
    "in the middle of a row": (GOOD[:-1], "22P04"),
    "in the middle of a length": (GOOD[:-5], "22P04"),
    "too few fields": (GOOD + struct.pack(">h", 1) + field(b"\0\0\0\1"), "22P04"),
    "too many fields": (GOOD + struct.pack(">h", 3) + field(b"\0\0\0\1") * 3, "22P04"),
    "negative count": (GOOD + struct.pack(">h", -3), "22P04"),
    "negative length": (GOOD + struct.pack(">hi", 2, -2), "22P04"),
    "integer of five bytes": (GOOD + struct.pack(">h", 2) + field(bytes(5)) + field(b"x"), "22P03"),
    "no utf-8": (GOOD + struct.pack(">h", 2) + field(bytes(4)) + field(b"\xff"), "22021"),
    "more after the end": (GOOD + b"\xff\xff" + row(3, "three"), "22P04"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_commits_nothing(server, schema, fault):
    data, code = FAULTS[fault]
    server.sql(f"create table {schema}.t (a int, b text)")
    with server.connect() as connection:
        for piece in (None, 7):
            assert send(connection, f"{schema}.t", data, piece) == code
        assert connection.execute(f"select count(*) from {schema}.t").fetchone() == (0,)
        assert send(connection, f"{schema}.t", GOOD + b"\xff\xff") == "COPY 2"
        assert connection.execute(f"select a, b from {schema}.t order by a").fetchall() == [(1, "one"), (2, "two")]


def test_an_extension_is_skipped_and_the_end_need_not_be_marked(server, schema):
    server.sql(f"create table {schema}.t (a int, b text)")
    with server.connect() as connection:
        assert send(connection, f"{schema}.t", GOOD[:15] + struct.pack(">i", 3) + b"abc" + GOOD[19:], 5) == "COPY 2"


def test_in_a_transaction(server, schema):
    server.sql(f"create table {schema}.t (a int, b text)")
    with server.connect() as connection:
        connection.execute("begin")
        assert send(connection, f"{schema}.t", GOOD) == "COPY 2"
        connection.execute("savepoint s")
        assert send(connection, f"{schema}.t", GOOD[:-1]) == "22P04"
        connection.execute("rollback to s")
        assert connection.execute(f"select count(*) from {schema}.t").fetchone() == (2,)
        connection.execute("rollback")
        assert connection.execute(f"select count(*) from {schema}.t").fetchone() == (0,)


def test_many_rows(server, schema):
    server.sql(f"create table {schema}.t (a int, b text)")
    numbers = list(range(100_000))
    random.Random(1).shuffle(numbers)
    data = HEADER + b"".join(row(n, "x" * (n % 50)) for n in numbers) + b"\xff\xff"
    with server.connect() as connection:
        assert send(connection, f"{schema}.t", data, 65_536) == "COPY 100000"
        found = connection.execute(f"select count(*), sum(a)::int8, sum(length(b))::int8, count(distinct a) from {schema}.t").fetchone()
        assert found == (100_000, sum(numbers), sum(n % 50 for n in numbers), 100_000)


def test_options_of_text_are_refused(server, schema):
    server.sql(f"create table {schema}.t (a int)")
    with server.connect() as connection:
        for options in ("format binary, delimiter ','", "format binary, null ''"):
            with pytest.raises(psycopg.errors.SyntaxError):
                connection.execute(f"copy {schema}.t from stdin ({options})")
