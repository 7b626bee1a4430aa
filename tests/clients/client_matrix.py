"""Which steps stock clients take against Auric, and the document of them: `python tests/clients/client_matrix.py`.

A test file of a client makes one `Client` and marks its tests as that client's steps:

    CLIENT = Client("asyncpg", "0.32.0")

    @CLIENT.step("cursors", "`cursor()` with a prefetch of 50 rows")
    async def test_cursor(…): …

A step says that the client does this as it comes, without an option or a plug-in for Auric. A step that does not work
yet names its reason (`missing=`): its test must fail until it does (a strict `xfail`). A client that is not written in
Python reports its steps in a run of its own: declare them with `CLIENT.steps`, and let one parametrised test look each
up in that report. With AURIC_TEST_POSTGRES (a conninfo string with host, port, user and dbname) the tests that use the
fixture `server` run against that PostgreSQL instead. Files are found by their import of this module; nothing else lists them.
"""

import dataclasses
import importlib
import os
import pathlib
from collections.abc import Callable

import pytest

FOLDER = pathlib.Path(__file__).resolve().parent
DOCUMENT = FOLDER.parents[1] / "docs" / "clients.md"

# Columns of the table, in this order.
AREAS = ("connect", "introspection", "types", "queries", "cursors", "transactions", "changes", "definitions", "copy", "errors")

HEAD = """# Clients

What stock clients do against Auric: as they come, with their Postgres driver or dialect, no option, no plug-in. Each step is a test
in `tests/clients` that runs the real client or, where its section says so, sends the statements that it sends; most of these tests
were held against a real PostgreSQL too. This page is made from the tests by `tests/clients/client_matrix.py`, and a test keeps it so:
a step that is said to work and does not fails its test, and so does one that is said not to work and does.

Numbers are steps that work; `3 of 4`: the fourth does not work yet, and is named below with its reason.
"""


@dataclasses.dataclass(frozen=True)
class Step:
    area: str
    what: str
    # Why it does not work yet.
    missing: str | None = None


class Client:
    """A client and the steps that its tests take."""

    def __init__(self, name: str, version: str, note: str = ""):
        self.name, self.version, self.note = name, version, note
        self.taken: list[Step] = []
        CLIENTS[name] = self

    def step(self, area: str, what: str, missing: str | None = None) -> Callable:
        """Marks a test as a step of this client."""
        mark = self._mark(Step(area, what, missing))
        return lambda test: mark(test) if mark else test

    def steps(self, area: str, *names: str, missing: dict[str, str] | None = None) -> list:
        """Declares steps for `pytest.mark.parametrize`: one parameter per name; `missing`: reasons by name."""
        parameters = []
        for name in names:
            mark = self._mark(Step(area, name, (missing or {}).get(name)))
            parameters.append(pytest.param(name, marks=[mark] if mark else []))
        return parameters

    def _mark(self, step: Step):
        assert step.area in AREAS, f"{step.area} is none of {AREAS}"
        assert step.what not in {other.what for other in self.taken}, f"{self.name} has a step {step.what} already"
        self.taken.append(step)
        postgres = "AURIC_TEST_POSTGRES" in os.environ
        return pytest.mark.xfail(reason=step.missing, strict=True) if step.missing and not postgres else None


CLIENTS: dict[str, Client] = {}


def load() -> list[Client]:
    """The clients of all test files, by name."""
    for path in sorted(FOLDER.glob("test_*.py")):
        if "from client_matrix import" in path.read_text():
            importlib.import_module(path.stem)
    return sorted(CLIENTS.values(), key=lambda client: client.name.lower())


def text() -> str:
    clients = load()
    lines = [HEAD, "| client | " + " | ".join(AREAS) + " |", "|---|" + "---|" * len(AREAS)]
    for client in clients:
        cells = []
        for area in AREAS:
            steps = [step for step in client.taken if step.area == area]
            working = sum(step.missing is None for step in steps)
            cells.append("" if not steps else str(working) if working == len(steps) else f"{working} of {len(steps)}")
        lines.append(f"| [{client.name}](#{anchor(client)}) {client.version} | " + " | ".join(cells) + " |")
    for client in clients:
        lines += ["", f"## {client.name}", ""]
        if client.note:
            lines += [client.note, ""]
        lines += ["| step | | |", "|---|---|---|"]
        ordered = sorted(client.taken, key=lambda step: AREAS.index(step.area))
        lines += [f"| {step.area} | {step.what} | {'works' if step.missing is None else 'no: ' + step.missing} |" for step in ordered]
    return "\n".join(lines) + "\n"


def anchor(client: Client) -> str:
    """How GitHub names the link to a heading."""
    kept = [letter for letter in client.name.lower() if letter.isalnum() or letter in "-_ "]
    return "".join(kept).replace(" ", "-")


if __name__ == "__main__":
    # This module once, under the name that the tests import it by.
    DOCUMENT.write_text(importlib.import_module("client_matrix").text())
