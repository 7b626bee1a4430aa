//! The tables of the catalog database.
//!
//! `iceberg_tables` and `iceberg_namespace_properties` are Iceberg's SQL/JDBC catalog, as pyiceberg
//! and Java make them. Its newer layout has a column `iceberg_type` (`TABLE`, `VIEW`); a database in
//! the older one is used as it is, never migrated: the programs that share it decide that. All else
//! is ours and named `auric_…`: to add a table is to add its definition to the list of [`prepare`].

use super::database::{Database, Driver, Write};
use super::documents::{DOCUMENTS, JOURNAL};
use super::{namespaces, tables};
use crate::error::{Error, Result};

/// Recorded for a namespace without properties, so that it exists.
pub const EXISTS_PROPERTY: &str = "exists";

const ICEBERG_TABLES: &str = "CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name))";

const NAMESPACE_PROPERTIES: &str = "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key))";

const DELTA_TABLES: &str = "CREATE TABLE IF NOT EXISTS auric_delta_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    location VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, table_namespace, table_name))";

/// Tables of either format whose files DROP leaves alone.
const EXTERNAL_TABLES: &str = "CREATE TABLE IF NOT EXISTS auric_external_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    PRIMARY KEY (catalog_name, table_namespace, table_name))";

/// Counts changes, of which no other table tells. A row for each of a few groups of processes or connections:
/// with a single one, all commits to the database would come one after the other.
const CHANGES: &str = "CREATE TABLE IF NOT EXISTS auric_changes (
    slot INTEGER NOT NULL PRIMARY KEY,
    changes BIGINT NOT NULL)";

/// `kind` is `namespace` (then `table_name` is empty) or `table`.
fn oids(oid_column: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS auric_oids (
    {oid_column},
    catalog_name VARCHAR(255) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    UNIQUE (catalog_name, kind, table_namespace, table_name))"
    )
}

/// What was found in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// `iceberg_tables` has the column `iceberg_type`.
    pub typed: bool,
}

/// Creates what is missing: tables, the namespace `public` in a catalog without any namespace, and
/// OIDs (later, giving one out would make a reader wait for the write lock).
pub async fn prepare(database: &Database, catalog: &str) -> Result<Layout> {
    let oids = oids(database.oid_column());
    let tables = [
        ICEBERG_TABLES,
        NAMESPACE_PROPERTIES,
        DELTA_TABLES,
        EXTERNAL_TABLES,
        DOCUMENTS,
        JOURNAL,
        CHANGES,
        &oids,
    ];
    database.create_layout(&tables).await?;
    let begun = database.changing(|| begin(database, catalog)).await?;
    database.commit(begun).await?;
    // Portable way to ask for a column: does a query of it prepare?
    let probe = || sqlx::query::<Driver>("SELECT iceberg_type FROM iceberg_tables WHERE 1 = 0");
    match database.read(|pool| probe().fetch_optional(pool)).await {
        Err(e @ Error::CatalogUnavailable { .. }) => Err(e),
        answer => Ok(Layout { typed: answer.is_ok() }),
    }
}

async fn begin(database: &Database, catalog: &str) -> Result<Write> {
    let mut t = database.write().await?;
    for statement in [namespaces::INSERT_PUBLIC, namespaces::ASSIGN_OIDS, tables::ASSIGN_OIDS] {
        tables::run(&mut t, statement, &[catalog]).await.map_err(|e| database.error(e))?;
    }
    Ok(t)
}
