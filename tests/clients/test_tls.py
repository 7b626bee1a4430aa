"""Encryption: negotiated and direct TLS with stock drivers, what must be refused, certificates that change."""

import hashlib
import os
import signal
import socket
import ssl
import struct
import subprocess
import threading

import psycopg
import psycopg2
import pytest
from cryptography.hazmat.primitives import hashes

from conftest import running
from pki import Authority, configuration, verifier
from test_serving import HEAVY, until

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSS_REQUEST = struct.pack("!ii", 8, 80877104)
LOOPBACK = {"address": ["127.0.0.0/8", "::1/128"]}


def startup(user="auric", database="lake", minor=0) -> bytes:
    body = b"".join(part.encode() + b"\0" for part in ("user", user, "database", database)) + b"\0"
    return struct.pack("!iHH", len(body) + 8, 3, minor) + body


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def tls(authority, tmp_path_factory):
    """A server with TLS; unencrypted connections are trusted too."""
    certificate, key = authority.issue("localhost", server=True)
    folder = tmp_path_factory.mktemp("tls")
    config = configuration(folder / "auric.toml", tls={"certificate": certificate, "key": key})
    with running(folder / "data", "--config", str(config)) as server:
        yield server


def verified(authority, **parameters) -> dict:
    return {"sslmode": "verify-full", "sslrootcert": authority.path, **parameters}


def read_error(connection) -> dict[str, str]:
    """The fields of the ErrorResponse that comes next."""
    stream = connection.makefile("rb")
    kind = stream.read(1)
    assert kind == b"E", kind
    body = stream.read(struct.unpack("!i", stream.read(4))[0] - 4)
    return {field[:1].decode(): field[1:].decode() for field in body.rstrip(b"\0").split(b"\0")}


def closed(connection) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full", "prefer", "disable"])
def test_psycopg_modes(tls, authority, mode):
    with psycopg.connect(tls.dsn(sslmode=mode, sslrootcert=authority.path), autocommit=True) as connection:
        assert connection.pgconn.ssl_in_use == (mode != "disable")
        assert connection.execute("select 1").fetchone() == (1,)


def test_psycopg2(tls, authority):
    connection = psycopg2.connect(tls.dsn(**verified(authority)))
    assert connection.info.ssl_in_use
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from generate_series(1, 100)")
        assert cursor.fetchone() == (100,)
    connection.close()


def test_psql(tls, authority):
    result = subprocess.run(["psql", tls.dsn(**verified(authority)), "-X", "-c", "\\conninfo", "-Atc", "select 42"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "SSL connection (protocol: TLSv1.3" in result.stdout and "42" in result.stdout


def test_asyncpg(tls, authority):
    asyncio = pytest.importorskip("asyncio")
    asyncpg = pytest.importorskip("asyncpg")

    async def use():
        context = ssl.create_default_context(cafile=authority.path)
        connection = await asyncpg.connect(host="127.0.0.1", port=tls.port, user="auric", database="lake", ssl=context)
        try:
            return await connection.fetchval("select count(*) from generate_series(1, 42)")
        finally:
            await connection.close()

    assert asyncio.run(use()) == 42


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_pg_stat_ssl(tls, authority, version):
    asyncio = pytest.importorskip("asyncio")
    asyncpg = pytest.importorskip("asyncpg")
    context = ssl.create_default_context(cafile=authority.path)
    context.minimum_version = context.maximum_version = version

    async def use():
        connection = await asyncpg.connect(host="127.0.0.1", port=tls.port, user="auric", database="lake", ssl=context)
        try:
            row = await connection.fetchrow("select cipher, version, bits, ssl from pg_stat_ssl where pid = pg_backend_pid()")
            return connection._transport.get_extra_info("ssl_object").cipher(), tuple(row)
        finally:
            await connection.close()

    (cipher, _, bits), found = asyncio.run(use())
    # OpenSSL says since when there is the cipher; the version is that of the connection.
    assert found == (cipher, version.name.replace("_", "."), bits, True)
    with psycopg.connect(tls.dsn(sslmode="disable"), autocommit=True) as connection:
        assert connection.execute("select ssl, cipher from pg_stat_ssl where pid = pg_backend_pid()").fetchone() == (False, None)


def test_a_certificate_of_another_authority_is_noticed(tls, tmp_path):
    stranger = Authority(tmp_path, "Stranger")
    with pytest.raises(psycopg.OperationalError, match="certificate"):
        psycopg.connect(tls.dsn(**verified(stranger)))


@pytest.mark.parametrize("driver", [psycopg, psycopg2])
def test_direct_tls(tls, authority, driver):
    """libpq 17 and later begin with the handshake if they are told to."""
    connection = driver.connect(tls.dsn(**verified(authority, sslnegotiation="direct")))
    with connection.cursor() as cursor:
        cursor.execute("select 7")
        assert cursor.fetchone() == (7,)
    connection.close()


def direct(server, authority, protocols):
    context = ssl.create_default_context(cafile=authority.path)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=20), server_hostname="localhost")


