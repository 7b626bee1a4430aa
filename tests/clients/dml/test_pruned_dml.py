"""Statements that metadata answers: DELETE of whole files opens none, MERGE reads the files that keys can be in."""

import psycopg
import pytest
from outside import Outside
from shape import DELTA_COPY, DELTA_MARK, V1, V2_COPY, V2_MARK, V3_MARK

LAYOUTS = {"v1": V1, "v2_copy": V2_COPY, "v2_mark": V2_MARK, "v3_mark": V3_MARK, "delta_copy": DELTA_COPY, "delta_mark": DELTA_MARK}
every_layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def create(server, schema, layout, columns, partitioning):
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in layout.properties)
    clause = f" tblproperties ({properties})" if properties else ""
    by = f" partitioned by ({partitioning})" if partitioning else ""
    server.sql(f"create table {schema}.t ({columns}) using {layout.format}{by}{clause}")


def deleted(server, statement, *parameters) -> str:
    with server.connect() as connection:
        return connection.execute(statement, parameters or None).statusmessage


def lose_data(folder):
    """Takes the data files away: what reads one of them fails."""
    lost = [path for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts]
    for path in lost:
        path.rename(path.with_suffix(".lost"))
    return lost


def give_back(lost):
    for path in lost:
        path.with_suffix(".lost").rename(path)


@every_layout
def test_deleting_whole_files_reads_none(server, schema, layout, duck):
    create(server, schema, layout, "id bigint, p int, d date", "p, d")
    outside = Outside(server, duck, schema, "t", layout.format)
    server.sql(f"insert into {schema}.t values (1, 1, '2024-01-01'), (2, 1, '2024-01-02'), (3, 2, '2024-01-01'), (4, null, '2024-01-01'), (5, 2, null)")
    server.sql(f"insert into {schema}.t values (6, 1, '2024-01-01'), (7, 3, '2024-01-03')")
    lost = lose_data(outside.folder)
    assert len(lost) == 7
    impact = dict(line.split(": ") for line, in server.sql(f"explain (impact) delete from {schema}.t where p = 1"))
    assert (impact["Rows Deleted"], impact["Files Removed"]) == ("3", "3")
    assert deleted(server, f"delete from {schema}.t where p = 1 and d = date '2024-01-01'") == "DELETE 2"
    assert deleted(server, f"delete from {schema}.t where p = 1 and d = date '2024-01-01'") == "DELETE 0"
    assert deleted(server, f"delete from {schema}.t as x where x.p is null or x.p = %s", 3) == "DELETE 2"
    assert deleted(server, f"delete from {schema}.t where p <> 1 and d is null") == "DELETE 1"
    # A condition on another column has to look at rows.
    with pytest.raises(Exception, match="does not exist"):
        server.sql(f"delete from {schema}.t where p = 2 and id + 1 = 4")
    give_back(lost)
    assert sorted(server.sql(f"select id from {schema}.t")) == [(2,), (3,)]
    for reader, rows in outside.readers(["id"]).items():
        assert sorted(rows) == [(2,), (3,)], reader
    lose_data(outside.folder)
    versions = outside.versions()
    assert deleted(server, f"delete from {schema}.t where true") == "DELETE 2"
    assert deleted(server, f"delete from {schema}.t") == "DELETE 0"
    assert len(outside.versions() - versions) == 1, "a DELETE of nothing is no commit"
    assert server.sql(f"select * from {schema}.t") == []


def test_the_history_says_delete(server, schema):
    for layout in (V2_MARK, DELTA_MARK):
        create(server, schema, layout, "id int, p int", "p")
        server.sql(f"insert into {schema}.t values (1, 1), (2, 2)")
        server.sql(f"delete from {schema}.t where p = 2")
        operation, summary = server.sql(f"""select operation, summary['operationParameters'] from {schema}."t$snapshots" order by committed_at desc limit 1""")[0]
        assert operation.lower() == "delete"
        assert layout.format == "iceberg" or "p = 2" in summary
        server.sql(f"drop table {schema}.t")


@pytest.mark.parametrize("layout", [V2_MARK, V3_MARK, DELTA_MARK], ids=["v2", "v3", "delta"])
def test_rows_deleted_before_are_not_counted_again(server, schema, layout):
    create(server, schema, layout, "id int, p int", "p")
    server.sql(f"insert into {schema}.t select x, x % 2 from generate_series(1, 100) as g(x)")
    server.sql(f"delete from {schema}.t where id <= 10")
    assert deleted(server, f"delete from {schema}.t where p = 0") == "DELETE 45"
    assert deleted(server, f"delete from {schema}.t") == "DELETE 45"


def test_deleting_whole_files_in_a_transaction(server, schema):
    create(server, schema, V2_MARK, "id int, p int", "p")
    server.sql(f"insert into {schema}.t values (1, 1), (2, 2)")
    with server.connect() as connection, connection.transaction():
        connection.execute(f"insert into {schema}.t values (3, 1), (4, 3)")
        assert connection.execute(f"delete from {schema}.t where p = 1").statusmessage == "DELETE 2"
        assert connection.execute(f"select id from {schema}.t order by id").fetchall() == [(2,), (4,)]
    assert server.sql(f"select id from {schema}.t order by id") == [(2,), (4,)]


