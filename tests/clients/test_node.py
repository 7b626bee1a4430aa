"""Stock node-postgres with its cursor, stream and COPY modules: the steps are in `node/steps.js`, and each reports `ok` or what went wrong."""

import json
import pathlib

import pytest

from client_matrix import Client
from packages import node

FOLDER = pathlib.Path(__file__).parent / "node"
VERSIONS = json.loads((FOLDER / "package.json").read_text())["dependencies"]
CLIENT = Client("node pg", VERSIONS["pg"], ", ".join(f"{name} {version}" for name, version in VERSIONS.items()))


@pytest.fixture(scope="module")
def report(server):
    """What each step said, from one run of the program."""
    return dict(line.split("\t", 1) for line in node(FOLDER, "steps.js", server, "node_steps"))


STEPS = [
    *CLIENT.steps("queries", "simple queries, several at once", "queries with parameters", "named prepared statements"),
    *CLIENT.steps("types", "type parsing in text", "results in binary"),
    *CLIENT.steps("cursors", "pg-cursor", "pg-query-stream"),
    *CLIENT.steps("copy", "pg-copy-streams: in and out", "pg-copy-streams: binary"),
    *CLIENT.steps("transactions", "transactions"),
    *CLIENT.steps("errors", "errors", "statement_timeout, query_timeout and cancel"),
    *CLIENT.steps("connect", "pool"),
]


@pytest.mark.parametrize("step", STEPS)
def test_steps(report, step):
    assert report[step] == "ok"


def test_every_step_is_declared(report):
    assert set(report) == {parameter.values[0] for parameter in STEPS}
