"""Delta row tracking: whatever happens to a row, its id stays; read here by the protocol's words alone, from the
log and the Parquet files."""

import json
import pathlib
import struct
import urllib.parse
import uuid

import psycopg
import pyarrow.parquet as pq
import pytest
from pyroaring import BitMap64

from outside import Outside, compare, multiset

Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
ROW_ID = "delta.rowTracking.materializedRowIdColumnName"
COMMIT_VERSION = "delta.rowTracking.materializedRowCommitVersionColumnName"


def z85(text: str) -> bytes:
    numbers = (text[at:at + 5] for at in range(0, len(text), 5))
    return b"".join(struct.pack(">I", sum(Z85.index(c) * 85**(4 - i) for i, c in enumerate(five))) for five in numbers)


class Table:
    """A table's log, replayed, and its files."""

    def __init__(self, root: pathlib.Path):
        self.root, self.files, self.commits = root, {}, []
        self.configuration, self.schema, self.high_water_mark = {}, [], -1
        for path in sorted((root / "_delta_log").glob("*.json")):
            actions = [json.loads(line) for line in path.read_text().splitlines()]
            self.commits.append(actions)
            # What a commit removes was there before it.
            for action in sorted(actions, key=lambda action: "add" in action):
                self.apply(action)

    def apply(self, action: dict):
        if metadata := action.get("metaData"):
            self.configuration, self.schema = metadata["configuration"], json.loads(metadata["schemaString"])["fields"]
            self.partitioned_by = metadata["partitionColumns"]
        if domain := action.get("domainMetadata"):
            assert domain["domain"] == "delta.rowTracking"
            mark = json.loads(domain["configuration"])["rowIdHighWaterMark"]
            assert mark > self.high_water_mark
            self.high_water_mark = mark
        if remove := action.get("remove"):
            gone = self.files.pop(remove["path"])
            assert [gone.get(key) for key in ("baseRowId", "defaultRowCommitVersion", "deletionVector")] == \
                [remove.get(key) for key in ("baseRowId", "defaultRowCommitVersion", "deletionVector")]
        if add := action.get("add"):
            self.files[add["path"]] = add

    def vector(self, add: dict) -> BitMap64:
        if (found := add.get("deletionVector")) is None:
            return BitMap64()
        stored, where = found["storageType"], found["pathOrInlineDv"]
        if stored == "i":
            data = z85(where)
        else:
            assert stored == "u"
            name = f"deletion_vector_{uuid.UUID(bytes=z85(where[-20:]))}.bin"
            data = (self.root / where[:-20] / name).read_bytes()[found["offset"]:]
            data = data[4:4 + struct.unpack(">I", data[:4])[0]]
        assert struct.unpack("<I", data[:4])[0] == 1681511377
        vector = BitMap64.deserialize(data[4:])
        assert len(vector) == found["cardinality"]
        return vector

    def lineage(self) -> dict[int, tuple[int, int]]:
        """Row id and commit version of each live row, by the value of its column k."""
        k = next(field for field in self.schema if field["name"] == "k")
        k = k["metadata"].get("delta.columnMapping.physicalName", "k")
        found = {}
        for add in self.files.values():
            rows = pq.read_table(self.root / urllib.parse.unquote(add["path"])).to_pydict()
            unknown = [None] * len(rows[k])
            ids, versions = (rows.get(self.configuration[key], unknown) for key in (ROW_ID, COMMIT_VERSION))
            assert json.loads(add["stats"])["numRecords"] == len(unknown)
            for position in sorted(set(range(len(unknown))) - set(self.vector(add))):
                row_id, version = ids[position], versions[position]
                row_id = add["baseRowId"] + position if row_id is None else row_id
                version = add["defaultRowCommitVersion"] if version is None else version
                assert rows[k][position] not in found
                found[rows[k][position]] = (row_id, version)
        ids = [row_id for row_id, _ in found.values()]
        assert len(ids) == len(set(ids)) and all(0 <= row_id <= self.high_water_mark for row_id in ids)
        return found


