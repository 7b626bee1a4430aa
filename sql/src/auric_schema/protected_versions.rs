//! `auric.protected_versions`: versions of tables that the next refreshes of materialized views start from.
//! Whoever expires versions or removes files of the tables spares these, or has those views computed anew.

use super::{Relation, views};
use crate::error::Result;
use crate::materialize::incremental::protected::needed_by;
use crate::pg_catalog::value::Value;
use crate::planner::Scope;

const COLUMNS: &[(&str, &str)] = &[
    // `catalog.schema.table`.
    ("table_name", "text"),
    // Iceberg snapshot id, Delta version.
    ("version", "int8"),
    // Whose refresh it is.
    ("view_schema", "name"),
    ("view_name", "name"),
];

pub async fn rows(scope: &Scope) -> Result<Relation> {
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for view in views(scope).await? {
        let ident = &view.table.ident;
        for (table, version) in needed_by(&view.table, &view.definition).await? {
            rows.push(vec![table.into(), version.into(), (&ident.namespace).into(), (&ident.name).into()]);
        }
    }
    Ok(Relation { columns: COLUMNS, rows })
}
