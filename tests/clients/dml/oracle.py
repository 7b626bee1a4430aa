"""What the tables must hold: plain DuckDB tables that go through the same statements.

INSERT, UPDATE, DELETE and TRUNCATE run in DuckDB as they are. MERGE and the overwriting INSERTs are
worked out here from their definition, as sets of rows before and after, so that the number of rows
and the cardinality error are known too; `test_oracle.py` compares that with DuckDB's own MERGE."""

import contextlib
import datetime
import decimal

import duckdb
from pyiceberg.transforms import BucketTransform
from pyiceberg.types import (DateType, DecimalType, IntegerType, LongType, StringType, TimestampType, TimestamptzType,
                             TimeType, UUIDType)

from merge import Merge
from shape import Column, PartitionField, Shape, column_list

CARDINALITY, NOT_NULL, CAST, CHECK, OUT_OF_RANGE = "21000", "23502", "22P02", "23514", "22003"


class Refused(Exception):
    """The statement must fail with one of these SQLSTATEs and change nothing."""

    def __init__(self, *codes: str):
        super().__init__(" or ".join(codes))
        self.codes = codes


@contextlib.contextmanager
def errors_as_states():
    try:
        yield
    except duckdb.ConstraintException as error:
        raise Refused(NOT_NULL) from error
    except duckdb.OutOfRangeException as error:
        raise Refused(OUT_OF_RANGE) from error
    except duckdb.ConversionException as error:
        raise Refused(CAST) from error


class Oracle:
    """DuckDB with the target `t` of the shape and, if given, the source `src` of the same columns."""

    def __init__(self, shape: Shape):
        self.shape = shape
        self.connection = duckdb.connect()
        self.connection.execute("set threads = 1")
        self.connection.execute(f"set TimeZone = '{shape.zone}'")
        self.returned: list[tuple] = []
        for field in shape.partitioning:
            if field.transform == "bucket":
                register_bucket(self.connection, field)
        self.connection.execute(f"create table t ({column_list(shape.columns)})")
        nullable = [Column(column.name, column.type) for column in shape.columns]
        self.connection.execute(f"create table src ({column_list(nullable)})")

    def rows(self, table: str = "t") -> list[tuple]:
        names = ", ".join(column.name for column in self.shape.columns)
        return self.connection.execute(f"select {names} from {table}").fetchall()

    def run(self, statement: str) -> int:
        """A statement that DuckDB has; returns the number of rows changed."""
        with errors_as_states():
            count = self.connection.execute(statement).fetchone()[0]
        self.empty_as_null("t")
        return count

    def run_returning(self, statement: str) -> int:
        """The same with RETURNING: its rows are kept."""
        with errors_as_states():
            self.returned = self.connection.execute(statement).fetchall()
        self.empty_as_null("t")
        return len(self.returned)

    def empty_as_null(self, table: str):
        for name in self.shape.empty_is_null:
            self.connection.execute(f"update {table} set {name} = null where {name} = ''")

    @contextlib.contextmanager
    def transaction(self):
        self.connection.execute("begin")
        try:
            with errors_as_states():
                yield self.connection
            self.connection.execute("commit")
        except BaseException:
            self.connection.execute("rollback")
            raise

    def overwrite(self, query: str, replaced: str) -> int:
        """INSERT OVERWRITE: the rows of `t` for which `replaced` (over `a`, and `result`) holds make way."""
        with self.transaction() as connection:
            nullable = [Column(column.name, column.type) for column in self.shape.columns]
            connection.execute(f"create temp table result ({column_list(nullable)})")
            connection.execute(f"insert into result {query}")
            self.empty_as_null("result")
            connection.execute(f"delete from t a where {replaced}")
            count = connection.execute("insert into t select * from result").fetchone()[0]
            connection.execute("drop table result")
        return count

    def partitions_of_result(self) -> str:
        """The condition that a row of `a` is in a partition that `result` has rows in."""
        if not self.shape.partitioning:
            return "true"
        same = " and ".join(f"{partition_value(field, 'a')} is not distinct from {partition_value(field, 'r')}"
                            for field in self.shape.partitioning)
        return f"exists (select 1 from result r where {same})"

    def replace_where(self, predicate: str, query: str) -> int:
        """INSERT … REPLACE WHERE; `predicate` names columns without an alias."""
        columns = ", ".join(column.name for column in self.shape.columns)
        with errors_as_states():
            outside = f"select count(*) from ({query}) r({columns}) where ({predicate}) is not true"
            if self.connection.execute(outside).fetchone()[0]:
                raise Refused(CHECK)
        return self.overwrite(query, predicate)

    def merge(self, merge: Merge) -> int:
        """Works out every change from the rows as they are, then makes them all at once."""
        with self.transaction() as connection:
            connection.execute("create temp table changes as " + merge.changes(self.shape.columns))
            twice = "select 1 from changes where rid is not null group by rid having count(*) > 1"
            if connection.execute(twice).fetchone():
                raise Refused(CARDINALITY, *self.nulls_in_changes())
            count = connection.execute("select count(*) from changes").fetchone()[0]
            names = ", ".join(column.name for column in self.shape.columns)
            connection.execute("delete from t where rowid in (select rid from changes)")
            connection.execute(f"insert into t select {names} from changes where kind <> 'delete'")
            connection.execute("drop table changes")
            self.empty_as_null("t")
        return count

    def nulls_in_changes(self) -> list[str]:
        """A statement with two faults may report either."""
        null = " or ".join(f"{column.name} is null" for column in self.shape.columns if not column.nullable) or "false"
        found = self.connection.execute(f"select 1 from changes where kind <> 'delete' and ({null})").fetchone()
        return [NOT_NULL] if found else []


