"""psql itself, run as a user would."""

import shutil
import subprocess

import pytest

PSQL = shutil.which("psql")


@pytest.fixture(scope="module")
def shop(server):
    server.sql("create schema till")
    server.sql("create table till.orders (id bigint not null comment 'order number', total numeric(12,2), "
               "placed timestamp, primary key (id)) comment 'all orders'")
    server.sql("insert into till.orders values (1, 10.50, timestamp '2024-01-05 10:00:00'), (2, null, null)")
    server.sql("create table till.items (order_id bigint, sku text) using delta")
    return server


def psql(server, *commands: str, check: bool = True) -> str:
    arguments = [PSQL, server.dsn(), "--no-psqlrc", "--set", "ON_ERROR_STOP=1"]
    for command in commands:
        arguments += ["--command", command]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    if check:
        assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_select(shop):
    assert psql(shop, "select 1 as one, 'x' as two").split() == ["one", "|", "two", "-----+-----", "1", "|", "x",
                                                                "(1", "row)"]


def test_describe_table(shop):
    out = psql(shop, r"\d till.orders")
    assert 'Table "till.orders"' in out
    lines = [[part.strip() for part in line.split("|")] for line in out.splitlines() if "|" in line]
    types = {line[0]: (line[1], line[3]) for line in lines[1:]}
    assert types["id"] == ("bigint", "not null")
    assert types["total"] == ("numeric(12,2)", "")
    assert types["placed"][0] == "timestamp without time zone"
    assert "PRIMARY KEY" in out


def test_describe_table_verbose(shop):
    out = psql(shop, r"\d+ till.orders")
    assert "order number" in out


def test_describe_delta_table(shop):
    assert "sku" in psql(shop, r"\d till.items")


def test_list_tables(shop):
    out = psql(shop, r"\dt till.*")
    assert "orders" in out and "items" in out
    assert "all orders" in psql(shop, r"\dt+ till.*")


@pytest.mark.parametrize("command", [r"\d", r"\dt", r"\dn", r"\dn+", r"\df", r"\l", r"\d+", r"\dv", r"\dm", r"\du",
                                     r"\dT", r"\db", r"\conninfo", r"\encoding"])
def test_backslash_commands(shop, command):
    assert "ERROR" not in psql(shop, command)


def test_list_schemas(shop):
    assert "till" in psql(shop, r"\dn")


def test_list_databases(shop):
    assert "lake" in psql(shop, r"\l")


def test_error_has_position_and_sqlstate(shop):
    out = psql(shop, r"\set VERBOSITY verbose", "select * from till.nowhere", check=False)
    assert "42P01" in out and 'relation "till.nowhere" does not exist' in out


def test_syntax_error_points_at_the_place(shop):
    out = psql(shop, "selekt 1", check=False)
    assert "syntax error" in out and "LINE 1: selekt 1" in out and "^" in out


def test_copy_from_stdin(shop):
    script = "create table till.copied (a int, b text);\ncopy till.copied from stdin;\n1\tone\n2\t\\N\n\\.\n" \
             "select a, coalesce(b, 'null') from till.copied order by a;\n"
    result = subprocess.run([PSQL, shop.dsn(), "--no-psqlrc", "-At"], input=script, capture_output=True, text=True,
                            timeout=60)
    assert result.returncode == 0, result.stderr
    assert "COPY 2" in result.stdout and "1|one" in result.stdout and "2|null" in result.stdout
