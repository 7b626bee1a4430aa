-- Two ways to the same number: what was paid by day, and what was sold by day.
select coalesce(s.order_date, p.order_date) as order_date, s.revenue, p.amount
from {{ ref('daily_sales') }} s
full join (select o.order_date, sum(p.amount) as amount
           from {{ ref('stg_payments') }} p join {{ ref('stg_orders') }} o on o.order_id = p.order_id
           group by o.order_date) p on p.order_date = s.order_date
where s.revenue is distinct from p.amount
