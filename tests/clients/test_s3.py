"""Warehouses on S3: moto, on the loopback interface, stands for it; pyiceberg and deltalake read and write beside Auric."""

import datetime
import decimal
import re
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from conftest import running
from object_store import SECRETS, Proxy, behind, client_of, configuration, delta_options, object_store, pyiceberg, read

FORMATS = ["iceberg", "delta"]


@pytest.fixture(scope="module")
def s3():
    """Address of an S3 server with the buckets `lake` and `other`."""
    with object_store("lake", "other") as endpoint:
        client = client_of(endpoint)
        client.put_object(Bucket="other", Key="raw/a b/1.csv", Body=b"id,name\n1,one\n2,\n")
        client.put_object(Bucket="other", Key="raw/a b/2.csv", Body=b"id,name\n3,three\n")
        yield endpoint


@pytest.fixture(scope="module")
def lake(s3, tmp_path_factory):
    directory = tmp_path_factory.mktemp("s3")
    with running(directory / "data", "--config", str(configuration(directory, s3, s3))) as server:
        yield server
        assert not [line for line in server.log if any(secret in line for secret in SECRETS)]


@pytest.fixture
def schema(lake, request):
    name = re.sub(r"\W+", "_", request.node.name).strip("_").lower()
    lake.sql(f"create schema {name}")
    return name


class Forgetful(Proxy):
    """Of the first PUT of each file of metadata it forgets to tell that it succeeded."""

    forgotten: set[str] = set()

    def answer(self, status, headers, content):
        if self.command == "PUT" and status == 200 and re.search(r"metadata\.json|\.avro|_delta_log/\d+\.json", self.path) and self.path not in self.forgotten:
            self.forgotten.add(self.path)
            status, headers, content = 503, {}, b""
        super().answer(status, headers, content)


@pytest.mark.parametrize("format", FORMATS)
def test_a_commit_whose_answer_was_lost_is_its_own(s3, tmp_path, format):
    """The store did what it was asked for, and is asked again."""
    with behind(Forgetful, s3, forgotten=set()) as (endpoint, handler):
        with running(tmp_path / "data", "--config", str(configuration(tmp_path, endpoint, endpoint))) as server:
            server.sql(f"create schema forgetful_{format}")
            server.sql(f"create table forgetful_{format}.t (id int) using {format}")
            server.sql(f"insert into forgetful_{format}.t values (1), (2)")
            server.sql(f"update forgetful_{format}.t set id = 3 where id = 2")
            if format == "iceberg":
                server.sql(f"create view forgetful_{format}.v as select id from forgetful_{format}.t")
            assert server.sql(f"select id from forgetful_{format}.t order by id") == [(1,), (3,)]
        assert len(handler.forgotten) >= 3


@pytest.mark.parametrize("partitioned", ["", "partitioned by (k)"])
@pytest.mark.parametrize("format", FORMATS)
def test_tables_are_written_and_read(lake, schema, s3, format, partitioned):
    name = f"{schema}.t"
    lake.sql(f"create table {name} (id bigint, n numeric(9,2), d date, k text) using {format} {partitioned}")
    lake.sql(f"insert into {name} values (1, 1.5, '2024-02-29', 'a b/ü%41'), (2, null, null, null)")
    lake.sql(f"insert into {name} select x, x, '2024-01-01', 'k' || x % 3 from generate_series(10, 2000) as g(x)")
    expected = sorted([(1, decimal.Decimal("1.50"), datetime.date(2024, 2, 29), "a b/ü%41"), (2, None, None, None)] + [
        (x, decimal.Decimal(x), datetime.date(2024, 1, 1), f"k{x % 3}") for x in range(10, 2001)], key=repr)
    assert sorted(lake.sql(f"select id, n, d, k from {name}"), key=repr) == expected
    assert lake.sql(f"select count(*) from {name} where k = 'k1' and id < 100") == [(30,)]
    assert read(lake, s3, format, schema, "t") == expected
    lake.sql(f"drop table {name}")
    with pytest.raises(psycopg.errors.UndefinedTable):
        lake.sql(f"select * from {name}")


