"""`docs/clients.md` says what the tests of the clients say."""

import client_matrix
import pytest


def test_the_document_is_that_of_the_tests():
    assert client_matrix.DOCUMENT.read_text() == client_matrix.text(), \
        "run `python tests/clients/client_matrix.py` with the Python of the tests"


def test_unknown_areas_and_steps_said_twice_are_noticed(monkeypatch):
    monkeypatch.setattr(client_matrix, "CLIENTS", {})
    client = client_matrix.Client("nobody", "1")
    client.step("connect", "over TCP")
    with pytest.raises(AssertionError, match="none of"):
        client.step("dreams", "over TCP")
    with pytest.raises(AssertionError, match="already"):
        client.steps("connect", "over TCP")


def test_a_missing_step_shows_with_its_reason(monkeypatch):
    monkeypatch.setattr(client_matrix, "CLIENTS", {})
    monkeypatch.setattr(client_matrix, "FOLDER", client_matrix.FOLDER / "nowhere")
    client = client_matrix.Client("nobody", "1")
    client.steps("copy", "in", "out", missing={"out": "no such thing"})
    text = client_matrix.text()
    assert "| [nobody](#nobody) 1 |  |  |  |  |  |  |  |  | 1 of 2 |  |" in text
    assert "| copy | out | no: no such thing |" in text
