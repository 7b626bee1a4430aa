//! `auric.refreshes`: every published refresh of a materialized view, as the history of its table tells.

use super::{Relation, history, number, time, views};
use crate::error::Result;
use crate::materialize::definition::PREFIX;
use crate::materialize::provenance::Provenance;
use crate::planner::Scope;

const COLUMNS: &[(&str, &str)] = &[
    ("schema_name", "name"),
    ("view_name", "name"),
    ("run_id", "text"),
    ("published_at", "timestamptz"),
    ("version", "int8"),
    ("mode", "text"),
    ("reason", "text"),
    ("row_count", "int8"),
    ("bytes", "int8"),
    ("duration_ms", "int8"),
    ("sources", "jsonb"),
    ("expectations", "jsonb"),
];

pub async fn rows(scope: &Scope) -> Result<Relation> {
    let mut rows = Vec::new();
    for view in views(scope).await? {
        let ident = &view.table.ident;
        for version in history(&view.table.catalog, &view.entry).await? {
            let Some(run) = Provenance::of_version(&version)? else { continue };
            let sources = version.summary.get(&format!("{PREFIX}sources")).cloned();
            rows.push(vec![
                (&ident.namespace).into(),
                (&ident.name).into(),
                run.run_id.into(),
                time(version.committed_at),
                version.id.into(),
                run.mode.into(),
                run.reason.into(),
                number(run.rows),
                number(run.bytes),
                number(run.duration_ms),
                sources.into(),
                run.outcomes.into(),
            ]);
        }
    }
    Ok(Relation { columns: COLUMNS, rows })
}
