"""Stock postgres.js, knex and TypeORM: the steps are in `node/clients.js`, and each reports `ok` or what went wrong."""

import json
import pathlib

import pytest

from client_matrix import Client
from packages import node

FOLDER = pathlib.Path(__file__).parent / "node"
VERSIONS = json.loads((FOLDER / "package.json").read_text())["dependencies"]
JS, KNEX, TYPEORM = Client("postgres.js", VERSIONS["postgres"]), Client("knex", VERSIONS["knex"]), Client("TypeORM", VERSIONS["typeorm"])


@pytest.fixture(scope="module")
def report(server):
    """What each step said, from one run of the program."""
    lines = (line.split("\t", 2) for line in node(FOLDER, "clients.js", server, "node_clients"))
    return {(client, step): outcome for client, step, outcome in lines}


JS_STEPS = [*JS.steps("types", "parameters of every type, helpers, documents"), *JS.steps("cursors", "cursors and streams"),
            *JS.steps("transactions", "transactions, savepoints, pipelines"), *JS.steps("errors", "a query is cancelled")]
KNEX_STEPS = KNEX.steps("changes", "tables, column info, batches, upserts, transactions")
TYPEORM_STEPS = [*TYPEORM.steps("definitions", "synchronize, twice"), *TYPEORM.steps("changes", "save, find, upsert, transactions")]


@pytest.mark.parametrize("step", JS_STEPS)
def test_postgres_js(report, step):
    assert report[JS.name, step] == "ok"


@pytest.mark.parametrize("step", KNEX_STEPS)
def test_knex(report, step):
    assert report[KNEX.name, step] == "ok"


@pytest.mark.parametrize("step", TYPEORM_STEPS)
def test_typeorm(report, step):
    assert report[TYPEORM.name, step] == "ok"
