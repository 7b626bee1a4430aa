"""Data files as other writers make them: INT96 timestamps, several row groups, bloom filters."""

import datetime
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def delta_table(folder, fields: dict[str, str], *files):
    """Makes the log of a Delta table out of Parquet files in `folder`."""
    schema = {"type": "struct", "fields": [{"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in fields.items()]}
    actions = [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {"metaData": {"id": "4f1f5d0e-1111-4222-8333-444444444444", "format": {"provider": "parquet", "options": {}},
                      "schemaString": json.dumps(schema), "partitionColumns": [], "configuration": {}, "createdTime": 0}},
        *({"add": {"path": file, "partitionValues": {}, "size": (folder / file).stat().st_size, "modificationTime": 0, "dataChange": True}}
          for file in files),
    ]
    (folder / "_delta_log").mkdir()
    (folder / "_delta_log" / f"{0:020}.json").write_text("\n".join(map(json.dumps, actions)))


def test_int96_timestamps(server, schema, tmp_path):
    """Spark's older files, before and after 1970, with nanoseconds cut off; filters among them."""
    values = [datetime.datetime(1582, 10, 15), datetime.datetime(1969, 12, 31, 23, 59, 59, 999999), None,
              datetime.datetime(1970, 1, 1), datetime.datetime(2024, 2, 29, 12, 30, 15, 123456), datetime.datetime(2500, 1, 1)]
    table = pa.table({"id": pa.array(range(6), pa.int64()), "ts": pa.array(values, pa.timestamp("us", tz="UTC"))})
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True, row_group_size=2)
    assert pq.ParquetFile(tmp_path / "a.parquet").schema.column(1).physical_type == "INT96"
    delta_table(tmp_path, {"id": "long", "ts": "timestamp"}, "a.parquet")
    server.sql(f"create table {schema}.t location '{tmp_path}'")
    utc = [value and value.replace(tzinfo=datetime.timezone.utc) for value in values]
    assert server.sql(f"select id, ts from {schema}.t order by id") == list(enumerate(utc))
    assert server.sql(f"select id from {schema}.t where ts < timestamptz '1970-01-01 00:00:00+00' order by id") == [(0,), (1,)]
    assert server.sql(f"select id from {schema}.t where ts = timestamptz '2024-02-29 12:30:15.123456+00'") == [(4,)]
    assert server.sql(f"select min(ts), max(ts), count(ts) from {schema}.t") == [(utc[0], utc[5], 5)]


@pytest.mark.parametrize("rows_per_group", [7, 1000])
def test_row_groups(server, schema, duck, tmp_path, rows_per_group):
    table = pa.table({"id": pa.array(range(3000), pa.int64()), "k": [f"k{n % 11}" if n % 5 else None for n in range(3000)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=rows_per_group, write_page_index=rows_per_group == 7)
    delta_table(tmp_path, {"id": "long", "k": "string"}, "a.parquet")
    server.sql(f"create table {schema}.t location '{tmp_path}'")
    for condition in ("id = 1499", "id between 990 and 1010", "k = 'k3'", "k is null and id > 2900", "id in (0, 6, 7, 2999)"):
        query = f"select count(*), sum(id), min(k) from {{}} where {condition}"
        assert server.sql(query.format(f"{schema}.t")) == duck.execute(query.format(f"read_parquet('{tmp_path}/a.parquet')")).fetchall(), condition


def test_bloom_filters_prune(server, schema, duck, tmp_path):
    """DuckDB writes bloom filters of columns with dictionaries. Minimum and maximum say nothing here: only the filter prunes."""
    duck.execute(f"copy (select (i * 7919) % 1000003 * 2 as id, 'v' || ((i * 7919) % 1000003 * 2) as s from range(20480) r(i)) "
                 f"to '{tmp_path}/a.parquet' (format parquet, row_group_size 2048, string_dictionary_page_size_limit 10000000, "
                 "dictionary_size_limit 100000)")
    blooms = duck.execute(f"select count(*) from parquet_metadata('{tmp_path}/a.parquet') where bloom_filter_offset is not null").fetchone()[0]
    assert blooms == 20
    delta_table(tmp_path, {"id": "long", "s": "string"}, "a.parquet")
    server.sql(f"create table {schema}.t location '{tmp_path}'")
    inside = (777 * 7919) % 1000003 * 2
    for condition, count in ((f"id = {inside}", 1), (f"s = 'v{inside}'", 1), ("id = 500001", 0), ("s = 'v500001'", 0)):
        assert server.sql(f"select count(*) from {schema}.t where {condition}") == [(count,)], condition
        plan = "\n".join(row[-1] for row in server.sql(f"explain analyze select * from {schema}.t where {condition}"))
        pruned = plan.split("row_groups_pruned_bloom_filter=", 1)[1].split(",", 1)[0]
        total, matched = map(int, re.match(r"(\d+) total → (\d+) matched", pruned).groups())
        assert total - matched >= 8, (condition, pruned)
