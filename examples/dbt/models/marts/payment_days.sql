{# Days and methods with changed orders are computed anew and merged; when a row was first reported, it keeps. #}
{{ config(materialized='incremental', unique_key=['order_date', 'payment_method'], incremental_strategy='merge',
          merge_exclude_columns=['first_reported_at']) }}
with paid as (
    select o.order_date, p.payment_method, p.amount, o.status
    from {{ ref('stg_payments') }} p
    join {{ ref('stg_orders') }} o on o.order_id = p.order_id
    {%- if is_incremental() %}
    where o.order_date in (
        select order_date from {{ ref('stg_orders') }} where updated_at > (select max(reported_at) from {{ this }}))
    {%- endif %}
),
until as (select max(updated_at) as reported_at from {{ ref('stg_orders') }})
select
    paid.order_date,
    paid.payment_method,
    count(*) as payments,
    sum(paid.amount)::numeric(12,2) as amount,
    coalesce(sum(paid.amount) filter (where paid.status = 'returned'), 0)::numeric(12,2) as refunded,
    (sum(paid.amount * m.fee_percent) / 100)::numeric(12,2) as fees,
    until.reported_at as first_reported_at,
    until.reported_at
from paid
join {{ ref('payment_methods') }} m on m.payment_method = paid.payment_method
cross join until
group by paid.order_date, paid.payment_method, until.reported_at
