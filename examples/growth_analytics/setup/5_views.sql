-- Due when the tasks are: what is due at the same time runs as one, in the order in which it reads each other.

-- The audit: one row for each day, and whether it may be published. A day passes when every partner's drop
-- is as large as its manifest says, and the staged revenue is what the shop's database has as paid.
create materialized view growth_audit.days
    (constraint some_days expect (count(*) > 0) on violation fail update,
     constraint all_passed expect (passed) on violation warn)
    using :format
    comment 'What arrived on each day, and whether it may be published'
    schedule cron '0 3 * * *' at time zone 'Europe/London' retries 3
as
with drops as (
    select m.drop_date, sum(m.events) as announced, sum(coalesce(a.arrived, 0)) as arrived
    from growth_raw.manifests m
    left join (select partner, drop_date, count(distinct event_id) as arrived
               from growth_raw.events group by partner, drop_date) as a
      on a.partner = m.partner and a.drop_date = m.drop_date
    group by m.drop_date),
paid as (
    select ordered_at::date as event_date, sum(amount) as paid
    from (select *, row_number() over (partition by order_id order by updated_at desc) as recency from growth_raw.orders) as o
    where recency = 1 and status = 'paid'
    group by ordered_at::date),
staged as (
    select event_date, count(*) as staged, sum(revenue) as revenue from growth_staging.events group by event_date)
select d.drop_date as event_date, d.announced, d.arrived, coalesce(s.staged, 0) as staged,
       coalesce(p.paid, 0) as paid, coalesce(s.revenue, 0) as revenue,
       d.announced = d.arrived and coalesce(p.paid, 0) = coalesce(s.revenue, 0) as passed
from drops d
left join paid p on p.event_date = d.drop_date
left join staged s on s.event_date = d.drop_date
with no data;

-- The published fact: days that passed, with what is known of the user. Its files are laid out for its readers:
-- by day and country, then by user; inside a file, columns with few values first.
create materialized view growth.events
    (constraint known_user expect (channel is not null) on violation quarantine into growth_audit.quarantine,
     constraint known_country expect (country is not null and length(country) = 2) on violation quarantine into growth_audit.quarantine,
     constraint revenue_of_purchases expect (revenue > 0 = (event = 'purchase')) on violation fail update,
     constraint each_event_once expect (count(*) = count(distinct event_id)) on violation fail update)
    using :format
\if :iceberg
    partitioned by (event_date, country, bucket(4, user_id)) sorted by (event, platform, channel, user_id)
\else
    partitioned by (event_date, country)  -- Delta has neither buckets nor a sort order
\endif
    comment 'What users did: one row for each event, audited'
    schedule cron '0 3 * * *' at time zone 'Europe/London' retries 3
as
select e.event_date, coalesce(e.country, u.country) as country, e.event, e.platform, u.channel, e.user_id, e.event_id,
       e.occurred_at, e.revenue
from growth_staging.events e
join growth_audit.days d on d.event_date = e.event_date and d.passed
left join growth_staging.users u on u.user_id = e.user_id
with no data;

-- Only then the numbers, for every level that a report asks for.
create materialized view growth.daily
    (constraint totals_agree expect
        (sum(revenue) filter (where level = 'all') = sum(revenue) filter (where level = 'day')) on violation fail update)
    using :format
    comment 'Growth by day, country and channel, with totals'
    schedule cron '0 3 * * *' at time zone 'Europe/London' retries 3
as
select case grouping(event_date, country, channel)
           when 0 then 'day, country, channel' when 1 then 'day, country' when 2 then 'day, channel' when 3 then 'day'
           else 'all' end as level,
       event_date, country, channel,
       count(*) filter (where event = 'visit') as visits,
       count(*) filter (where event = 'signup') as signups,
       count(*) filter (where event = 'purchase') as purchases,
       count(distinct user_id) as users,
       count(distinct case when event = 'purchase' then user_id end) as buyers,
       sum(revenue) as revenue,
       round(sum(revenue) / count(distinct user_id), 2)::numeric(12,2) as revenue_per_user
from growth.events
group by grouping sets ((event_date, country, channel), (event_date, country), (event_date, channel), (event_date), ())
with no data;
