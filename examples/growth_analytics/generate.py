"""Ten days of a shop and of two partners that bring it users.

Each day is a folder with what arrived on it:

- `users.csv`, `orders.csv`: rows of the shop's own database that have changed since the day before,
  an order once for each change;
- `events_<partner>_<day>[_part2].csv`: what a partner has seen of our users. One writes ISO dates and clean
  codes, the other what it likes. Both send rows twice, late, and corrected;
- `manifest.csv`: how many events each partner says its drop of the day has.

On the fourth day a part of a drop is missing. It comes a day later.
"""

import datetime
import pathlib

from common.generate import Dice, at, days, write_csv

FIRST = "2024-03-01"
DAYS = 10
INCOMPLETE = 3
COUNTRIES = {"US": 40, "GB": 18, "DE": 15, "FR": 12, "IN": 10, "BR": 5}
CHANNELS = {"organic": 45, "search": 25, "social": 20, "referral": 10}
PLATFORMS = {"ios": 45, "android": 40, "web": 15}
EVENTS = {"visit": 80, "invite": 12, "signup": 8}
PARTNERS = {"orbit": 60, "lumen": 40}
SPELLED = {"GB": "uk", "US": " usa ", "DE": "de", "FR": "fr ", "IN": "in", "BR": "br"}


def generate(folder: pathlib.Path, scale: float, count: int = DAYS) -> list[str]:
    """Writes `count` days, and returns their names in order. `scale` 1: some 30 000 events."""
    world = World(scale, days(FIRST, count))
    for number in range(count):
        world.live(number)
    for number, day in enumerate(world.days):
        world.write(folder / day.isoformat(), number)
    return [day.isoformat() for day in world.days]