def files_read(server, statement) -> int:
    plan = "\n".join(line for line, in server.sql(f"explain analyze {statement}"))
    return int(plan.split("files_read=")[1].split(",")[0].split("]")[0])


PARTITIONINGS = {
    # Partitioning, key column, keys of a source, and the files of 64 that they can be in.
    "bucket, one key": ("bucket(64, id)", "id", "7", 1),
    "bucket, keys": ("bucket(64, id)", "id", "7, 7000, 70000", 3),
    "truncate": ("truncate(1000, id)", "id", "1500, 40500", 2),
    "days": ("days(ts)", "ts", "timestamp '2024-01-03 10:00:00', timestamp '2024-02-01 00:00:00'", 2),
    "days, many keys": ("days(ts)", "ts", ", ".join(f"timestamp '2024-01-{day} 00:{minute}:00'" for day in ("02", "28") for minute in range(10, 40)), 2),
}


@pytest.mark.parametrize("partitioning", PARTITIONINGS.values(), ids=PARTITIONINGS)
def test_merge_reads_the_partitions_of_its_keys(server, schema, partitioning):
    by, key, keys, most = partitioning
    create(server, schema, V2_COPY, "id bigint, ts timestamp, v int", by)
    server.sql(f"insert into {schema}.t select x * 10, to_timestamp_seconds(1704067200 + x * 900), 0 from generate_series(1, 6399) as g(x)")
    total = server.sql(f'select count(*) from {schema}."t$files"')[0][0]
    assert total >= 64
    source = " union all ".join(f"select {value} as k" for value in keys.split(", "))
    merge = f"merge into {schema}.t using ({source}) s on t.{key} = s.k when matched then update set v = 1"
    assert files_read(server, merge) <= most
    insert = merge + " when not matched then insert (id) values (-1)"
    assert files_read(server, insert) <= most
    assert server.sql(f"select count(*) from {schema}.t where v = 1 and {key} not in ({keys})") == [(0,)]


@every_layout
def test_files_whose_bounds_say_it_all_are_not_read(server, schema, layout, duck):
    create(server, schema, layout, "k bigint, d date, s text, n int, f double precision", "")
    outside = Outside(server, duck, schema, "t", layout.format)
    kept = {}
    for low in (0, 100, 200):
        known = {path for path in outside.folder.rglob("*.parquet")}
        server.sql(f"insert into {schema}.t select x, date '2024-01-01' + x::int, 's' || (x + 1000), case when x = 205 then null else x end, x "
                   f"from generate_series({low}, {low + 99}) as g(x)")
        kept[low] = [path for path in outside.folder.rglob("*.parquet") if path not in known and "_delta_log" not in path.parts]
    delete = f"delete from {schema}.t where"
    # All rows of the first file, some of the second, none of the third.
    assert files_read(server, f"{delete} k < 150") == 1
    assert sorted(server.sql(f"select k from {schema}.t")) == [(k,) for k in range(150, 300)]
    # A file of which rows were deleted before is read; one that can hold a null is.
    third = kept[200]
    for path in third:
        path.rename(path.with_suffix(".lost"))
    for condition in ("n >= 200", "f >= 200", "k + 0 >= 200", "k >= 200 and s like 's%'", "k >= 200 and k <> 250"):
        with pytest.raises(psycopg.Error, match="could not access|does not exist"):
            server.sql(f"{delete} {condition}")
    with server.connect() as connection:
        # What a transaction has written itself is no other than the rest.
        with connection.transaction(force_rollback=True):
            assert connection.execute(f"{delete} d >= date '2024-07-19' and not (s < 's1200')").statusmessage == "DELETE 100"
            assert connection.execute(f"select count(*) from {schema}.t").fetchone() == (50,)
    impact = dict(line.split(": ") for line, in server.sql(f"explain (impact) {delete} k between 200 and 1000 or k in (-1, -2)"))
    assert (impact["Rows Deleted"], impact["Files Removed"]) == ("100", "1")
    assert deleted(server, f"{delete} k between 200 and %s and 's1000' < s", 1000) == "DELETE 100"
    for reader, rows in outside.readers(["k"]).items():
        assert sorted(rows) == [(k,) for k in range(150, 200)], reader
    assert deleted(server, f"{delete} k > 0") == "DELETE 50"


def test_a_feed_has_every_row_of_files_that_go(server, schema):
    from deltalake import DeltaTable

    server.sql(f"create table {schema}.t (k int) using delta tblproperties ('delta.enableChangeDataFeed' = 'true')")
    for low in (0, 10):
        server.sql(f"insert into {schema}.t select * from generate_series({low}, {low + 9})")
    assert deleted(server, f"delete from {schema}.t where k < 15") == "DELETE 15"
    changes = DeltaTable(server.warehouse / schema / "t").load_cdf(starting_version=3, ending_version=3)
    rows = changes.read_all() if hasattr(changes, "read_all") else changes
    assert rows.num_rows == 15
