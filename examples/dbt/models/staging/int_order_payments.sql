{{ config(materialized='ephemeral') }}
{# One column for each method of payment: no relation of its own, but a CTE of the models that read it. #}
select
    order_id,
    {% for method in var('payment_methods') -%}
    sum(case when payment_method = '{{ method }}' then amount else 0 end)::numeric(12,2) as {{ method }}_amount,
    {% endfor -%}
    sum(amount)::numeric(12,2) as amount
from {{ ref('stg_payments') }}
group by order_id
