select
    c.customer_id,
    c.customer_name,
    c.city,
    min(o.order_date) as first_order,
    max(o.order_date) as latest_order,
    count(o.order_id) as orders,
    coalesce(sum(o.amount) filter (where o.status <> 'returned'), 0)::numeric(12,2) as lifetime_value
from {{ ref('stg_customers') }} c
left join {{ ref('orders') }} o on o.customer_id = c.customer_id
group by c.customer_id, c.customer_name, c.city