def test_other_writers_on_s3(lake, schema, s3):
    table = pyiceberg(lake, s3).create_table((schema, "i"), schema=pa.schema([("id", pa.int64()), ("s", pa.string())]))
    table.append(pa.table({"id": [1, 2], "s": ["a", None]}))
    location = f"s3://other/{schema}/d"
    write_deltalake(location, pa.table({"id": [2, 3], "s": ["b", "c"]}), storage_options=delta_options(s3))
    lake.sql(f"create table {schema}.d location '{location}'")
    write_deltalake(location, pa.table({"id": [4], "s": ["d"]}), storage_options=delta_options(s3), mode="append")
    lake.sql(f"insert into {schema}.d values (5, 'auric')")
    lake.sql(f"insert into {schema}.i values (5, 'auric')")
    assert sorted(lake.sql(f"select * from {schema}.i")) == [(1, "a"), (2, None), (5, "auric")]
    assert sorted(lake.sql(f"select * from {schema}.d")) == [(2, "b"), (3, "c"), (4, "d"), (5, "auric")]
    assert DeltaTable(location, storage_options=delta_options(s3)).to_pyarrow_table().num_rows == 4


def test_one_query_over_several_stores(lake, schema, s3, tmp_path):
    """Two buckets with settings of their own, and the local disk."""
    lake.sql(f"create table {schema}.a (id bigint, name text)")
    lake.sql(f"create table {schema}.b (id bigint, name text) using delta location 's3://other/{schema}/b'")
    lake.sql(f"create table {schema}.c (id bigint, name text) location '{tmp_path}/c'")
    for table, ids in (("a", (1, 2, 3)), ("b", (2, 3, 4)), ("c", (3, 4, 5))):
        lake.sql(f"insert into {schema}.{table} values " + ", ".join(f"({n}, '{table}{n}')" for n in ids))
    assert list(tmp_path.glob("c/data/*.parquet"))
    found = lake.sql(f"select a.name, b.name, c.name from {schema}.a join {schema}.b using (id) left join {schema}.c using (id) order by 1")
    assert found == [("a2", "b2", None), ("a3", "b3", "c3")]
    found = lake.sql(f"select count(*), sum(id) from (select * from {schema}.a union all select * from {schema}.b union all "
                     f"select * from {schema}.c union all select id, name from read_csv('s3://other/raw/a b/*.csv', header => true))")
    assert found == [(12, 33)]


@pytest.mark.parametrize("format", FORMATS)
def test_commits_of_two_servers_do_not_overwrite_each_other(lake, schema, s3, tmp_path, format):
    """Delta's log files are created only if they do not exist; two servers race for them. Iceberg's pointer is in one catalog."""
    name = f"{schema}.t"
    lake.sql(f"create table {name} (id bigint) using {format}")
    others = [lake]
    with running(tmp_path / "data", "--config", str(configuration(tmp_path, s3, s3))) as second:
        if format == "delta":
            second.sql(f"create schema {schema}")
            second.sql(f"create table {name} location 's3://lake/ware house/{schema}/t'")
            others.append(second)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: others[n % len(others)].sql(f"insert into {name} values ({n})"), range(20)))
        for server in others:
            assert server.sql(f"select count(*), count(distinct id) from {name}") == [(20, 20)]
    assert [row[0] for row in sorted(read(lake, s3, format, schema, "t"))] == list(range(20))
    if format == "delta":
        assert DeltaTable(f"s3://lake/ware house/{schema}/t", storage_options=delta_options(s3)).version() == 20


def test_a_failing_store_is_an_error_of_its_table(lake, schema, s3, tmp_path):
    """Nothing listens where the bucket `other` should be: no secrets in the error, and the rest goes on."""
    with running(tmp_path / "data", "--config", str(configuration(tmp_path, s3, "http://127.0.0.1:1"))) as server:
        server.sql("create table t (id bigint) using delta location 's3://lake/failing/t'")
        server.sql("insert into t values (1)")
        with server.connect() as connection:
            for statement in ("create table o location 's3://other/x'", "select * from read_csv('s3://other/raw/1.csv')",
                              "create table o (id int) using delta location 's3://other/x'"):
                with pytest.raises(psycopg.Error) as error:
                    connection.execute(statement)
                shown = f"{error.value} {error.value.diag.message_detail} {error.value.diag.message_hint}"
                assert error.value.sqlstate == "58030" and "s3://other/" in shown
                assert not [secret for secret in SECRETS if secret in shown]
            assert connection.execute("select * from t").fetchall() == [(1,)]
            with pytest.raises(psycopg.errors.Error, match="s3://nowhere/x"):
                connection.execute("create table n location 's3://nowhere/x'")
            settings = connection.execute("show all").fetchall()
        assert not [row for row in settings if any(secret in str(row) for secret in SECRETS)]
    log = "".join(server.log)
    assert "DEBUG" in log or "debug" in log, "the log is not as detailed as the test needs it"
    assert not [secret for secret in SECRETS if secret in log]
