-- The cleansing, once: the day's load and the late updates read the same views.

create view growth_staging.cleansed_events as
select e.batch,
       trim(e.event_id) as event_id,
       case when trim(e.user_id) ~ '^[0-9]+$' then trim(e.user_id)::bigint end as user_id,
       lower(trim(e.event)) as event,
       case upper(trim(e.country)) when 'UK' then 'GB' when 'USA' then 'US' else upper(trim(e.country)) end as country,
       lower(trim(e.platform)) as platform,
       case when e.occurred_at ~ '^[1-9][0-9]{3}-' then e.occurred_at::timestamp
            when e.occurred_at ~ '^[0-9]{2}/[0-9]{2}/' then to_timestamp(e.occurred_at, 'DD/MM/YYYY HH24:MI:SS')::timestamp
       end as occurred_at,
       e.sent_at::timestamp as updated_at
from growth_raw.events e;

-- An order that is paid is an event of its own, `purchase`; any other status takes it back.
create view growth_staging.all_events as
select batch, event_id, user_id, event, country, platform, occurred_at, 0.00::numeric(12,2) as revenue, updated_at,
       false as gone
from growth_staging.cleansed_events
where user_id is not null and occurred_at is not null and event in ('visit', 'invite', 'signup')
union all
select batch, 'order-' || order_id, user_id, 'purchase', null, 'shop', ordered_at, amount, updated_at, status <> 'paid'
from growth_raw.orders;

-- Of each event what the newest delivery says, in its latest form.
create view growth_staging.delivered as
select occurred_at::date as event_date, event, platform, country, user_id, event_id, occurred_at, revenue, updated_at, gone
from (select *, row_number() over (partition by event_id order by updated_at desc, batch desc) as recency
      from growth_staging.all_events
      where batch = (select max(batch) from growth_raw.batches)) as newest
where recency = 1;
