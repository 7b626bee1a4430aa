"""One space of names: what Bind opens is read by FETCH, MOVE and CLOSE, what DECLARE opens by Execute. Messages are made by hand, as no driver
sends all of them. With AURIC_TEST_POSTGRES the same tests run against PostgreSQL."""

import socket
import struct

import pytest

SERIES = "select i from generate_series(1, 10) as g(i) order by i"


def text(value: str) -> bytes:
    return value.encode() + b"\0"


class Wire:
    """A connection that says what is asked of it, and tells what comes in short words."""

    def __init__(self, server):
        self.socket = socket.create_connection((server.host, server.port), timeout=60)
        body = struct.pack("!i", 3 << 16) + text("user") + text(server.user) + text("database") + text(server.database) + b"\0"
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def receive(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            piece = self.socket.recv(length - len(found))
            assert piece, "the connection has ended"
            found += piece
        return found

    def answer(self) -> list:
        """All up to ReadyForQuery: rows of one column as texts or bytes, tags, SQLSTATEs."""
        found = []
        while True:
            kind, length = struct.unpack("!ci", self.receive(5))
            body = self.receive(length - 4)
            if kind == b"Z":
                return found
            if kind == b"D":
                value = body[6:]
                found.append(value.decode() if value.isascii() and value.decode().isprintable() else value)
            elif kind == b"C":
                found.append(body[:-1].decode())
            elif kind == b"s":
                found.append("suspended")
            elif kind == b"n":
                found.append("no rows")
            elif kind == b"T":
                found.append("columns " + body[2:].split(b"\0")[0].decode() + f" format {body[-1]}")
            elif kind == b"E":
                fields = dict((field[:1], field[1:]) for field in body.split(b"\0") if field)
                found.append(fields[b"C"].decode())

    def send(self, *messages: tuple[bytes, bytes]) -> list:
        """Messages of the extended protocol, and Sync."""
        for kind, body in (*messages, (b"S", b"")):
            self.socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)
        return self.answer()

    def sql(self, query: str) -> list:
        """Simple protocol; without the description of the columns."""
        body = text(query)
        self.socket.sendall(b"Q" + struct.pack("!i", len(body) + 4) + body)
        return [one for one in self.answer() if not str(one).startswith("columns ")]

    def bind(self, portal: str, query: str, *parameters: str, binary: bool = False) -> list:
        values = b"".join(struct.pack("!i", len(value)) + value.encode() for value in parameters)
        body = text(portal) + text("") + struct.pack("!hh", 0, len(parameters)) + values + struct.pack("!hh", 1, binary)
        return self.send((b"P", text("") + text(query) + struct.pack("!h", 0)), (b"B", body))

    def execute(self, portal: str, rows: int = 0) -> list:
        return self.send((b"E", text(portal) + struct.pack("!i", rows)))

    def describe(self, portal: str) -> list:
        return self.send((b"D", b"P" + text(portal)))

    def close(self, portal: str) -> list:
        return self.send((b"C", b"P" + text(portal)))


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        wire.sql("begin")
        yield wire


def test_fetch_move_and_execute_read_from_one_place(wire):
    assert wire.bind("p", SERIES) == []
    assert wire.execute("p", 2) == ["1", "2", "suspended"]
    assert wire.sql("move 3 in p") == ["MOVE 3"]
    assert wire.execute("p", 1) == ["6", "suspended"]
    assert wire.sql("fetch forward 2 from p") == ["7", "8", "FETCH 2"]
    assert wire.sql("fetch relative 1 from p") == ["9", "FETCH 1"]
    assert wire.execute("p") == ["10", "SELECT 1"]
    assert wire.execute("p") == ["SELECT 0"]
    assert wire.sql("fetch p") == ["FETCH 0"]
    assert wire.sql("fetch prior p") == ["55000"]


