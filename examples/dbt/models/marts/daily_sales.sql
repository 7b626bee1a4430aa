{# A day is a batch of its own: dbt reads the orders of that day alone, and can repeat any range of days. #}
{{ config(materialized='incremental', incremental_strategy='microbatch', unique_key='order_date', event_time='ordered_at',
          batch_size='day', begin='2024-03-01', lookback=1) }}
with orders as (select * from {{ ref('stg_orders') }})
select
    o.order_date,
    min(o.ordered_at) as ordered_at,
    count(*) as orders,
    count(distinct o.customer_id) as customers,
    sum(p.amount)::numeric(12,2) as revenue
from orders o
join {{ ref('int_order_payments') }} p on p.order_id = o.order_id
group by o.order_date
