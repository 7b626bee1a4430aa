//! What the demo makes out of the bronze tables, in order.

/// One table made by SQL.
#[derive(Debug)]
pub(super) struct Step {
    /// Schema and name of the table; if it exists, the step was done.
    pub table: (&'static str, &'static str),
    /// For the progress display.
    pub what: &'static str,
    pub sql: &'static str,
}

pub(super) const SCHEMAS: &[&str] = &["bronze", "bronze_delta", "silver", "gold"];

pub(super) const STEPS: &[Step] = &[
    Step {
        table: ("silver", "customers"),
        what: "customers with nation and region",
        sql: "CREATE TABLE silver.customers AS
              SELECT c.c_custkey AS customer_id, c.c_name AS name, n.n_name AS nation, r.r_name AS region,
                     c.c_mktsegment AS segment, c.c_acctbal AS balance
              FROM bronze.customer c
              JOIN bronze.nation n ON n.n_nationkey = c.c_nationkey
              JOIN bronze.region r ON r.r_regionkey = n.n_regionkey",
    },
    Step {
        table: ("silver", "sales"),
        what: "order lines with revenue, partitioned by year",
        sql: "CREATE TABLE silver.sales PARTITIONED BY (years(order_date)) AS
              SELECT o.o_orderkey AS order_id, l.l_linenumber AS line, o.o_custkey AS customer_id,
                     l.l_partkey AS part_id, l.l_suppkey AS supplier_id, o.o_orderdate AS order_date,
                     l.l_shipdate AS ship_date, l.l_quantity AS quantity,
                     CAST(l.l_extendedprice * (1 - l.l_discount) AS numeric(18, 2)) AS revenue,
                     l.l_returnflag = 'R' AS returned
              FROM bronze.lineitem l
              JOIN bronze.orders o ON o.o_orderkey = l.l_orderkey",
    },
    Step {
        table: ("gold", "daily_sales"),
        what: "revenue by day",
        sql: "CREATE TABLE gold.daily_sales AS
              SELECT order_date, count(*) AS lines, count(DISTINCT order_id) AS orders,
                     sum(revenue) AS revenue, sum(CASE WHEN returned THEN revenue ELSE 0 END) AS returned_revenue
              FROM silver.sales GROUP BY order_date ORDER BY order_date",
    },
    Step {
        table: ("gold", "top_customers"),
        what: "the hundred best customers",
        sql: "CREATE TABLE gold.top_customers AS
              SELECT c.customer_id, c.name, c.nation, c.region, sum(s.revenue) AS revenue,
                     count(DISTINCT s.order_id) AS orders
              FROM silver.sales s JOIN silver.customers c ON c.customer_id = s.customer_id
              GROUP BY c.customer_id, c.name, c.nation, c.region
              ORDER BY revenue DESC, c.customer_id LIMIT 100",
    },
    Step {
        table: ("gold", "region_revenue"),
        what: "revenue by region and year, as Delta",
        sql: "CREATE TABLE gold.region_revenue USING DELTA AS
              SELECT c.region, CAST(extract(year FROM s.order_date) AS integer) AS year, sum(s.revenue) AS revenue
              FROM silver.sales s JOIN silver.customers c ON c.customer_id = s.customer_id
              GROUP BY 1, 2 ORDER BY 1, 2",
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
];
