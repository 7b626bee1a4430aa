"""Row lineage of Iceberg tables: whatever happens to a row, its id stays, and the commit that changed it last is known; read here
by the words of the specification alone, from manifests and Parquet files."""

import pathlib

import pyarrow.parquet as pq
import pytest
from outside import Outside, compare, multiset
from shape import V3_COPY, V3_MARK

ROWS = 1000


class History:
    """Runs statements and sees to it that each changes the lineage of the rows that it changes, and of no others."""

    def __init__(self, server, duck, schema: str):
        self.server, self.table = server, f"{schema}.t"
        self.outside = Outside(server, duck, schema, "t", "iceberg")
        self.known: dict[int, tuple[int, int]] = {}
        self.used: set[int] = set()
        self.number = 0

    def lineage(self) -> dict[int, tuple[int, int]]:
        """Row id and sequence number of each live row, by its k, which nothing changes: of two rows the later one lives."""
        table = self.outside.iceberg()
        entries = [entry for manifest in table.current_snapshot().manifests(table.io)
                   for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True) if entry.data_file.content.value == 0]
        first = dict(self.server.sql(f'select file_path, first_row_id from {self.table.split(".")[0]}."t$files"'))
        found = {}
        for entry in sorted(entries, key=lambda entry: entry.sequence_number):
            path = entry.data_file.file_path
            rows = pq.read_table(pathlib.Path(path.removeprefix("file://"))).to_pydict()
            unknown = [None] * len(rows["k"])
            ids, numbers = rows.get("_row_id", unknown), rows.get("_last_updated_sequence_number", unknown)
            for position, k in enumerate(rows["k"]):
                row_id = first[path] + position if ids[position] is None else ids[position]
                found[k] = (row_id, entry.sequence_number if numbers[position] is None else numbers[position])
        found = {k: found[k] for (k,) in self.server.sql(f"select k from {self.table}")}
        ids = [row_id for row_id, _ in found.values()]
        assert len(ids) == len(set(ids)) and all(0 <= row_id < table.metadata.next_row_id for row_id in ids)
        return found

    def run(self, *statements: str, changed=(), new=(), gone=()):
        """`changed`, `new`, `gone`: values of k."""
        with self.server.connect(autocommit=len(statements) == 1) as connection:
            for statement in statements:
                connection.execute(statement.format(t=self.table))
            connection.commit()
        found, number = self.lineage(), self.outside.iceberg().metadata.last_sequence_number
        expected = {k: lineage for k, lineage in self.known.items() if k not in gone}
        numbers, self.number = range(self.number + 1, number + 1), number
        for k in changed:
            row_id, last = found[k]
            assert (row_id, last in numbers) == (expected[k][0], True)
            expected[k] = found[k]
        assert {k: lineage for k, lineage in found.items() if k not in new} == expected
        assert set(found) - set(expected) == set(new)
        for k in new:
            assert found[k][0] not in self.used and found[k][1] in numbers
        self.known, self.used = found, self.used | {row_id for row_id, _ in found.values()}
        rows = multiset(self.server.sql(f"select k, v, p from {self.table}"))
        compare("pyiceberg", multiset(self.outside.by_pyiceberg(["k", "v", "p"])), rows, f"after {statements}")


@pytest.mark.parametrize("layout", [V3_COPY, V3_MARK], ids=["copy", "mark"])
@pytest.mark.parametrize("by", ["", "partitioned by (p)", "sorted by (v)"])
def test_ids_stay(server, duck, schema, layout, by):
    properties = ", ".join(f"'{key}' = '{value}'" for key, value in (*layout.properties, ("write.parquet.row-group-limit", "100")))
    history = History(server, duck, schema)
    server.sql(f"create table {history.table} (k int, v text, p int) using iceberg {by} tblproperties ({properties})")
    run = history.run
    run(f"insert into {{t}} select i, 'v' || i, i % 2 from generate_series(1, {ROWS}) i", new=range(1, ROWS + 1))
    run("update {t} set v = 'new' where k in (2, 3)", changed=(2, 3))
    # Most of their row groups, of new rows, and of rows that have moved.
    run("update {t} set v = v || '!' where k between 150 and 480", changed=range(150, 481))
    run("update {t} set p = 5 where k between 400 and 700 and k % 5 <> 0", changed=[k for k in range(400, 701) if k % 5])
    run("delete from {t} where k % 10 = 3", gone=range(3, ROWS + 1, 10))
    left = [k for k in range(1, ROWS + 1) if k % 10 != 3]
    run("merge into {t} using (select k from {t} where k > 600 union all select 2000) s on {t}.k = s.k when matched and s.k % 4 = 0 then delete "
        "when matched and s.k % 4 = 1 then update set v = 'merged', p = {t}.p + 1 when not matched then insert values (s.k, 'in', 1)",
        changed=[k for k in left if k > 600 and k % 4 == 1], new=(2000,), gone=[k for k in left if k > 600 and k % 4 == 0])
    run("merge into {t} using (select k from {t} where k > 300) s on {t}.k = s.k when matched and s.k % 7 = 0 then delete "
        "when matched then update set v = 'merged again'", changed=[k for k in history.known if k > 300 and k % 7],
        gone=[k for k in history.known if k > 300 and k % 7 == 0])
    run("update {t} set v = 'all'", changed=list(history.known))
    # What a block inserts and then changes has no id before it ends.
    run("insert into {t} select i, 'a', 1 from generate_series(3001, 3200) i", "update {t} set v = 'z' where k between 100 and 120 or k > 3100",
        "delete from {t} where k = 3150", "update {t} set v = 'zz' where k in (105, 3151)",
        changed=[k for k in history.known if 100 <= k <= 120], new=[k for k in range(3001, 3201) if k != 3150])
