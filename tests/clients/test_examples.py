"""The worked examples: after each delivery, every table is what DuckDB makes of all files that have arrived until then.

DuckDB computes each table anew from the files, by the rules in the examples' READMEs: it knows no loads, merges,
overwrites or refreshes, so that a row which these lose, keep or double shows. What is meant to be refreshed incrementally
has to be: rows that are right because all were computed anew are not enough."""

import contextlib
import decimal
import os
import pathlib
import subprocess
import sys
from collections import Counter

import duckdb
import pytest

from conftest import REPOSITORY, auric_binary, running

sys.path.insert(0, str(REPOSITORY / "examples"))
from common.example import Example  # noqa: E402

pytestmark = pytest.mark.long

FORMATS = ["iceberg", "delta"]
# How each view is refreshed after a delivery. GROUPING SETS and subqueries in expressions are only known as wholes.
GROWTH = {"growth_audit.days": "rows", "growth.events": "partitions", "growth.daily": "full"}
ENGAGEMENT = {"engagement_silver.user_days": "merge", "engagement_silver.sessions": "groups", "engagement.daily_active_users": "groups",
              "engagement.monthly_active_users": "full", "engagement.session_quality": "groups", "engagement.time_spent": "groups",
              "engagement.reach": "groups"}


def plain(rows: list[tuple]) -> list[tuple]:
    """Sorted, with numbers that are equal in value equal in form."""
    def value(v):
        if isinstance(v, bool) or v is None:
            return v
        if isinstance(v, (int, decimal.Decimal)):
            return decimal.Decimal(v).normalize() + 0
        return decimal.Decimal(repr(v)) if isinstance(v, float) else v

    return sorted((tuple(map(value, row)) for row in rows), key=repr)


class Compared:
    """An example on a server of its own, and DuckDB over the same files."""

    def __init__(self, name: str, form: str, folder: pathlib.Path, server, scale: float, kind=Example):
        self.server = server
        self.example = kind(name, folder / "arrived", server.dsn(), form, scale)
        self.duck = duckdb.connect()
        self.connection = server.connect()
        self.runs: set[str] = set()
        # DuckDB divides in floating point; these are quotients rounded as decimals.
        self.duck.execute("create macro rounded(total, n, digits) as "
                          "((total * 10 ** digits)::decimal(30,0)::hugeint * 2 + n) // (2 * n) / 10 ** digits")

    def files(self, pattern: str, batches: list[str]) -> str:
        """DuckDB's scan of the files of some batches, all columns as text, with the batch's name."""
        paths = [str(path) for batch in batches for path in sorted((self.example.data / batch).glob(pattern))]
        return (f"(select * exclude filename, parse_path(filename)[-2]::date as batch "
                f"from read_csv({paths}, header = true, all_varchar = true, filename = true))")

    def refreshes(self) -> dict[str, str]:
        """Of each view that was refreshed since the last call, how; twice would be too often."""
        found = self.connection.execute("select run_id, schema_name || '.' || view_name, mode, status from auric.refreshes").fetchall()
        new = [run for run in found if run[0] not in self.runs]
        self.runs |= {run[0] for run in new}
        assert all(status == "succeeded" for *_, status in new), new
        modes = {view: mode for _, view, mode, _ in new}
        assert len(modes) == len(new), new
        return modes

    def same(self, table: str, query: str) -> None:
        expected = plain(self.duck.execute(query).fetchall())
        names = ", ".join(f'"{column[0]}"' for column in self.duck.description)
        found = plain(self.connection.execute(f"select {names} from {table}").fetchall())
        missing, surplus = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
        assert found == expected, (f"{table}: {len(found)} rows, {len(expected)} expected; "
                                   f"missing {list(missing)[:3]}, too many {list(surplus)[:3]}")
        assert found, f"{table} is empty: the comparison shows nothing"


@contextlib.contextmanager
def compared(name: str, form: str, tmp_path: pathlib.Path, scale: float):
    with running(tmp_path / "auric") as server:
        compared = Compared(name, form, tmp_path, server, scale)
        with compared.connection:
            yield compared


