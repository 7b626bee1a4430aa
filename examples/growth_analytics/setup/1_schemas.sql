-- From nothing: each run of the example makes its four schemas anew.
drop schema if exists growth, growth_audit, growth_staging, growth_raw cascade;

create schema growth_raw;      -- as it arrived, one partition for each day's delivery
create schema growth_staging;  -- cleansed, deduplicated, not yet trusted
create schema growth_audit;    -- what the checks found, and the rows that failed them
create schema growth;          -- what everybody reads
