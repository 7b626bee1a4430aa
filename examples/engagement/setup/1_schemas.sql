-- From nothing: each run of the example makes its three schemas anew.
drop schema if exists engagement, engagement_silver, engagement_bronze cascade;

create schema engagement_bronze;  -- as the phones sent it
create schema engagement_silver;  -- each event once; sessions
create schema engagement;         -- the numbers
