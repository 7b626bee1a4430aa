{# Auric's materialized view: dbt refreshes it, and so does Auric's scheduler if it is told to. #}
{{ config(materialized='materialized_view', on_configuration_change='apply') }}
select
    coalesce(c.city, 'unknown') as city,
    count(*) as orders,
    sum(o.amount) as revenue
from {{ ref('orders') }} o
join {{ ref('customers') }} c on c.customer_id = o.customer_id
where o.status <> 'returned'
group by coalesce(c.city, 'unknown')
