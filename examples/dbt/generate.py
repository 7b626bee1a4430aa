"""Five days of a shop's database, each as it is dumped at midnight.

Each day is a folder with three files, all rows each time, as dbt's seeds are:

- `raw_customers.csv`: names as they were typed; some customers move, some close their account and are gone;
- `raw_orders.csv`: an order is placed, shipped, and completed or returned on the days after;
- `raw_payments.csv`: most orders are paid at once, some in two parts, some after a card was refused.

`updated_at` of a row always lies on the day of the dump that shows the change first.
"""

import datetime
import pathlib

from common.generate import Dice, at, days, write_csv

FIRST = "2024-03-01"
DAYS = 5
NAMES = ["ada", "Bruno", "CHLOE", " dana", "Emil", "farah ", "Grace", "hugo", "Ines", "JONAS", "kira", "Leo"]
SURNAMES = {"A.": 3, "B.": 5, "K.": 4, "M.": 6, "S.": 5, "T.": 2}
CITIES = {"Berlin": 30, "Lyon": 20, " Porto": 10, "London": 25, "": 5}
METHODS = {"credit_card": 55, "bank_transfer": 25, "gift_card": 10, "coupon": 10}


def generate(folder: pathlib.Path, scale: float, count: int = DAYS) -> list[str]:
    """Writes `count` days, and returns their names in order. `scale` 1: some 2 000 orders."""
    shop = Shop(scale)
    for day in days(FIRST, count):
        shop.live(day)
        shop.dump(folder / day.isoformat())
    return [day.isoformat() for day in days(FIRST, count)]


class Shop:
    def __init__(self, scale: float):
        self.dice = Dice(f"dbt {scale}")
        self.scale = scale
        self.customers: dict[int, dict] = {}
        self.orders: list[dict] = []
        self.payments: list[tuple] = []
        self.signed_up = 0

    def live(self, day: datetime.date) -> None:
        # What happened to the orders of the days before comes first: it is early in the morning.
        for order in self.orders:
            self.go_on(order, day)
        for _ in range(int((300 if not self.customers else 40) * self.scale) + 8):
            self.sign_up(day)
        for customer in list(self.customers.values()):
            self.move_or_leave(customer, day)
        for _ in range(int(400 * self.scale) + 10):
            self.order(day)

    def sign_up(self, day: datetime.date) -> None:
        dice = self.dice
        self.signed_up += 1
        self.customers[self.signed_up] = {
            "id": self.signed_up, "first_name": NAMES[dice.below(len(NAMES))], "last_name": dice.pick(SURNAMES),
            "city": dice.pick(CITIES), "updated_at": at(day, dice.below(36000)), "since": day, "orders": 0}

    def move_or_leave(self, customer: dict, day: datetime.date) -> None:
        if customer["since"] == day:
            return
        if self.dice.chance(0.05):
            customer["city"] = self.dice.pick(CITIES)
            customer["updated_at"] = at(day, 36000 + self.dice.below(3600))
        # Who has ordered stays in the books.
        elif not customer["orders"] and self.dice.chance(0.10):
            del self.customers[customer["id"]]

    def order(self, day: datetime.date) -> None:
        dice = self.dice
        known = list(self.customers)
        # Some buy again and again, others never.
        customer = self.customers[known[int(dice.random() ** 2 * len(known))]]
        customer["orders"] += 1
        placed = at(day, 43200 + dice.below(43000))
        order = {"id": len(self.orders) + 1, "customer": customer["id"], "placed": placed, "status": "placed", "updated_at": placed}
        self.orders.append(order)
        cents = 500 + dice.below(9500)
        if dice.chance(0.08):
            self.pay(order, "credit_card", cents, "failed")
        if dice.chance(0.15):
            self.pay(order, "gift_card", 500, "success")
            cents -= 400
        self.pay(order, dice.pick(METHODS), cents, "success")

    def pay(self, order: dict, method: str, cents: int, status: str) -> None:
        self.payments.append((len(self.payments) + 1, order["id"], method, cents, status))

    def go_on(self, order: dict, day: datetime.date) -> None:
        age = (day - order["placed"].date()).days
        following = {"placed": "shipped" if age >= 1 and self.dice.chance(0.8) else None,
                     "shipped": self.dice.pick({"completed": 9, "returned": 1}) if age >= 2 else None}.get(order["status"])
        if following:
            order["status"], order["updated_at"] = following, at(day, self.dice.below(36000))

    def dump(self, folder: pathlib.Path) -> None:
        write_csv(folder / "raw_customers.csv", ["id", "first_name", "last_name", "city", "updated_at"],
                  [tuple(c[key] for key in ("id", "first_name", "last_name", "city", "updated_at")) for c in self.customers.values()])
        write_csv(folder / "raw_orders.csv", ["id", "customer_id", "ordered_at", "status", "updated_at"],
                  [(o["id"], o["customer"], o["placed"], o["status"], o["updated_at"]) for o in self.orders])
        write_csv(folder / "raw_payments.csv", ["id", "order_id", "payment_method", "amount_cents", "status"], self.payments)
