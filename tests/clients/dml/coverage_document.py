"""`docs/dml-coverage.md` from the cases: `python tests/clients/dml/coverage_document.py`."""

import pathlib

import cases_merge as merge
import cases_overwrite as overwrite
import cases_update_delete as update_delete
from case import Case

DOCUMENT = pathlib.Path(__file__).resolve().parents[3] / "docs" / "dml-coverage.md"

GROUPS: dict[str, list[Case]] = {
    "MERGE: basics": merge.BASIC, "MERGE: join conditions": merge.JOINS, "MERGE: clauses": merge.CLAUSES,
    "MERGE: a target row hit twice": merge.CARDINALITY, "MERGE: sources and subqueries": merge.SOURCES,
    "MERGE: types and required columns": merge.TYPES, "MERGE: partitions and sequences": merge.PARTITIONS,
    "UPDATE": update_delete.UPDATES, "DELETE and TRUNCATE": update_delete.DELETES,
    "INSERT OVERWRITE": overwrite.OVERWRITES, "REPLACE WHERE": overwrite.REPLACES,
}

HEAD = """# Row-level statements: what the peers' suites check

The cases that Trino (connector tests), Spark with Iceberg (its extensions' MERGE, UPDATE and DELETE suites), Delta (its MERGE, UPDATE,
DELETE and overwrite suites) and Sail (its features) check, told anew in `tests/clients/dml`. Each runs on both formats: Iceberg v2 copy-on-write, v2 merge-on-read or v3
merge-on-read, and Delta with or without deletion vectors, in turn (all of them with `AURIC_DML_ALL=1`); after each, Auric, pyiceberg or
deltalake, and DuckDB read the same rows. The names of engines say whose suites have the like; "Postgres" is what its manual says. This page is made by
`tests/clients/dml/coverage_document.py` from the cases, and a test keeps it so.
"""

ELSEWHERE = """
## Checked elsewhere

| what | by |
|---|---|
| random statements over random tables, old versions | `tests/clients/dml/test_differential.py` |
| serializable isolation, concurrent writers, readers beside them | `tests/clients/dml/test_concurrency.py` |
| wrong names, types, shapes; failing rows, disks and rights | `tests/clients/dml/test_bad_dml.py` |
| a crash at any moment | `tests/clients/dml/test_crash.py` |
| an object store that errs, refuses or loses its answer at any step | `tests/clients/dml/test_store_faults.py` |

Longer runs (set `AURIC_BIN` to the binary and use the Python that `tests/run` installs):

```sh
AURIC_DIFFERENTIAL_SECONDS=3600 AURIC_DIFFERENTIAL_SEED=1000 python -m pytest tests/clients/dml/test_differential.py -s
AURIC_DML_ALL=1 python -m pytest tests/clients/dml -k cases
AURIC_CRASH_RUNS=300 python -m pytest tests/clients/dml/test_crash.py --timeout 3600
AURIC_DML_ALL=1 python -m pytest tests/clients/dml/test_store_faults.py -s --timeout 10800
```

A failing seed prints the fewest statements that still fail, and a file to replay them with psql.

## Not rebuilt

| what the peers check | why not |
|---|---|
| assignment to fields of structs, arrays of structs by name, maps | Auric's SQL has no assignment to a part of a value |
| `MERGE WITH SCHEMA EVOLUTION` | not part of the SQL (`docs/sql.md`) |
| branches and WAP | come with branches |
| DataFrame and Scala builders, views over the target, caches of the session | no such thing in Auric |
| non-deterministic conditions | allowed, as in Postgres |
| plans printed by EXPLAIN | every engine has its own |
"""


def text() -> str:
    parts = [HEAD]
    for title, cases in GROUPS.items():
        parts.append(f"\n## {title}\n\n| case | checked by | outcome |\n|---|---|---|\n")
        parts += [f"| {case.name} | {case.origins} | {case.outcome} |\n" for case in cases]
    return "".join(parts) + ELSEWHERE


if __name__ == "__main__":
    DOCUMENT.write_text(text())
