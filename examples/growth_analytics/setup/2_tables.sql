-- Tables that are written by statements. Those that are built from queries are in 5_views.sql.

-- A delivery that is complete has a row here; what is not listed was never seen by the pipeline.
create table growth_raw.batches (batch date not null) using :format;

create table growth_raw.users (
    batch date not null, user_id bigint not null, country text, channel text,
    signed_up_at timestamp, updated_at timestamp not null)
    using :format partitioned by (batch);

create table growth_raw.orders (
    batch date not null, order_id bigint not null, user_id bigint, status text, amount numeric(12,2),
    ordered_at timestamp, updated_at timestamp not null)
    using :format partitioned by (batch);

-- Everything is text here: what a partner spells wrongly must not stop the load.
create table growth_raw.events (
    batch date not null, partner text, drop_date date, event_id text, user_id text, event text, country text,
    platform text, occurred_at text, sent_at text)
    using :format partitioned by (batch);

create table growth_raw.manifests (batch date not null, partner text, drop_date date, events bigint)
    using :format partitioned by (batch);

create table growth_staging.users (
    user_id bigint not null, country text, channel text, signed_up_at timestamp, updated_at timestamp not null)
    using :format;

create table growth_staging.events (
    event_date date not null, event text not null, platform text, country text, user_id bigint not null,
    event_id text not null, occurred_at timestamp not null, revenue numeric(12,2) not null, updated_at timestamp not null)
    using :format partitioned by (event_date);
