"""Stock pgjdbc (Debian's package): the steps are Java, in `jdbc/`, and each reports `ok` or what went wrong."""

import os
import pathlib
import subprocess

import pytest

from client_matrix import Client
from conftest import running
from packages import debian
from pki import Authority, configuration, verifier

JAR = pathlib.Path("/usr/share/java/postgresql.jar")
# Programs that end soon are not worth a second compiler.
OPTIONS = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
SOURCES = sorted((pathlib.Path(__file__).parent / "jdbc").glob("*.java"))
CLIENT = Client("pgjdbc", "42.5", "Debian's `libpostgresql-jdbc-java`; DatabaseMetaData as Metabase, DataGrip and DBeaver call it.")


@pytest.fixture(scope="module")
def report(server, tmp_path_factory):
    """What each step said, from one run of the Java program."""
    debian("libpostgresql-jdbc-java", "openjdk-17-jdk-headless")
    classes = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", *[f"-J{option}" for option in OPTIONS], "-cp", str(JAR), "-d", str(classes), *map(str, SOURCES)], check=True)
    url = f"jdbc:postgresql://{server.host}:{server.port}/{server.database}"
    ran = subprocess.run(["java", *OPTIONS, "-Duser.timezone=Europe/Berlin", "-cp", f"{JAR}:{classes}", "Main", url, server.user, "jdbc_steps"],
                         capture_output=True, text=True, timeout=280)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return dict(line.split("\t", 1) for line in ran.stdout.splitlines())


STEPS = [
    *CLIENT.steps("introspection", "getTables", "getColumns", "getPrimaryKeys", "getImportedKeys, getExportedKeys, getCrossReference", "getIndexInfo",
                  "getSchemas, getCatalogs, getTableTypes", "getTypeInfo", "getProcedures, getFunctions",
                  "getTablePrivileges, getColumnPrivileges, getBestRowIdentifier, getVersionColumns, getUDTs, getClientInfoProperties",
                  "versions, limits and keywords", "ResultSetMetaData with table and column names", "ResultSetMetaData.getTableName, isNullable",
                  "Metabase's queries for privileges, fields and indexes"),
    *CLIENT.steps("types", "every type in text", "every type in binary, from the first execution", "every type across prepareThreshold",
                  "setObject and getObject of java.time", "setDate, setTimestamp and setTime without a type", "null parameters without a type", "arrays",
                  "intervals and other types by name", "a table's columns in binary"),
    *CLIENT.steps("cursors", "setFetchSize in a transaction: rows come in portions", "setMaxRows, and prepared statements with a fetch size",
                  "DECLARE SCROLL and FETCH by statements", "scrollable and updatable result sets"),
    *CLIENT.steps("changes", "batches", "batches with reWriteBatchedInserts", "batches in a transaction, of several statements, and one that fails",
                  "update counts of insert, update, delete and merge", "getGeneratedKeys and RETURNING"),
    *CLIENT.steps("copy", "CopyManager: text and CSV", "CopyManager: binary"),
    *CLIENT.steps("transactions", "transactions and savepoints", "autosave=always", "autosave=always with changes"),
    *CLIENT.steps("errors", "setQueryTimeout", "cancel from another thread", "errors: state, position, detail"),
    *CLIENT.steps("connect", "statement_timeout, client info and other settings", "preferQueryMode=simple and extendedForPrepared"),
    *CLIENT.steps("queries", "several statements in one, with several results", "JDBC escapes and function calls",
                  "a table dropped and made anew under a prepared statement"),
]


@pytest.mark.parametrize("step", STEPS)
def test_steps(report, step):
    assert report[step] == "ok"


def test_every_step_is_declared(report):
    assert set(report) == {parameter.values[0] for parameter in STEPS}


@CLIENT.step("connect", "sslmode=require and verify-full with a password (SCRAM-SHA-256)")
@pytest.mark.skipif("AURIC_TEST_POSTGRES" in os.environ, reason="a server of its own")
def test_encrypted(tmp_path):
    debian("libpostgresql-jdbc-java", "openjdk-17-jdk-headless")
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost", server=True)
    access = [{"type": "hostssl", "address": ["127.0.0.0/8", "::1/128"], "user": ["alice"], "method": "scram"}]
    config = configuration(tmp_path / "auric.toml", access, {"alice": verifier("correct horse")}, tls={"certificate": certificate, "key": key})
    source = SOURCES[0].parent / "tls" / "Encrypted.java"
    with running(tmp_path / "data", "--config", str(config)) as server:
        for mode in ("require", "verify-full"):
            url = f"jdbc:postgresql://localhost:{server.port}/{server.database}?sslmode={mode}&sslrootcert={authority.path}"
            ran = subprocess.run(["java", *OPTIONS, "-cp", str(JAR), str(source), url, "alice", "correct horse"], capture_output=True, text=True, timeout=120)
            assert ran.stdout == "t\n", ran.stdout + ran.stderr
        ran = subprocess.run(["java", *OPTIONS, "-cp", str(JAR), str(source), url, "alice", "wrong"], capture_output=True, text=True, timeout=120)
        assert ran.stdout == "28P01\n", ran.stdout + ran.stderr