def partition_value(field: PartitionField, alias: str) -> str:
    """The field's value for a row, or one that differs exactly when it differs."""
    name = f"{alias}.{field.column.name}"
    match field.transform:
        case "identity":
            return name
        case "bucket":
            return f"{bucket_name(field)}({name})"
        case "truncate" if field.column.type == "text":
            return f"substr({name}, 1, {field.parameter})"
        case "truncate":
            wide = f"cast({name} as hugeint)"
            return f"{wide} - ((({wide} % {field.parameter}) + {field.parameter}) % {field.parameter})"
        case transform:
            if field.column.type == "timestamptz":
                name = f"({name} at time zone 'UTC')"
            return f"date_trunc('{transform.removesuffix('s')}', {name})"


def bucket_name(field: PartitionField) -> str:
    return f"bucket_{field.parameter}_{field.column.name}"


def register_bucket(connection: duckdb.DuckDBPyConnection, field: PartitionField):
    """The specification's bucket function as pyiceberg has it, under a name of its own in DuckDB."""
    types = {"int": IntegerType(), "smallint": IntegerType(), "time": TimeType(), "uuid": UUIDType(), "timestamptz": TimestamptzType(), "bigint": LongType(), "numeric(12,2)": DecimalType(12, 2), "text": StringType(),
             "date": DateType(), "timestamp": TimestampType()}
    bucket = BucketTransform(field.parameter).transform(types[field.column.type])

    def of(value):
        if isinstance(value, datetime.datetime):
            value = (value - datetime.datetime(1970, 1, 1, tzinfo=value.tzinfo and datetime.UTC)) // datetime.timedelta(microseconds=1)
        elif isinstance(value, datetime.date):
            value = (value - datetime.date(1970, 1, 1)).days
        elif isinstance(value, datetime.time):
            value = ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
        elif isinstance(value, decimal.Decimal):
            value = value.quantize(decimal.Decimal("0.01"))
        return bucket(value)

    connection.create_function(bucket_name(field), of, [field.column.type], "int", null_handling="special")
