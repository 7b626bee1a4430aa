select
    id as customer_id,
    initcap(trim(first_name)) || ' ' || last_name as customer_name,
    nullif(trim(city), '') as city,
    updated_at
from {{ ref('raw_customers') }}
