\echo 'Sales by day, each a batch of its own'
select order_date, orders, customers, revenue from shop.daily_sales order by order_date;

\echo 'Revenue by city: a materialized view'
select city, orders, revenue from shop.city_revenue order by revenue desc;

\echo 'Who moved, and who left'
select customer_id, customer_name, city, dbt_valid_from::date as since, dbt_valid_to is not null as is_past
from shop_history.customers_history
where customer_id in (select customer_id from shop_history.customers_history group by customer_id having count(*) > 1)
order by customer_id, dbt_valid_from limit 6;

\echo 'What is where'
select schemaname as schema, count(*) filter (where kind = 'table') as tables, count(*) filter (where kind = 'view') as views,
       count(*) filter (where kind = 'materialized view') as materialized
from (select schemaname, 'table' as kind from pg_tables union all select schemaname, 'view' from pg_views
      union all select schemaname, 'materialized view' from pg_matviews) as relations
where schemaname like 'shop%' group by schemaname order by schemaname;