def test_fetch_and_move_begin_a_portal(wire):
    wire.bind("p", "select i from generate_series(1, $1::int) as g(i) order by i", "4")
    assert wire.sql("move forward 1 in p") == ["MOVE 1"]
    assert wire.execute("p", 3) == ["2", "3", "4", "suspended"]
    assert wire.execute("p", 3) == ["SELECT 0"]
    wire.bind("q", "select i from generate_series(1, $1::int) as g(i) order by i", "2")
    assert wire.sql("fetch all from q") == ["1", "2", "FETCH 2"]
    assert wire.execute("q") == ["SELECT 0"]
    for query, row in (("select 7", "7"), ("select relname from pg_class where oid = 1259", "pg_class"), ("values ('x')", "x")):
        wire.bind("r", query)
        assert wire.describe("r")[0].startswith("columns ")
        assert wire.execute("r") == [row, "SELECT 1"]
        assert wire.close("r") == []
        wire.bind("r", query)
        assert wire.sql("fetch 3 r; close r") == [row, "FETCH 1", "CLOSE CURSOR"]


def test_each_reader_has_its_format(wire):
    wire.bind("p", SERIES, binary=True)
    assert wire.describe("p") == ["columns i format 1"]
    assert wire.execute("p", 1) == [b"\0\0\0\1", "suspended"]
    assert wire.sql("fetch p") == ["2", "FETCH 1"]
    wire.bind("f", "fetch p", binary=True)
    assert wire.describe("f") == ["columns i format 1"]
    assert wire.execute("f") == [b"\0\0\0\3", "FETCH 1"]
    assert wire.execute("p", 2) == [b"\0\0\0\4", b"\0\0\0\5", "suspended"]


def test_execute_reads_from_a_declared_cursor(wire):
    wire.sql(f"declare c scroll cursor for {SERIES}")
    assert wire.describe("c") == ["columns i format 0"]
    assert wire.execute("c", 2) == ["1", "2", "suspended"]
    assert wire.sql("fetch prior c") == ["1", "FETCH 1"]
    assert wire.execute("c", 1) == ["2", "suspended"]
    assert wire.sql("move last c") == ["MOVE 1"]
    assert wire.execute("c") == ["SELECT 0"]
    assert wire.sql("fetch first c") == ["1", "FETCH 1"]
    assert wire.close("c") == []
    assert wire.execute("c") == ["34000"]


def test_names_are_given_once(wire):
    wire.bind("p", SERIES)
    wire.sql("declare c cursor for select 1; savepoint s")
    assert wire.sql("declare p cursor for select 1") == ["42P03"]
    wire.sql("rollback to s")
    assert wire.bind("c", SERIES) == ["42P03"]
    wire.sql("rollback to s")
    assert wire.bind("p", SERIES) == ["42P03"]
    wire.sql("rollback to s")
    assert wire.sql("close p") == ["CLOSE CURSOR"]
    assert wire.sql("declare p cursor for select 'declared'") == ["DECLARE CURSOR"]
    assert wire.execute("p") == ["declared", "SELECT 1"]
    assert wire.close("p") == []
    assert wire.bind("p", "select 'bound'") == []
    assert wire.execute("p") == ["bound", "SELECT 1"]


def test_close_takes_a_portal_away(wire):
    wire.bind("p", SERIES)
    wire.execute("p", 1)
    wire.sql("savepoint s")
    assert wire.sql("close p") == ["CLOSE CURSOR"]
    assert wire.execute("p") == ["34000"]
    wire.sql("rollback to s")
    assert wire.describe("p") == ["34000"]
    wire.sql("rollback to s")
    assert wire.sql("fetch p") == ["34000"]
    wire.sql("rollback to s")
    wire.bind("p", SERIES)
    assert wire.sql("close all") == ["CLOSE CURSOR ALL"]
    assert wire.execute("p") == ["34000"]


