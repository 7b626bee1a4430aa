"""What clients rely on beside SQL: encodings, timeouts, waiting statements, names of statements, binary system catalogs."""

import asyncio
import ipaddress
import os
import pty
import select
import shutil
import subprocess
import threading

import asyncpg
import psycopg
import pytest
from psycopg.pq import ExecStatus


def test_psql_on_a_terminal_in_the_c_locale(server):
    """On a terminal psql asks for the locale's encoding in the startup packet; that of C is SQL_ASCII."""
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PG"))}
    command = [shutil.which("psql"), server.dsn(), "--no-psqlrc", "--pset", "pager=off", "--command", "show client_encoding", "--command", "select 'h\u00e4\u00df'"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "LC_ALL": "C"})
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:
        # The other end is closed.
        pass
    finally:
        os.close(ours)
    assert process.wait(60) == 0, shown
    assert b"SQL_ASCII" in shown and "h\u00e4\u00df".encode() in shown


def test_an_encoding_that_is_not_converted_is_refused(server):
    with pytest.raises(psycopg.OperationalError, match="LATIN1 as the value of parameter"):
        psycopg.connect(server.dsn(client_encoding="LATIN1"))


def ended(connection: psycopg.Connection) -> str:
    """Waits until the server ends the connection; the SQLSTATE that it gave."""
    assert select.select([connection.fileno()], [], [], 60)[0], "the connection goes on"
    with pytest.raises(psycopg.Error) as raised:
        connection.execute("select 1")
    return raised.value.sqlstate


def test_idle_sessions_end(server):
    with server.connect() as connection:
        connection.execute("set idle_session_timeout = '50 ms'")
        assert ended(connection) == "57P05"


def test_idle_transactions_end(server):
    with server.connect() as connection:
        connection.execute("set idle_in_transaction_session_timeout = '50 ms'")
        connection.execute("begin")
        assert ended(connection) == "25P03"
    # Outside of a transaction it counts for nothing.
    with server.connect() as connection:
        connection.execute("set idle_in_transaction_session_timeout = '1 ms'")
        assert not select.select([connection.fileno()], [], [], 0.2)[0]
        assert connection.execute("select 1").fetchone() == (1,)


class Waiting(threading.Thread):
    """A statement that runs on a connection of its own until it is cancelled."""

    def __init__(self, server, statement: str):
        super().__init__()
        self.connection = server.connect()
        self.pid = self.connection.info.backend_pid
        self.statement = statement
        self.sqlstate = None
        self.start()
        while server.sql("select state from pg_stat_activity where pid = %s and query = %s", [self.pid, statement]) != [("active",)]:
            pass

    def run(self):
        try:
            self.connection.execute(self.statement)
        except psycopg.Error as error:
            self.sqlstate = error.sqlstate

    def cancel(self) -> str:
        self.connection.cancel_safe()
        self.join(60)
        return self.sqlstate


def test_sleeping_keeps_no_thread_and_is_cancelled(server):
    sleeping = [Waiting(server, "select pg_sleep(600)") for _ in range(2 * (os.cpu_count() or 1) + 2)]
    with server.connect() as connection:
        # A query on the same threads.
        assert connection.execute("select count(*) from generate_series(1, 100000) g").fetchone() == (100_000,)
        connection.execute("set statement_timeout = '20 ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("select pg_sleep(600)")
    assert {sleeper.cancel() for sleeper in sleeping} == {"57014"}


def test_waiting_for_an_advisory_lock(server):
    with server.connect() as holder:
        holder.execute("select pg_advisory_lock(42)")
        first, second = (Waiting(server, "select pg_advisory_lock(42)") for _ in range(2))
        assert first.cancel() == "57014"
        # Who waits gets it when its holder leaves.
        holder.close()
        second.join(60)
        assert second.sqlstate is None and not second.is_alive()
        assert server.sql("select pg_try_advisory_lock(42)") == [(False,)]
        second.connection.close()
    for _ in range(1000):
        if server.sql("select pg_try_advisory_lock(42)") == [(True,)]:
            return
    raise AssertionError("the lock outlives its session")


def test_two_sessions_never_wait_for_each_other(server):
    with server.connect() as one:
        one.execute("select pg_advisory_lock(1001)")
        other = Waiting(server, "select pg_advisory_lock(1002), pg_advisory_lock(1001)")
        while one.execute("select pg_try_advisory_lock(1002)").fetchone() == (True,):
            one.execute("select pg_advisory_unlock(1002)")
        with pytest.raises(psycopg.errors.DeadlockDetected):
            one.execute("select pg_advisory_lock(1002)")
        one.execute("select pg_advisory_unlock(1001)")
        other.join(60)
        assert other.sqlstate is None
        other.connection.close()


def test_statements_have_one_space_of_names(server):
    with server.connect() as connection:
        wire = connection.pgconn
        assert wire.prepare(b"of_protocol", b"select $1::int + 1").status == ExecStatus.COMMAND_OK
        assert connection.execute("execute of_protocol (41)").fetchone() == (42,)
        with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
            connection.execute("prepare of_protocol as select 1")
        connection.execute("prepare of_sql (int) as select $1 * 2")
        result = wire.exec_prepared(b"of_sql", [b"21"])
        assert result.status == ExecStatus.TUPLES_OK and result.get_value(0, 0) == b"42"
        assert wire.describe_prepared(b"of_sql").nfields == 1
        assert wire.prepare(b"of_sql", b"select 1").error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"42P05"
        connection.execute("deallocate of_protocol")
        with pytest.raises(psycopg.errors.InvalidSqlStatementName):
            connection.execute("execute of_protocol (1)")
        connection.execute("deallocate all")
        assert wire.exec_prepared(b"of_sql", [b"21"]).error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"26000"


def test_facts_about_the_session_are_names(server):
    with server.connect() as connection:
        for fact in ("current_user", "session_user", "current_database()", "user", "current_role", "current_catalog"):
            assert connection.execute(f"select {fact}").description[0].type_code == 19, fact


RELATIONS = """select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
               where n.nspname in ('pg_catalog', 'information_schema') and c.relkind in ('r', 'v') order by 1, 2"""


def test_every_system_relation_in_binary(server):
    """By a driver that asks for binary values of all types, and by one that looks unknown types up."""
    server.sql("create table if not exists public.in_binary (id int not null primary key, note text default 'x') tblproperties ('format-version' = '3')")
    relations = server.sql(RELATIONS)
    assert len(relations) > 150
    with server.connect() as connection:
        for schema, name in relations:
            with connection.cursor(binary=True) as cursor:
                cursor.execute(f"select * from {schema}.{name}")
                cursor.fetchall()

    async def body():
        connection = await asyncpg.connect(host=server.host, port=server.port, user=server.user, database=server.database)
        try:
            for schema, name in relations:
                await connection.fetch(f"select * from {schema}.{name}")
            return await connection.fetchrow("select client_addr, inet_client_addr(), inet_server_port() from pg_stat_activity where pid = pg_backend_pid()")
        finally:
            await connection.close(timeout=10)

    address = ipaddress.ip_address(server.host)
    found = asyncio.run(body())
    assert [ipaddress.ip_interface(str(value)).ip for value in found[:2]] == [address, address]
    assert found[2] == server.port
