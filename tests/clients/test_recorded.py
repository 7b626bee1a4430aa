"""Statements that real tools sent to PostgreSQL are answered, with the same column names and types.

`recorded/postgres.json` holds PostgreSQL's answers. Each deviation is listed here with its reason, and one that is
gone must be taken off the list."""

import collections
import json

import pytest

from client_matrix import Client
from conftest import running
from recorded.deviations import NAMES, REFUSED, TYPES, TYPES_OF
from recorded import tools
from recorded.replay import FOLDER, TOOLS, origin, replay, statements

POSTGRES = json.loads((FOLDER / "postgres.json").read_text())


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Auric's answers, by tool; each tool has a server of its own, as some of them change the tables."""
    found = {}
    for tool in TOOLS:
        with running(tmp_path_factory.mktemp(tool)) as server:
            with server.connect() as connection:
                connection.execute((FOLDER / "setup.auric.sql").read_text())
            found[tool] = replay(server.dsn(), tool)
    return found


def deviations(tool: str, answers: list[dict]) -> dict[int, str]:
    """What differs in answers to statements that PostgreSQL answered, by the statement's number from 0."""
    found = {}
    for number, (theirs, ours) in enumerate(zip(POSTGRES[tool], answers, strict=True)):
        if "error" in theirs:
            continue
        if "error" in ours:
            found[number] = f"refused with {ours['error']}"
        elif theirs.get("copy") != ours.get("copy"):
            found[number] = f"COPY: {theirs} and {ours}"
        elif "columns" in theirs:
            names = [[name for name, _ in one["columns"]] for one in (theirs, ours)]
            if names[0] != names[1]:
                found[number] = f"names {names[1]} for {names[0]}"
                continue
            types = [(theirs_type, ours_type) for (_, theirs_type), (_, ours_type) in zip(theirs["columns"], ours["columns"])]
            unknown = {pair for pair in types if pair[0] != pair[1] and pair not in TYPES}
            if unknown:
                found[number] = "types " + ", ".join(f"{b} for {a}" for a, b in sorted(unknown))
    return found


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_get_the_answers_of_postgres(tool, answers):
    found = deviations(tool, answers[tool])
    listed = {**REFUSED.get(tool, {}), **NAMES.get(tool, {}), **TYPES_OF.get(tool, {})}
    texts = [statement.sql for statement in statements(tool)]
    new = {number: f"{what}: {texts[number][:300]}" for number, what in found.items() if number not in listed}
    assert not new, "\n".join(f"{number}: {what}" for number, what in new.items())
    assert not listed.keys() - found.keys(), "deviations that are gone: take them off recorded/deviations.py"


def steps_of_tools() -> list:
    """Tool and step, for `pytest.mark.parametrize`."""
    found = []
    for tool, steps in tools.STEPS.items():
        note = f"Not the tool itself: its statements are replayed, and the answers held against PostgreSQL's ({origin(tool)})."
        client = Client(tools.NAMES[tool], "(statements)", note)
        for step in steps:
            [declared] = client.steps(step.area, step.what, missing={step.what: step.missing})
            found.append(pytest.param(tool, step, marks=declared.marks, id=f"{tool}-{step.marks[0]}"))
    return found


@pytest.mark.parametrize(("tool", "step"), steps_of_tools())
def test_steps_of_tools_work(tool, step, answers):
    """No statement of a step is refused; names and types are looked at above."""
    taken = [number for number, statement in enumerate(statements(tool)) if set(statement.steps) & set(step.marks)]
    refused = [number for number in taken if "error" in answers[tool][number] and "error" not in POSTGRES[tool][number]]
    assert taken and not refused


@pytest.mark.parametrize("tool", tools.STEPS)
def test_every_statement_of_a_tool_is_of_one_step(tool):
    marks = [mark for step in tools.STEPS[tool] for mark in step.marks]
    assert sorted(marks) == sorted({mark for statement in statements(tool) for mark in statement.steps})
    assert all(len(statement.steps) == 1 for statement in statements(tool))


def test_every_type_deviation_is_still_one(answers):
    seen = collections.Counter()
    for tool in TOOLS:
        for theirs, ours in zip(POSTGRES[tool], answers[tool], strict=True):
            pairs = zip(theirs.get("columns", []), ours.get("columns", []))
            seen.update((a[1], b[1]) for a, b in pairs if a[1] != b[1])
    assert not set(TYPES) - set(seen)
