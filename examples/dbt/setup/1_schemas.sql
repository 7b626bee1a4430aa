-- From nothing: each run of the example makes its schemas anew. dbt creates them.
drop schema if exists shop, shop_audit, shop_history, shop_staging, shop_raw cascade;
