"""The same table as other programs see it: pyiceberg, deltalake and DuckDB read the files themselves."""

import datetime
import pathlib
from collections import Counter

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder


def multiset(rows) -> Counter:
    """Rows for exact comparison: `1.0` is not `1`, `1.50` is not `1.5`."""
    return Counter(tuple(map(shown, row)) for row in rows)


def shown(value) -> str:
    """Instants are the same in every zone."""
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.UTC)
    return repr(value)


class Differs(AssertionError):
    """What was read, or done, is not what it must be."""


def compare(reader: str, found: Counter, expected: Counter, when: str):
    if found == expected:
        return
    extra, missing = list((found - expected).elements()), list((expected - found).elements())
    raise Differs(f"{reader} reads {found.total()} rows instead of {expected.total()} {when}\n"
                  f"  {len(extra)} too many: {extra[:5]}\n  {len(missing)} missing:  {missing[:5]}")


def of_arrow(table: pa.Table) -> list[tuple]:
    return list(zip(*(column.to_pylist() for column in table.columns))) if table.num_columns else []


class Outside:
    """One table of a running server, found without asking the server."""

    def __init__(self, server, duck, schema: str, table: str, table_format: str):
        self.server, self.duck, self.schema, self.table, self.format = server, duck, schema, table, table_format

    @property
    def folder(self) -> pathlib.Path:
        if self.format == "iceberg":
            return pathlib.Path(self.iceberg().location().removeprefix("file://"))
        return self.server.warehouse / self.schema / self.table

    def iceberg(self):
        return self.server.pyiceberg().load_table((self.schema, self.table))

    def version(self) -> int | None:
        """Current snapshot id or Delta version; None before the first snapshot."""
        if self.format == "iceberg":
            snapshot = self.iceberg().metadata.current_snapshot_id
            return None if snapshot in (None, -1) else snapshot
        return max(int(path.stem) for path in (self.folder / "_delta_log").glob("*.json"))

    def versions(self) -> set[int]:
        if self.format == "iceberg":
            return {snapshot.snapshot_id for snapshot in self.iceberg().metadata.snapshots}
        return {int(path.stem) for path in (self.folder / "_delta_log").glob("*.json")}

    def readers(self, columns: list[str]) -> dict[str, list[tuple]]:
        """What each reader of this format returns."""
        if self.format == "iceberg":
            return {"pyiceberg": self.by_pyiceberg(columns), "duckdb": self.by_duckdb_iceberg(columns)}
        return {"deltalake": self.by_deltalake(columns), "duckdb": self.by_duckdb_delta(columns)}

    def by_pyiceberg(self, columns: list[str]) -> list[tuple]:
        return of_arrow(self.iceberg().scan().to_arrow().select(columns))

    def by_duckdb_iceberg(self, columns: list[str]) -> list[tuple]:
        table = self.iceberg()
        if table.metadata.current_snapshot_id in (None, -1):
            return []
        location = table.metadata_location.removeprefix("file://")
        return self.duck.cursor().execute(f"select {', '.join(columns)} from iceberg_scan('{location}')").fetchall()

    def by_deltalake(self, columns: list[str]) -> list[tuple]:
        builder = QueryBuilder().register("found", DeltaTable(str(self.folder)))
        return of_arrow(pa.table(builder.execute(f"select {', '.join(columns)} from found").read_all()))

    def by_duckdb_delta(self, columns: list[str]) -> list[tuple]:
        return self.duck.cursor().execute(f"select {', '.join(columns)} from delta_scan('{self.folder}')").fetchall()
