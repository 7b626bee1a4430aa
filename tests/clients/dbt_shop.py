"""What `examples/dbt` has to come to, computed by DuckDB from all files that have arrived.

DuckDB knows no increments: every table is computed anew from the newest dumps, or from all of them where a table
keeps what it was told before."""

from test_examples import Compared


def read(shop: Compared, seen: list[str]) -> None:
    """The dumps of all deliveries, and of the last one."""
    columns = {
        "customers": "id::bigint as customer_id, first_name, last_name, city, updated_at::timestamp as updated_at",
        "orders": "id::bigint as order_id, customer_id::bigint as customer_id, ordered_at::timestamp as ordered_at, "
                  "ordered_at::date as order_date, status, updated_at::timestamp as updated_at",
        "payments": "id::bigint as payment_id, order_id::bigint as order_id, payment_method, amount_cents::bigint as cents, status",
    }
    for table, selected in columns.items():
        shop.duck.execute(f"create or replace table every_{table} as select batch, {selected} from {shop.files(f'raw_{table}.csv', seen)}")
        shop.duck.execute(f"create or replace table raw_{table} as select * exclude batch from every_{table} where batch = '{seen[-1]}'")
    shop.duck.execute(f"create or replace table methods as from read_csv('{shop.example.folder}/seeds/payment_methods.csv', all_varchar = true)")
    shop.duck.execute("""
        create or replace view named as select *, upper(trim(first_name)[1]) || lower(trim(first_name)[2:]) || ' ' || last_name as customer_name,
            nullif(trim(city), '') as home from every_customers;
        create or replace table good as select * exclude (cents, status), cents, (cents / 100)::decimal(12,2) as amount
            from raw_payments where status = 'success';
        create or replace table until as select batch, max(updated_at) as heard, lag(heard, 1, '2000-01-01') over (order by batch) as before
            from every_orders group by batch""")


def seeds(shop: Compared) -> None:
    shop.same("shop_raw.raw_customers", "select customer_id as id, first_name, last_name, city, updated_at from raw_customers")
    shop.same("shop_raw.raw_orders", "select order_id as id, customer_id, ordered_at, status, updated_at from raw_orders")
    shop.same("shop_raw.raw_payments", "select payment_id as id, order_id, payment_method, cents as amount_cents, status from raw_payments")
    shop.same("shop_raw.payment_methods", "select payment_method, label, fee_percent::decimal(5,2) as fee_percent from methods")


def views(shop: Compared) -> None:
    shop.same("shop_staging.stg_customers", "select customer_id, customer_name, home as city, updated_at from named where batch = (select max(batch) from until)")
    shop.same("shop_staging.stg_orders", "from raw_orders")
    shop.same("shop_staging.stg_payments", "select payment_id, order_id, payment_method, amount from good")


def replaced(shop: Compared) -> None:
    """Which is what the ephemeral model comes to, too."""
    methods = ["credit_card", "bank_transfer", "gift_card", "coupon"]
    by_method = ", ".join(f"coalesce(sum(amount) filter (payment_method = '{method}'), 0) as {method}_amount" for method in methods)
    shop.same("shop.orders", f"select o.*, {by_method}, sum(amount) as amount from raw_orders o join good using (order_id) group by all")


def tables(shop: Compared) -> None:
    shop.same("shop.customers", """
        with totals as (select order_id, sum(amount) as amount from good group by all)
        select customer_id, customer_name, home as city, min(order_date) as first_order, max(order_date) as latest_order,
               count(order_id) as orders, coalesce(sum(if(status = 'returned', 0, amount)), 0) as lifetime_value
        from named left join (from raw_orders join totals using (order_id)) using (customer_id)
        where batch = (select max(batch) from until) group by all""")


def merged(shop: Compared) -> None:
    shop.same("shop.payment_days", """
        with amounts as (
            select order_date, payment_method, count(*) as payments, sum(amount) as amount,
                   sum(if(o.status = 'returned', amount, 0)) as refunded,
                   -- Cents times hundredths of a percent, rounded to cents.
                   (sum(cents * (fee_percent::decimal(5,2) * 100)::bigint) * 2 + 10000)::hugeint // 20000 / 100 as fees
            from good join raw_orders o using (order_id) join methods using (payment_method) group by all),
        first as (
            select order_date, payment_method, min(heard) as first_reported_at
            from every_payments p join every_orders o using (batch, order_id) join until using (batch)
            where p.status = 'success' group by all),
        last as (
            select order_date, max(heard) as reported_at from every_orders join until using (batch)
            where updated_at > before group by all)
        from amounts join first using (order_date, payment_method) join last using (order_date)""")


def appended(shop: Compared) -> None:
    shop.same("shop.order_changes", "select distinct order_id, status, updated_at as changed_at from every_orders")


def by_batches(shop: Compared) -> None:
    shop.same("shop.daily_sales", """
        select order_date, min(ordered_at) as ordered_at, count(distinct order_id) as orders, count(distinct customer_id) as customers,
               sum(amount) as revenue from raw_orders join good using (order_id) group by order_date""")


def materialized(shop: Compared) -> None:
    shop.same("shop.city_revenue", """
        select coalesce(home, 'unknown') as city, count(distinct order_id) as orders, sum(amount) as revenue
        from named join raw_orders using (customer_id) join good using (order_id)
        where batch = (select max(batch) from until) and status <> 'returned' group by all""")


def snapshots(shop: Compared) -> None:
    following = "lead(dbt_valid_from) over (partition by customer_id order by dbt_valid_from)"
    shop.same(f"""(select customer_id, customer_name, city, dbt_valid_from as since, dbt_valid_to is null as is_current,
                          case when {following} is not null then dbt_valid_to end as until
                   from shop_history.customers_history) as history""", """
        with versions as (select distinct customer_id, customer_name, home as city, updated_at as since from named)
        select v.*, lead(since) over (partition by customer_id order by since) as until,
               since = max(since) over (partition by customer_id) and customer_id in (select customer_id from raw_customers) as is_current
        from versions v""")
    shop.same("(select order_id, status, dbt_valid_to is null as is_current from shop_history.orders_history) as history", """
        with versions as (select order_id, status, max(batch) as seen from every_orders group by all)
        select order_id, status, seen = max(seen) over (partition by order_id) as is_current from versions""")


# What a step of the client compares after each delivery.
CHANGES = {
    "`dbt seed`: tables are made, and filled anew by the next": seeds,
    "`dbt run`: incremental models with delete+insert, over an ephemeral one": replaced,
    "`dbt run`: incremental models with merge, by several keys": merged,
    "`dbt run`: incremental models with append": appended,
    "`dbt run`: incremental models with microbatch": by_batches,
    "`dbt snapshot` by timestamp and by check; rows that are gone": snapshots,
}
DEFINITIONS = {
    "`dbt run`: views": views,
    "`dbt run`: tables, one with an enforced contract": tables,
    "`dbt run`: materialized views, refreshed by the next": materialized,
}
STEPS = {**CHANGES, **DEFINITIONS}
