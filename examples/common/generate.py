"""What the generators share: one seed, one CSV dialect, days in a row. Standard library only."""

import csv
import datetime
import pathlib
import random


class Dice:
    """Random choices that are the same on every machine: everything comes from `random()`, which Python keeps stable."""

    def __init__(self, seed: str):
        self.random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def below(self, end: int) -> int:
        return int(self.random() * end)

    def pick(self, weights: dict):
        """A key of `weights`, as often as its value says."""
        at = self.random() * sum(weights.values())
        for value, weight in weights.items():
            at -= weight
            if at < 0:
                return value
        return value


def days(first: str, count: int) -> list[datetime.date]:
    start = datetime.date.fromisoformat(first)
    return [start + datetime.timedelta(days=n) for n in range(count)]


def at(day: datetime.date, seconds: float) -> datetime.datetime:
    """A time of a day, to the second; more than 86400 seconds lie in the days after."""
    return datetime.datetime.combine(day, datetime.time()) + datetime.timedelta(seconds=int(seconds))


def write_csv(path: pathlib.Path, header: list[str], rows: list[tuple]) -> None:
    """None becomes an empty field, which both Auric and Postgres read as NULL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
