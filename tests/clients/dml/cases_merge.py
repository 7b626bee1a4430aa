"""MERGE: what the suites of Trino, Spark with Iceberg, Delta and Sail check."""

from case import Case

TRINO, SPARK, DELTA, SAIL = "Trino", "Spark-Iceberg", "Delta", "Sail"
ALL = ", ".join((TRINO, SPARK, DELTA, SAIL))
UPSERT = ("merge into t using u on t.id = u.id when matched then update set v = u.v, s = u.s "
          "when not matched then insert (id, v, s) values (u.id, u.v, u.s)")
UPSERTED = [(1, 100, "x"), (2, 20, "b"), (3, 30, "c"), (4, 400, "y")]
STAR = "merge into t using u on t.id = u.id when matched then update set * when not matched then insert *"
KEPT = [(1, 10, "a"), (2, 20, "b"), (3, 30, "c")]
HIT_TWICE = "(1, 100, 'x'), (1, 101, 'z'), (4, 400, 'y')"

BASIC = [
    Case("upsert", ALL, UPSERT, UPSERTED, 2),
    Case("upsert, all columns by star", f"{SPARK}, {DELTA}, {SAIL}", STAR, UPSERTED, 2),
    Case("star goes by name, not by position", f"{SPARK}, {DELTA}", STAR, UPSERTED, 2, source="(100, 'x', 1), (400, 'y', 4)", source_columns="v int, s text, id int"),
    Case("star with further columns in the source", f"{SPARK}, {DELTA}", STAR, UPSERTED, 2, source="(1, 100, 'x', true), (4, 400, 'y', false)", source_columns="id int, v int, s text, more boolean"),
    Case("star with a column missing in the source", f"{SPARK}, {DELTA}, {SAIL}", STAR, fails="42703", source="(1, 100), (4, 400)", source_columns="id int, v int"),
    Case("columns in another order than the table's", f"{TRINO}, {DELTA}", "merge into t using u on t.id = u.id when matched then update set s = u.s, v = u.v when not matched then insert (s, id, v) values (u.s, u.id, u.v)", UPSERTED, 2),
    Case("insert without a column list", f"{TRINO}, {SPARK}", "merge into t using u on t.id = u.id when not matched then insert values (u.id, u.v, u.s)", KEPT + [(4, 400, "y")], 1),
    Case("not all columns updated", f"{TRINO}, {SPARK}, {DELTA}", "merge into t using u on t.id = u.id when matched then update set v = u.v", [(1, 100, "a"), *KEPT[1:]], 1),
    Case("not all columns inserted: the others are null", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id when not matched then insert (id, s) values (u.id, u.s)", KEPT + [(4, None, "y")], 1),
    Case("update from both source and target", f"{TRINO}, {DELTA}", "merge into t using u on t.id = u.id when matched then update set v = t.v + u.v, s = t.s || u.s", [(1, 110, "ax"), *KEPT[1:]], 1),
    Case("assignments see the old row", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id when matched then update set id = t.v, v = t.id", [(10, 1, "a"), *KEPT[1:]], 1),
    Case("without aliases or table names", TRINO, "merge into t using u on t.id = u.id when matched then update set v = u.v + t.v", [(1, 110, "a"), *KEPT[1:]], 1),
    Case("aliases with AS, without, and quoted", f"{TRINO}, {SPARK}", 'merge into t as "T" using u s on "T".id = s.id when matched then update set v = s.v', [(1, 100, "a"), *KEPT[1:]], 1),
    Case("capital letters anywhere", f"{TRINO}, {SPARK}", "MeRgE INTO T USING U ON T.ID = U.Id WHEN MATCHED THEN UPDATE SET V = u.V", [(1, 100, "a"), *KEPT[1:]], 1),
    Case("only update, nothing matches", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id + 100 when matched then update set v = 0", KEPT, 0),
    Case("only delete", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id when matched then delete", KEPT[1:], 1),
    Case("only insert", f"{TRINO}, {SPARK}, {DELTA}, {SAIL}", "merge into t using u on t.id = u.id when not matched then insert *", KEPT + [(4, 400, "y")], 1),
    Case("only insert, on a condition of the source", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id when not matched and u.v > 1000 then insert *", KEPT, 0),
    Case("all matched rows deleted", f"{TRINO}, {SPARK}", "merge into t using u on t.id = u.id when matched then delete", [], 3, source="(1, 1, ''), (2, 1, ''), (3, 1, '')"),
    Case("all columns of all rows updated", TRINO, "merge into t using u on true when matched then update set id = t.id + u.id, v = u.v, s = u.s", [(n + 1, 5, "q") for n in (1, 2, 3)], 3, source="(1, 5, 'q')"),
    Case("into an empty table", f"{SPARK}, {DELTA}", UPSERT, [(1, 100, "x"), (4, 400, "y")], 2, target=""),
    Case("into an empty table, only matched rows wanted", SPARK, "merge into t using u on t.id = u.id when matched then update set v = 0", [], 0, target=""),
    Case("from an empty source", f"{SPARK}, {DELTA}", UPSERT, KEPT, 0, source=""),
    Case("both empty", DELTA, UPSERT, [], 0, target="", source=""),
    Case("both empty, not matched by source", DELTA, "merge into t using u on t.id = u.id when not matched by source then delete", [], 0, target="", source=""),
    Case("one source row for several target rows", f"{TRINO}, {DELTA}", "merge into t using u on t.s = u.s when matched then update set v = t.v + u.v", [(1, 11, "a"), (2, 21, "a"), (3, 30, "c")], 2, target="(1, 10, 'a'), (2, 20, 'a'), (3, 30, 'c')", source="(9, 1, 'a')"),
    Case("source rows alike are inserted each", f"{TRINO}, {SPARK}, {DELTA}", "merge into t using u on t.id = u.id when not matched then insert *", KEPT + [(4, 400, "y")] * 2, 2, source="(4, 400, 'y'), (4, 400, 'y')"),
]

JOINS = [
    Case("ON false: all inserted", f"{TRINO}, {DELTA}", "merge into t using u on false when matched then update set v = 0 when not matched then insert *", KEPT + [(1, 100, "x"), (4, 400, "y")], 2),
    Case("ON 1 = 2", TRINO, "merge into t using u on 1 = 2 when not matched then insert *", KEPT + [(1, 100, "x"), (4, 400, "y")], 2),
    Case("ON true, one source row", DELTA, "merge into t using u on true when matched then update set v = u.v", [(1, 7, "a"), (2, 7, "b"), (3, 7, "c")], 3, source="(1, 7, '')"),
    Case("ON with a comparison", f"{TRINO}, {SPARK}", "merge into t using u on t.id > u.id when matched then update set v = u.v when not matched then insert *", [(1, 10, "a"), (2, 20, "b"), (3, 100, "c")], 1, source="(2, 100, 'x')"),
    Case("ON with BETWEEN", TRINO, "merge into t using u on t.id between u.id and u.v when matched then delete", [(3, 30, "c")], 2, source="(1, 2, '')"),
    Case("ON without an equality hits a row twice", SPARK, "merge into t using u on t.id <= u.id when matched then update set v = u.v", fails="21000", source=HIT_TWICE),
    Case("ON with a condition on the target only", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id and t.v > 15 when matched then update set v = 0 when not matched then insert *", KEPT + [(1, 100, "x"), (4, 400, "y")], 2),
    Case("ON with a condition on the source only", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id and u.v > 150 when matched then update set v = 0 when not matched then insert *", KEPT + [(1, 100, "x"), (4, 400, "y")], 2),
    Case("ON with OR", DELTA, "merge into t using u on t.id = u.id or t.s = u.s when matched then update set v = u.v", [(1, 100, "a"), (2, 20, "b"), (3, 100, "c")], 2, source="(1, 100, 'c')"),
    Case("ON with expressions on both sides", DELTA, "merge into t using u on t.id * 2 = u.id + 1 when matched then update set v = u.v", [(1, 100, "a"), *KEPT[1:]], 1),
    Case("NULL keys match nothing", f"{SPARK}, {DELTA}", UPSERT, [(None, 10, "a"), (2, 20, "b"), (None, 100, "x"), (4, 400, "y")], 2, target="(null, 10, 'a'), (2, 20, 'b')", source="(null, 100, 'x'), (4, 400, 'y')"),
    Case("NULL keys match with IS NOT DISTINCT FROM", f"{SPARK}, {DELTA}", UPSERT.replace("t.id = u.id", "t.id is not distinct from u.id"), [(None, 100, "x"), (2, 20, "b"), (4, 400, "y")], 2, target="(null, 10, 'a'), (2, 20, 'b')", source="(null, 100, 'x'), (4, 400, 'y')"),
    Case("ON NULL matches nothing", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id and null when matched then update set v = 0 when not matched then insert *", KEPT + [(1, 100, "x"), (4, 400, "y")], 2),
    Case("NULL in a condition is not true", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id when matched and null then delete when not matched and null then insert * when not matched by source and null then delete", KEPT, 0),
    Case("IS NULL in ON", DELTA, "merge into t using u on t.id = u.id or (t.id is null and u.id is null) when matched then delete", [(2, 20, "b")], 1, target="(null, 10, 'a'), (2, 20, 'b')", source="(null, 100, 'x'), (4, 400, 'y')"),
    Case("keys of other types are compared by value", SPARK, "merge into t using u on t.id = u.id when matched then update set v = u.v", [(1, 100, "a"), *KEPT[1:]], 1, source="(1, 100), (4, 400)", source_columns="id bigint, v smallint"),
]

CLAUSES = [
    Case("all clause kinds", f"{SPARK}, {DELTA}, {SAIL}", UPSERT + " when not matched by source then delete", [(1, 100, "x"), (4, 400, "y")], 4),
    Case("all clause kinds with conditions", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id when matched and u.v < 0 then delete when matched then update set v = u.v when not matched and u.id = 4 then insert * when not matched by source and t.id = 2 then update set s = 'gone' when not matched by source then delete", [(1, 100, "a"), (2, 20, "gone"), (4, 400, "y")], 4),
    Case("the first clause that holds wins", ALL, "merge into t using u on t.id = u.id when matched and t.v = 10 then update set s = 'first' when matched and t.v < 100 then update set s = 'second' when matched then delete", [(1, 10, "first"), (2, 20, "second"), (3, 30, "second")], 3, source="(1, 0, ''), (2, 0, ''), (3, 0, '')"),
    Case("update, then delete, by conditions", f"{TRINO}, {DELTA}", "merge into t using u on t.id = u.id when matched and t.id = 1 then update set v = -1 when matched and t.id = 2 then delete", [(1, -1, "a"), (3, 30, "c")], 2, source="(1, 0, ''), (2, 0, ''), (3, 0, '')"),
    Case("delete before update: order matters", DELTA, "merge into t using u on t.id = u.id when matched and t.id < 3 then delete when matched and t.id > 1 then update set v = 0", [(3, 0, "c")], 3, source="(1, 0, ''), (2, 0, ''), (3, 0, '')"),
    Case("several conditional inserts", f"{TRINO}, {SPARK}, {DELTA}, {SAIL}", "merge into t using u on t.id = u.id when not matched and u.v > 450 then insert (id, v) values (u.id, 1) when not matched and u.v > 420 then insert (id, v) values (u.id, 2) when not matched then insert (id, v) values (u.id, 3)", KEPT + [(4, 3, None), (5, 2, None), (6, 1, None)], 3, source="(4, 400, ''), (5, 430, ''), (6, 500, '')"),
    Case("several updates not matched by source", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id when not matched by source and t.id = 2 then update set v = 0 when not matched by source and t.id = 3 then delete", [(1, 10, "a"), (2, 0, "b")], 2),
    Case("not matched by source: delete only", f"{SPARK}, {DELTA}, {SAIL}", "merge into t using u on t.id = u.id when not matched by source then delete", KEPT[:1], 2),
    Case("not matched by source: all rows, source empty", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id when not matched by source then update set v = t.v + 1", [(1, 11, "a"), (2, 21, "b"), (3, 31, "c")], 3, source=""),
    Case("not matched by source: everything deleted", DELTA, "merge into t using u on t.id = u.id when matched then delete when not matched by source then delete", [], 3),
    Case("not matched by target, spelled out", SAIL, "merge into t using u on t.id = u.id when not matched by target then insert *", KEPT + [(4, 400, "y")], 1),
    Case("do nothing hides a later clause", "Postgres", "merge into t using u on t.id = u.id when matched and t.id = 1 then do nothing when matched then delete when not matched then do nothing", [(1, 10, "a"), (3, 30, "c")], 1, source="(1, 0, ''), (2, 0, ''), (9, 0, '')"),
    Case("nothing changes: no clause applies", f"{DELTA}, {SPARK}", "merge into t using u on t.id = u.id when matched and false then delete when not matched and false then insert * when not matched by source and false then delete", KEPT, 0),
    Case("two delete and two update and four insert clauses", DELTA, "merge into t using u on t.id = u.id when matched and u.v = 1 then update set v = 1 when matched and u.v = 2 then delete when matched and u.v = 3 then update set v = 3 when matched then delete when not matched and u.v = 1 then insert (id) values (u.id) when not matched and u.v = 2 then insert (id, v) values (u.id, 0) when not matched and u.v = 3 then insert * when not matched then insert (id, s) values (u.id, 'last')",
         [(1, 1, "a"), (3, 3, "c"), (5, None, None), (6, 0, None), (7, 3, "z"), (8, None, "last")], 7, source="(1, 1, ''), (2, 2, ''), (3, 3, ''), (5, 1, ''), (6, 2, ''), (7, 3, 'z'), (8, 9, '')"),
    Case("conditions on target and source together", TRINO, "merge into t using u on t.id = u.id when matched and t.v + u.v = 110 then update set s = u.s when matched then delete", [(1, 10, "x"), (3, 30, "c")], 2, source="(1, 100, 'x'), (2, 100, 'z')"),
    Case("a matched clause that cannot hold, with inserts", DELTA, "merge into t using u on t.id = u.id when matched and t.v > 1000 then delete when not matched then insert *", KEPT + [(4, 400, "y")], 1),
    Case("an unconditional clause before another of its kind", f"{SPARK}, {DELTA}, {SAIL}", "merge into t using u on t.id = u.id when matched then update set v = 0 when matched then delete", fails="42601"),
    Case("an unconditional insert before another", f"{SPARK}, {DELTA}, {SAIL}", "merge into t using u on t.id = u.id when not matched then insert * when not matched and u.v > 1 then insert *", fails="42601"),
    Case("an unconditional clause by source before another", f"{DELTA}, {SAIL}", "merge into t using u on t.id = u.id when not matched by source then delete when not matched by source then update set v = 0", fails="42601"),
]

CARDINALITY = [
    Case("two source rows update one target row", ALL, UPSERT, fails="21000", source=HIT_TWICE),
    Case("two equal source rows update one target row", f"{TRINO}, {SPARK}, {DELTA}", UPSERT, fails="21000", source="(1, 100, 'x'), (1, 100, 'x')"),
    Case("two source rows, a conditional update for each", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id when matched and u.v = 100 then update set v = 0 when matched and u.v = 101 then delete", fails="21000", source=HIT_TWICE),
    Case("two source rows match, one clause holds for one of them", f"{SPARK}, {DELTA}", "merge into t using u on t.id = u.id when matched and u.v = 101 then update set v = u.v", [(1, 101, "a"), *KEPT[1:]], 1, source=HIT_TWICE,
         differs="the row is changed once, as Postgres has it; Spark and Delta fail as soon as two source rows match"),
    Case("two source rows delete one target row", SPARK, "merge into t using u on t.id = u.id when matched then delete", fails="21000", source=HIT_TWICE,
         differs="21000, as Postgres has it; Spark and Delta let an unconditional DELETE match twice"),
    Case("two source rows match, and nothing is done", "Postgres", "merge into t using u on t.id = u.id when matched then do nothing", KEPT, 0, source=HIT_TWICE),
    Case("many source rows, one target row", SPARK, "merge into t using (select 1 as id, cast(x as int) as v from generate_series(1, 10000) as g(x)) b on t.id = b.id when matched then update set v = b.v", fails="21000"),
    Case("twice, without inserts", SPARK, "merge into t using u on t.id = u.id when matched then update set v = u.v", fails="21000", source=HIT_TWICE),
    Case("twice after grouping by key: fine", SAIL, "merge into t using (select id, max(v) as v from u group by id) b on t.id = b.id when matched then update set v = b.v", [(1, 101, "a"), *KEPT[1:]], 1, source=HIT_TWICE),
]

SOURCES = [
    Case("a query", f"{TRINO}, {DELTA}", "merge into t using (select id, v * 2 as v from u where id < 4) b on t.id = b.id when matched then update set v = b.v", [(1, 200, "a"), *KEPT[1:]], 1),
    Case("values", TRINO, "merge into t using (values (1, 5), (7, 70)) as b(id, v) on t.id = b.id when matched then update set v = b.v when not matched then insert (id, v) values (b.id, b.v)", [(1, 5, "a"), *KEPT[1:], (7, 70, None)], 2),
    Case("a CTE before MERGE", f"{SPARK}, {SAIL}", "with b as (select id, v + 1 as v from u) merge into t using b on t.id = b.id when matched then update set v = b.v", [(1, 101, "a"), *KEPT[1:]], 1),
    Case("a CTE in the source", SPARK, "merge into t using (with b as (select id, v + 1 as v from u) select * from b) b on t.id = b.id when matched then update set v = b.v", [(1, 101, "a"), *KEPT[1:]], 1),
    Case("a union", SPARK, "merge into t using (select id, v, s from u union select 2, 22, 'w') b on t.id = b.id when matched then update set * when not matched then insert *", [(1, 100, "x"), (2, 22, "w"), (3, 30, "c"), (4, 400, "y")], 3),
    Case("a join", TRINO, "merge into t using (select u.id, w.v from u join u w on u.id <> w.id) b on t.id = b.id when matched then update set v = b.v", [(1, 400, "a"), *KEPT[1:]], 1),
    Case("ORDER BY with LIMIT in the source", DELTA, "merge into t using (select * from u order by id desc limit 1) b on t.id = b.id when matched then delete when not matched then insert *", KEPT + [(4, 400, "y")], 1),
    Case("the target itself", f"{SPARK}, {DELTA}", "merge into t using t b on t.id = b.id when matched and b.id > 1 then update set v = b.v + 1 when not matched then insert *", [(1, 10, "a"), (2, 21, "b"), (3, 31, "c")], 2),
    Case("a query over the target", f"{SPARK}, {DELTA}", "merge into t using (select id + 1 as id, v from t) b on t.id = b.id when matched then update set v = b.v when not matched then insert (id, v) values (b.id, b.v)", [(1, 10, "a"), (2, 10, "b"), (3, 20, "c"), (4, 30, None)], 3),
    Case("the target under aliases on both sides", TRINO, "merge into t a using t b on a.id = b.id + 1 when matched then delete", KEPT[:1], 2),
    Case("subqueries in SET and VALUES", TRINO, "merge into t using u on t.id = u.id when matched then update set v = (select max(v) from u) when not matched then insert (id, v) values (u.id, (select count(*) from t))", [(1, 400, "a"), *KEPT[1:], (4, 3, None)], 2),
    Case("a subquery in a condition", f"{SPARK}, {TRINO}", "merge into t using u on t.id = u.id when matched and t.v < (select max(v) from u) then delete", KEPT[1:], 1,
         differs="works; Spark and Delta refuse subqueries in conditions"),
    Case("EXISTS in a condition", TRINO, "merge into t using u on t.id = u.id when matched and exists (select 1 from u w where w.id = 4) then delete", KEPT[1:], 1,
         differs="works; Spark and Delta refuse subqueries in conditions"),
    Case("a subquery in ON", TRINO, "merge into t using u on t.id = u.id and t.v < (select max(v) from u) when matched then delete", KEPT[1:], 1,
         differs="works; Spark and Delta refuse subqueries in ON"),
    Case("case and function calls", TRINO, "merge into t using u on t.id = u.id when matched then update set s = case when u.v > 50 then upper(t.s) else lower(t.s) end, v = abs(-u.v)", [(1, 100, "A"), *KEPT[1:]], 1),
]

TYPES = [
    Case("values are cast to the column's type", f"{TRINO}, {SPARK}, {SAIL}", "merge into t using u on t.id = u.id when matched then update set v = u.v when not matched then insert (id, v) values (u.id, u.v)", [(1, 100, "a"), *KEPT[1:], (4, 400, None)], 2, source="(1, 100), (4, 400)", source_columns="id bigint, v bigint"),
    Case("a cast that overflows", SAIL, "merge into t using u on t.id = u.id when matched then update set v = u.v", fails="22003", source="(1, 3000000000)", source_columns="id int, v bigint"),
    Case("a string for a number", f"{SPARK}, {SAIL}", "merge into t using u on t.id = u.id when matched then update set v = u.s", fails="42804"),
    Case("NULL into a required column", f"{TRINO}, {SPARK}", "merge into t using u on t.id = u.id when matched then update set v = null", fails="23502", columns="id int not null, v int not null, s text", source_columns="id int, v int, s text"),
    Case("NULL inserted into a required column", f"{TRINO}, {SPARK}", "merge into t using u on t.id = u.id when not matched then insert (id) values (u.id)", fails="23502", columns="id int not null, v int not null, s text", source_columns="id int, v int, s text"),
    Case("required columns given values", f"{TRINO}, {SPARK}", UPSERT, UPSERTED, 2, columns="id int not null, v int not null, s text", source_columns="id int, v int, s text"),
    Case("NULL from an unmatched side is no fault", SPARK, "merge into t using u on t.id = u.id when matched then update set v = u.v", [(1, 100, "a"), *KEPT[1:]], 1, columns="id int not null, v int not null, s text", source_columns="id int, v int, s text"),
    Case("NULLs in values", f"{SPARK}, {DELTA}", UPSERT, [(1, None, None), (2, 20, "b"), (3, 30, "c"), (4, None, "y")], 2, source="(1, null, null), (4, null, 'y')"),
]

PARTITIONS = [
    Case("partitioned by identity", f"{TRINO}, {SPARK}, {DELTA}", UPSERT, UPSERTED, 2, partitioning="id"),
    Case("partitioned by a text column", f"{TRINO}, {SPARK}", UPSERT, UPSERTED, 2, partitioning="s"),
    Case("partitioned by bucket", SPARK, UPSERT, UPSERTED, 2, partitioning="bucket(3, id)"),
    Case("partitioned by truncate", SPARK, UPSERT, UPSERTED, 2, partitioning="truncate(2, id)"),
    Case("partitioned by two fields", TRINO, UPSERT, UPSERTED, 2, partitioning="id; s"),
    Case("the update moves rows to another partition", f"{TRINO}, {DELTA}", "merge into t using u on t.id = u.id when matched then update set s = 'c'", [(1, 10, "c"), *KEPT[1:]], 1, partitioning="s"),
    Case("ON names one partition", SPARK, "merge into t using u on t.s = 'a' and t.id = u.id when matched then update set v = u.v when not matched then insert *", [(1, 100, "a"), *KEPT[1:], (4, 400, "y")], 2, partitioning="s"),
    Case("NULL in a partition column", DELTA, "merge into t using u on t.id = u.id when matched then update set s = null when not matched then insert (id) values (u.id)", [(1, 10, None), *KEPT[1:], (4, None, None)], 2, partitioning="s"),
    Case("signs and spaces in partition values", f"{DELTA}", "merge into t using u on t.id = u.id when matched then update set s = 'p%q' when not matched then insert *", [(1, 10, "p%q"), (2, 20, "x y"), (4, 400, "=:/?'ü")], 2, target="(1, 10, 'a/b'), (2, 20, 'x y')", source="(1, 1, 'n'), (4, 400, '=:/?''ü')", partitioning="s"),
    Case("a whole partition is deleted", f"{TRINO}, {SPARK}", "merge into t using u on t.id = u.id when not matched by source then delete", KEPT[:1], 2, partitioning="id"),
    Case("repeated merges", TRINO, UPSERT, [(1, 100, "x"), (2, 20, "b"), (3, 30, "c"), (4, 400, "y")], 2, before=(UPSERT, UPSERT, UPSERT)),
    Case("rows deleted before do not come back", TRINO, UPSERT, [(1, 100, "x"), (3, 30, "c"), (4, 400, "y")], 2, before=("delete from t where id in (1, 2)",)),
]

CASES = BASIC + JOINS + CLAUSES + CARDINALITY + SOURCES + TYPES + PARTITIONS
