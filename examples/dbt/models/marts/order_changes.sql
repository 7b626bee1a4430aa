{# What happened, in the order in which we heard of it: rows are only ever added. #}
{{ config(materialized='incremental', incremental_strategy='append') }}
select order_id, status, updated_at as changed_at
from {{ ref('stg_orders') }}
{% if is_incremental() %}
where updated_at > (select max(changed_at) from {{ this }})
{% endif %}
