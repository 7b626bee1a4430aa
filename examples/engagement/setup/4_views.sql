-- All are due when the task is: what is due at the same time runs as one, in the order in which it reads each other.

-- Sessions: a pause of more than thirty minutes ends one. Midnight does not: a session belongs to the day on which it
-- began, whichever day it ends. A late event may join two sessions that were told apart before.
create materialized view engagement_silver.sessions
    (constraint ends_after_it_began expect (ended_at >= started_at) on violation fail update,
     constraint each_session_once expect (count(*) = count(distinct session_id)) on violation fail update)
    using :format
    comment 'One row for each visit of a user'
    schedule cron '0 4 * * *' at time zone 'Europe/London' retries 3
as
with paused as (
    select user_id, event_time, event_id,
           case when event_time - lag(event_time) over (partition by user_id order by event_time, event_id)
                     <= interval '30 minutes' then 0 else 1 end as begins
    from engagement_silver.events),
numbered as (
    select user_id, event_time,
           sum(begins) over (partition by user_id order by event_time, event_id rows unbounded preceding) as number
    from paused)
select user_id || '-' || to_char(min(event_time), 'YYYYMMDDHH24MISS') as session_id,
       user_id, min(event_time)::date as session_date, min(event_time) as started_at, max(event_time) as ended_at,
       extract(epoch from max(event_time) - min(event_time))::bigint as seconds, count(*) as actions,
       max(event_time)::date > min(event_time)::date as past_midnight
from numbered
group by user_id, number
with no data;

-- Who was active, and on which day: small, and all that the numbers below need of the events.
create materialized view engagement_silver.user_days
    using :format
    schedule cron '0 4 * * *' at time zone 'Europe/London' retries 3
as
select event_time::date as day, user_id, min(device) as device, count(*) as actions
from engagement_silver.events
group by event_time::date, user_id
with no data;

create materialized view engagement.daily_active_users
    (constraint somebody expect (users > 0) on violation fail update)
    using :format
    comment 'Users with at least one action on the day'
    schedule cron '0 4 * * *' at time zone 'Europe/London' retries 3
as
select day, count(*) as users, sum(actions) as actions, round(avg(actions), 2)::numeric(12,2) as actions_per_user
from engagement_silver.user_days
group by day
with no data;

-- Rolling: users with at least one action on the day or the 29 before it. A user-day counts for thirty days.
create materialized view engagement.monthly_active_users
    (constraint month_holds_the_day expect (monthly_users >= daily_users) on violation fail update)
    using :format
    comment 'Rolling 30-day active users, and how many of them came on the day'
    schedule cron '0 4 * * *' at time zone 'Europe/London' retries 3
as
with calendar as (
    select day::date as day
    from generate_series((select min(day) from engagement_silver.user_days),
                         (select max(day) from engagement_silver.user_days), interval '1 day') as days(day))
select c.day, count(distinct u.user_id) as monthly_users,
       count(distinct case when u.day = c.day then u.user_id end) as daily_users,
       round(100.0 * count(distinct case when u.day = c.day then u.user_id end) / count(distinct u.user_id), 1)::numeric(4,1) as stickiness
from calendar c
join engagement_silver.user_days u on u.day between c.day - 29 and c.day
group by c.day
with no data;

-- Duration and actions of a session, without outliers: what lies more than one and a half times the distance of the
-- quartiles beyond them (Tukey's fences), measured over all sessions of the month.
create materialized view engagement.session_quality
    (constraint few_outliers expect (outliers < sessions * 0.5) on violation warn)
    using :format
    comment 'Average duration and actions per session, outliers left out'
    schedule cron '0 4 * * *' at time zone 'Europe/London' retries 3
as
with fences as (
    select date_trunc('month', session_date)::date as month,
           percentile_cont(0.25) within group (order by seconds) as q1,
           percentile_cont(0.75) within group (order by seconds) as q3
    from engagement_silver.sessions
    group by date_trunc('month', session_date)::date),
judged as (
    select s.*, s.seconds between f.q1 - 1.5 * (f.q3 - f.q1) and f.q3 + 1.5 * (f.q3 - f.q1) as usual
    from engagement_silver.sessions s
    join fences f on f.month = date_trunc('month', s.session_date)::date)
select session_date as day, count(*) as sessions, count(*) filter (where not usual) as outliers,
       count(*) filter (where past_midnight) as past_midnight,
       round(avg(seconds) filter (where usual), 1)::numeric(12,1) as average_seconds,
       round(avg(actions) filter (where usual), 2)::numeric(12,2) as average_actions
from judged
group by session_date
with no data;

-- A session past midnight gives each of its days the seconds that it spent there.
create materialized view engagement.time_spent
    using :format
    schedule cron '0 4 * * *' at time zone 'Europe/London' retries 3
as
select d.day::date as day, count(distinct s.user_id) as users,
       sum(extract(epoch from least(s.ended_at, d.day::timestamp + interval '1 day') - greatest(s.started_at, d.day::timestamp)))::bigint
           as seconds
from engagement_silver.sessions s
cross join lateral generate_series(s.session_date, s.ended_at::date, interval '1 day') as d(day)
group by d.day::date
with no data;

-- Where a few percent do not matter, an approximate count is as good and much cheaper over billions of rows.
create materialized view engagement.reach
    using :format
    comment 'About how many users a device reaches in a month'
    schedule cron '0 4 * * *' at time zone 'Europe/London' retries 3
as
select date_trunc('month', event_time)::date as month, device, approx_count_distinct(user_id) as about_users
from engagement_silver.events
group by date_trunc('month', event_time)::date, device
with no data;