class World:
    def __init__(self, scale: float, all_days: list[datetime.date]):
        self.dice = Dice(f"growth analytics {scale}")
        self.scale, self.days = scale, all_days
        self.users: list[dict] = []
        self.orders = 0
        # What arrives on each day: (partner, day of the drop, part) → rows; and rows of the database.
        self.drops: list[dict] = [{} for _ in all_days]
        self.user_rows: list[list[tuple]] = [[] for _ in all_days]
        self.order_rows: list[list[tuple]] = [[] for _ in all_days]
        self.sent: list[dict] = [{partner: set() for partner in PARTNERS} for _ in all_days]
        self.numbers = dict.fromkeys(PARTNERS, 0)

    def live(self, number: int) -> None:
        grown = int((400 if number == 0 else 60) * self.scale) + 1
        for _ in range(grown):
            self.sign_up(number)
        for _ in range(int(3000 * self.scale) + 20):
            self.event(number)
        for _ in range(int(250 * self.scale) + 5):
            self.order(number)

    def sign_up(self, number: int) -> None:
        dice, day = self.dice, self.days[number]
        user = {"id": 1001 + len(self.users), "country": dice.pick(COUNTRIES), "channel": dice.pick(CHANNELS)}
        self.users.append(user)
        row = (user["id"], user["country"], user["channel"], at(day, dice.below(86400)), at(day, 86399))
        # The database's export now and then misses a user, and surely the fifth; the next one has it.
        self.deliver(self.user_rows, number + (dice.chance(0.02) or len(self.users) == 5), row)
        if dice.chance(0.03):
            moved = (user["id"], dice.pick(COUNTRIES), *row[2:4], at(day, 86400 + dice.below(86400)))
            self.deliver(self.user_rows, number + 1, moved)

    def event(self, number: int) -> None:
        dice, day = self.dice, self.days[number]
        user = self.users[dice.below(len(self.users))]
        partner = dice.pick(PARTNERS)
        self.numbers[partner] += 1
        event = {
            "id": f"{partner}-{self.numbers[partner]:07}", "user": str(user["id"]), "event": dice.pick(EVENTS),
            "country": user["country"], "platform": dice.pick(PLATFORMS),
            "at": at(day, dice.below(86400)), "sent": at(day, 86400 + dice.below(1800)),
        }
        fault = dice.random()
        if fault < 0.005:
            event["user"] = "n/a"
        elif fault < 0.010:
            event["at"] = "0000-00-00"
        elif fault < 0.015:
            event["event"] = "heartbeat"
        elif fault < 0.030:
            event["country"] = None
        # Most drops are in time; some rows come a day or two later.
        late = dice.pick({0: 97, 1: 2, 2: 1})
        missing = number == INCOMPLETE and partner == "orbit" and dice.chance(0.3)
        self.drop(partner, number + late, event, missing and late == 0)
        if dice.chance(0.03):
            self.drop(partner, number + late, event, missing and late == 0)
        if dice.chance(0.01):
            self.drop(partner, number + late + 1, event)
        if dice.chance(0.02) and event["at"] != "0000-00-00":
            self.drop(partner, number + late + 1, self.corrected(event))

    def corrected(self, event: dict) -> dict:
        """The same event as the partner knows it a day later: another platform, or an earlier clock."""
        dice = self.dice
        later = {**event, "sent": event["sent"] + datetime.timedelta(days=1)}
        if dice.chance(0.3):
            return {**later, "at": event["at"] - datetime.timedelta(hours=12)}
        return {**later, "platform": dice.pick(PLATFORMS)}

    def drop(self, partner: str, number: int, event: dict, part2: bool = False) -> None:
        """Puts an event into the drop of a day. A second part arrives a day later, and belongs to the first."""
        if number >= len(self.days):
            return
        self.sent[number][partner].add(event["id"])
        arrives = number + part2
        if arrives < len(self.days):
            name = (partner, self.days[number], "_part2" if part2 else "")
            self.drops[arrives].setdefault(name, []).append(self.spelled(partner, event))

    def spelled(self, partner: str, event: dict) -> tuple:
        moment, country, name = event["at"], event["country"], event["event"]
        if partner == "lumen":
            moment = moment if isinstance(moment, str) else moment.strftime("%d/%m/%Y %H:%M:%S")
            country = country and SPELLED[country]
            name = name.capitalize() + " "
        return event["id"], event["user"], name, country, event["platform"], moment, event["sent"]

    def order(self, number: int) -> None:
        """An order is placed, mostly paid, sometimes a day later, and now and then cancelled after that."""
        dice, day = self.dice, self.days[number]
        user = self.users[dice.below(len(self.users))]
        self.orders += 1
        placed = at(day, dice.below(80000))
        amount = f"{5 + dice.below(20000) / 100:.2f}"

        def changed(status: str, delay: int) -> None:
            moment = placed + datetime.timedelta(seconds=delay)
            row = (self.orders, user["id"], status, amount, placed, moment)
            self.deliver(self.order_rows, (moment.date() - self.days[0]).days, row)

        changed("placed", 0)
        if dice.chance(0.9):
            pay = 60 + dice.below(86400 if dice.chance(0.1) else 3600)
            changed("paid", pay)
            if dice.chance(0.05):
                changed("cancelled", pay + 3600 + dice.below(2 * 86400))

    def deliver(self, target: list[list[tuple]], number: int, row: tuple) -> None:
        if number < len(target):
            target[number].append(row)

    def write(self, folder: pathlib.Path, number: int) -> None:
        write_csv(folder / "users.csv", ["user_id", "country", "channel", "signed_up_at", "updated_at"], self.user_rows[number])
        write_csv(folder / "orders.csv", ["order_id", "user_id", "status", "amount", "ordered_at", "updated_at"],
                  self.order_rows[number])
        for (partner, day, part), rows in sorted(self.drops[number].items()):
            write_csv(folder / f"events_{partner}_{day}{part}.csv",
                      ["partner", "drop_date", "event_id", "user_id", "event", "country", "platform", "occurred_at", "sent_at"],
                      [(partner, day, *row) for row in rows])
        manifest = [(partner, self.days[number], len(ids)) for partner, ids in sorted(self.sent[number].items())]
        write_csv(folder / "manifest.csv", ["partner", "drop_date", "events"], manifest)
