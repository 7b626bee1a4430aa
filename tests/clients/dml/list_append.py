"""Histories of appends to lists, and whether some order of the statements explains them.

Each append is one statement that adds its name to the lists of several keys. The lists at the end tell
the order of the appends to each key; readings must be a state along that order, and what ended before
another began comes first (strict serializability)."""

import dataclasses
import graphlib


@dataclasses.dataclass
class Append:
    name: str
    keys: tuple[int, ...]
    began: float = 0.0
    ended: float = 0.0


@dataclasses.dataclass
class Reading:
    lists: dict[int, list[str]]
    began: float
    ended: float


def check(final: dict[int, list[str]], appends: list[Append], readings: list[Reading]):
    """Raises AssertionError or CycleError if nothing explains the history."""
    by_name = {append.name: append for append in appends}
    for key, names in final.items():
        assert len(names) == len(set(names)), f"key {key} has an append twice"
        assert set(names) == {append.name for append in appends if key in append.keys}, f"key {key} lost or made up an append"
    graph = graphlib.TopologicalSorter()
    for names in final.values():
        for earlier, later in zip(names, names[1:]):
            graph.add(later, earlier)
    for number, reading in enumerate(readings):
        add_reading(graph, f"reading {number}", reading, final, by_name)
    events = [(append.name, append.began, append.ended) for append in appends]
    events += [(f"reading {number}", reading.began, reading.ended) for number, reading in enumerate(readings)]
    for earlier, _, ended in events:
        for later, began, _ in events:
            if ended < began:
                graph.add(later, earlier)
    graph.prepare()


def add_reading(graph, node: str, reading: Reading, final: dict[int, list[str]], appends: dict[str, Append]):
    seen = {name for names in reading.lists.values() for name in names}
    for key, names in reading.lists.items():
        assert names == final[key][:len(names)], f"{node} of key {key} is no state that ever was: {names}"
        for name in names:
            graph.add(node, name)
        for name in final[key][len(names):]:
            assert name not in seen, f"{node} saw half of append {name} of keys {appends[name].keys}"
            graph.add(name, node)