def test_direct_tls_names_the_protocol(tls, authority):
    with direct(tls, authority, ["postgresql"]) as connection:
        assert connection.selected_alpn_protocol() == "postgresql"
        connection.sendall(startup())
        assert connection.recv(1) == b"R"
    with direct(tls, authority, None) as connection:
        error = read_error(connection)
        assert error["C"] == "08P01" and "ALPN" in error["M"]
        assert closed(connection)
    with pytest.raises(ssl.SSLError), direct(tls, authority, ["http/1.1"]) as connection:
        connection.recv(1)


def test_bytes_before_the_handshake_are_refused(tls):
    """CVE-2021-23214: what somebody put in front of the encrypted stream must not be taken for part of it."""
    for request in (SSL_REQUEST, GSS_REQUEST):
        with socket.create_connection(("127.0.0.1", tls.port), timeout=20) as connection:
            connection.sendall(request + startup())
            error = read_error(connection)
            assert error["C"] == "08P01" and error["M"].startswith("received unencrypted data after")
            assert closed(connection)


def test_nothing_in_clear_after_tls_was_agreed(tls):
    with socket.create_connection(("127.0.0.1", tls.port), timeout=20) as connection:
        connection.sendall(SSL_REQUEST)
        assert connection.recv(1) == b"S"
        connection.sendall(startup())
        received = b""
        while part := connection.recv(1024):
            received += part
        # An alert of TLS, if anything.
        assert received[:1] in (b"", b"\x15"), received


def test_requests_for_encryption_come_once(tls, authority):
    with socket.create_connection(("127.0.0.1", tls.port), timeout=20) as connection:
        connection.sendall(GSS_REQUEST)
        assert connection.recv(1) == b"N"
        connection.sendall(GSS_REQUEST)
        assert read_error(connection)["C"] == "0A000"
    with socket.create_connection(("127.0.0.1", tls.port), timeout=20) as connection:
        connection.sendall(GSS_REQUEST)
        assert connection.recv(1) == b"N"
        connection.sendall(SSL_REQUEST)
        assert connection.recv(1) == b"S"
        context = ssl.create_default_context(cafile=authority.path)
        with context.wrap_socket(connection, server_hostname="localhost") as encrypted:
            encrypted.sendall(SSL_REQUEST)
            assert read_error(encrypted)["C"] == "0A000"


def test_without_tls(server, authority):
    with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
        psycopg.connect(server.dsn(sslmode="require"))
    with psycopg.connect(server.dsn(sslmode="prefer")) as connection:
        assert not connection.pgconn.ssl_in_use
    with pytest.raises(OSError):
        direct(server, authority, ["postgresql"])


def test_broken_handshakes_hurt_nobody(tls):
    for garbage in (b"\x16", b"\x16\x03\x01\xff\xff" + b"x" * 100, os.urandom(400)):
        with socket.create_connection(("127.0.0.1", tls.port), timeout=20) as connection:
            connection.sendall(SSL_REQUEST)
            assert connection.recv(1) == b"S"
            connection.sendall(garbage)
    with socket.create_connection(("127.0.0.1", tls.port), timeout=20) as connection:
        connection.sendall(b"\x16\x03\x01\x00\x05hello" + b"x" * 50)
    assert tls.sql("select 1") == [(1,)]


def test_versions(authority, tmp_path):
    certificate, key = authority.issue("localhost", server=True, file="versions")
    config = configuration(tmp_path / "auric.toml", tls={"certificate": certificate, "key": key, "minimum_version": "1.3"})
    with running(tmp_path / "data", "--config", str(config)) as server:
        with psycopg.connect(server.dsn(sslmode="require")) as connection:
            assert connection.pgconn.ssl_in_use
        with pytest.raises(psycopg.OperationalError, match="(?i)protocol version|alert"):
            psycopg.connect(server.dsn(sslmode="require", ssl_max_protocol_version="TLSv1.2"))


def test_old_version(tls):
    psycopg.connect(tls.dsn(sslmode="require", ssl_max_protocol_version="TLSv1.2")).close()


