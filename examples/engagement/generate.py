"""Forty days of an app: each day is a folder with `events.csv`, what the phones have sent on it.

Users come in sessions, some of which run past midnight. A phone without a network sends its events hours or days
later, now and then twice. A few accounts are robots: their sessions go on for hours, with an action every few seconds.
"""

import datetime
import pathlib

from common.generate import Dice, at, days, write_csv

FIRST = "2024-01-20"
DAYS = 40
ACTIONS = {"open": 15, "view": 50, "search": 15, "like": 15, "share": 5}
DEVICES = {"ios": 48, "android": 45, "web": 7}


def generate(folder: pathlib.Path, scale: float, count: int = DAYS, batches: int = 4) -> list[str]:
    """Writes what `count` days bring in `batches` deliveries of equal length, and returns their names in order.
    `scale` 1: some 60 000 events."""
    dice = Dice(f"engagement {scale}")
    all_days = days(FIRST, count)
    arrived: list[list[tuple]] = [[] for _ in all_days]
    number = 0
    for index, day in enumerate(all_days):
        for user in active(dice, index, scale):
            for event in session(dice, user, day):
                number += 1
                row = (f"e{number:09}", *event)
                # A phone that was offline; a delivery belongs to the day on which it comes.
                sent = index + dice.pick({0: 95, 1: 4, 2: 1})
                midnights = (event[1].date() - day).days
                for when in [sent, sent + 1] if dice.chance(0.01) else [sent]:
                    if when + midnights < count:
                        arrived[when + midnights].append(row)
    names = []
    for first in range(0, count, -(-count // batches)):
        last = min(first + -(-count // batches), count) - 1
        names.append(all_days[last].isoformat())
        for index in range(first, last + 1):
            write_csv(folder / names[-1] / f"events_{all_days[index]}.csv",
                      ["event_id", "user_id", "event_time", "action", "device"], arrived[index])
    return names


def active(dice: Dice, index: int, scale: float):
    """Who comes on a day: users join over the weeks, and each has a habit of its own. Robots have ids below 1010."""
    for user in range(1000, 1010 + int((300 + 8 * index) * scale)):
        habit = 0.15 + (user * 37 % 100) / 160
        if user < 1010 and index % 7 == user % 7:
            yield user
        elif user >= 1010 and dice.chance(habit * (0.6 if index % 7 in (0, 1) else 0.45)):
            yield user
            if dice.chance(0.4):
                yield user


def session(dice: Dice, user: int, day: datetime.date):
    """Actions with pauses below half an hour: (user, time, action, device)."""
    device = dice.pick(DEVICES) if user % 10 == 0 else list(DEVICES)[user % 2]
    robot = user < 1010
    # Most come in the evening, and some of them stay past midnight.
    moment = at(day, dice.below(14400) if robot else 25200 + 61000 * max(dice.random(), dice.random()))
    for _ in range(300 if robot else 1 + dice.below(14)):
        yield user, moment, dice.pick(ACTIONS), device
        # 29 minutes are a pause, 31 the end: some sit exactly at the border.
        pause = 60 if robot else dice.pick({20: 30, 90: 40, 300: 20, 1740: 3, 1800: 2, 1860: 3, 5400: 2})
        moment += datetime.timedelta(seconds=pause if pause >= 1740 else 1 + dice.below(2 * pause))
