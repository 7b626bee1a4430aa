select
    id as payment_id,
    order_id,
    payment_method,
    {{ amount('amount_cents') }} as amount
from {{ ref('raw_payments') }}
where status = 'success'
