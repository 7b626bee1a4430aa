//! What the demo makes out of the bronze tables, in order.

/// One statement.
#[derive(Debug)]
pub(super) struct Step {
    /// What it is about, for the progress display.
    pub name: &'static str,
    pub what: &'static str,
    /// Schema and name of a table; if it exists, the step was done.
    pub done_by: (&'static str, &'static str),
    pub sql: &'static str,
}

pub(super) const SCHEMAS: &[&str] = &["bronze", "bronze_delta", "silver", "gold"];

/// Gold views come last, and the first of them tells that the tasks have run: running them once more does no harm.
pub(super) const STEPS: &[Step] = &[
    Step {
        name: "bronze.customer_changes",
        what: "what a customer service wrote today",
        done_by: ("bronze", "customer_changes"),
        sql: "CREATE TABLE bronze.customer_changes AS
              SELECT * FROM (VALUES
                (bigint '1', 'Customer#000000001', 'FRANCE', 'MACHINERY', numeric(15, 2) '1520.00'),
                (2, 'Customer#000000002', 'ATLANTIS', 'BUILDING', 121.65),
                (4, 'Customer#000000004', 'EGYPT', 'FURNITURE', 0.00)
              ) AS changes (customer_id, name, nation, segment, balance)",
    },
    Step {
        name: "silver.customers",
        what: "customers with nation and region",
        done_by: ("silver", "customers"),
        sql: "CREATE TABLE silver.customers AS
              SELECT c.c_custkey AS customer_id, c.c_name AS name, n.n_name AS nation, r.r_name AS region,
                     c.c_mktsegment AS segment, c.c_acctbal AS balance
              FROM bronze.customer c
              JOIN bronze.nation n ON n.n_nationkey = c.c_nationkey
              JOIN bronze.region r ON r.r_regionkey = n.n_regionkey",
    },
    Step {
        name: "silver.sales",
        what: "order lines with revenue, partitioned by month",
        done_by: ("silver", "sales"),
        sql: "CREATE TABLE silver.sales PARTITIONED BY (months(order_date)) AS
              SELECT o.o_orderkey AS order_id, l.l_linenumber AS line, o.o_custkey AS customer_id,
                     l.l_partkey AS part_id, l.l_suppkey AS supplier_id, o.o_orderdate AS order_date,
                     l.l_shipdate AS ship_date, l.l_quantity AS quantity,
                     CAST(l.l_extendedprice * (1 - l.l_discount) AS numeric(18, 2)) AS revenue,
                     l.l_returnflag = 'R' AS returned
              FROM bronze.lineitem l
              JOIN bronze.orders o ON o.o_orderkey = l.l_orderkey",
    },
    Step {
        name: "silver.merge_customers",
        what: "a task: MERGE what has changed, every night",
        done_by: ("gold", "daily_sales"),
        sql: "CREATE OR REPLACE TASK silver.merge_customers
                SCHEDULE CRON '0 1 * * *' AT TIME ZONE 'Europe/Paris' RETRIES 3
              AS MERGE INTO silver.customers AS known
              USING (SELECT c.customer_id, c.name, c.nation, r.r_name AS region, c.segment, c.balance
                     FROM bronze.customer_changes c
                     LEFT JOIN bronze.nation n ON n.n_name = c.nation
                     LEFT JOIN bronze.region r ON r.r_regionkey = n.n_regionkey) AS changed
              ON known.customer_id = changed.customer_id
              WHEN MATCHED THEN UPDATE SET *
              WHEN NOT MATCHED THEN INSERT *",
    },
    Step {
        name: "silver.load_month",
        what: "a task after it: INSERT OVERWRITE of the current month",
        done_by: ("gold", "daily_sales"),
        sql: "CREATE OR REPLACE TASK silver.load_month AFTER silver.merge_customers RETRIES 3
              AS INSERT OVERWRITE silver.sales
              SELECT o.o_orderkey, l.l_linenumber, o.o_custkey, l.l_partkey, l.l_suppkey, o.o_orderdate,
                     l.l_shipdate, l.l_quantity, CAST(l.l_extendedprice * (1 - l.l_discount) AS numeric(18, 2)),
                     l.l_returnflag = 'R'
              FROM bronze.lineitem l
              JOIN bronze.orders o ON o.o_orderkey = l.l_orderkey
              WHERE o.o_orderdate >= (SELECT date_trunc('month', max(o_orderdate)) FROM bronze.orders)",
    },
    Step {
        name: "silver",
        what: "both tasks run, in order",
        done_by: ("gold", "daily_sales"),
        sql: "EXECUTE TASK silver.merge_customers CASCADE",
    },
    Step {
        name: "gold.daily_sales",
        what: "a materialized view: revenue by day, every night",
        done_by: ("gold", "daily_sales"),
        sql: "CREATE MATERIALIZED VIEW gold.daily_sales
                (CONSTRAINT money_came_in EXPECT (revenue > 0) ON VIOLATION FAIL UPDATE,
                 CONSTRAINT each_day_once EXPECT (count(*) = count(DISTINCT order_date)) ON VIOLATION FAIL UPDATE)
                SORTED BY (order_date)
                SCHEDULE CRON '0 2 * * *' AT TIME ZONE 'Europe/Paris' RETRIES 3
              AS SELECT order_date, count(*) AS lines, count(DISTINCT order_id) AS orders,
                        sum(revenue) AS revenue, sum(CASE WHEN returned THEN revenue ELSE 0 END) AS returned_revenue
                 FROM silver.sales GROUP BY order_date",
    },
    Step {
        name: "gold.customer_value",
        what: "what each customer bought; one row is quarantined",
        done_by: ("gold", "customer_value"),
        sql: "CREATE MATERIALIZED VIEW gold.customer_value
                (CONSTRAINT known_region EXPECT (region IS NOT NULL) ON VIOLATION QUARANTINE INTO gold.quarantine)
                SCHEDULE EVERY 6 HOURS
              AS SELECT c.customer_id, c.name, c.nation, c.region,
                        coalesce(s.orders, 0) AS orders, coalesce(s.revenue, 0) AS revenue
                 FROM silver.customers c
                 LEFT JOIN (SELECT customer_id, count(DISTINCT order_id) AS orders, sum(revenue) AS revenue
                            FROM silver.sales GROUP BY customer_id) s ON s.customer_id = c.customer_id",
    },
    Step {
        name: "gold.region_revenue",
        what: "revenue by region and year, as Delta, after each update",
        done_by: ("gold", "region_revenue"),
        sql: "CREATE MATERIALIZED VIEW gold.region_revenue
                (CONSTRAINT five_regions EXPECT (count(DISTINCT region) = 5) ON VIOLATION WARN)
                USING DELTA
                TRIGGER ON UPDATE AT MOST EVERY INTERVAL '1 minute'
              AS SELECT c.region, CAST(extract(year FROM s.order_date) AS integer) AS year, sum(s.revenue) AS revenue
                 FROM silver.sales s JOIN gold.customer_value c ON c.customer_id = s.customer_id
                 GROUP BY 1, 2",
    },
];

