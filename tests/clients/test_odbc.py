"""Stock psqlODBC (Debian's package) through unixODBC: pyodbc and isql. With AURIC_TEST_POSTGRES against PostgreSQL."""

import datetime
import decimal
import os
import pathlib
import subprocess
import threading

import pytest

from client_matrix import Client
from packages import debian

DRIVERS = pathlib.Path("/usr/lib/x86_64-linux-gnu/odbc")
CLIENT = Client("psqlODBC", "13.02", "Debian's `odbc-postgresql` through unixODBC, driven by pyodbc (Access, Excel and Power BI take such calls) and isql.")


@pytest.fixture(scope="module")
def driver():
    debian("odbc-postgresql", "unixodbc")
    found = sorted(DRIVERS.parents[1].glob("*/odbc/psqlodbcw.so"))
    assert found, "psqlodbcw.so"
    return found[0]


@pytest.fixture
def connect(server, driver):
    import pyodbc  # noqa: PLC0415

    opened = []

    def connect(autocommit=True, **options):
        values = {"DRIVER": driver, "SERVER": server.host, "PORT": server.port, "UID": server.user, "DATABASE": server.database, **options}
        opened.append(pyodbc.connect(";".join(f"{key}={value}" for key, value in values.items()), autocommit=autocommit))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def tables(server, schema):
    server.sql(f"create table {schema}.customers (id bigint not null primary key, name text not null, balance numeric(12,2), born date, "
               f"seen timestamp, active boolean, score double precision, raw bytea, i integer)")
    server.sql(f"create table {schema}.orders (id bigint, customer_id bigint)")
    server.sql(f"create view {schema}.names as select id, name from {schema}.customers")
    return schema


@CLIENT.step("introspection", "SQLTables, SQLColumns, SQLPrimaryKeys, SQLForeignKeys, SQLStatistics, SQLSpecialColumns, SQLProcedures")
def test_catalog_functions(connect, tables):
    cursor = connect().cursor()
    assert [(row.table_name, row.table_type) for row in cursor.tables(schema=tables)] == [("customers", "TABLE"), ("names", "VIEW"), ("orders", "TABLE")]
    assert [row.table_name for row in cursor.tables(schema=tables, tableType="VIEW")] == ["names"]
    columns = [(row.column_name, row.type_name, row.nullable, row.ordinal_position) for row in cursor.columns(schema=tables, table="customers")]
    assert columns == [("id", "int8", 0, 1), ("name", "text", 0, 2), ("balance", "numeric", 1, 3), ("born", "date", 1, 4), ("seen", "timestamp", 1, 5),
                       ("active", "bool", 1, 6), ("score", "float8", 1, 7), ("raw", "bytea", 1, 8), ("i", "int4", 1, 9)]
    balance = next(iter(cursor.columns(schema=tables, table="customers", column="balance")))
    assert (balance.column_size, balance.decimal_digits) == (12, 2)
    assert [(row.column_name, row.key_seq) for row in cursor.primaryKeys("customers", schema=tables)] == [("id", 1)]
    assert list(cursor.primaryKeys("orders", schema=tables)) == []
    assert list(cursor.foreignKeys(table="customers", schema=tables)) == []
    cursor.execute(f"alter table {tables}.orders add constraint bought foreign key (customer_id) references {tables}.customers on delete cascade")
    cursor.commit()
    for wanted in ({"table": "customers", "schema": tables}, {"foreignTable": "orders", "foreignSchema": tables}):
        keys = cursor.foreignKeys(**wanted).fetchall()
        assert [(row.pktable_name, row.pkcolumn_name, row.fktable_name, row.fkcolumn_name, row.key_seq, row.delete_rule, row.fk_name) for row in keys] == [
            ("customers", "id", "orders", "customer_id", 1, 0, "bought")]
    assert [row.column_name for row in cursor.statistics("customers", schema=tables, unique=True) if row.column_name] == ["id"]
    cursor.rowIdColumns("customers", schema=tables).fetchall()
    assert list(cursor.procedures(schema=tables)) == []


