create table engagement_bronze.events (
    received date not null, event_id text not null, user_id bigint not null, event_time timestamp not null,
    action text, device text)
    using :format partitioned by (received);

create table engagement_silver.events (
    event_id text not null, user_id bigint not null, event_time timestamp not null, action text, device text,
    received date not null)
    using :format
\if :iceberg
    partitioned by (days(event_time)) sorted by (user_id, event_time)
\endif
    ;
