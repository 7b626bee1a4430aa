"""What real clients sent, changed at random and sent again: the server neither panics nor hangs nor leaks, and goes on serving others.

`AURIC_MUTATIONS` changed transcripts are sent (default 1,500), chosen by `AURIC_MUTATION_SEED` (default 1)."""

import errno
import os
import random
import socket
import struct
import subprocess
import threading
import time

import psycopg
import pytest

from conftest import running

NUMBER = int(os.environ.get("AURIC_MUTATIONS", "1500"))
SEED = int(os.environ.get("AURIC_MUTATION_SEED", "1"))
# The server has this long to be done with a client that has gone, seconds.
PATIENCE = 20


class Recorder:
    """Passes connections on to a server and keeps what the clients say."""

    def __init__(self, host: str, port: int):
        self.to = (host, port)
        self.said: list[bytearray] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.to)
            said = bytearray()
            self.said.append(said)
            threading.Thread(target=self._pump, args=(client, server, said), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, None), daemon=True).start()

    @staticmethod
    def _pump(source, target, said):
        while data := source.recv(65536):
            if said is not None:
                said += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def clients(server, port: int):
    """Sessions of stock clients: both protocols, pipelines, cursors, COPY each way, errors, transactions."""
    dsn = server.dsn(port=port, host="127.0.0.1", sslmode="disable")
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=1) as connection:
        connection.execute("create schema if not exists mutated; create table if not exists mutated.t (a int, b text, c timestamp, d numeric(10,2))")
        for number in range(3):
            connection.execute("insert into mutated.t values (%s, %s, now()::timestamp, %b)", (number, "text", 1.5))
            connection.cursor(binary=True).execute("select * from mutated.t where a >= %s limit %b", (number, 5)).fetchall()
        with connection.cursor().copy("copy mutated.t (a, b) from stdin") as copy:
            for number in range(20):
                copy.write_row((number, f"row {number}"))
        with connection.cursor().copy("copy mutated.t (a, b) from stdin (format binary)") as copy:
            copy.set_types(["int4", "text"])
            for number in range(20):
                copy.write_row((number, f"row {number}"))
        for form in ("text", "csv", "binary"):
            with connection.cursor().copy(f"copy (select a, b from mutated.t limit 100) to stdout (format {form})") as copy:
                list(copy)
        with connection.pipeline():
            for number in range(10):
                connection.execute("select %s::int, %s::text[], %s::float8", (number, ["a", None], 0.5))
        with pytest.raises(psycopg.Error):
            connection.execute("select * from nowhere where x = %s", (1,))
    with psycopg.connect(dsn) as connection:
        with connection.cursor(name="c", scrollable=True) as cursor:
            cursor.execute("select i, 'x' from generate_series(1, 100) as g(i)")
            cursor.fetchmany(7)
            cursor.scroll(-3)
            cursor.fetchall()
        connection.execute("savepoint s")
        connection.execute("update mutated.t set b = 'y' where a = 1")
        connection.execute("rollback to s")
        connection.rollback()
    script = ("\\d mutated.t\nselect 1; select 'two'; begin; declare c cursor for select 1; fetch all c; rollback;\n"
              "prepare p (int) as select $1 + 1; execute p (1);\nset time zone 'UTC';\nshow all;\nexplain select * from mutated.t;\n")
    subprocess.run(["psql", "-qX", dsn], input=script, text=True, check=True, stdout=subprocess.DEVNULL)


def frames(transcript: bytes) -> list[bytes]:
    """The messages of a client, the first without a type."""
    found, at = [], 0
    while at < len(transcript):
        head = at if at == 0 else at + 1
        length = struct.unpack_from("!i", transcript, head)[0]
        found.append(transcript[at:head + length])
        at = head + length
    return found


def set_length(frame: bytes, length: int, first: bool) -> bytes:
    at = 0 if first else 1
    return frame[:at] + struct.pack("!i", length) + frame[at + 4:]