@pytest.mark.parametrize("form", FORMATS)
def test_growth_analytics(tmp_path, form):
    with compared("growth_analytics", form, tmp_path, 0.05) as growth:
        example = growth.example
        example.generate(count=5)
        example.set_up()
        quarantined: set[tuple] = set()
        for number, batch in enumerate(example.batches, start=1):
            example.run_batch(batch)
            # All rows, as there were none before.
            assert growth.refreshes() == (GROWTH if number > 1 else dict.fromkeys(GROWTH, "full"))
            seen = example.batches[:number]
            growth_tables(growth, seen)
            quarantined |= set(growth.duck.execute("select event_id, reason from held").fetchall())
            found = set(growth.connection.execute("select event_id, _reason from growth_audit.quarantine").fetchall())
            assert found == quarantined
            if number == 5:
                # A run that is repeated changes nothing.
                example.run_batch(batch)
                again = growth.refreshes()
                assert {view for view, mode in again.items() if mode != "nothing"} <= {"growth.daily"}, again
                growth_tables(growth, seen)
        # The story of the README did happen: a day was held back, and came when the rest had arrived.
        assert quarantined
        days = dict(growth.connection.execute("select event_date::text, passed from growth_audit.days").fetchall())
        assert all(days.values())
        assert growth.held_back == {example.batches[3]}


def growth_tables(growth: Compared, seen: list[str]) -> None:
    duck = growth.duck
    duck.execute(f"create or replace table raw_users as select batch, user_id::bigint as user_id, country, channel, "
                 f"signed_up_at::timestamp as signed_up_at, updated_at::timestamp as updated_at from {growth.files('users.csv', seen)}")
    duck.execute(f"create or replace table raw_orders as select batch, order_id::bigint as order_id, user_id::bigint as user_id, status, "
                 f"amount::decimal(12,2) as amount, ordered_at::timestamp as ordered_at, updated_at::timestamp as updated_at "
                 f"from {growth.files('orders.csv', seen)}")
    duck.execute(f"create or replace table raw_events as select batch, partner, drop_date::date as drop_date, event_id, user_id, event, "
                 f"country, platform, occurred_at, sent_at from {growth.files('events_*.csv', seen)}")
    duck.execute(f"create or replace table manifests as select batch, partner, drop_date::date as drop_date, events::bigint as events "
                 f"from {growth.files('manifest.csv', seen)}")
    for table, source in [("users", "raw_users"), ("orders", "raw_orders"), ("events", "raw_events"), ("manifests", "manifests")]:
        growth.same(f"growth_raw.{table}", f"from {source}")
    growth.same("growth_raw.batches", f"select unnest({seen})::date as batch")

    # Of each user, order and event the newest row that ever arrived.
    duck.execute("""create or replace table users as
        from raw_users select user_id, country, channel, signed_up_at, updated_at
        qualify rank() over (partition by user_id order by updated_at desc) = 1""")
    growth.same("growth_staging.users", "select distinct * from users")
    duck.execute("""create or replace table staged as
        with events as (
            from raw_events select trim(event_id) as event_id, try_cast(trim(user_id) as bigint) as user_id, lower(trim(event)) as event,
                replace(replace(upper(trim(country)), 'USA', 'US'), 'UK', 'GB') as country, platform,
                coalesce(try_strptime(occurred_at, '%Y-%m-%d %H:%M:%S'), try_strptime(occurred_at, '%d/%m/%Y %H:%M:%S')) as occurred_at,
                sent_at::timestamp as updated_at
            where event_id is not null),
        newest as (
            select distinct on (event_id) * from events
            where user_id is not null and occurred_at is not null and event <> 'heartbeat' order by event_id, updated_at desc),
        orders as (select distinct on (order_id) * from raw_orders order by order_id, updated_at desc)
        select occurred_at::date as event_date, event_id, user_id, event, country, platform, occurred_at,
               0::decimal(12,2) as revenue, updated_at from newest
        union all
        select ordered_at::date, 'order-' || order_id, user_id, 'purchase', null, 'shop', ordered_at, amount, updated_at
        from orders where status = 'paid'""")
    growth.same("growth_staging.events", "from staged")

    duck.execute("""create or replace table days as
        with announced as (select drop_date as event_date, sum(events) as announced from manifests group by all),
        arrived as (select drop_date as event_date, count(distinct event_id) as arrived from raw_events group by all),
        staged_day as (select event_date, count(*) as staged, sum(revenue) as revenue from staged group by all)
        select event_date, announced, arrived, staged, revenue as paid, revenue, announced = arrived as passed
        from announced join arrived using (event_date) join staged_day using (event_date)""")
    growth.same("growth_audit.days", "from days")
    held_back = {str(day) for (day,) in duck.execute("select event_date from days where not passed").fetchall()}
    growth.held_back = getattr(growth, "held_back", set()) | held_back

    duck.execute("""create or replace table judged as
        select s.event_date, coalesce(s.country, u.country) as country, s.event, s.platform, u.channel, s.user_id, s.event_id,
               s.occurred_at, s.revenue
        from staged s join days using (event_date) left join (select distinct * from users) u using (user_id) where passed""")
    duck.execute("""create or replace table held as
        select event_id, concat_ws(', ', if(channel is null, 'known_user', null), if(country is null, 'known_country', null)) as reason
        from judged where channel is null or country is null""")
    duck.execute("create or replace table published as from judged where channel is not null and country is not null")
    growth.same("growth.events", "from published")
    levels = {"day, country, channel": ["event_date", "country", "channel"], "day, country": ["event_date", "country"],
              "day, channel": ["event_date", "channel"], "day": ["event_date"], "all": []}
    growth.same("growth.daily", " union all ".join(f"""
        select '{level}' as level,
            {', '.join(key if key in keys else f'null as {key}' for key in ('event_date', 'country', 'channel'))},
            countif(event = 'visit') as visits, countif(event = 'signup') as signups, countif(event = 'purchase') as purchases,
            len(list_distinct(list(user_id))) as users,
            len(list_distinct(coalesce(list(user_id) filter (event = 'purchase'), []))) as buyers,
            sum(revenue) as revenue, rounded(sum(revenue), len(list_distinct(list(user_id))), 2) as revenue_per_user
        from published {'group by ' + ', '.join(keys) if keys else ''}""" for level, keys in levels.items()))


