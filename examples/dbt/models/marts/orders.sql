{# Orders that changed replace what is known of them: `delete` by key and `insert`, in one transaction. #}
{{ config(materialized='incremental', unique_key='order_id', incremental_strategy='delete+insert') }}
select
    o.order_id,
    o.customer_id,
    o.ordered_at,
    o.order_date,
    o.status,
    {% for method in var('payment_methods') -%}
    coalesce(p.{{ method }}_amount, 0)::numeric(12,2) as {{ method }}_amount,
    {% endfor -%}
    coalesce(p.amount, 0)::numeric(12,2) as amount,
    o.updated_at
from {{ ref('stg_orders') }} o
left join {{ ref('int_order_payments') }} p on p.order_id = o.order_id
{% if is_incremental() %}
where o.updated_at > (select max(updated_at) from {{ this }})
{% endif %}
