"""Joins that do not fit into memory: they spill, and the answers are right."""

import numpy
import pytest

from conftest import running

ROWS = 3_000_000
FORMATS = ["iceberg", "delta"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A server with little memory for queries, and two tables of which neither fits into a hash join."""
    environment = {"AURIC_QUERY__MEMORY_LIMIT": "64MB", "AURIC_LOG__LEVEL": "debug"}
    with running(tmp_path_factory.mktemp("small"), environment=environment) as server:
        server.sql("create schema s")
        server.sql(f"create table s.one as select n as k, n * 3 as v from generate_series(1, {ROWS}) as t(n)")
        # Every second key, and as many beyond those of the other.
        server.sql(f"create table s.two as select n * 2 as k, n % 7 as w from generate_series(1, {ROWS}) as t(n)")
        yield server
        # Not each of them on each run: what one thread has done with gives its memory to the other.
        assert sum("joins that spill" in line for line in server.log) > 1, "all hash joins have found memory"


ONE = numpy.arange(1, ROWS + 1)
BOTH = ONE[ONE % 2 == 0]
PRODUCT = int((BOTH * 3 * (BOTH // 2 % 7)).sum())


@pytest.mark.parametrize("kind, count", [("", len(BOTH)), ("left", ROWS), ("right", ROWS), ("full", 2 * ROWS - len(BOTH))])
def test_query(small, kind, count):
    answer = small.sql(f"select count(*), sum(v * w) from s.one {kind} join s.two on one.k = two.k")
    assert answer == [(count, PRODUCT)]


def test_conditions_beside_the_keys(small):
    """Rows without a match; of a column that is never NULL; and a condition of no column."""
    by_threes = int((BOTH % 3 == 0).sum())
    rows = small.sql("select count(*), count(two.k) from s.one left join s.two on one.k = two.k and (one.v + two.k) % 3 = 0")
    assert rows == [(ROWS, by_threes)]
    rows = small.sql("select count(*), count(one.k) from s.one full join s.two on one.k = two.k and (one.v + two.k) % 3 = 0")
    assert rows == [(2 * ROWS - by_threes, ROWS)]


def test_cursor_and_copy(small):
    query = "select one.k, v, w from s.one join s.two on one.k = two.k"
    with small.connect(autocommit=False) as connection, connection.cursor(name="c") as cursor:
        cursor.execute(query)
        assert sum(v * w for _, v, w in cursor) == PRODUCT
    with small.connect() as connection, connection.cursor() as cursor:
        with cursor.copy(f"copy ({query}) to stdout") as copy:
            copy.set_types(["int8", "int8", "int8"])
            assert sum(v * w for _, v, w in copy.rows()) == PRODUCT


@pytest.mark.parametrize("format", FORMATS)
def test_changes(small, format):
    name = f"s.changed_{format}"
    small.sql(f"create table {name} using {format} as select one.k, v, w from s.one left join s.two on one.k = two.k")
    assert small.sql(f"select count(*), count(w), sum(v * w) from {name}") == [(ROWS, len(BOTH), PRODUCT)]
    small.sql(f"""merge into {name} t using s.two u on t.k = u.k
        when matched and t.k % 4 = 0 then delete
        when matched then update set v = 0
        when not matched then insert (k, v, w) values (u.k, -1, u.w)
        when not matched by source and t.k % 3 = 0 then update set w = 100""")
    fours, odd_threes = int((ONE % 4 == 0).sum()), int(((ONE % 2 == 1) & (ONE % 3 == 0)).sum())
    assert small.sql(f"select count(*), count(*) filter (where v = 0), count(*) filter (where v = -1), count(*) filter (where w = 100) from {name}") \
        == [(ROWS - fours + ROWS - len(BOTH), len(BOTH) - fours, ROWS - len(BOTH), odd_threes)]
    small.sql(f"insert into {name} select one.k, v, w from s.one join s.two on one.k = two.k where one.k % 4 = 0")
    small.sql(f"update {name} t set w = u.v from s.one u where u.k = t.k and t.v = 0")
    twos = ONE[ONE % 4 == 2]
    assert small.sql(f"select sum(w) from {name} where v = 0") == [(int((twos * 3).sum()),)]
    small.sql(f"delete from {name} t using s.two u where u.k = t.k")
    assert small.sql(f"select count(*), min(k), max(k) from {name}") == [(ROWS // 2, 1, ROWS - 1)]


def test_materialized_view(small):
    small.sql("""create materialized view s.joined as
        select one.k % 10 as d, sum(v * w) as s from s.one left join s.two on one.k = two.k group by 1""")
    small.sql("refresh materialized view s.joined")
    assert small.sql("select sum(s), count(*) from s.joined") == [(PRODUCT, 10)]


def test_sorted_from_the_start(tmp_path):
    with running(tmp_path, environment={"AURIC_QUERY__PREFER_HASH_JOIN": "false"}) as server:
        server.sql("create schema s")
        server.sql("create table s.one (k int not null, v int not null)")
        server.sql("create table s.two (k int not null, w int not null)")
        server.sql("insert into s.one values (1, 10), (2, 20), (3, 30)")
        server.sql("insert into s.two values (2, 1), (3, 2), (3, 3), (4, 4)")
        plan = server.sql("explain select * from s.one join s.two on one.k = two.k")
        assert any("SortMergeJoin" in line for (line,) in plan), plan
        joined = "select one.k, v, two.k, w from s.one {} join s.two on one.k = two.k and v + w > 31 order by 1, 3, 4"
        matched = [(3, 30, 3, 2), (3, 30, 3, 3)]
        left, right = [(1, 10, None, None), (2, 20, None, None)], [(None, None, 2, 1), (None, None, 4, 4)]
        assert server.sql(joined.format("")) == matched
        assert server.sql(joined.format("left")) == left + matched
        assert server.sql(joined.format("right")) == matched + right
        assert server.sql(joined.format("full")) == left + matched + right
        for kind, count in (("", 0), ("left", 3), ("right", 4), ("full", 7)):
            query = f"select count(*) from s.one {kind} join s.two on one.k = two.k and random() < 0"
            assert server.sql(query) == [(count,)], kind
        for query, count in (("where k in (select k from s.two)", 2), ("where k not in (select k from s.two)", 1),
                             ("where exists (select from s.two where two.k = one.k and v + w > 31)", 1),
                             ("where not exists (select from s.two where two.k = one.k and v + w > 31)", 2)):
            assert server.sql(f"select count(*) from s.one {query}") == [(count,)], query