@CLIENT.step("introspection", "SQLGetTypeInfo, SQLGetInfo, list of schemas and catalogs")
def test_information(connect, server):
    import pyodbc  # noqa: PLC0415

    connection = connect()
    cursor = connection.cursor()
    assert {"int4", "int8", "text", "numeric", "bool", "date", "timestamptz", "bytea", "float8"} <= {row.type_name for row in cursor.getTypeInfo()}
    assert connection.getinfo(pyodbc.SQL_DBMS_NAME) == "PostgreSQL"
    assert int(connection.getinfo(pyodbc.SQL_DBMS_VER).split(".")[0]) >= 15
    assert connection.getinfo(pyodbc.SQL_DATABASE_NAME) == server.database
    schemas = {row.table_schem for row in cursor.tables(table="", catalog="", schema="%")}
    assert "public" in schemas


VALUES = [
    ("int4", 2**31 - 1), ("int8", -(2**63)), ("text", "häß\t'\\\n"), ("numeric(12,3)", decimal.Decimal("-123456.789")), ("float8", -0.1),
    ("date", datetime.date(1969, 12, 31)), ("timestamp", datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)), ("bytea", b"\x00\xff\\"),
    ("varchar", "v"), ("time", datetime.time(23, 59, 59)),
]


@pytest.mark.parametrize(("pg_type", "value"), VALUES, ids=[name for name, _ in VALUES])
@CLIENT.step("types", "every common type as parameter and result")
def test_types(connect, pg_type, value):
    cursor = connect().cursor()
    for _ in range(2):
        assert tuple(cursor.execute(f"select cast(? as {pg_type}) as given, cast(null as {pg_type}) as nothing", (value,)).fetchone()) == (value, None)
    assert cursor.description[0][0] == "given"


@CLIENT.step("types", "booleans as numbers and as bits")
def test_booleans(connect):
    assert tuple(connect().cursor().execute("select true, false").fetchone()) == ("1", "0")
    assert tuple(connect(BoolsAsChar=0).cursor().execute("select true, false").fetchone()) == (True, False)


@CLIENT.step("queries", "prepared statements, also with UseServerSidePrepare, and many executions of one")
def test_prepared(connect, tables):
    for server_side in (0, 1):
        connection = connect(UseServerSidePrepare=server_side)
        cursor = connection.cursor()
        table = f"{tables}.customers"
        rows = [(i, f"name {i}", decimal.Decimal(i) / 4, datetime.date(2024, 1, 1 + i), i % 2 == 0, i / 2) for i in range(5)]
        cursor.executemany(f"insert into {table} (id, name, balance, born, active, score) values (?, ?, ?, ?, ?, ?)", rows)
        found = cursor.execute(f"select id, name, balance, born, score from {table} where id >= ? and name <> ? order by id", (1, "name 3")).fetchall()
        assert [tuple(row) for row in found] == [(i, f"name {i}", decimal.Decimal(i) / 4, datetime.date(2024, 1, 1 + i), i / 2) for i in (1, 2, 4)]
        assert cursor.execute(f"update {table} set score = ? where id = ?", (7.5, 1)).rowcount == 1
        assert cursor.execute(f"delete from {table}").rowcount == 5


@CLIENT.step("cursors", "UseDeclareFetch: results by DECLARE and FETCH")
def test_declare_fetch(connect):
    connection = connect(autocommit=False, UseDeclareFetch=1, Fetch=100)
    cursor = connection.cursor()
    cursor.execute("select i, 'text ' || i from generate_series(1, 1050) as g(i) order by i")
    assert [cursor.fetchone()[1] for _ in range(3)] == ["text 1", "text 2", "text 3"]
    assert [int(row[0]) for row in cursor.fetchall()] == list(range(4, 1051))
    cursor.execute("select i from generate_series(1, 500) as g(i) where i > ? order by i", (490,))
    assert [int(row[0]) for row in cursor.fetchmany(4)] == [491, 492, 493, 494]
    cursor.close()
    connection.commit()
    # Outside of a transaction such cursors are WITH HOLD.
    connection = connect(UseDeclareFetch=1, Fetch=10)
    assert len(connection.cursor().execute("select i from generate_series(1, 95) as g(i)").fetchall()) == 95


