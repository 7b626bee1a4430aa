-- What arrived on the day `:batch`. The folder `:folder` has its files.
-- Each statement replaces the day's partition, so that a load which failed half-way is simply run again.

create temporary table landed_users (user_id bigint, country text, channel text, signed_up_at timestamp, updated_at timestamp);
create temporary table landed_orders (
    order_id bigint, user_id bigint, status text, amount numeric(12,2), ordered_at timestamp, updated_at timestamp);

-- Rows of the shop's database come over the connection ...
\copy landed_users from 'users.csv' (format csv, header)
\copy landed_orders from 'orders.csv' (format csv, header)

insert overwrite growth_raw.users partition (batch = :'batch')
select user_id, country, channel, signed_up_at, updated_at from landed_users;

insert overwrite growth_raw.orders partition (batch = :'batch')
select order_id, user_id, status, amount, ordered_at, updated_at from landed_orders;

-- ... and the partners' drops are files, which the server reads itself.
\set drops :folder '/events_*.csv'
insert overwrite growth_raw.events partition (batch = :'batch')
select partner, drop_date::date, event_id, user_id, event, country, platform, occurred_at, sent_at
from read_csv(:'drops', all_varchar => true);

\set manifest :folder '/manifest.csv'
insert overwrite growth_raw.manifests partition (batch = :'batch')
select partner, drop_date, events from read_csv(:'manifest');

-- Last of all: now the delivery is complete.
merge into growth_raw.batches as known using (select date :'batch' as batch) as new on known.batch = new.batch
when not matched then insert (batch) values (new.batch);
