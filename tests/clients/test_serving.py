"""What one client does must not hurt the others: cancel, timeouts, vanished clients, garbage, many connections."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import psycopg
import pytest

from conftest import running

pytestmark = pytest.mark.alone

# Statements that are far from their end when they are stopped; the table is made by `work`.
HEAVY = ("select count(*) from generate_series(1, 3000000) as a(x), generate_series(1, 3000000) as b(y) "
         "where (a.x * 31 + b.y * 17) % 1000003 = 5")
STREAM = "select x, x * 2 from generate_series(1, 2000000000) as g(x)"
WORK = {
    "scan": "select count(*) from serving_work.t where sha512(repeat(s, 2000)) = '\\x00'",
    "join": HEAVY,
    "hash join": "select count(*) from serving_work.t a join serving_work.t b on a.x % 10 = b.x % 10 where a.s < b.s",
    "sort": "select t.s || n as s from serving_work.t, generate_series(1, 400) as g(n) order by 1",
    "stream": STREAM,
}
# How soon a statement must end after it was told to, seconds, in the best of three attempts.
LIMIT = 0.2


@pytest.fixture(scope="module")
def work(server):
    server.sql("create schema serving_work")
    server.sql("create table serving_work.t as select x, md5(cast(x as text)) as s from generate_series(1, 300000) as g(x)")


def cpu_seconds(server) -> float:
    with open(f"/proc/{server.process.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def best_of_three(attempt):
    """One attempt within the limit is enough: the machine may be busy with something else."""
    times = []
    while not times or (times[-1] > LIMIT and len(times) < 3):
        times.append(attempt())
    assert min(times) <= LIMIT, times


def until(condition, timeout=20.0):
    """Waits for a state."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the state never came"
        time.sleep(0.005)


def active(server, text: str) -> int:
    return server.sql("select count(*) from pg_stat_activity where state = 'active' and query = %s", (text,))[0][0]


def fetch_all(connection, statement):
    for _ in connection.cursor().stream(statement):
        pass


@pytest.mark.parametrize("statement", WORK.values(), ids=WORK)
def test_cancel(server, work, statement):
    def attempt() -> float:
        with server.connect() as connection:
            seconds = []

            def cancel():
                until(lambda: active(server, statement) == 1)
                # It computes: planning is over.
                start = cpu_seconds(server)
                until(lambda: cpu_seconds(server) > start + 0.3)
                cancelled_at = time.monotonic()
                connection.cancel_safe()
                # Not when the client knows: it has megabytes to read before, which the kernel holds for it.
                until(lambda: active(server, statement) == 0)
                seconds.append(time.monotonic() - cancelled_at)

            thread = threading.Thread(target=cancel)
            thread.start()
            with pytest.raises(psycopg.errors.QueryCanceled, match="user request"):
                fetch_all(connection, statement)
            thread.join()
            assert connection.execute("select 1").fetchone() == (1,)
            return seconds[0]

    best_of_three(attempt)


@pytest.mark.parametrize("statement", WORK.values(), ids=WORK)
def test_statement_timeout(server, work, statement):
    def attempt() -> float:
        with server.connect() as connection:
            connection.execute("set statement_timeout = '300ms'")
            start = time.monotonic()
            with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
                fetch_all(connection, statement)
            elapsed = time.monotonic() - start
            assert elapsed >= 0.3
            assert connection.execute("select 1").fetchone() == (1,)
            return elapsed - 0.3

    best_of_three(attempt)


def test_pg_cancel_backend(server):
    with server.connect() as connection:
        pid = connection.execute("select pg_backend_pid()").fetchone()[0]
        thread = threading.Thread(target=lambda: (until(lambda: active(server, HEAVY) == 1), server.sql(f"select pg_cancel_backend({pid})")))
        thread.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(HEAVY)
        thread.join()


def test_killed_client_stops_its_query(server):
    program = f"import psycopg; psycopg.connect({server.dsn()!r}, autocommit=True).execute({HEAVY!r})"
    client = subprocess.Popen([sys.executable, "-c", program])
    try:
        until(lambda: active(server, HEAVY) == 1)
        os.kill(client.pid, signal.SIGKILL)
        client.wait()
        until(lambda: active(server, HEAVY) == 0, timeout=5)
    finally:
        client.kill()


