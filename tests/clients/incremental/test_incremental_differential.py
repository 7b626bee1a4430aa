"""Random queries, random changes: an incremental refresh gives what a full one gives, and DuckDB.

A longer run: `AURIC_DIFFERENTIAL_SECONDS=3600 AURIC_DIFFERENTIAL_SEED=1000 python -m pytest tests/clients/incremental/test_incremental_differential.py -s`.
The seed of a failure alone repeats it: `AURIC_DIFFERENTIAL_SEED=<seed>`."""

import os
import time

import pytest

from world import Tally, difference

pytestmark = pytest.mark.long

SECONDS = float(os.environ.get("AURIC_DIFFERENTIAL_SECONDS", "0"))
SEED = int(os.environ.get("AURIC_DIFFERENTIAL_SEED", "1"))
# Without a time to fill, as many cases as this: the same ones on any machine.
CASES = 10
VIEWS, STEPS = 4, 5
ENOUGH = 3


@pytest.mark.timeout(SECONDS + 900)
def test_random_changes(server):
    tally, reports, deadline, seed = Tally(), [], time.monotonic() + SECONDS, SEED
    while (time.monotonic() < deadline if SECONDS else seed < SEED + CASES) and len(reports) < ENOUGH:
        if found := difference(server, seed, VIEWS, STEPS, tally):
            reports.append(f"seed {seed}: {found}")
        seed += 1
    print(f"seeds {SEED} to {seed - 1}: {tally}")
    if reports:
        pytest.fail("\n\n".join(reports), pytrace=False)
    total = sum(tally.modes.values())
    assert tally.modes.get("full", 0) < total * 0.3, tally
    # A single seed repeats a failure; it need not have all of them.
    if seed - SEED >= CASES:
        assert all(tally.modes.get(mode, 0) > 2 for mode in ("append", "merge", "groups", "rows", "partitions")), tally
