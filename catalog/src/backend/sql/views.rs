//! Views: rows of `iceberg_tables` whose `iceberg_type` is `VIEW`, as Java's `JdbcCatalog` keeps them.
//!
//! A database in the layout without that column has no place for them.

use sqlx::Row;

use super::database::Row as DatabaseRow;

/// Name, pointer and OID (null: not given out yet) of the views of a namespace.
pub const SELECT_ALL: &str = "SELECT t.table_name, t.metadata_location, o.oid FROM iceberg_tables t \
     LEFT JOIN auric_oids o ON o.catalog_name = $1 AND o.kind = 'table' \
     AND o.table_namespace = $2 AND o.table_name = t.table_name \
     WHERE t.catalog_name = $1 AND t.table_namespace = $2 AND t.iceberg_type = 'VIEW' \
     AND t.metadata_location IS NOT NULL ORDER BY t.table_name";
pub const SELECT_ONE: &str = "SELECT t.table_name, t.metadata_location, o.oid FROM iceberg_tables t \
     LEFT JOIN auric_oids o ON o.catalog_name = $1 AND o.kind = 'table' \
     AND o.table_namespace = $2 AND o.table_name = t.table_name \
     WHERE t.catalog_name = $1 AND t.table_namespace = $2 AND t.iceberg_type = 'VIEW' \
     AND t.metadata_location IS NOT NULL AND t.table_name = $3";
pub const INSERT: &str = "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, \
     metadata_location, iceberg_type) VALUES ($1, $2, $3, $4, 'VIEW')";
pub const DELETE: &str = "DELETE FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 \
     AND table_name = $3 AND iceberg_type = 'VIEW'";
pub const RENAME: &str = "UPDATE iceberg_tables SET table_namespace = $4, table_name = $5 \
     WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND iceberg_type = 'VIEW'";

/// A row of [`SELECT_ALL`] or [`SELECT_ONE`].
#[derive(Debug)]
pub struct ViewRow {
    pub name: String,
    pub pointer: String,
    pub oid: Option<i64>,
}

impl ViewRow {
    pub fn read(row: &DatabaseRow) -> sqlx::Result<Self> {
        Ok(Self { name: row.try_get(0)?, pointer: row.try_get(1)?, oid: row.try_get(2)? })
    }
}
