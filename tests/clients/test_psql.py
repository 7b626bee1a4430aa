"""psql itself, run as a user would."""

import os
import shutil
import subprocess

import pytest

from client_matrix import Client

PSQL = shutil.which("psql")
CLIENT = Client("psql", "15", "Debian's `postgresql-client`.")


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


@CLIENT.step("queries", "SELECT; results as tables")
def test_select(shop):
    assert psql(shop, "select 1 as one, 'x' as two").split() == ["one", "|", "two", "-----+-----", "1", "|", "x",
                                                                "(1", "row)"]


@CLIENT.step("introspection", "`\\d` of a table: types, NOT NULL, primary key")
def test_describe_table(shop):
    out = psql(shop, r"\d till.orders")
    assert 'Table "till.orders"' in out
    lines = [[part.strip() for part in line.split("|")] for line in out.splitlines() if "|" in line]
    types = {line[0]: (line[1], line[3]) for line in lines[1:]}
    assert types["id"] == ("bigint", "not null")
    assert types["total"] == ("numeric(12,2)", "")
    assert types["placed"][0] == "timestamp without time zone"
    assert "PRIMARY KEY" in out


@CLIENT.step("introspection", "`\\d`: foreign keys of a table and to it")
def test_describe_foreign_keys(shop):
    shop.sql("create table till.lines (order_id bigint references till.orders on delete cascade, sku text)")
    try:
        own, other = psql(shop, r"\d till.lines"), psql(shop, r"\d till.orders")
    finally:
        shop.sql("drop table till.lines")
    key = "\"lines_order_id_fkey\" FOREIGN KEY (order_id) REFERENCES till.orders(id) ON DELETE CASCADE"
    assert f"Foreign-key constraints:\n    {key}" in own and "Referenced by:" not in own
    assert f"Referenced by:\n    TABLE \"till.lines\" CONSTRAINT {key}" in other
    assert "Referenced by:" not in psql(shop, r"\d till.orders")


@CLIENT.step("introspection", "`\\d+`: comments of columns")
def test_describe_table_verbose(shop):
    out = psql(shop, r"\d+ till.orders")
    assert "order number" in out


@CLIENT.step("introspection", "`\\d` of a Delta table")
def test_describe_delta_table(shop):
    assert "sku" in psql(shop, r"\d till.items")


@CLIENT.step("introspection", "`\\dt`, `\\dt+` with a pattern")
def test_list_tables(shop):
    out = psql(shop, r"\dt till.*")
    assert "orders" in out and "items" in out
    assert "all orders" in psql(shop, r"\dt+ till.*")


@pytest.mark.parametrize("command", [r"\d", r"\dt", r"\dn", r"\dn+", r"\df", r"\l", r"\d+", r"\dv", r"\dm", r"\du",
                                     r"\dT", r"\db", r"\conninfo", r"\encoding"])
@CLIENT.step("introspection", "views, materialized views, functions, types, roles, tablespaces; `\\conninfo`, `\\encoding`")
def test_backslash_commands(shop, command):
    assert "ERROR" not in psql(shop, command)


@CLIENT.step("introspection", "`\\dn`: schemas")
def test_list_schemas(shop):
    assert "till" in psql(shop, r"\dn")


@CLIENT.step("introspection", "`\\l`: databases")
def test_list_databases(shop):
    assert "lake" in psql(shop, r"\l")


@CLIENT.step("errors", "SQLSTATE and message, with `VERBOSITY verbose`")
def test_error_has_position_and_sqlstate(shop):
    out = psql(shop, r"\set VERBOSITY verbose", "select * from till.nowhere", check=False)
    assert "42P01" in out and 'relation "till.nowhere" does not exist' in out


@CLIENT.step("errors", "the place of a syntax error")
def test_syntax_error_points_at_the_place(shop):
    out = psql(shop, "selekt 1", check=False)
    assert "syntax error" in out and "LINE 1: selekt 1" in out and "^" in out


@CLIENT.step("copy", "`COPY … FROM STDIN` in a script")
def test_copy_from_stdin(shop):
    script = "create table till.copied (a int, b text);\ncopy till.copied from stdin;\n1\tone\n2\t\\N\n\\.\n" \
             "select a, coalesce(b, 'null') from till.copied order by a;\n"
    result = subprocess.run([PSQL, shop.dsn(), "--no-psqlrc", "-At"], input=script, capture_output=True, text=True,
                            timeout=60)
    assert result.returncode == 0, result.stderr
    assert "COPY 2" in result.stdout and "1|one" in result.stdout and "2|null" in result.stdout


@CLIENT.step("copy", r"`\copy` to a file and from it")
def test_copy_to_a_file_and_back(shop, tmp_path):
    path = tmp_path / "rows.csv"
    out = psql(shop, f"\\copy (select i, 'text ' || i as t from generate_series(1, 3) as g(i)) to '{path}' csv header",
               "create table till.back (i int, t text)", f"\\copy till.back from '{path}' csv header",
               "select string_agg(t, ', ' order by i) as all_of from till.back")
    assert path.read_text().splitlines()[0] == "i,t"
    assert out.count("COPY 3") == 2 and "text 1, text 2, text 3" in out


@CLIENT.step("cursors", "`FETCH_COUNT`: results by a cursor")
def test_fetch_count(shop):
    out = psql(shop, r"\set FETCH_COUNT 2", r"\pset tuples_only on", r"\pset format unaligned",
               "select i from generate_series(1, 5) as g(i) order by i")
    assert out.split()[-5:] == ["1", "2", "3", "4", "5"]


@CLIENT.step("queries", r"`\gdesc`: columns of a query that does not run")
def test_gdesc(shop):
    result = subprocess.run([PSQL, shop.dsn(), "--no-psqlrc", "-At"], input="select id, total, 1 / 0 as never from till.orders \\gdesc\n",
                            capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines() == ["id|bigint", "total|numeric(12,2)", "never|integer"], result.stderr


@CLIENT.step("transactions", "`ON_ERROR_ROLLBACK`: a savepoint around every statement")
def test_on_error_rollback(shop):
    script = "\\set ON_ERROR_ROLLBACK on\ncreate table till.kept (a int);\nbegin;\ninsert into till.kept values (1);\n" \
             "select 1 / 0;\ninsert into till.kept values (2);\ncommit;\nselect sum(a) from till.kept;\n"
    result = subprocess.run([PSQL, shop.dsn(), "--no-psqlrc", "-At"], input=script, capture_output=True, text=True, timeout=60)
    assert "division by zero" in result.stderr and result.stdout.split()[-1] == "3", result.stdout + result.stderr


@CLIENT.step("connect", "`service` names, `PGOPTIONS`, `application_name`")
def test_ways_to_connect(shop, tmp_path):
    (tmp_path / "services").write_text(f"[lakehouse]\nhost={shop.host}\nport={shop.port}\nuser={shop.user}\ndbname={shop.database}\n")
    environment = {**os.environ, "PGSERVICEFILE": str(tmp_path / "services"), "PGOPTIONS": "-c search_path=till", "PGAPPNAME": "a shell"}
    result = subprocess.run([PSQL, "service=lakehouse", "--no-psqlrc", "-At", "-c", "show application_name", "-c", "select count(*) from orders"],
                            env=environment, capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines() == ["a shell", "2"], result.stderr
