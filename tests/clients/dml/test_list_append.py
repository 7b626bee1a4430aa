"""The checker of histories: it accepts what is serializable and finds each kind of fault."""

import graphlib

import pytest

from list_append import Append, Reading, check

A, B = Append("a", (1, 2), 0, 1), Append("b", (1, 2), 2, 3)
FINE = {1: ["a", "b"], 2: ["a", "b"]}


def test_a_serial_history():
    check(FINE, [A, B], [Reading({1: [], 2: []}, 0, 0.5), Reading({1: ["a"], 2: ["a"]}, 1.5, 1.7), Reading(FINE, 4, 5)])


@pytest.mark.parametrize("final, readings", [
    ({1: ["a", "b"], 2: ["b", "a"]}, []), ({1: ["b", "a"], 2: ["b", "a"]}, []), ({1: ["a"], 2: ["a", "b"]}, []),
    ({1: ["a", "b", "b"], 2: ["a", "b"]}, []), (FINE, [Reading({1: ["a"], 2: []}, 0, 1)]), (FINE, [Reading({1: ["b"], 2: ["b"]}, 2, 5)]),
    (FINE, [Reading({1: ["a"], 2: ["a"]}, 4, 5)]),
], ids=["two orders", "against time", "lost", "twice", "half a commit", "a state that never was", "stale"])
def test_faults_are_found(final, readings):
    with pytest.raises((AssertionError, graphlib.CycleError)):
        check(final, [A, B], readings)