def test_others_are_served_while_one_runs_a_heavy_join(server):
    """50 connections, 1,000 statements: 99 of 100 within 20 ms. One repetition, as the machine may be busy with something else."""
    def percentile() -> float:
        times = []
        for _ in range(20):
            for connection in connections:
                start = time.monotonic()
                assert connection.execute("select 1").fetchone() == (1,)
                times.append(time.monotonic() - start)
        assert active(server, HEAVY) == 1
        return sorted(times)[len(times) * 99 // 100]

    with contextlib.ExitStack() as stack:
        heavy = stack.enter_context(server.connect())
        thread = threading.Thread(target=lambda: pytest.raises(psycopg.errors.QueryCanceled, heavy.execute, HEAVY))
        thread.start()
        try:
            until(lambda: active(server, HEAVY) == 1)
            connections = [stack.enter_context(server.connect()) for _ in range(50)]
            first = percentile()
            assert first <= 0.02 or percentile() <= 0.02, first
        finally:
            heavy.cancel_safe()
            thread.join()


def raw(server) -> socket.socket:
    connection = socket.create_connection((server.host, server.port), timeout=20)
    return connection


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"\x00" * 64, struct.pack(">II", 2**31 - 1, 196608),
                                     struct.pack(">II", 8, 0), b"\xff" * 1000])
def test_garbage_on_the_port(server, garbage):
    with raw(server) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert server.sql("select 1") == [(1,)]


def startup(server) -> socket.socket:
    connection = raw(server)
    parameters = b"user\0auric\0database\0lake\0\0"
    connection.sendall(struct.pack(">II", len(parameters) + 8, 196608) + parameters)
    answer = b""
    while not answer.endswith(b"Z\x00\x00\x00\x05I"):
        part = connection.recv(65536)
        assert part
        answer += part
    return connection


def resident_mib(pid: int) -> float:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_gigabyte_query_is_refused_without_reading_it(server):
    before = resident_mib(server.process.pid)
    with startup(server) as connection:
        connection.sendall(b"Q" + struct.pack(">I", 1 << 30) + b"select '")
        chunk = b"x" * (1 << 20)
        answer = b""
        try:
            for _ in range(200):
                connection.sendall(chunk)
        except OSError:
            pass
        try:
            while part := connection.recv(65536):
                answer += part
        except OSError:
            pass
    assert resident_mib(server.process.pid) - before < 200
    assert server.sql("select 1") == [(1,)]


def test_garbage_after_startup(server):
    with startup(server) as connection:
        connection.sendall(b"\x7f" + struct.pack(">I", 2**31 - 5) + b"zzz")
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except OSError:
            pass
        assert b"08P01" in answer
    assert server.sql("select 1") == [(1,)]


def test_connection_limit(tmp_path):
    with running(tmp_path, environment={"AURIC_SERVER__MAX_CONNECTIONS": "20"}) as server:
        connections = [server.connect() for _ in range(20)]
        with pytest.raises(psycopg.OperationalError, match="too many"):
            server.connect()
        connections.pop().close()

        def free():
            try:
                server.connect().close()
                return True
            except psycopg.OperationalError:
                return False

        until(free)
        for connection in connections:
            connection.close()


def test_five_hundred_silent_sockets(server):
    sockets = [raw(server) for _ in range(500)]
    try:
        assert server.sql("select 1") == [(1,)]
        assert resident_mib(server.process.pid) < 2000
    finally:
        for each in sockets:
            each.close()
    assert server.sql("select 1") == [(1,)]


def test_unknown_database(server):
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        psycopg.connect(server.dsn(dbname="nowhere"))


def test_deeply_nested_expression_is_an_error(server):
    with server.connect() as connection:
        with pytest.raises(psycopg.Error):
            connection.execute("select " + "(" * 20000 + "1" + ")" * 20000)
        assert connection.execute("select 1").fetchone() == (1,)
