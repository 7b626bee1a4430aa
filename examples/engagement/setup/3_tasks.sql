-- Each event once, however often and late it was sent.
create or replace task engagement_silver.deduplicate
    schedule cron '0 4 * * *' at time zone 'Europe/London' retries 3
as
merge into engagement_silver.events as known
using (select distinct on (event_id) * from engagement_bronze.events
       where received = (select max(received) from engagement_bronze.events) order by event_id) as new
on known.event_id = new.event_id
when not matched then insert (event_id, user_id, event_time, action, device, received)
    values (new.event_id, new.user_id, new.event_time, new.action, new.device, new.received);
