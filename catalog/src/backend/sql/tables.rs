//! Tables of both formats: queries and single steps of changes.
//!
//! The triggers of the database move and delete OIDs and external marks with their tables.

use sqlx::Row;

use super::database::{Driver, Row as DatabaseRow, Write};
use crate::TableIdent;
use crate::backend::NewTableEntry;
use crate::table::TableFormat;

/// Format, pointer, OID (null: not given out yet) and external mark of tables.
macro_rules! select {
    ($iceberg_filter:literal, $name_filter:literal) => {
        concat!(
            "SELECT t.table_name, t.format, t.pointer, o.oid, \
             CASE WHEN x.table_name IS NULL THEN 0 ELSE 1 END AS external FROM (\
             SELECT table_name, 0 AS format, metadata_location AS pointer FROM iceberg_tables \
             WHERE catalog_name = $1 AND table_namespace = $2 AND metadata_location IS NOT NULL",
            $name_filter,
            $iceberg_filter,
            " UNION ALL SELECT table_name, 1 AS format, location AS pointer FROM auric_delta_tables \
             WHERE catalog_name = $1 AND table_namespace = $2",
            $name_filter,
            ") t LEFT JOIN auric_oids o ON o.catalog_name = $1 AND o.kind = 'table' \
             AND o.table_namespace = $2 AND o.table_name = t.table_name \
             LEFT JOIN auric_external_tables x ON x.catalog_name = $1 \
             AND x.table_namespace = $2 AND x.table_name = t.table_name \
             ORDER BY t.table_name, t.format"
        )
    };
}

/// Views are kept in the same table.
macro_rules! only_tables {
    () => {
        " AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)"
    };
}

/// All tables of a namespace. `typed`: the layout has the column `iceberg_type`.
pub fn select_all(typed: bool) -> &'static str {
    if typed { select!(" AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)", "") } else { select!("", "") }
}

/// One table by name.
pub fn select_one(typed: bool) -> &'static str {
    if typed {
        select!(" AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)", " AND table_name = $3")
    } else {
        select!("", " AND table_name = $3")
    }
}

/// Gives OIDs to tables that have none.
pub const ASSIGN_OIDS: &str = "INSERT INTO auric_oids (catalog_name, kind, table_namespace, table_name) \
     SELECT $1, 'table', t.table_namespace, t.table_name FROM (\
     SELECT table_namespace, table_name FROM iceberg_tables WHERE catalog_name = $1 \
     UNION SELECT table_namespace, table_name FROM auric_delta_tables WHERE catalog_name = $1) t \
     WHERE NOT EXISTS (SELECT 1 FROM auric_oids o WHERE o.catalog_name = $1 AND o.kind = 'table' \
     AND o.table_namespace = t.table_namespace AND o.table_name = t.table_name) \
     ORDER BY t.table_namespace, t.table_name";

/// Views count: they share the names.
const FORMATS_OF: &str = "SELECT 0 AS format FROM iceberg_tables \
     WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 \
     UNION ALL SELECT 1 AS format FROM auric_delta_tables \
     WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";

const INSERT_ICEBERG_TYPED: &str = "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, \
     metadata_location, iceberg_type) VALUES ($1, $2, $3, $4, 'TABLE')";
const INSERT_ICEBERG: &str = "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, \
     metadata_location) VALUES ($1, $2, $3, $4)";
const INSERT_DELTA: &str = "INSERT INTO auric_delta_tables (catalog_name, table_namespace, table_name, \
     location) VALUES ($1, $2, $3, $4)";
pub const INSERT_EXTERNAL: &str =
    "INSERT INTO auric_external_tables (catalog_name, table_namespace, table_name) VALUES ($1, $2, $3)";
const INSERT_OID: &str = "INSERT INTO auric_oids (catalog_name, kind, table_namespace, table_name) \
     VALUES ($1, 'table', $2, $3)";
pub const DELETE_OID: &str = "DELETE FROM auric_oids \
     WHERE catalog_name = $1 AND kind = 'table' AND table_namespace = $2 AND table_name = $3";
const DELETE_EXTERNAL: &str = "DELETE FROM auric_external_tables \
     WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";

const DELETE_ICEBERG_TYPED: &str = concat!(
    "DELETE FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3",
    only_tables!()
);
const DELETE_ICEBERG: &str =
    "DELETE FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";
const DELETE_DELTA: &str =
    "DELETE FROM auric_delta_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";