class History:
    """Runs statements and sees to it that each changes the lineage of the rows that it changes, and of no others."""

    def __init__(self, server, duck, schema: str):
        self.server, self.root = server, server.warehouse / schema / "t"
        self.table = f"{schema}.t"
        self.outside = Outside(server, duck, schema, "t", "delta")
        self.known: dict[int, tuple[int, int]] = {}
        self.used: set[int] = set()

    def maps_partitions(self, table: Table) -> bool:
        """DuckDB reads null in partition columns of tables with column mapping."""
        return bool(table.partitioned_by) and "delta.columnMapping.mode" in table.configuration

    def run(self, *statements: str, changed=(), new=(), gone=(), moved=()):
        """`changed`, `new`, `gone`: values of k. `moved`: k before and after."""
        with self.server.connect(autocommit=len(statements) == 1) as connection:
            for statement in statements:
                connection.execute(statement.format(t=self.table))
            connection.commit()
        table = Table(self.root)
        version, found = len(table.commits) - 1, table.lineage()
        expected = {k: lineage for k, lineage in self.known.items() if k not in gone}
        for before, after in moved:
            expected[after] = (expected.pop(before)[0], version)
        expected |= {k: (expected[k][0], version) for k in changed}
        assert {k: lineage for k, lineage in found.items() if k not in new} == expected
        assert set(found) - set(expected) == set(new)
        for k in new:
            assert found[k][0] not in self.used and found[k][1] == version
        self.known, self.used = found, self.used | {row_id for row_id, _ in found.values()}
        info = table.commits[-1][0]["commitInfo"]
        assert info["tags"] == {"delta.rowTracking.preserved": "true"}
        names = ["k", "v", "p"]
        rows = multiset(self.server.sql(f"select k, v, p from {self.table}"))
        for reader, theirs in self.outside.readers(names).items():
            if reader != "duckdb" or not self.maps_partitions(table):
                compare(reader, multiset(theirs), rows, f"after {statements}")


@pytest.mark.parametrize("properties", [
    {"delta.enableDeletionVectors": "false"},
    {"delta.enableDeletionVectors": "true"},
    {"delta.enableDeletionVectors": "false", "delta.columnMapping.mode": "name"},
    {"delta.enableDeletionVectors": "true", "delta.columnMapping.mode": "id"},
    {"delta.enableDeletionVectors": "false", "delta.enableChangeDataFeed": "true"},
], ids=lambda properties: " ".join(f"{key.removeprefix('delta.')}={value}" for key, value in properties.items()))
@pytest.mark.parametrize("partitioning", ["", "partitioned by (p)"])
def test_ids_stay(server, duck, schema, properties, partitioning):
    properties = {**properties, "delta.enableRowTracking": "true"}
    pairs = ", ".join(f"'{key}' = '{value}'" for key, value in properties.items())
    history = History(server, duck, schema)
    server.sql(f"create table {history.table} (k int, v text, p int) using delta {partitioning} tblproperties ({pairs})")
    run = history.run
    run("insert into {t} select i, 'v' || i, i % 2 from generate_series(1, 10) i", new=range(1, 11))
    run("update {t} set v = 'new' where k in (2, 3)", changed=(2, 3))
    run("update {t} set v = v || '!' where k in (3, 4)", changed=(3, 4))
    run("delete from {t} where k = 1", gone=(1,))
    run("merge into {t} using (values (2), (5), (6), (11), (12)) s (k) on {t}.k = s.k when matched and s.k = 5 then delete "
        "when matched then update set v = 'merged', p = {t}.p + 1 when not matched then insert values (s.k, 'in', 1)",
        changed=(2, 6), new=(11, 12), gone=(5,))
    run("update {t} set k = k + 100 where k in (7, 12)", moved=((7, 107), (12, 112)))
    # What a block inserts and then changes has no id before it ends.
    run("insert into {t} values (20, 'a', 1), (21, 'b', 0)", "update {t} set v = 'z' where k in (8, 20)",
        "delete from {t} where k = 9", "update {t} set v = 'zz' where k in (8, 10)", changed=(8, 10), new=(20, 21), gone=(9,))
    if "delta.enableChangeDataFeed" not in properties:
        run("insert into {t} replace where k > 100 values (200, 'r', 0)", new=(200,), gone=(107, 112))
    run("update {t} set v = 'all'", changed=sorted(history.known))
    run("insert overwrite {t} select k, v, p from {t} where k < 5", new=sorted(k for k in history.known if k < 5), gone=sorted(history.known)) \
        if not partitioning else None
    assert history.known


