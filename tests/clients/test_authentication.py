"""Who gets in: passwords, certificates and the access list, with stock drivers; what guessing costs."""

import concurrent.futures
import contextlib
import fcntl
import os
import pathlib
import pty
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
import urllib.request

import psycopg
import psycopg2
import pytest

from conftest import auric_binary, running
from pki import Authority, configuration, verifier
from test_serving import until
from test_tls import LOOPBACK, SSL_REQUEST, closed, read_error, startup

SCRAM = LOOPBACK | {"method": "scram"}
USERS = {"alice": "correct horse", "bob": "Ⅸ ª", "o'brien \"x\"": "quoted"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def users():
    return {user.replace('"', '\\"'): verifier(password) for user, password in USERS.items()}


@pytest.fixture(scope="module")
def guarded(authority, users, tmp_path_factory):
    """Passwords, certificates, and users that are kept out; wrong passwords cost no time."""
    folder = tmp_path_factory.mktemp("guarded")
    certificate, key = authority.issue("localhost", server=True)
    access = [
        LOOPBACK | {"user": "mallory", "method": "reject"},
        LOOPBACK | {"type": "hostssl", "user": ["robot", "other"], "method": "cert"},
        LOOPBACK | {"type": "hostnossl", "user": ["plain"], "database": "lake", "method": "trust"},
        LOOPBACK | {"user": ["auric"], "method": "trust"},
        {"address": "127.0.0.1/32", "user": ["alice", "bob", "nobody", "o'brien \\\"x\\\""], "method": "scram"},
    ]
    config = configuration(folder / "auric.toml", access, users, server={"auth_max_delay": "0"},
                           tls={"certificate": certificate, "key": key, "client_ca": authority.path})
    with running(folder / "data", "--config", str(config)) as server:
        yield server


@pytest.fixture
def stack():
    with contextlib.ExitStack() as stack:
        yield stack


def failure(connect, *arguments, **parameters) -> str:
    """What a connection is refused with."""
    with pytest.raises((psycopg.OperationalError, psycopg2.OperationalError)) as error:
        connect(*arguments, **parameters)
    return str(error.value)


def refusal(server, user="auric", database="lake", source="127.0.0.1") -> dict[str, str]:
    """The error that answers the startup message."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20, source_address=(source, 0)) as connection:
        connection.sendall(startup(user, database))
        return read_error(connection)


@pytest.mark.parametrize("driver", [psycopg, psycopg2])
@pytest.mark.parametrize("mode", ["disable", "require"])
@pytest.mark.parametrize("user", ["alice", "bob"])
def test_the_right_password(guarded, driver, mode, user):
    connection = driver.connect(host=guarded.host, port=guarded.port, dbname="lake", user=user, password=USERS[user], sslmode=mode,
                                require_auth="scram-sha-256")
    with connection.cursor() as cursor:
        cursor.execute("select current_user")
        assert cursor.fetchone() == (user,)
    connection.close()


def test_passwords_are_prepared_as_the_drivers_prepare_them(guarded):
    # What SASLprep maps to the same.
    psycopg.connect(guarded.dsn(user="bob", sslmode="disable"), password="IX a").close()
    assert "password authentication failed" in failure(psycopg.connect, guarded.dsn(user="bob", sslmode="disable"), password="IX  a")


def test_a_user_with_a_strange_name(guarded):
    user = "o'brien \"x\""
    with psycopg.connect(host=guarded.host, port=guarded.port, dbname="lake", user=user, password="quoted") as connection:
        assert connection.execute("select current_user").fetchone() == (user,)


def test_psql(guarded):
    environment = {**os.environ, "PGPASSWORD": USERS["alice"]}
    dsn = guarded.dsn(user="alice", sslmode="require", channel_binding="require")
    result = subprocess.run(["psql", dsn, "-X", "-Atc", "select current_user"], capture_output=True, text=True, env=environment)
    assert (result.returncode, result.stdout) == (0, "alice\n"), result.stderr
    result = subprocess.run(["psql", dsn, "-X", "-Atc", "select 1"], capture_output=True, text=True, env={**environment, "PGPASSWORD": "wrong"})
    assert result.returncode == 2 and 'FATAL:  password authentication failed for user "alice"' in result.stderr


def test_asyncpg(guarded):
    asyncio = pytest.importorskip("asyncio")
    asyncpg = pytest.importorskip("asyncpg")

    async def connect(user, password, **options):
        connection = await asyncpg.connect(host=guarded.host, port=guarded.port, database="lake", user=user, password=password, **options)
        try:
            return await connection.fetchval("select current_user")
        finally:
            await connection.close()

    for ssl in ("disable", "require"):
        assert asyncio.run(connect("alice", USERS["alice"], ssl=ssl)) == "alice"
        with pytest.raises(asyncpg.InvalidPasswordError):
            asyncio.run(connect("alice", "wrong", ssl=ssl))
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            asyncio.run(connect("mallory", "wrong", ssl=ssl))


def test_wrong_passwords_and_unknown_users_look_alike(guarded):
    for user in ("alice", "nobody"):
        said = failure(psycopg.connect, guarded.dsn(user=user, sslmode="disable"), password="wrong")
        assert f'FATAL:  password authentication failed for user "{user}"' in said
    assert "no password supplied" in failure(psycopg.connect, guarded.dsn(user="alice", sslmode="disable"), password="")


class Scram:
    """A client of SCRAM that stops after the server's first message."""

    def __init__(self, server, user):
        self.connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        self.stream = self.connection.makefile("rb")
        self.connection.sendall(startup(user))
        kind, offered = self.message()
        assert (kind, offered[:4]) == (b"R", struct.pack("!i", 10))
        self.mechanisms = offered[4:].rstrip(b"\0").decode().split("\0")

    def message(self):
        kind = self.stream.read(1)
        return kind, self.stream.read(struct.unpack("!i", self.stream.read(4))[0] - 4)

    def send(self, body: bytes):
        self.connection.sendall(b"p" + struct.pack("!i", len(body) + 4) + body)

    def first(self, text="n,,n=,r=clientnonce", mechanism="SCRAM-SHA-256"):
        self.send(mechanism.encode() + b"\0" + struct.pack("!i", len(text)) + text.encode())
        return self.message()

    def error(self):
        return read_error(self.connection)


def asked_with(server, user) -> dict[str, str]:
    kind, body = Scram(server, user).first()
    assert (kind, body[:4]) == (b"R", struct.pack("!i", 11))
    return dict(part.split("=", 1) for part in body[4:].decode().split(","))


def test_unknown_users_are_asked_as_known_ones(guarded):
    """Salt and rounds are of the same form, and the same each time; the nonce never is."""
    asked = {user: [asked_with(guarded, user) for _ in range(2)] for user in ("alice", "nobody")}
    for first, second in asked.values():
        assert (first["s"], first["i"]) == (second["s"], second["i"])
        assert first["r"] != second["r"] and first["r"].startswith("clientnonce")
    assert len(asked["alice"][0]["s"]) == len(asked["nobody"][0]["s"])
    assert asked["alice"][0]["i"] == asked["nobody"][0]["i"]


def test_without_tls_no_channel_binding_is_offered(guarded):
    assert Scram(guarded, "alice").mechanisms == ["SCRAM-SHA-256"]


def test_exchanges_that_break_the_rules(guarded):
    def code_of(body: bytes) -> str:
        client = Scram(guarded, "alice")
        client.send(body)
        return client.error()["C"]

    def initial(text: bytes, mechanism=b"SCRAM-SHA-256") -> bytes:
        return mechanism + b"\0" + struct.pack("!i", len(text)) + text

    assert code_of(initial(b"n,,n=,r=x", b"SCRAM-SHA-1")) == "08P01"
    assert code_of(initial(b"p=tls-server-end-point,,n=,r=x", b"SCRAM-SHA-256-PLUS")) == "08P01"
    assert code_of(initial(b"n,a=root,n=,r=x")) == "0A000"
    assert code_of(initial(b"\xff\xfe")) == "22021"
    assert code_of(b"") == "08P01"
    assert code_of(b"SCRAM-SHA-256\0\x7f\xff\xff\xff") == "08P01"
    # A password in clear is no answer.
    assert code_of(b"correct horse\0") == "08P01"
    client = Scram(guarded, "alice")
    client.first()
    client.send(b"c=biws,r=other,p=AAAA")
    assert client.error()["C"] == "08P01"
    # Statements before authentication, and messages that nobody is entitled to send yet.
    client = Scram(guarded, "alice")
    client.connection.sendall(b"Q" + struct.pack("!i", 13) + b"select 1\0")
    assert client.error()["C"] == "08P01"
    client = Scram(guarded, "alice")
    client.connection.sendall(b"p" + struct.pack("!i", 10_000_000))
    assert client.error()["C"] == "08P01"


def test_the_access_list(guarded):
    error = refusal(guarded, "mallory")
    assert error["C"] == "28000"
    assert error["M"] == 'pg_hba.conf rejects connection for host "127.0.0.1", user "mallory", database "lake", no encryption'
    error = refusal(guarded, "stranger", "events")
    assert error["C"] == "28000"
    assert error["M"] == 'no pg_hba.conf entry for host "127.0.0.1", user "stranger", database "events", no encryption'
    assert refusal(guarded, "alice", source="127.0.0.9")["M"].startswith('no pg_hba.conf entry for host "127.0.0.9"')
    said = failure(psycopg.connect, guarded.dsn(user="stranger", sslmode="require"))
    assert 'no pg_hba.conf entry for host "127.0.0.1", user "stranger", database "lake", SSL encryption' in said
    # An entry for unencrypted connections only: libpq tries both ways.
    with psycopg.connect(guarded.dsn(user="plain", sslmode="prefer")) as connection:
        assert not connection.pgconn.ssl_in_use
    assert "no pg_hba.conf entry" in failure(psycopg.connect, guarded.dsn(user="plain", sslmode="require"))


def test_certificates(guarded, authority, tmp_path):
    certificate, key = authority.issue("robot", server=False)
    with_certificate = {"sslmode": "require", "sslcert": certificate, "sslkey": key}
    for driver in (psycopg, psycopg2):
        connection = driver.connect(guarded.dsn(user="robot", **with_certificate))
        connection.close()
    said = failure(psycopg.connect, guarded.dsn(user="other", **with_certificate))
    assert 'certificate authentication failed for user "other"' in said and "robot" not in said
    said = failure(psycopg.connect, guarded.dsn(user="robot", sslmode="require", sslcert=tmp_path / "none"))
    assert "connection requires a valid client certificate" in said
    assert "no pg_hba.conf entry" in failure(psycopg.connect, guarded.dsn(user="robot", sslmode="disable"))
    # Of an authority that the server does not know, and one that is not for clients.
    certificate, key = Authority(tmp_path, "Stranger").issue("robot", server=False)
    failure(psycopg.connect, guarded.dsn(user="robot", sslmode="require", sslcert=certificate, sslkey=key))
    certificate, key = authority.issue("robot", server=True, file="robot-server")
    failure(psycopg.connect, guarded.dsn(user="robot", sslmode="require", sslcert=certificate, sslkey=key))
    # A password does not replace it.
    failure(psycopg.connect, guarded.dsn(user="robot", sslmode="require", sslcert=tmp_path / "none"), password="x")


def test_revoked_certificates(authority, tmp_path):
    certificate, key = authority.issue("localhost", server=True, file="revoking")
    robot, stolen = authority.issue("robot", server=False, file="kept"), authority.issue("robot", server=False, file="stolen")
    files = {"certificate": certificate, "key": key, "client_ca": authority.path, "client_crl": authority.revoke(stolen[0])}
    access = [LOOPBACK | {"type": "hostssl", "method": "cert"}]
    config = configuration(tmp_path / "auric.toml", access, tls=files)
    with running(tmp_path / "data", "--config", str(config)) as server:
        def connect(pair):
            psycopg.connect(server.dsn(user="robot", sslmode="require", sslcert=pair[0], sslkey=pair[1])).close()

        connect(robot)
        assert "revoked" in failure(connect, stolen)
        # Revoked while the server runs.
        authority.revoke(stolen[0], robot[0])
        server.process.send_signal(signal.SIGHUP)
        until(lambda: any("configuration read again" in line for line in server.log))
        assert "revoked" in failure(connect, robot)


def test_users_and_access_are_read_again(tmp_path):
    path, stored = tmp_path / "auric.toml", {"alice": verifier("old")}
    trusted = LOOPBACK | {"user": "auric", "method": "trust"}
    configuration(path, [trusted, SCRAM], stored, server={"auth_max_delay": "0"})
    with running(tmp_path / "data", "--config", str(path)) as server:
        def connect(password, user="alice"):
            return psycopg.connect(server.dsn(user=user, sslmode="disable"), password=password, autocommit=True)

        def reload():
            known = len(server.log)
            server.process.send_signal(signal.SIGHUP)
            until(lambda: any("configuration" in line for line in server.log[known:]))

        old = connect("old")
        configuration(path, [trusted, SCRAM], {"alice": verifier("new"), "carol": verifier("hers")}, server={"auth_max_delay": "0"})
        reload()
        failure(connect, "old")
        connect("new").close()
        connect("hers", "carol").close()
        # Who is in stays in.
        assert old.execute("select current_user").fetchone() == ("alice",)

        path.write_text(path.read_text() + '[users.dave]\npassword = "plain"\n')
        reload()
        assert any("users.dave.password" in line for line in server.log) and not any('"plain"' in line for line in server.log)
        connect("new").close()

        configuration(path, [trusted], {}, server={"auth_max_delay": "0"})
        reload()
        assert "no pg_hba.conf entry" in failure(connect, "new")
        assert old.execute("select 1").fetchone() == (1,)
        old.close()


def test_nobody_from_elsewhere_without_configuration(tmp_path):
    """Listening on every address lets nobody in from other machines."""
    addresses = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
    elsewhere = next((address for address in addresses if "." in address), None)
    if elsewhere is None:
        pytest.skip("no address but loopback")
    with running(tmp_path, listen="0.0.0.0:0") as server:
        assert server.sql("select 1") == [(1,)]
        assert any("only clients on this machine are let in" in line for line in server.log)
        said = failure(psycopg.connect, server.dsn(host=elsewhere))
        assert f'no pg_hba.conf entry for host "{elsewhere}"' in said


def test_clients_from_elsewhere(authority, tmp_path):
    """Through an address of this machine that is not its loopback: password and TLS."""
    addresses = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
    if not addresses:
        pytest.skip("no address but loopback")
    certificate, key = authority.issue("localhost", server=True, file="elsewhere")
    access = [{"type": "hostssl", "address": f"{address}", "method": "scram"} for address in addresses]
    config = configuration(tmp_path / "auric.toml", access, {"alice": verifier("secret")}, tls={"certificate": certificate, "key": key})
    with running(tmp_path / "data", "--config", str(config), listen="[::]:0") as server:
        for address in addresses:
            dsn = server.dsn(host=address, user="alice")
            with psycopg.connect(f"{dsn} sslmode=verify-ca sslrootcert={authority.path}", password="secret") as connection:
                assert connection.execute("select current_user").fetchone() == ("alice",)
            assert "no pg_hba.conf entry" in failure(psycopg.connect, f"{dsn} sslmode=disable", password="secret")
        assert "no pg_hba.conf entry" in failure(psycopg.connect, server.dsn(host="127.0.0.1"))


def test_guessing_is_slowed_down(tmp_path):
    """After a few wrong passwords each further attempt waits, in parallel ones too; other addresses do not."""
    access = [LOOPBACK | {"user": "auric", "method": "trust"}, SCRAM]
    config = configuration(tmp_path / "auric.toml", access, {"alice": verifier("secret")}, server={"auth_max_delay": "1s"})
    with running(tmp_path / "data", "--config", str(config)) as server:
        def attempt(password):
            before = time.monotonic()
            try:
                psycopg.connect(server.dsn(user="alice", sslmode="disable"), password=password).close()
                said = ""
            except psycopg.OperationalError as error:
                said = str(error)
            return said, time.monotonic() - before

        for _ in range(3):
            assert "password authentication failed" in attempt("wrong")[0]
        said, seconds = attempt("wrong")
        assert "password authentication failed" in said and seconds >= 0.25
        # The right one has to wait as well: waiting must not tell it from wrong ones.
        said, seconds = attempt("secret")
        assert said == "" and seconds >= 0.25
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            results = list(pool.map(attempt, ["wrong"] * 20))
        assert any("too many failed authentication attempts" in said for said, _ in results)
        assert all(seconds < 10 for _, seconds in results)
        # One after the other, half a second and more apart.
        checked = sorted(seconds for said, seconds in results if "password authentication failed" in said)
        assert 1 <= len(checked) <= 5 and checked[-1] >= (len(checked) - 1) * 0.5
        assert any("wrong password or unknown user" in line and "127.0.0.1" in line for line in server.log)
        with urllib.request.urlopen(f"{server.http}/metrics") as response:
            failures = next(line for line in response.read().decode().splitlines() if line.startswith("auric_authentication_failures_total "))
        assert int(failures.split()[1]) == 4 + len(checked)
        # Trust needs no password, so it waits for nothing.
        assert server.sql("select 1") == [(1,)]


def test_silent_clients_are_let_go(tmp_path):
    """At every stage before authentication: nothing sent, half a handshake, no password."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost", server=True)
    access = [LOOPBACK | {"user": "auric", "method": "trust"}, SCRAM]
    config = configuration(tmp_path / "auric.toml", access, {"alice": verifier("secret")}, server={"auth_timeout": "1s"},
                           tls={"certificate": certificate, "key": key})
    with running(tmp_path / "data", "--config", str(config)) as server:
        silent, handshaking = (socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(2))
        handshaking.sendall(SSL_REQUEST)
        assert handshaking.recv(1) == b"S"
        handshaking.sendall(b"\x16\x03\x01\x02\x00")
        asked = Scram(server, "alice")
        asked.first()
        served = server.connect()
        for connection in (silent, handshaking, asked.connection):
            assert closed(connection)
        # The limit is for introductions only.
        assert served.execute("select 1").fetchone() == (1,)
        served.close()


def test_unauthenticated_connections_are_bounded(tmp_path):
    """The oldest has to go; who is in, and who comes anew, notices nothing."""
    with running(tmp_path, environment={"AURIC_SERVER__MAX_UNAUTHENTICATED": "3"}) as server:
        served = [server.connect() for _ in range(5)]
        silent = []
        for _ in range(6):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            connection.sendall(SSL_REQUEST)
            assert connection.recv(1) == b"N"
            silent.append(connection)
        assert all(closed(connection) for connection in silent[:3])
        # One more takes the place of the fourth, and gives it back.
        server.connect().close()
        assert closed(silent[3])
        for connection in silent[4:]:
            connection.sendall(startup())
            assert connection.recv(1) == b"R"
        assert all(connection.execute("select 1").fetchone() == (1,) for connection in served)
        for connection in silent + served:
            connection.close()


def test_hash_password(tmp_path):
    def run(text, *arguments):
        return subprocess.run([auric_binary(), "hash-password", *arguments], input=text, capture_output=True, text=True)

    first, second = (run("secret\n").stdout for _ in range(2))
    assert first.startswith("SCRAM-SHA-256$4096:") and first != second
    assert run("secret", "--iterations", "20000").stdout.startswith("SCRAM-SHA-256$20000:")
    for text, arguments in (("", ()), ("\n", ()), ("two\nlines\n", ()), ("secret", ("--iterations", "100"))):
        result = run(text, *arguments)
        assert result.returncode != 0 and result.stdout == "" and result.stderr


def test_hash_password_at_a_terminal():
    """Asked for twice, never shown."""
    def run(*answers):
        terminal, theirs = pty.openpty()
        process = subprocess.Popen([auric_binary(), "hash-password"], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True,
                                   preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        shown = b""
        for prompt, answer in zip((b"Password: ", b"again: "), answers):
            while prompt not in shown:
                shown += os.read(terminal, 1024)
            # What is typed before it stops echoing is thrown away.
            until(lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO)
            os.write(terminal, answer.encode() + b"\n")
        output = process.stdout.read().decode()
        code = process.wait(timeout=20)
        try:
            while part := os.read(terminal, 1024):
                shown += part
        except OSError:
            pass
        os.close(terminal)
        return code, output, shown.decode()

    code, output, shown = run("secret", "secret")
    assert code == 0 and output.startswith("SCRAM-SHA-256$4096:") and "secret" not in shown
    code, output, shown = run("secret", "secrex")
    assert code != 0 and output == "" and "differ" in shown


def test_verifiers_are_those_of_postgres(tmp_path, stack):
    """A real Postgres lets in whom `auric hash-password` made, and the other way round."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server on this machine")
    binaries = found[-1].parent
    # It refuses to run as root.
    account = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
    folder.chmod(0o777)
    data = folder / "data"
    subprocess.run([*account, binaries / "initdb", "-D", data, "-U", "admin", "-A", "trust", "--no-sync"], check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    control = [*account, binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    subprocess.run([*control, "-o", f"-p {port} -k {folder} -c fsync=off", "start"], check=True, stdout=subprocess.DEVNULL)
    try:
        login = {"host": "127.0.0.1", "port": port, "dbname": "postgres"}
        with psycopg.connect(**login, user="admin", autocommit=True) as connection:
            connection.execute(f"create role ours login password '{verifier('pässword')}'")
            connection.execute("create role theirs login password 'pässword'")
            theirs = connection.execute("select rolpassword from pg_authid where rolname = 'theirs'").fetchone()[0]
            hba = "host all admin all trust\nhost all all all scram-sha-256\n"
            (data / "pg_hba.conf").write_text(hba)
        subprocess.run([*control, "restart"], check=True, stdout=subprocess.DEVNULL)
        assert "password authentication failed" in failure(psycopg.connect, **login, user="ours", password="wrong")
        psycopg.connect(**login, user="ours", password="pässword", require_auth="scram-sha-256").close()
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], check=True, stdout=subprocess.DEVNULL)
    config = configuration(tmp_path / "auric.toml", [SCRAM], {"theirs": theirs})
    with running(tmp_path / "data", "--config", str(config)) as server:
        psycopg.connect(server.dsn(user="theirs", sslmode="disable"), password="pässword").close()
