//! `auric.lineage`: the tables that each materialized view was last built from.

use super::{Relation, views};
use crate::error::Result;
use crate::materialize::provenance::Provenance;
use crate::planner::Scope;

const COLUMNS: &[(&str, &str)] = &[
    ("schema_name", "name"),
    ("view_name", "name"),
    // `catalog.schema.table`.
    ("source", "text"),
    ("source_version", "int8"),
    // The materialized view in between, if the view does not read the source itself.
    ("via", "text"),
];

pub async fn rows(scope: &Scope) -> Result<Relation> {
    let mut rows = Vec::new();
    for view in views(scope).await? {
        let Some(run) = Provenance::of(&view.table).await? else { continue };
        let ident = &view.table.ident;
        for (source, version) in run.sources {
            rows.push(vec![
                (&ident.namespace).into(),
                (&ident.name).into(),
                source.into(),
                version.version.into(),
                version.via.into(),
            ]);
        }
    }
    Ok(Relation { columns: COLUMNS, rows })
}
