"""A stream of statements over one table with a Python model of it, for tests that kill or race the server."""

import random

from shape import Layout

Rows = dict[int, tuple[int, int]]
COLUMNS = ["id", "part", "v"]
PARTS = 4


def create(table: str, layout: Layout) -> str:
    properties = "".join(f"{', ' if number else ''}'{key}' = '{value}'" for number, (key, value) in enumerate(layout.properties))
    clause = f" tblproperties ({properties})" if properties else ""
    return f"create table {table} (id bigint not null, part int, v bigint) using {layout.format} partitioned by (part){clause}"


class Ledger:
    """`rows` is what the acknowledged statements left: id → (part, v)."""

    def __init__(self, table: str, seed: int):
        self.table, self.rng, self.rows, self.fresh = table, random.Random(seed), {}, 1

    def next(self) -> tuple[str, Rows]:
        """A statement and the rows there will be after it."""
        if len(self.rows) < 40:
            return self.insert()
        if len(self.rows) > 400:
            return self.delete(2)
        return self.rng.choice((self.insert, self.update, self.update, self.delete, self.merge, self.merge, self.merge_by_source, self.overwrite))()

    def ids(self, count: int) -> range:
        first, self.fresh = self.fresh, self.fresh + count
        return range(first, first + count)

    def series(self, ids: range, part: str, value: int) -> str:
        return f"select x as id, {part} as part, cast({value} + x as bigint) as v from generate_series({ids.start}, {ids.stop - 1}) as g(x)"

    def insert(self) -> tuple[str, Rows]:
        ids, value = self.ids(self.rng.randint(20, 60)), self.rng.randint(0, 10**6)
        after = self.rows | {id_: (id_ % PARTS, value + id_) for id_ in ids}
        return f"insert into {self.table} {self.series(ids, f'cast(x % {PARTS} as int)', value)}", after

    def update(self) -> tuple[str, Rows]:
        modulus, rest = self.rng.choice((2, 7, 31)), self.rng.randint(0, 1)
        after = {id_: (part, v + 1 if id_ % modulus == rest else v) for id_, (part, v) in self.rows.items()}
        return f"update {self.table} set v = v + 1 where id % {modulus} = {rest}", after

    def delete(self, modulus: int | None = None) -> tuple[str, Rows]:
        modulus = modulus or self.rng.choice((5, 11))
        rest = self.rng.randrange(modulus)
        after = {id_: row for id_, row in self.rows.items() if id_ % modulus != rest}
        return f"delete from {self.table} where id % {modulus} = {rest}", after

    def merge(self) -> tuple[str, Rows]:
        """Half of the source's rows are there already."""
        new = self.ids(10)
        ids, value = range(max(1, new.start - 10), new.stop), self.rng.randint(0, 10**6)
        after = dict(self.rows)
        for id_ in ids:
            after[id_] = (self.rows[id_][0] if id_ in self.rows else id_ % PARTS, value + id_)
        return (f"merge into {self.table} a using ({self.series(ids, f'cast(x % {PARTS} as int)', value)}) b on a.id = b.id "
                f"when matched then update set v = b.v when not matched then insert (id, part, v) values (b.id, b.part, b.v)"), after

    def merge_by_source(self) -> tuple[str, Rows]:
        part = self.rng.randrange(PARTS)
        low = self.rng.choice(list(self.rows))
        after = {id_: (p, v) for id_, (p, v) in self.rows.items() if p != part or low <= id_ < low + 100}
        return (f"merge into {self.table} a using (select x as id from generate_series({low}, {low + 99}) as g(x)) b on a.id = b.id "
                f"when not matched by source and a.part = {part} then delete"), after

    def overwrite(self) -> tuple[str, Rows]:
        part, ids, value = self.rng.randrange(PARTS), self.ids(15), self.rng.randint(0, 10**6)
        after = {id_: row for id_, row in self.rows.items() if row[0] != part} | {id_: (part, value + id_) for id_ in ids}
        return f"insert overwrite table {self.table} {self.series(ids, f'cast({part} as int)', value)}", after


def tuples(rows: Rows) -> list[tuple[int, int, int]]:
    return [(id_, part, v) for id_, (part, v) in rows.items()]
