//! `auric.column_lineage`: the columns that those of each materialized view are made of, by its query as it
//! is planned now.

use super::{Relation, views};
use crate::error::{Error, Result};
use crate::materialize::build::Query;
use crate::materialize::column_lineage::origins;
use crate::materialize::view_rows;
use crate::planner::Scope;

const COLUMNS: &[(&str, &str)] = &[
    ("schema_name", "name"),
    ("view_name", "name"),
    ("column_name", "name"),
    // `catalog.schema.table`.
    ("source", "text"),
    ("source_column", "name"),
    // `IDENTITY`, `TRANSFORMATION`, `AGGREGATION`.
    ("transformation", "text"),
];

/// A view whose query cannot be planned any more has none; `auric.freshness` tells why.
pub async fn rows(scope: &Scope) -> Result<Relation> {
    let mut rows = Vec::new();
    for view in views(scope).await? {
        let Ok(query) = Query::of(scope, &view.table, &view.definition).await else { continue };
        let Ok(positions) = view_rows::positions(&query, &view.table, &view.definition) else { continue };
        let ident = &view.table.ident;
        let columns = view.table.snapshot.schema.arrow.fields();
        for (column, position) in columns.iter().zip(positions) {
            let found = origins(&query.planned.plan, position).map_err(|e| Error::from(&e))?;
            for ((source, source_column), transformation) in found {
                rows.push(vec![
                    (&ident.namespace).into(),
                    (&ident.name).into(),
                    column.name().into(),
                    source.into(),
                    source_column.into(),
                    transformation.word().into(),
                ]);
            }
        }
    }
    Ok(Relation { columns: COLUMNS, rows })
}
