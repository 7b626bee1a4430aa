"""The page of peers' cases says what the cases say."""

import itertools

import coverage_document


def test_the_document_is_up_to_date():
    assert coverage_document.DOCUMENT.read_text() == coverage_document.text(), "run tests/clients/dml/coverage_document.py"


def test_cases_have_names_of_their_own():
    names = [case.identifier for case in itertools.chain.from_iterable(coverage_document.GROUPS.values())]
    assert len(names) == len(set(names)), sorted(name for name in set(names) if names.count(name) > 1)
