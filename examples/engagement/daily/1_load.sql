-- What arrived up to the day `:batch`, replaced as a whole if the load is run again.
\set files :folder '/events_*.csv'
insert overwrite engagement_bronze.events partition (received = :'batch')
select event_id, user_id, event_time::timestamp, action, device from read_csv(:'files');