def mutated(chosen: random.Random, transcripts: list[list[bytes]]) -> bytes:
    messages = list(chosen.choice(transcripts))
    # Most get past the startup message.
    start = 0 if chosen.random() < 0.1 else 1
    for _ in range(chosen.choice([1, 1, 1, 2, 3, 8])):
        if len(messages) <= start:
            break
        at = chosen.randrange(start, len(messages))
        frame = messages[at]
        kind = chosen.randrange(11) if len(frame) >= 5 else 7
        if kind <= 2:
            flipped = bytearray(frame)
            for _ in range(chosen.choice([1, 1, 2, 10])):
                flipped[chosen.randrange(len(flipped))] ^= 1 << chosen.randrange(8)
            messages[at] = bytes(flipped)
        elif kind == 3:
            messages[at] = frame[:chosen.randrange(len(frame))]
            if chosen.random() < 0.5:
                del messages[at + 1:]
        elif kind == 4:
            chosen_lengths = [0, 1, 3, 4, 5, -1, 2**31 - 1, -(2**31), len(frame) + 7, len(frame) - 2, 2**28, chosen.randrange(2**31)]
            messages[at] = set_length(frame, chosen.choice(chosen_lengths), at == 0)
        elif kind == 5:
            other = chosen.randrange(start, len(messages))
            messages[at], messages[other] = messages[other], messages[at]
        elif kind == 6:
            messages.insert(at, frame)
        elif kind == 7:
            del messages[at]
        elif kind == 8:
            messages.insert(at, chosen.choice(chosen.choice(transcripts)[1:]))
        elif kind == 9:
            # The counts and lengths inside of a message.
            if len(frame) > 9:
                inside = bytearray(frame)
                where = chosen.randrange(5, len(frame) - 3)
                inside[where:where + 4] = chosen.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0", chosen.randbytes(4)])
                messages[at] = bytes(inside)
        else:
            body = chosen.randbytes(chosen.randrange(40))
            messages.insert(at, chosen.choice([b"P", b"B", b"E", b"D", b"C", b"Q", b"d", b"c", b"f", b"F", b"H", b"S", b"p", b"\0", b"~"])
                            + struct.pack("!i", len(body) + 4) + body)
    return b"".join(messages)


def send(server, data: bytes, chosen: random.Random):
    """Sends the bytes and goes away, in one of several ways; a server that does not let go of the connection hangs."""
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as stream:
        try:
            if chosen.random() < 0.2:
                for at in range(0, len(data), 97):
                    stream.sendall(data[at:at + 97])
            else:
                stream.sendall(data)
            if chosen.random() < 0.1:
                # Without a word, and with answers unread.
                return
            stream.shutdown(socket.SHUT_WR)
            while stream.recv(65536):
                pass
        except OSError as error:
            # The server has gone first.
            if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
                raise


def resident(server) -> int:
    with open(f"/proc/{server.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_changed_transcripts_do_no_harm(tmp_path):
    chosen = random.Random(SEED)
    with running(tmp_path / "data") as server:
        recorder = Recorder(server.host, server.port)
        clients(server, recorder.port)
        recorder.listener.close()
        transcripts = [frames(bytes(said)) for said in recorder.said if said]
        assert len(transcripts) >= 3 and sum(map(len, transcripts)) > 100
        with server.connect() as other:
            other.execute("create table if not exists public.kept (x int)")
            other.execute("insert into public.kept values (42)")
            rss = []
            for number in range(NUMBER):
                data = mutated(chosen, transcripts)
                try:
                    send(server, data, chosen)
                except TimeoutError:
                    pytest.fail(f"change {number} of seed {SEED}: the server kept the connection: {data[:2000]!r}")
                if number % 50 == 0:
                    assert other.execute("select x from public.kept").fetchall() == [(42,)], f"after change {number} of seed {SEED}"
                if number in (NUMBER // 2, NUMBER - 1):
                    rss.append(resident(server))
            deadline = time.monotonic() + PATIENCE
            count = "select count(*) from pg_stat_activity where pid <> pg_backend_pid()"
            while other.execute(count).fetchone() != (0,):
                assert time.monotonic() < deadline, "connections are left"
        # The second half of the changes takes no memory that the first half did not.
        assert rss[1] - rss[0] < 64 * 2**20 + rss[0] // 4, rss
        assert server.process.poll() is None
        bad = [line for line in server.log if "panic" in line or "internal error" in line]
        assert not bad, "".join(bad[:20])