@pytest.mark.parametrize("vectors", ["false", "true"])
def test_ids_stay_where_row_groups_are_taken_over(server, duck, schema, vectors):
    history = History(server, duck, schema)
    run = history.run
    server.sql(f"create table {history.table} (k int, v text, p int) using delta tblproperties ('delta.enableRowTracking' = 'true', "
               f"'delta.enableDeletionVectors' = '{vectors}', 'write.parquet.row-group-limit' = '100')")
    run("insert into {t} select i, 'v' || i, 1 from generate_series(1, 1000) i", new=range(1, 1001))
    run("update {t} set v = 'new' where k > 250", changed=range(251, 1001))
    run("update {t} set p = 5 where k > 200 and k % 5 <> 0", changed=[k for k in range(201, 1001) if k % 5])
    run("delete from {t} where k % 10 = 3", gone=range(3, 1001, 10))
    run("merge into {t} using (select k from {t} where k between 300 and 700) s on {t}.k = s.k when matched and s.k % 2 = 0 then delete "
        "when matched then update set v = 'odd'", changed=[k for k in range(301, 700, 2) if k % 10 != 3], gone=range(300, 701, 2))
    run("update {t} set v = 'all'", changed=sorted(history.known))
    run("insert into {t} values (2000, 'a', 1)", "update {t} set v = 'z' where k < 250 or k = 2000",
        changed=[k for k in history.known if k < 250], new=(2000,))


def test_ids_stay_when_writers_meet(server, duck, schema):
    """A statement is committed on top of another one: both keep the ids of their rows."""
    history = History(server, duck, schema)
    server.sql(f"create table {history.table} (k int, v text, p int) using delta partitioned by (p) "
               "tblproperties ('delta.enableRowTracking' = 'true', 'delta.enableDeletionVectors' = 'false')")
    history.run("insert into {t} select i, 'v', i % 2 from generate_series(1, 8) i", new=range(1, 9))
    before = history.known
    with server.connect(autocommit=False) as one, server.connect(autocommit=False) as other:
        one.execute(f"update {history.table} set v = 'one' where p = 0 and k < 5")
        other.execute(f"update {history.table} set v = 'other' where p = 1 and k > 4")
        other.commit()
        one.commit()
    after = Table(history.root).lineage()
    assert {k: row_id for k, (row_id, _) in after.items()} == {k: row_id for k, (row_id, _) in before.items()}
    assert {k: version for k, (_, version) in after.items()} == {1: 1, 2: 3, 3: 1, 4: 3, 5: 2, 6: 1, 7: 2, 8: 1}


def test_ids_without_a_place_are_not_lost(server, schema):
    """A table that does not say where its files keep ids: what would move rows is refused, all else works."""
    server.sql(f"create table {schema}.t (k int) using delta "
               "tblproperties ('delta.enableRowTracking' = 'true', 'delta.enableDeletionVectors' = 'true')")
    log = server.warehouse / schema / "t" / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "metaData" in action:
            del action["metaData"]["configuration"][ROW_ID]
    server.sql(f"drop table {schema}.t")
    root = server.data_dir / f"{schema}_unnamed"
    (root / "_delta_log").mkdir(parents=True)
    (root / "_delta_log" / log.name).write_text("".join(json.dumps(action) + "\n" for action in actions))
    server.sql(f"create table {schema}.u location '{root}'")
    server.sql(f"insert into {schema}.u select * from generate_series(1, 9)")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="row tracking"):
        server.sql(f"update {schema}.u set k = 1 where k = 2")
    server.sql(f"delete from {schema}.u where k = 2")
    assert server.sql(f"select count(*) from {schema}.u") == [(8,)]
