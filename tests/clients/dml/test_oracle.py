"""The oracle's own MERGE against DuckDB's, so that the judge of the differential tests is judged too."""

import random

import pytest

from merge import Merge
from oracle import CARDINALITY, Oracle, Refused
from outside import multiset
from shape import random_shape
from statement import Generator


def native(merge: Merge) -> str:
    """DuckDB's spelling of the same MERGE."""
    return merge.sql.replace("update set *", "update").replace("insert *", "insert by name")


@pytest.mark.parametrize("seed", range(12))
def test_merge_is_what_duckdb_makes_of_it(seed):
    rng = random.Random(seed)
    shape = random_shape(rng)
    generator = Generator(rng, shape)
    oracle = Oracle(shape)
    for statement in generator.first():
        try:
            statement.apply(oracle)
        except Refused:
            pass
    compared = 0
    for _ in range(40):
        merge = generator.merge().merge
        oracle.connection.execute("create or replace table saved as from t")
        try:
            count = oracle.merge(merge)
        except Refused as refusal:
            # DuckDB lets the last of several source rows win, where the standard has an error.
            if CARDINALITY not in refusal.codes:
                with pytest.raises(Refused):
                    oracle.run(native(merge))
            continue
        expected = multiset(oracle.rows())
        oracle.connection.execute("delete from t")
        oracle.connection.execute("insert into t from saved")
        assert oracle.run(native(merge)) == count, merge.sql
        assert multiset(oracle.rows()) == expected, merge.sql
        compared += 1
    assert compared > 10

