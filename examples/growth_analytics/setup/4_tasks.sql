-- Three tasks, one after the other: each begins when the one before it has succeeded, and is tried again when it fails.
-- They run at night, and so do the views that read what they have written; daily/ does not wait for it.

-- Users as the database has them now.
create or replace task growth_staging.load_users
    schedule cron '0 3 * * *' at time zone 'Europe/London' retries 3
as
merge into growth_staging.users as known
using (select user_id, country, channel, signed_up_at, updated_at
       from (select *, row_number() over (partition by user_id order by updated_at desc) as recency
             from growth_raw.users where batch = (select max(batch) from growth_raw.batches)) as newest
       where recency = 1) as new
on known.user_id = new.user_id
when matched and new.updated_at > known.updated_at then update set
    country = new.country, channel = new.channel, signed_up_at = new.signed_up_at, updated_at = new.updated_at
when not matched then insert (user_id, country, channel, signed_up_at, updated_at)
    values (new.user_id, new.country, new.channel, new.signed_up_at, new.updated_at);

-- The day itself: its whole partition is replaced, so that a second run changes nothing.
create or replace task growth_staging.load_day
    after growth_staging.load_users retries 3
as
insert overwrite growth_staging.events
select event_date, event, platform, country, user_id, event_id, occurred_at, revenue, updated_at
from growth_staging.delivered
where event_date = (select max(batch) from growth_raw.batches) and not gone;

-- What came late, was corrected or cancelled: rows of the days before.
create or replace task growth_staging.late_updates
    after growth_staging.load_day retries 3
as
merge into growth_staging.events as known
using (select * from growth_staging.delivered where event_date < (select max(batch) from growth_raw.batches)) as late
on known.event_id = late.event_id
when matched and late.updated_at > known.updated_at and late.gone then delete
when matched and late.updated_at > known.updated_at then update set
    event_date = late.event_date, event = late.event, platform = late.platform, country = late.country,
    user_id = late.user_id, occurred_at = late.occurred_at, revenue = late.revenue, updated_at = late.updated_at
when not matched and not late.gone then insert
    (event_date, event, platform, country, user_id, event_id, occurred_at, revenue, updated_at)
    values (late.event_date, late.event, late.platform, late.country, late.user_id, late.event_id, late.occurred_at,
            late.revenue, late.updated_at);