@CLIENT.step("cursors", "large results at once")
def test_large_results(connect):
    rows = connect().cursor().execute("select i, repeat('x', i::int % 10) from generate_series(1, 50000) as g(i) order by i").fetchall()
    assert [int(row[0]) for row in rows] == list(range(1, 50001)) and rows[8][1] == "x" * 9


@CLIENT.step("transactions", "commit, rollback, and statements that fail with each of the Protocol options")
@pytest.mark.parametrize("protocol", ["7.4-0", "7.4-1", "7.4-2"])
def test_transactions(connect, tables, protocol):
    import pyodbc  # noqa: PLC0415

    connection = connect(autocommit=False, Protocol=protocol)
    cursor = connection.cursor()
    table = f"{tables}.orders"
    cursor.execute(f"insert into {table} values (1, 2)")
    connection.rollback()
    cursor.execute(f"insert into {table} values (3, 4)")
    with pytest.raises(pyodbc.Error) as error:
        cursor.execute("select * from nowhere")
    assert error.value.args[0] == "42P01" or error.value.args[0] == "42S02"
    if protocol == "7.4-2":
        # The driver has gone back to its savepoint.
        assert cursor.execute(f"select count(*) from {table}").fetchone()[0] == 1
        connection.commit()
        assert cursor.execute(f"select id from {table}").fetchall()[0][0] == 3
    elif protocol == "7.4-1":
        assert cursor.execute(f"select count(*) from {table}").fetchone()[0] == 0
    else:
        with pytest.raises(pyodbc.Error):
            cursor.execute("select 1")
    connection.rollback()
    assert cursor.execute("select 1").fetchone()[0] == 1


@CLIENT.step("errors", "SQLSTATEs, statement_timeout, SQLCancel")
def test_errors(connect):
    import pyodbc  # noqa: PLC0415

    cursor = connect().cursor()
    for statement, state in (("selec 1", "42601"), ("select 1/0", "22012"), ("select cast('x' as int)", "22P02"), ("select nofunction(1)", "42883")):
        with pytest.raises(pyodbc.Error) as error:
            cursor.execute(statement).fetchall()
        assert error.value.args[0] == state, error.value
    cursor.execute("set statement_timeout = '300ms'")
    with pytest.raises(pyodbc.Error) as error:
        cursor.execute("select count(*) from generate_series(1, 20000) as a(x), generate_series(1, 20000) as b(y), "
                                    "generate_series(1, 100) as c(z) where x * y % 7 = z")
    assert error.value.args[0] in ("57014", "HYT00")
    cursor.execute("reset statement_timeout")
    running = threading.Timer(0.3, cursor.cancel)
    running.start()
    with pytest.raises(pyodbc.Error) as error:
        cursor.execute("select count(*) from generate_series(1, 20000) as a(x), generate_series(1, 20000) as b(y), "
                       "generate_series(1, 100) as c(z) where x * y % 7 = z")
    assert error.value.args[0] in ("57014", "HY008")
    running.join()
    assert cursor.execute("select 1").fetchone()[0] == 1


@CLIENT.step("connect", "isql")
def test_isql(server, driver, schema, tmp_path):
    (tmp_path / "odbc.ini").write_text(f"[test]\nDriver = {driver}\nServername = {server.host}\nPort = {server.port}\nUserName = {server.user}\n"
                                       f"Database = {server.database}\n")
    script = f"create table {schema}.t (a int, b text)\ninsert into {schema}.t values (1, 'x'), (2, null)\nselect * from {schema}.t order by a\n"
    ran = subprocess.run(["isql", "-b", "-d,", "test"], input=script, capture_output=True, text=True, timeout=60,
                         env={**os.environ, "ODBCINI": str(tmp_path / "odbc.ini")})
    assert ran.returncode == 0 and "1,x" in ran.stdout and "2," in ran.stdout, ran.stdout + ran.stderr
