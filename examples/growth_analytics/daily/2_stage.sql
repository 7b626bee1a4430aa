-- The tasks of the staging area, now: the first, then those that come after it.
execute task growth_staging.load_users cascade;