@pytest.mark.parametrize("form", FORMATS)
def test_engagement(tmp_path, form):
    with compared("engagement", form, tmp_path, 0.05) as engagement:
        example = engagement.example
        example.generate(batches=3)
        example.set_up()
        for number, batch in enumerate(example.batches, start=1):
            example.run_batch(batch)
            assert engagement.refreshes() == (ENGAGEMENT if number > 1 else dict.fromkeys(ENGAGEMENT, "full"))
            engagement_tables(engagement, example.batches[:number])
        example.run_batch(batch)
        # Nothing has changed.
        assert engagement.refreshes() == {}
        engagement_tables(engagement, example.batches)
        [(late, outliers)] = engagement.connection.execute(
            "select sum(past_midnight), sum(outliers) from engagement.session_quality").fetchall()
        assert late and outliers, "neither midnight nor an outlier was put to the test"


def engagement_tables(engagement: Compared, seen: list[str]) -> None:
    duck, same = engagement.duck, engagement.same
    duck.execute(f"""create or replace table raw as select batch as received, event_id, user_id::bigint as user_id,
        event_time::timestamp as event_time, action, device from {engagement.files('events_*.csv', seen)}""")
    same("engagement_bronze.events", "from raw")
    duck.execute("create or replace table events as select event_id, user_id, event_time, action, device, min(received) as received "
                 "from raw group by event_id, user_id, event_time, action, device")
    same("engagement_silver.events", "from events")

    # A session begins at an event with none of its user in the half hour before it; others belong to the last begin.
    duck.execute("""create or replace table sessions as
        with begins as (
            select distinct user_id, event_time as started_at from events e
            where not exists (from events p where p.user_id = e.user_id and p.event_time < e.event_time
                                and p.event_time >= e.event_time - interval 30 minutes))
        select b.user_id || '-' || strftime(started_at, '%Y%m%d%H%M%S') as session_id, b.user_id, started_at::date as session_date,
               started_at, max(event_time) as ended_at, date_diff('second', started_at, max(event_time)) as seconds, count(*) as actions,
               day(started_at) <> day(max(event_time)) as past_midnight
        from events e asof join begins b on e.user_id = b.user_id and e.event_time >= b.started_at
        group by b.user_id, started_at""")
    same("engagement_silver.sessions", "from sessions")
    same("engagement_silver.user_days", """select event_time::date as day, user_id, list_sort(list(device))[1] as device, count(*) as actions
        from events group by all""")
    same("engagement.daily_active_users", """select event_time::date as day, len(list_distinct(list(user_id))) as users,
        count(*) as actions, rounded(count(*), len(list_distinct(list(user_id))), 2) as actions_per_user from events group by all""")
    same("engagement.monthly_active_users", """
        with days as (select unnest(generate_series(min(event_time)::date, max(event_time)::date, interval 1 day))::date as day from events),
        counted as (select day,
            (select count(distinct user_id) from events where event_time >= day - interval 29 days and event_time < day + interval 1 day) as monthly_users,
            (select count(distinct user_id) from events where event_time::date = day) as daily_users from days)
        select day, monthly_users, daily_users, rounded(daily_users * 100, monthly_users, 1) as stickiness from counted""")
    same("engagement.session_quality", """
        with fences as (
            select month(session_date) as month, quantile_cont(seconds, [0.25, 0.75]) as q from sessions group by all),
        judged as (
            select s.*, seconds >= 2.5 * q[1] - 1.5 * q[2] and seconds <= 2.5 * q[2] - 1.5 * q[1] as usual
            from sessions s join fences on month(session_date) = month)
        select session_date as day, count(*) as sessions, countif(not usual) as outliers, countif(past_midnight) as past_midnight,
            rounded(sum(if(usual, seconds, 0)), countif(usual), 1) as average_seconds,
            rounded(sum(if(usual, actions, 0)), countif(usual), 2) as average_actions
        from judged group by session_date""")
    same("engagement.time_spent", """
        with days as (select unnest(generate_series(min(started_at)::date, max(ended_at)::date, interval 1 day)) as day from sessions)
        select day::date as day, count(distinct user_id) as users,
            sum(date_diff('second', greatest(started_at, day), least(ended_at, day + interval 1 day)))::bigint as seconds
        from days join sessions on started_at < day + interval 1 day and ended_at >= day group by day""")

    # HyperLogLog with 2^14 registers: a standard error of 0.81 %, of which three are allowed.
    exact = dict(((month, device), users) for month, device, users in duck.execute(
        "select date_trunc('month', event_time)::date, device, count(distinct user_id) from events group by all").fetchall())
    found = engagement.connection.execute("select month, device, about_users from engagement.reach").fetchall()
    assert {(month, device) for month, device, _ in found} == set(exact)
    for month, device, users in found:
        assert abs(users - exact[month, device]) <= 1 + 0.0243 * exact[month, device]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["dbt", "growth_analytics", "engagement"])
def test_one_command_runs_it(tmp_path, name):
    """As a newcomer does it, with a server of its own that ends with it."""
    # Of dbt's days each takes as long as all of the others' days.
    days = ["--days", "3"] if name == "dbt" else []
    done = subprocess.run([REPOSITORY / "examples" / "run", name, "--scale", "0.02", *days, "--data", tmp_path, "--stop"],
                          env={**os.environ, "AURIC_BIN": auric_binary(), "AURIC_PYTHON": sys.executable}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stderr and "(0 rows)" not in done.stdout
    assert f"examples/{name}/README.md" in done.stdout


def test_generators_repeat_themselves(tmp_path):
    for name in ["dbt", "growth_analytics", "engagement"]:
        first, second = (Example(name, tmp_path / name / run, "", scale=0.02) for run in ("a", "b"))
        first.generate()
        second.generate()
        files = sorted(path.relative_to(first.data) for path in first.data.rglob("*.csv"))
        assert files and files == sorted(path.relative_to(second.data) for path in second.data.rglob("*.csv"))
        assert all((first.data / path).read_bytes() == (second.data / path).read_bytes() for path in files)
