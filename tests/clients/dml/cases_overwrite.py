"""INSERT OVERWRITE and REPLACE WHERE: what the suites of Spark with Iceberg, Delta and Sail check."""

from case import Case

SPARK, DELTA, SAIL = "Spark-Iceberg", "Delta", "Sail"
KEPT = [(1, 10, "a"), (2, 20, "b"), (3, 30, "c")]
U = [(1, 100, "x"), (4, 400, "y")]
STATIC = ("set partition_overwrite_mode = static",)

OVERWRITES = [
    Case("unpartitioned: all rows", f"{SPARK}, {DELTA}", "insert overwrite table t select * from u", U, 2),
    Case("values", SPARK, "insert overwrite t values (9, 90, 'z')", [(9, 90, "z")], 1),
    Case("unpartitioned, an empty result", SPARK, "insert overwrite t select * from u where false", [], 0),
    Case("dynamic: the partitions of the result", f"{SPARK}, {DELTA}", "insert overwrite table t select * from u", [(2, 20, "b"), (3, 30, "c"), (4, 400, "y"), (1, 100, "x")], 2, partitioning="id"),
    Case("dynamic: an empty result replaces nothing", f"{SPARK}, {DELTA}", "insert overwrite table t select * from u where false", KEPT, 0, partitioning="id"),
    Case("dynamic: NULL is a partition", DELTA, "insert overwrite t values (9, 90, null)", [(1, 10, "a"), (9, 90, None)], 1, target="(1, 10, 'a'), (2, 20, null)", partitioning="s"),
    Case("dynamic: two partition columns", f"{SPARK}, {DELTA}", "insert overwrite t values (1, 0, 'a'), (2, 0, 'z')", [(1, 0, "a"), (2, 20, "b"), (3, 30, "c"), (2, 0, "z")], 2, partitioning="id; s"),
    Case("static: everything", f"{SPARK}, {DELTA}", "insert overwrite table t select * from u", U, 2, partitioning="id", before=STATIC),
    Case("static: an empty result empties the table", SPARK, "insert overwrite table t select * from u where false", [], 0, partitioning="id", before=STATIC),
    Case("PARTITION with a value", f"{SPARK}, {SAIL}", "insert overwrite table t partition (s = 'b') select id, v from u", [(1, 10, "a"), (3, 30, "c"), (1, 100, "b"), (4, 400, "b")], 2, partitioning="s"),
    Case("PARTITION with a value that is not there yet", SPARK, "insert overwrite table t partition (s = 'new') select id, v from u", KEPT + [(1, 100, "new"), (4, 400, "new")], 2, partitioning="s"),
    Case("PARTITION with a value, an empty result", SPARK, "insert overwrite table t partition (s = 'b') select id, v from u where false", [(1, 10, "a"), (3, 30, "c")], 0, partitioning="s"),
    Case("PARTITION with one value of two, the other dynamic", SPARK, "insert overwrite table t partition (id = 1, s) values (5, 'a'), (6, 'z')", [(1, 5, "a"), (1, 11, "k"), (1, 6, "z"), (2, 20, "b")], 2, target="(1, 10, 'a'), (1, 11, 'k'), (2, 20, 'b')", partitioning="id; s"),
    Case("PARTITION with an unknown column", SPARK, "insert overwrite table t partition (nope = 1) select id, v from u", fails="42703", partitioning="s"),
    Case("by a query that reads the table", f"{SPARK}, {DELTA}", "insert overwrite table t select id + 1, v, s from t where id < 3", [(2, 10, "a"), (3, 20, "b")], 2),
    Case("by a query that reads the partition it replaces", SPARK, "insert overwrite table t select id, v + 1, s from t where s = 'b'", [(1, 10, "a"), (2, 21, "b"), (3, 30, "c")], 1, partitioning="s"),
    Case("a column list", SPARK, "insert overwrite t (id, s) select id, s from u", [(1, None, "x"), (4, None, "y")], 2),
    Case("BY NAME", SPARK, "insert overwrite t by name select s, v, id from u", U, 2),
    Case("INSERT BY NAME", SPARK, "insert into t by name select s, v, id from u", KEPT + U, 2),
    Case("twice the same", SPARK, "insert overwrite table t select * from u", [(2, 20, "b"), (3, 30, "c"), (1, 100, "x"), (4, 400, "y")], 2, partitioning="id", before=("insert overwrite table t select * from u",)),
    Case("after deletes", DELTA, "insert overwrite t values (1, 5, 'q')", [(1, 5, "q"), (3, 30, "c")], 1, partitioning="id", before=("delete from t where id = 2",)),
    Case("too many columns", SPARK, "insert overwrite t select id, v, s, 1 from u", fails="42601"),
    Case("bucket: the buckets of the result", SPARK, "insert overwrite t values (1, 5, 'q')", [(1, 5, "q")], 1, target="(1, 10, 'a')", partitioning="bucket(4, id)"),
    Case("signs in partition values", DELTA, "insert overwrite t values (9, 90, 'a/b %=ü')", [(9, 90, "a/b %=ü"), (2, 20, " ")], 1, target="(1, 10, 'a/b %=ü'), (2, 20, ' ')", partitioning="s"),
]

REPLACES = [
    Case("REPLACE WHERE a partition", f"{DELTA}, {SAIL}", "insert into t replace where s = 'b' select 7, 70, 'b'", [(1, 10, "a"), (7, 70, "b"), (3, 30, "c")], 1, partitioning="s"),
    Case("REPLACE WHERE any column", f"{DELTA}, {SAIL}", "insert into t replace where id >= 2 values (2, 0, 'n'), (5, 0, 'm')", [(1, 10, "a"), (2, 0, "n"), (5, 0, "m")], 2),
    Case("REPLACE WHERE all rows", SAIL, "insert into t replace where id >= 0 select * from u", U, 2),
    Case("REPLACE WHERE true", DELTA, "insert into t replace where true select * from u", U, 2),
    Case("REPLACE WHERE no row", DELTA, "insert into t replace where id = 4 select * from u where id = 4", KEPT + [(4, 400, "y")], 1),
    Case("REPLACE WHERE with nothing new", DELTA, "insert into t replace where id = 1 select * from u where false", KEPT[1:], 0),
    Case("REPLACE WHERE keeps rows for which it is unknown", DELTA, "insert into t replace where v > 0 values (9, 90, 'z')", [(1, None, "a"), (9, 90, "z")], 1, target="(1, null, 'a'), (2, 20, 'b')"),
    Case("REPLACE WHERE, rows outside", f"{DELTA}", "insert into t replace where id = 1 select * from u", fails="23514"),
    Case("REPLACE WHERE, unknown is outside", DELTA, "insert into t replace where v > 0 values (9, null, 'z')", fails="23514"),
    Case("REPLACE WHERE from the table itself", DELTA, "insert into t replace where id = 2 select id, v + 1, s from t where id = 2", [(1, 10, "a"), (2, 21, "b"), (3, 30, "c")], 1),
    Case("REPLACE WHERE part of a file", SAIL, "insert into t replace where v = 20 values (8, 20, 'w')", [(1, 10, "a"), (8, 20, "w"), (3, 30, "c")], 1),
]

CASES = OVERWRITES + REPLACES
