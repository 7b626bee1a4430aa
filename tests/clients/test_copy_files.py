"""COPY … FROM files on the server: text, CSV, JSON and Parquet, one commit each."""

import datetime

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

FORMATS = ("iceberg", "delta")
ROWS = [(1, "a", datetime.date(2024, 2, 29)), (2, None, None), (3, 'say "x", y', datetime.date(1969, 12, 31))]


def copy(server, table: str, location, options: str) -> int:
    with server.connect() as connection:
        return connection.execute(f"copy {table} from '{location}' ({options})").rowcount


@pytest.fixture(params=FORMATS)
def table(request, server, schema) -> str:
    server.sql(f"create table {schema}.t_{request.param} (id int not null, word text, day date) using {request.param}")
    return f"{schema}.t_{request.param}"


def rows(server, table: str) -> list[tuple]:
    return server.sql(f"select id, word, day from {table} order by id")


def test_csv_files_of_a_glob_each_with_a_header(server, table, tmp_path):
    (tmp_path / "1.csv").write_text("id,word,day\n1,a,2024-02-29\n2,,\n")
    (tmp_path / "2.csv").write_text('id,word,day\n3,"say ""x"", y",1969-12-31\n')
    assert copy(server, table, tmp_path / "*.csv", "format csv, header match") == 3
    assert rows(server, table) == ROWS
    (log,) = server.sql(f'select count(*) from "{table.split(".")[0]}"."{table.split(".")[1]}$snapshots"')
    assert log[0] == (1 if "iceberg" in table else 2), "one commit, and that of CREATE TABLE in Delta's log"


def test_text(server, table, tmp_path):
    (tmp_path / "t.txt").write_text('1\ta\t2024-02-29\n2\t\\N\t\\N\n3\tsay "x", y\t1969-12-31\n')
    assert copy(server, table, f"file://{tmp_path}/t.txt", "format text") == 3
    assert rows(server, table) == ROWS


def test_parquet_by_name_with_casts(server, table, tmp_path):
    ids, words, days = zip(*ROWS)
    data = {"day": pa.array(days), "id": pa.array(ids, pa.int64()), "word": pa.array(words)}
    pq.write_table(pa.table(data), tmp_path / "t.parquet")
    assert copy(server, table, tmp_path / "t.parquet", "format parquet") == 3
    assert rows(server, table) == ROWS


def test_json_by_name_into_some_columns(server, table, tmp_path):
    (tmp_path / "t.json").write_text('{"word": "a", "id": 1}\n{"id": 2, "word": null}\n')
    assert copy(server, f"{table} (id, word)", tmp_path / "t.json", "format json") == 2
    assert rows(server, table) == [(1, "a", None), (2, None, None)]


@pytest.mark.parametrize("name, content, options, sqlstate, said", [
    ("bad.csv", "1,a,2024-02-29\n2,b,never\n", "format csv", "22007", "line 2"),
    ("few.csv", "1,a\n", "format csv", "22P04", "day"),
    ("null.csv", ",a,2024-02-29\n", "format csv", "23502", "id"),
    ("other.json", '{"id": 1, "word": "a", "day": null, "late": 1}\n', "format json", "22P04", "late"),
    ("missing.json", '{"id": 1, "word": "a"}\n', "format json", "22P04", "day"),
    ("no.parquet", "no Parquet", "format parquet", None, ""),
    ("no.bin", "PGCOPY", "format binary", "0A000", ""),
    ("t.json", '{"id": 1}\n', "format json, delimiter ';'", "42601", ""),
])
def test_a_bad_file_leaves_nothing(server, table, tmp_path, name, content, options, sqlstate, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(psycopg.Error) as failure:
        copy(server, table, tmp_path / name, options)
    if sqlstate:
        assert failure.value.sqlstate == sqlstate
    assert said in f"{failure.value.diag.message_primary} {failure.value.diag.message_detail}"
    assert rows(server, table) == []


def test_a_file_that_is_not_there(server, table, tmp_path):
    for options in ("format csv", "format parquet"):
        with pytest.raises(psycopg.Error) as failure:
            copy(server, table, tmp_path / "nowhere", options)
        assert failure.value.sqlstate == "58P01"


def test_formats_of_files_are_not_for_clients(server, table):
    for statement in (f"copy {table} from stdin (format parquet)", f"copy {table} to stdout (format json)"):
        with server.connect() as connection, pytest.raises(psycopg.Error) as failure:
            connection.execute(statement)
        assert failure.value.sqlstate == "0A000"


def test_in_a_transaction(server, table, tmp_path):
    (tmp_path / "t.csv").write_text("1,a,\n")
    with server.connect() as connection:
        connection.execute("begin")
        connection.execute(f"copy {table} from '{tmp_path}/t.csv' (format csv)")
        assert connection.execute(f"select count(*) from {table}").fetchone() == (1,)
        connection.execute("rollback")
    assert rows(server, table) == []


@pytest.mark.parametrize("function", ["read_csv", "read_json", "read_parquet", "copy"])
def test_files_that_arrive_later_are_seen(server, table, tmp_path, function):
    def arrive(name: str, *ids: int):
        if function == "read_parquet":
            pq.write_table(pa.table({"id": pa.array(ids, pa.int32())}), tmp_path / name)
        elif function == "read_json":
            (tmp_path / name).write_text("".join(f'{{"id": {n}}}\n' for n in ids))
        else:
            (tmp_path / name).write_text("".join(f"{line}\n" for line in ("id", *ids)))

    def ids() -> list[int]:
        if function != "copy":
            return [row[0] for row in server.sql(f"select id from {function}('{tmp_path}/part-*') order by id")]
        server.sql(f"truncate {table}")
        server.sql(f"copy {table} (id) from '{tmp_path}/part-*' (format csv, header)")
        return [row[0] for row in rows(server, table)]

    arrive("part-1", 1)
    assert ids() == [1]
    arrive("part-2", 2, 3)
    assert ids() == [1, 2, 3]
    arrive("part-1", 4, 5, 6)
    assert ids() == [2, 3, 4, 5, 6]
    (tmp_path / "part-2").unlink()
    assert ids() == [4, 5, 6]
