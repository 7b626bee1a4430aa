"""The engines of the row-level bench: each does the same to a `lineitem` of its own.

Every copy begins with the very same Parquet files: those that Auric wrote, hard-linked for the others."""

import pathlib
import shutil

import psycopg

KEYS = "t.l_orderkey = s.l_orderkey and t.l_linenumber = s.l_linenumber"
SET = "l_comment = 'changed by the bench'"


class Memory:
    """Peak resident memory of a process since `reset`, by the kernel's count."""

    def __init__(self, pid: int):
        self.folder = pathlib.Path(f"/proc/{pid}")

    def reset(self):
        (self.folder / "clear_refs").write_text("5")

    def peak_mib(self) -> float:
        line = next(line for line in (self.folder / "status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


class AuricTable:
    """A table of the server, over the wire."""

    def __init__(self, dsn: str, name: str, pid: int, files):
        self.connection, self.name, self.memory, self.files = psycopg.connect(dsn, autocommit=True), name, Memory(pid), files

    def merge(self, source: pathlib.Path):
        self.connection.execute(f"merge into {self.name} t using (select * from read_parquet('{source}')) s on {KEYS} "
                                "when matched then update set * when not matched then insert *")

    def update(self, where: str):
        self.connection.execute(f"update {self.name} set {SET} where {where}")

    def delete(self, where: str):
        self.connection.execute(f"delete from {self.name} where {where}")

    def overwrite(self, partition: str, source: pathlib.Path):
        self.connection.execute(f"insert overwrite table {self.name} partition (ship_period = '{partition}') select * from read_parquet('{source}')")


class DeltalakeTable:
    """The Python package deltalake, in this process."""

    memory = None

    def __init__(self, path: pathlib.Path):
        self.path = path

    def table(self):
        from deltalake import DeltaTable

        return DeltaTable(str(self.path))

    def files(self) -> dict[str, int]:
        return delta_files(self.path)

    def merge(self, source: pathlib.Path):
        import pyarrow.parquet as pq

        (self.table().merge(pq.read_table(source), KEYS, source_alias="s", target_alias="t")
         .when_matched_update_all().when_not_matched_insert_all().execute())

    def update(self, where: str):
        name, value = SET.split(" = ")
        self.table().update(predicate=where, updates={name: value})

    def delete(self, where: str):
        self.table().delete(where)

    def overwrite(self, partition: str, source: pathlib.Path):
        import pyarrow as pa
        import pyarrow.parquet as pq
        from deltalake import write_deltalake

        rows = pq.read_table(source)
        rows = rows.append_column("ship_period", pa.array([partition] * rows.num_rows))
        write_deltalake(str(self.path), rows, mode="overwrite", predicate=f"ship_period = '{partition}'")


class SailTable:
    """Sail through Spark Connect, in this process."""

    memory = None

    def __init__(self, sail: "Sail", path: pathlib.Path):
        self.sail, self.path = sail, path

    @property
    def name(self) -> str:
        return f"delta.`{self.path}`"

    def files(self) -> dict[str, int]:
        return delta_files(self.path)

    def run(self, statement: str):
        self.sail.spark.sql(statement).collect()

    def merge(self, source: pathlib.Path):
        self.run(f"merge into {self.name} t using (select * from parquet.`{source}`) s on {KEYS} "
                 "when matched then update set * when not matched then insert *")

    def update(self, where: str):
        self.run(f"update {self.name} set {SET} where {where}")

    def delete(self, where: str):
        self.run(f"delete from {self.name} where {where}")

    def overwrite(self, partition: str, source: pathlib.Path):
        from pyspark.sql.functions import lit

        rows = self.sail.spark.read.parquet(str(source)).withColumn("ship_period", lit(partition))
        rows.write.format("delta").mode("overwrite").option("replaceWhere", f"ship_period = '{partition}'").save(str(self.path))


class Sail:
    """A Sail server in this process and a Spark session on it; both end with this object."""

    def __init__(self):
        from pysail.spark import SparkConnectServer
        from pyspark.sql import SparkSession

        self.server = SparkConnectServer("127.0.0.1", 0)
        self.server.start(background=True)
        _, port = self.server.listening_address
        self.spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()

    def stop(self):
        self.spark.stop()
        self.server.stop()


def sail_if_installed() -> Sail | None:
    try:
        return Sail()
    except ImportError:
        return None


def delta_files(path: pathlib.Path) -> dict[str, int]:
    """Live data files of a Delta table and their bytes."""
    from deltalake import DeltaTable

    actions = DeltaTable(str(path)).get_add_actions(flatten=True)
    columns = {name: actions.column(name).to_pylist() for name in ("path", "size_bytes")}
    return {str(path / name): size for name, size in zip(columns["path"], columns["size_bytes"])}


def iceberg_files(data_dir: pathlib.Path, schema: str, table: str) -> dict[str, int]:
    """Live data files of a table of the embedded catalog and their bytes."""
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog("lake", uri=f"sqlite:///{data_dir}/catalog.db")
    found = catalog.load_table((schema, table)).inspect.data_files().to_pylist()
    return {row["file_path"].removeprefix("file://"): row["file_size_in_bytes"] for row in found}


def copy_of(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """A Delta table over the same data files; its log is its own."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target, copy_function=lambda a, b: shutil.copy2(a, b) if "_delta_log" in a else pathlib.Path(b).hardlink_to(a))
    return target