const RENAME_ICEBERG_TYPED: &str = concat!(
    "UPDATE iceberg_tables SET table_namespace = $4, table_name = $5 \
     WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3",
    only_tables!()
);
const RENAME_ICEBERG: &str = "UPDATE iceberg_tables SET table_namespace = $4, table_name = $5 \
     WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";
const RENAME_DELTA: &str = "UPDATE auric_delta_tables SET table_namespace = $4, table_name = $5 \
     WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";

/// The compare-and-swap that every Iceberg commit ends in.
pub const SWAP: &str = "UPDATE iceberg_tables SET metadata_location = $5, previous_metadata_location = $4 \
     WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND metadata_location = $4";

/// A row of [`select_all`] or [`select_one`].
#[derive(Debug)]
pub struct TableRow {
    pub name: String,
    pub format: TableFormat,
    pub pointer: String,
    pub oid: Option<i64>,
    pub external: bool,
}

impl TableRow {
    pub fn read(row: &DatabaseRow) -> sqlx::Result<Self> {
        Ok(Self {
            name: row.try_get(0)?,
            format: match row.try_get::<i64, _>(1)? {
                0 => TableFormat::Iceberg,
                _ => TableFormat::Delta,
            },
            pointer: row.try_get(2)?,
            oid: row.try_get(3)?,
            external: row.try_get::<i64, _>(4)? != 0,
        })
    }
}

/// A table or view of this name, of either format.
pub async fn name_is_taken(t: &mut Write, catalog: &str, ident: &TableIdent) -> sqlx::Result<bool> {
    let found = sqlx::query::<Driver>(FORMATS_OF)
        .bind(catalog)
        .bind(&ident.namespace)
        .bind(&ident.name)
        .fetch_optional(&mut **t)
        .await?;
    Ok(found.is_some())
}

/// Of catalog, namespace, name and pointer.
pub fn insert_statement(format: TableFormat, typed: bool) -> &'static str {
    match (format, typed) {
        (TableFormat::Iceberg, true) => INSERT_ICEBERG_TYPED,
        (TableFormat::Iceberg, false) => INSERT_ICEBERG,
        (TableFormat::Delta, _) => INSERT_DELTA,
    }
}

pub async fn insert(t: &mut Write, catalog: &str, typed: bool, entry: &NewTableEntry) -> sqlx::Result<()> {
    let TableIdent { namespace, name } = &entry.ident;
    forget(t, catalog, &entry.ident).await?;
    let statement = insert_statement(entry.format, typed);
    run(t, statement, &[catalog, namespace, name, &entry.pointer]).await?;
    if entry.external {
        run(t, INSERT_EXTERNAL, &[catalog, namespace, name]).await?;
    }
    Ok(())
}

/// Gives a name a fresh OID: what is known of it was left behind where another program worked without
/// our triggers, and a new table or view is a new object.
pub async fn forget(t: &mut Write, catalog: &str, ident: &TableIdent) -> sqlx::Result<()> {
    for statement in [DELETE_OID, DELETE_EXTERNAL, INSERT_OID] {
        run(t, statement, &[catalog, &ident.namespace, &ident.name]).await?;
    }
    Ok(())
}

/// `false`: there is no such table.
pub async fn delete(t: &mut Write, catalog: &str, typed: bool, ident: &TableIdent) -> sqlx::Result<bool> {
    let values = [catalog, &ident.namespace, &ident.name];
    let iceberg = if typed { DELETE_ICEBERG_TYPED } else { DELETE_ICEBERG };
    Ok(run(t, iceberg, &values).await? > 0 || run(t, DELETE_DELTA, &values).await? > 0)
}

/// `false`: there is no such table.
pub async fn rename(
    t: &mut Write,
    catalog: &str,
    typed: bool,
    from: &TableIdent,
    to: &TableIdent,
) -> sqlx::Result<bool> {
    let values = [catalog, &from.namespace, &from.name, &to.namespace, &to.name];
    let iceberg = if typed { RENAME_ICEBERG_TYPED } else { RENAME_ICEBERG };
    Ok(run(t, iceberg, &values).await? > 0 || run(t, RENAME_DELTA, &values).await? > 0)
}

/// Runs a statement with text parameters; returns the number of rows it changed.
pub async fn run(t: &mut Write, statement: &'static str, values: &[&str]) -> sqlx::Result<u64> {
    let mut query = sqlx::query::<Driver>(statement);
    for value in values {
        query = query.bind((*value).to_string());
    }
    Ok(query.execute(&mut **t).await?.rows_affected())
}