def test_much_data_both_ways(tls, authority):
    """More than any buffer on the way holds, in rows and in parameters."""
    with psycopg.connect(tls.dsn(**verified(authority)), autocommit=True) as connection:
        rows = [text for (text,) in connection.cursor().stream("select md5(cast(x as text)) from generate_series(1, 300000) as g(x)")]
        assert sorted(rows) == sorted(hashlib.md5(str(x).encode()).hexdigest() for x in range(1, 300001))
        text = "0123456789" * 500_000
        assert connection.execute("select length(%s::text), md5(%s::text)", (text, text)).fetchone() == (
            len(text), hashlib.md5(text.encode()).hexdigest())


def test_cancel(tls, authority):
    """libpq 17 and later encrypt the request to cancel as well; older ones and psycopg2 do not."""
    def cancelled(connection, cancel):
        errors = []

        def run():
            try:
                connection.execute(HEAVY)
            except psycopg.Error as error:
                errors.append(error.sqlstate)

        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: tls.sql("select count(*) from pg_stat_activity where state = 'active' and query = %s", (HEAVY,))[0][0] == 1)
        cancel()
        thread.join()
        assert errors == ["57014"]

    with psycopg.connect(tls.dsn(**verified(authority)), autocommit=True) as connection:
        cancelled(connection, lambda: connection.cancel_safe(timeout=20))
        cancelled(connection, connection.cancel)
        assert connection.execute("select 1").fetchone() == (1,)
    with psycopg.connect(tls.dsn(**verified(authority, sslnegotiation="direct")), autocommit=True) as connection:
        cancelled(connection, lambda: connection.cancel_safe(timeout=20))


def peer_certificate(server) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["postgresql"])
    with context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=20)) as connection:
        return connection.getpeercert(binary_form=True)


def test_certificates_are_read_again(authority, tmp_path):
    certificate, key = authority.issue("first", server=True, file="reloaded")
    config = configuration(tmp_path / "auric.toml", tls={"certificate": certificate, "key": key})
    with running(tmp_path / "data", "--config", str(config)) as server:
        first = peer_certificate(server)
        open_one = psycopg.connect(server.dsn(sslmode="require"), autocommit=True)

        # A new certificate, and a key that is not its own: the one before stays, and the log tells why.
        kept = key.read_bytes()
        authority.issue("second", server=True, file="reloaded")
        second_key = key.read_bytes()
        key.write_bytes(kept)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: any("kept as it was" in line and "tls.certificate" in line for line in server.log))
        assert peer_certificate(server) == first
        assert open_one.execute("select 1").fetchone() == (1,)

        key.write_bytes(second_key)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: peer_certificate(server) != first)
        assert b"second" in peer_certificate(server)
        assert open_one.execute("select 2").fetchone() == (2,)
        open_one.close()

        certificate.write_text("no certificate")
        server.process.send_signal(signal.SIGHUP)
        until(lambda: any("no certificate in" in line for line in server.log))
        assert b"second" in peer_certificate(server)
        assert not any(line in "".join(server.log) for line in second_key.decode().splitlines()[1:-1])


def test_broken_certificates_at_the_start(authority, tmp_path):
    certificate, key = authority.issue("localhost", server=True, file="broken")
    other, _ = authority.issue("other", server=True)
    for files, word in (((other, key), "tls.certificate"), ((tmp_path / "none", key), "tls.certificate"), ((certificate, certificate), "tls.key")):
        config = configuration(tmp_path / "auric.toml", tls={"certificate": files[0], "key": files[1]})
        with pytest.raises(AssertionError, match=word):
            with running(tmp_path / "data", "--config", str(config)):
                pass


BINDINGS = [("rsa", hashes.SHA256()), ("ec", hashes.SHA384()), ("rsa", hashes.SHA512()), ("ec", hashes.SHA512()), ("ed25519", None)]


@pytest.mark.parametrize("kind, algorithm", BINDINGS, ids=lambda value: getattr(value, "name", str(value)))
def test_channel_binding(tmp_path, kind, algorithm):
    """The client computes the hash of the certificate on its own; it must be the same."""
    authority = Authority(tmp_path, kind=kind)
    certificate, key = authority.issue("localhost", server=True, algorithm=algorithm)
    config = configuration(tmp_path / "auric.toml", [LOOPBACK | {"method": "scram"}], {"alice": verifier("secret")},
                           tls={"certificate": certificate, "key": key})
    with running(tmp_path / "data", "--config", str(config)) as server:
        # There is no such hash for a signature with Ed25519: the client does without.
        binding = "prefer" if kind == "ed25519" else "require"
        for driver in (psycopg, psycopg2):
            parameters = verified(authority, user="alice", password="secret", channel_binding=binding)
            connection = driver.connect(server.dsn(**parameters))
            connection.close()
            with pytest.raises(driver.OperationalError, match="password authentication failed"):
                driver.connect(server.dsn(**parameters | {"password": "wrong"}))