/// What the demo suggests: a title and a query.
pub(super) const QUERIES: &[(&str, &str)] = &[
    (
        "The best days, from a gold table",
        "SELECT order_date, orders, revenue FROM gold.daily_sales ORDER BY revenue DESC LIMIT 5;",
    ),
    (
        "Iceberg joined with Delta: what each market segment spent on each ship mode",
        "SELECT c.c_mktsegment, l.l_shipmode, sum(l.l_extendedprice) AS spent\n\
         FROM bronze.customer c\n\
         JOIN bronze_delta.orders o ON o.o_custkey = c.c_custkey\n\
         JOIN bronze_delta.lineitem l ON l.l_orderkey = o.o_orderkey\n\
         GROUP BY 1, 2 ORDER BY spent DESC LIMIT 10;",
    ),
    (
        "How regions grew",
        "SELECT region, year, revenue,\n       \
         round(100 * revenue / lag(revenue) OVER (PARTITION BY region ORDER BY year) - 100, 1) AS growth\n\
         FROM gold.region_revenue ORDER BY region, year;",
    ),
    (
        "What is refreshed, when, and whether it is up to date",
        "SELECT view_name, schedule, age, is_up_to_date FROM auric.freshness WHERE schema_name = 'gold';",
    ),
    (
        "The row that did not get in, and why. Mend it, and everything that is built from it",
        "SELECT customer_id, name, nation, _reason FROM gold.quarantine;\n\
         UPDATE bronze.customer_changes SET nation = 'JORDAN' WHERE nation = 'ATLANTIS';\n\
         EXECUTE TASK silver.merge_customers CASCADE;\n\
         REFRESH MATERIALIZED VIEW gold.region_revenue CASCADE;\n\
         SELECT view_name, published_at, mode, row_count, duration_ms FROM auric.refreshes ORDER BY published_at DESC LIMIT 3;",
    ),
];
