"""The server is killed at random moments while its scheduler refreshes views over views: no publication is lost, doubled or unaudited.

Hundreds of kills: `AURIC_CRASH_RUNS=300 python -m pytest tests/clients/test_killed_refreshes.py`."""

import collections
import os
import random
import threading

import psycopg
import pytest

from conftest import eventually, running
from test_materialized_views import KEY, Gold

RUNS = max(2, int(os.environ.get("AURIC_CRASH_RUNS", "8")) // 2)
SEED = int(os.environ.get("AURIC_CRASH_SEED", "1"))
QUICK = {"AURIC_MATERIALIZE__POLL_INTERVAL": "50ms", "AURIC_MATERIALIZE__LEASE": "1s", "AURIC_MATERIALIZE__RETRY_PAUSE": "50ms"}


def insert_until_gone(server, known: list[int], next_id: list[int]):
    """Known are the rows that were acknowledged."""
    try:
        with server.connect() as connection:
            while True:
                mine = next_id[0] = next_id[0] + 1
                # Every third row is refused by the view.
                connection.execute("insert into s.base values (%s, %s)", (mine, -1 if mine % 3 == 0 else mine % 7))
                known.append(mine)
    except psycopg.OperationalError:
        pass


def audited(gold: Gold):
    """Of every version that readers could see: each row once, none that is to be refused."""
    if gold.format == "iceberg":
        table = gold.iceberg
        versions = [table.scan(snapshot_id=s.snapshot_id).to_arrow() for s in table.metadata.snapshots[-4:]]
    else:
        import deltalake

        last = gold.delta.version()
        versions = [deltalake.DeltaTable(gold.root, version=v).to_pyarrow_table() for v in range(max(0, last - 3), last + 1)]
    for rows in versions:
        ids = rows["id"].to_pylist()
        assert len(ids) == len(set(ids)), "a row was published twice"
        assert all(amount >= 0 for amount in rows["amount"].to_pylist()), "a row was published that was refused"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("form", ["iceberg", "delta"])
def test_killed_at_random_times(tmp_path, form):
    rng, known, next_id = random.Random(SEED), [], [0]
    with running(tmp_path, environment=QUICK) as server:
        server.sql("create schema s")
        server.sql(f"create table s.base (id int, amount int) using {form}")
        server.sql("insert into s.base values (0, 0)")
        server.sql(f"""create materialized view s.gold (constraint positive expect (amount >= 0) on violation quarantine into s.bad)
            using {form} trigger on update refresh policy incremental strict as select id, amount from s.base""")
        server.sql(f"create materialized view s.sums using {form} trigger on update as select amount, count(*) as n from s.gold group by amount")
    kills = 0
    while kills < RUNS:
        with running(tmp_path, environment=QUICK) as server:
            published = lambda: server.sql("select count(*) from auric.refreshes where status = 'succeeded'")[0][0]
            writer = threading.Thread(target=insert_until_gone, args=(server, known, next_id))
            writer.start()
            # While it refreshes, at a moment that nobody chooses.
            wanted = published() + rng.randint(1, 3)
            eventually(published, lambda n: n >= wanted)
            rows = len(known) + rng.randint(1, 8)
            eventually(lambda: len(known) >= rows)
            server.process.kill()
            server.process.wait()
            writer.join()
            kills += 1
    with running(tmp_path, environment=QUICK) as server:
        base = dict(server.sql("select id, amount from s.base"))
        assert set(known) <= set(base)
        expected = sorted((id, amount) for id, amount in base.items() if amount >= 0)
        eventually(lambda: server.sql("select id, amount from s.gold order by id"), lambda rows: rows == expected)
        counts = sorted(collections.Counter(amount for _, amount in expected).items())
        eventually(lambda: server.sql("select amount, n from s.sums order by amount"), lambda rows: rows == counts)
        for name in ("gold", "sums"):
            runs = [run[KEY + "run-id"] for run in Gold(server, "s", name, form).runs()]
            assert len(runs) == len(set(runs)), f"a run of {name} was published twice"
        gold, bad = Gold(server, "s", "gold", form), Gold(server, "s", "bad", form)
        audited(gold)
        runs = {run[KEY + "run-id"] for run in gold.runs()}
        refused = collections.Counter(row["id"] for row in bad.arrow().to_pylist() if row["_run_id"] in runs)
        assert refused == collections.Counter(id for id, amount in base.items() if amount < 0), "a refused row is lost or doubled"
