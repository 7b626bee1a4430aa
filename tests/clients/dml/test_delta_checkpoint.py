"""Checkpoints of Delta tables, also of those whose constraints delta_kernel would not write for."""

import json

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from conftest import running
from outside import Outside, compare, multiset


def checkpoint(root, version: int) -> list[dict]:
    """Actions of a checkpoint, each with its name."""
    table = pq.read_table(root / "_delta_log" / f"{version:020}.checkpoint.parquet")
    return [{name: action for name, action in row.items() if action is not None} for row in table.to_pylist()]


def only(actions: list[dict], name: str) -> dict:
    [found] = [action[name] for action in actions if name in action]
    return found


@pytest.mark.parametrize("properties", ["", "'delta.enableDeletionVectors' = 'true', 'delta.columnMapping.mode' = 'name',",
                                        "'delta.checkpointPolicy' = 'v2', 'delta.enableRowTracking' = 'true',"],
                         ids=["writer version 3", "by features", "v2 checkpoints"])
def test_constraints_are_in_the_checkpoint(duck, tmp_path, properties):
    with running(tmp_path) as server:
        server.sql("create table t (k int, price int check (price > 0)) using delta "
                   f"tblproperties ({properties} 'delta.checkpointInterval' = '4')")
        root = server.warehouse / "public" / "t"
        for k in range(6):
            server.sql(f"insert into t values ({k}, {k + 1})")
        server.sql("update t set price = 99 where k = 3")
        server.sql("delete from t where k = 0")
        rows = server.sql("select k, price from t order by k")
        log = root / "_delta_log"
        commits = {version: [json.loads(line) for line in (log / f"{version:020}.json").read_text().splitlines()]
                   for version in range(9)}
        actions = checkpoint(root, 8)
        # What the log says, and nothing less.
        protocol, metadata = only(actions, "protocol"), only(actions, "metaData")
        logged = {**only(commits[0], "protocol"), **{k: v for c in commits.values() for a in c if "protocol" in a
                                                     for k, v in a["protocol"].items()}}
        assert {name: value for name, value in protocol.items() if value is not None} == logged
        expected = only(commits[0], "metaData")
        assert dict(metadata["configuration"]) == expected["configuration"]
        assert "delta.constraints.t_price_check" in expected["configuration"]
        assert metadata["schemaString"] == expected["schemaString"] and metadata["id"] == expected["id"]
        assert len([action for action in actions if "add" in action]) == len(DeltaTable(root).file_uris())
        hint = json.loads((log / "_last_checkpoint").read_text())
        assert (hint["version"], hint["size"]) == (8, len(actions))
        for version in range(9):
            (log / f"{version:020}.json").unlink()
    # Readers that have nothing but the checkpoint.
    with running(tmp_path) as server:
        assert server.sql("select k, price from t order by k") == rows
        for reader, theirs in Outside(server, duck, "public", "t", "delta").readers(["k", "price"]).items():
            compare(reader, multiset(theirs), multiset(rows), "from the checkpoint")
        with pytest.raises(psycopg.errors.CheckViolation):
            server.sql("insert into t values (9, -1)")
        server.sql("insert into t values (9, 1)")
        assert server.sql("select count(*) from t") == [(len(rows) + 1,)]


def test_checkpoints_of_a_table_that_deltalake_has_made(server, schema):
    root = server.data_dir / f"{schema}_theirs"
    fields = pa.schema([pa.field("id", pa.int32()), pa.field("price", pa.float64())])
    write_deltalake(root, pa.table([[1], [1.0]], schema=fields), configuration={"delta.checkpointInterval": "3"})
    DeltaTable(root).alter.add_constraint({"positive": "price > 0"})
    server.sql(f"create table {schema}.t location '{root}'")
    for k in range(2, 8):
        server.sql(f"insert into {schema}.t values ({k}, {k})")
    newest = max(int(path.name[:20]) for path in (root / "_delta_log").glob("*.checkpoint*.parquet"))
    assert newest == 6
    actions = checkpoint(root, newest)
    assert dict(only(actions, "metaData")["configuration"])["delta.constraints.positive"] == "price > 0"
    for version in range(newest):
        (root / "_delta_log" / f"{version:020}.json").unlink(missing_ok=True)
    assert sorted(DeltaTable(root).to_pyarrow_table()["id"].to_pylist()) == list(range(1, 8))
    with pytest.raises(Exception, match="(?i)invariant|constraint|check"):
        write_deltalake(root, pa.table([[8], [-1.0]], schema=fields), mode="append")
