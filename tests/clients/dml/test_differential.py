"""Random tables and random statements: Auric against DuckDB over plain tables.

A longer run: `AURIC_DIFFERENTIAL_SECONDS=3600 AURIC_DIFFERENTIAL_SEED=1000 python -m pytest tests/clients/dml/test_differential.py -s`.
The seed of a failure alone repeats it: `AURIC_DIFFERENTIAL_SEED=<seed>`."""

import os
import time

import pytest

from sequence import Case, Tally, difference, shrink

pytestmark = pytest.mark.long

# Without a time to fill, as many sequences as this: the same ones on any machine.
SEQUENCES = 20
SECONDS = float(os.environ.get("AURIC_DIFFERENTIAL_SECONDS", "0"))
SEED = int(os.environ.get("AURIC_DIFFERENTIAL_SEED", "1"))
LENGTH = 16
# Kinds of statements that must have worked, whatever else the seeds brought.
MUST_WORK = ("INSERT VALUES", "INSERT SELECT", "UPDATE", "UPDATE FROM", "DELETE", "DELETE USING", "TRUNCATE", "MERGE",
             "INSERT OVERWRITE dynamic", "INSERT OVERWRITE static", "INSERT OVERWRITE PARTITION", "REPLACE WHERE")
# What may be refused with 0A000: part of a message, each with a line in docs/limitations.md.
MAY_BE_REFUSED: tuple[str, ...] = ()


# Seeds that fail before a run gives up; each is shrunk.
ENOUGH = 3


@pytest.mark.timeout(SECONDS + 900)
def test_random_statements(server, duck, tmp_path):
    tally, reports, deadline, seed = Tally(), [], time.monotonic() + SECONDS, SEED
    while (time.monotonic() < deadline if SECONDS else seed < SEED + SEQUENCES) and len(reports) < ENOUGH:
        case = Case.random(seed, LENGTH)
        if found := difference(server, duck, case, tally):
            reports.append(report(server, duck, case, found, tmp_path))
        seed += 1
        if (seed - SEED) % 100 == 0:
            # A long run that is cut has said how far it came.
            print(f"seeds {SEED} to {seed - 1}: {len(reports)} failed", flush=True)
    print(f"seeds {SEED} to {seed - 1}: {tally}")
    if reports:
        pytest.fail("\n\n".join(reports), pytrace=False)
    unexpected = [(kind, message) for kind, message in tally.refused if not any(part in message for part in MAY_BE_REFUSED)]
    assert not unexpected, tally
    assert all(tally.done[kind] for kind in MUST_WORK), tally


def report(server, duck, case: Case, found: str, folder) -> str:
    """Writes the script to replay, and says what is wrong."""
    smaller = shrink(server, duck, case, found, 40)
    script = folder / f"seed-{case.seed}.sql"
    script.write_text(smaller.script)
    again = difference(server, duck, smaller) or found
    return (f"seed {case.seed} ({case.shape.description}): {again}\n{len(smaller.statements)} of {len(case.statements)} "
            f"statements, in {script}:\n{smaller.script}")
