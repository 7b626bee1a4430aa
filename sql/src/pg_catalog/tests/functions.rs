//! Functions and casts.

use super::{rows, run, session};

async fn value(sql: &str) -> String {
    let context = session();
    rows(&context, sql).await.concat().join("|")
}

#[tokio::test]
async fn object_identifiers_are_read_and_shown() {
    assert_eq!(value("SELECT 'sales.orders'::regclass::oid").await, "16404");
    assert_eq!(value("SELECT 16404::regclass").await, "sales.orders");
    assert_eq!(value("SELECT 16391::pg_catalog.regclass::pg_catalog.text").await, "alltypes");
    assert_eq!(value("SELECT 'pg_class'::regclass").await, "pg_class");
    assert_eq!(value("SELECT 'integer'::regtype, 'int4[]'::regtype").await, "integer|integer[]");
    assert_eq!(value("SELECT 'pg_catalog.array_in'::regproc").await, "array_in");
    assert_eq!(value("SELECT to_regclass('nothing')").await, "∅");
    let error = run(&session(), "SELECT 'nothing'::regclass").await.unwrap_err();
    assert!(error.contains("relation \"nothing\" does not exist"), "{error}");
}

#[tokio::test]
async fn session_information() {
    assert_eq!(
        value("SELECT current_database(), current_schema, current_schema(), current_user").await,
        "lake|public|public|auric"
    );
    assert_eq!(value("SELECT current_schemas(true)").await, "[pg_catalog, public]");
    assert!(value("SELECT pg_catalog.version()").await.starts_with("PostgreSQL 16."));
    assert_eq!(value("SELECT pg_size_pretty(12345678)").await, "12 MB");
}

#[tokio::test]
async fn array_subqueries() {
    assert_eq!(
        value(
            "SELECT n.nspname, ARRAY(SELECT relname FROM pg_class c WHERE c.relnamespace = n.oid
               AND relkind = 'r' ORDER BY 1)
             FROM pg_namespace n WHERE n.nspname IN ('public', 'sales') ORDER BY 1"
        )
        .await,
        "public|[alltypes]|sales|[orders]"
    );
    assert_eq!(
        value("SELECT ARRAY(SELECT 'x' || o FROM unnest(reloptions) o) FROM pg_class WHERE oid = 16404")
            .await,
        "[xwrite.format.default=parquet]"
    );
    assert_eq!(value("SELECT ARRAY(SELECT nspname FROM pg_namespace WHERE oid = 1)").await, "[]");
}

#[tokio::test]
async fn scalar_subqueries() {
    assert_eq!(
        value(
            "SELECT nspname, (SELECT count(*) FROM pg_class c WHERE c.relnamespace = n.oid) k
             FROM pg_namespace n WHERE nspname LIKE 's%' OR nspname = 'public' ORDER BY 1"
        )
        .await,
        "public|1|sales|3"
    );
    let error = run(
        &session(),
        "SELECT (SELECT relname FROM pg_class c WHERE c.relnamespace = n.oid) FROM pg_namespace n",
    )
    .await
    .unwrap_err();
    assert!(error.contains("more than one row returned"), "{error}");
    assert_eq!(
        value(
            "SELECT nspname FROM pg_namespace n WHERE n.oid < 3000 AND
             (SELECT c.relname FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r'
               AND c.oid >= 16384) = 'alltypes'"
        )
        .await,
        "public"
    );
}

#[tokio::test]
async fn syntax() {
    assert_eq!(
        value("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pg/_%' ESCAPE '/'").await,
        "pg_catalog"
    );
    assert_eq!(
        value("SELECT relname FROM pg_class WHERE relkind = ANY('{m,v}') AND oid > 16384").await,
        "v_orders"
    );
    assert_eq!(value("SELECT conname FROM pg_constraint WHERE conkey = '{1}'").await, "orders_pkey");
    assert_eq!(value("SELECT tableoid FROM pg_namespace LIMIT 1").await, "2615");
    assert_eq!(
        value("SELECT (information_schema._pg_expandarray(conkey)).n, conkey[1] FROM pg_constraint").await,
        "1|1"
    );
}
