//! What `psql` asks for, and the rows that it gets. All recorded statements of tools are replayed over the wire:
//! `tests/clients/test_recorded.py`.

use super::{rows, session};

#[tokio::test]
async fn psql_describe_lists_the_columns_of_a_table() {
    let context = session();
    let found = rows(
        &context,
        "SELECT a.attname,
           pg_catalog.format_type(a.atttypid, a.atttypmod),
           (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true)
            FROM pg_catalog.pg_attrdef d
            WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef),
           a.attnotnull,
           (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t
            WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation,
           a.attidentity,
           pg_catalog.col_description(a.attrelid, a.attnum)
         FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = '16404' AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY a.attnum",
    )
    .await;
    assert_eq!(
        found,
        [
            ["id", "bigint", "∅", "true", "∅", "", "∅"],
            ["customer_id", "integer", "∅", "false", "∅", "", "∅"],
            ["amount", "numeric(18,2)", "∅", "false", "∅", "", "with tax"],
            ["status", "text", "'new'", "false", "∅", "", "∅"],
            ["tags", "text[]", "∅", "false", "∅", "", "∅"],
            ["created_at", "timestamp without time zone", "∅", "false", "∅", "", "∅"],
        ]
    );
}

#[tokio::test]
async fn psql_lists_only_visible_tables() {
    let context = session();
    let sql = "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
         LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r','p','') AND n.nspname <> 'pg_catalog'
           AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema'";
    assert_eq!(rows(&context, sql).await.len(), 2);
    let visible = format!("{sql} AND pg_catalog.pg_table_is_visible(c.oid)");
    assert_eq!(rows(&context, &visible).await, [["public", "alltypes"]]);
}

#[tokio::test]
async fn psql_shows_the_key_of_a_table() {
    let context = session();
    let found = rows(
        &context,
        "SELECT c2.relname, i.indisprimary, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true),
           pg_catalog.pg_get_constraintdef(con.oid, true), contype
         FROM pg_catalog.pg_class c, pg_catalog.pg_class c2, pg_catalog.pg_index i
           LEFT JOIN pg_catalog.pg_constraint con
             ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x'))
         WHERE c.oid = '16404' AND c.oid = i.indrelid AND i.indexrelid = c2.oid
         ORDER BY i.indisprimary DESC, c2.relname",
    )
    .await;
    assert_eq!(
        found,
        [[
            "orders_pkey",
            "true",
            "CREATE UNIQUE INDEX orders_pkey ON sales.orders USING btree (id)",
            "PRIMARY KEY (id)",
            "p"
        ]]
    );
}