def test_portals_end_with_what_they_were_made_in(wire):
    wire.bind("early", SERIES)
    wire.sql("savepoint s")
    wire.bind("inside", SERIES)
    wire.execute("inside", 1)
    wire.sql("rollback to s")
    assert wire.sql("fetch early") == ["1", "FETCH 1"]
    assert wire.execute("inside") == ["34000"]
    wire.sql("rollback to s")
    wire.bind("late", SERIES)
    wire.sql("release s")
    assert wire.execute("late", 1) == ["1", "suspended"]
    wire.sql("commit")
    assert wire.execute("late") == ["34000"]
    wire.sql("begin")
    assert wire.sql("fetch early") == ["34000"]
    wire.sql("rollback")
    # Outside of a block it is gone with Sync.
    assert wire.bind("alone", SERIES) == []
    assert wire.sql("begin; fetch alone") == ["BEGIN", "34000"]
    wire.sql("rollback")
    # A block that follows on another by itself is another one.
    wire.sql("begin")
    wire.bind("p", SERIES)
    wire.sql("commit and chain")
    assert wire.execute("p") == ["34000"]


def test_before_sync_it_needs_no_block(wire):
    wire.sql("rollback")
    body = text("p") + text("") + struct.pack("!hhhh", 0, 0, 1, 0)
    execute = (b"E", text("p") + struct.pack("!i", 4))
    move = [(b"P", text("m") + text("move 3 in p") + struct.pack("!h", 0)),
            (b"B", text("") + text("m") + struct.pack("!hhh", 0, 0, 0)), (b"E", text("") + struct.pack("!i", 0))]
    parse = (b"P", text("") + text(SERIES) + struct.pack("!h", 0))
    assert wire.send(parse, (b"B", body), execute, *move, execute) == ["1", "2", "3", "4", "suspended", "MOVE 3", "8", "9", "10", "SELECT 3"]


def test_a_portal_that_failed_is_not_run_again(wire):
    wire.bind("p", "select 10 / (3 - i) from generate_series(1, 5) as g(i)")
    wire.sql("savepoint s")
    assert wire.execute("p")[-1] == "22012"
    assert wire.sql("fetch p") == ["25P02"]
    wire.sql("rollback to s")
    assert wire.sql("fetch p") == ["55000"]


def test_a_failed_transaction_describes_no_rows(wire):
    wire.bind("p", SERIES)
    wire.sql("savepoint s")
    assert wire.sql("select 1 / 0") == ["22012"]
    assert wire.describe("p") == ["25P02"]
    wire.sql("rollback to s")
    assert wire.describe("p") == ["columns i format 0"]


def test_other_statements_are_portals_too(wire):
    wire.bind("p", "set local application_name = 'portal'")
    assert wire.describe("p") == ["no rows"]
    wire.sql("savepoint s")
    assert wire.sql("declare p cursor for select 1") == ["42P03"]
    wire.sql("rollback to s")
    assert wire.execute("p") == ["SET"]
    assert wire.sql("fetch p") == ["55000"]
    wire.sql("rollback to s")
    assert wire.sql("close p") == ["CLOSE CURSOR"]


def test_pg_cursors_shows_both(wire):
    wire.bind("p", SERIES, binary=True)
    wire.sql("declare c scroll cursor for select 2")
    listed = "select concat_ws('|', name, is_holdable::text, is_binary::text, is_scrollable::text, statement) from pg_cursors where name <> '' order by name"
    assert wire.sql(listed) == ["c|false|false|true|declare c scroll cursor for select 2", f"p|false|false|false|{SERIES}", "SELECT 2"]
    wire.execute("p", 1)
    assert wire.sql(listed)[1:] == [f"p|false|false|false|{SERIES}", "SELECT 2"]
    assert wire.sql("select count(*) from pg_cursors where creation_time between now() and clock_timestamp() and name <> ''") == ["2", "SELECT 1"]


def test_discard_and_deallocate(wire):
    wire.bind("p", SERIES)
    assert wire.sql("deallocate all") == ["DEALLOCATE ALL"]
    assert wire.execute("p", 1) == ["1", "suspended"]
    wire.sql("commit")
    wire.sql("discard all")
    wire.sql("begin")
    assert wire.execute("p") == ["34000"]
