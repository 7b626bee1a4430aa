//! `auric.task_runs`: the attempts at running tasks, as far as the journal of the catalog goes back.

use super::{Relation, time};
use crate::error::Result;
use crate::materialize::scheduler::history;
use crate::materialize::scheduler::node::NodeKind;
use crate::planner::Scope;

const COLUMNS: &[(&str, &str)] = &[
    ("schema_name", "name"),
    ("task_name", "name"),
    ("run_id", "text"),
    ("attempt", "int4"),
    // `succeeded`, `failed`, `skipped`, `cancelled`.
    ("status", "text"),
    ("scheduled_for", "timestamptz"),
    ("started_at", "timestamptz"),
    ("finished_at", "timestamptz"),
    // The tag of the statement, or why it failed.
    ("message", "text"),
    ("sqlstate", "text"),
];

pub async fn rows(scope: &Scope) -> Result<Relation> {
    let mut rows = Vec::new();
    for (ident, attempt) in history::all(scope.database()?.as_ref(), NodeKind::Task).await? {
        rows.push(vec![
            (&ident.namespace).into(),
            (&ident.name).into(),
            attempt.run_id.into(),
            i32::try_from(attempt.number).unwrap_or(i32::MAX).into(),
            attempt.outcome.word().into(),
            time(attempt.scheduled_for),
            time(attempt.started),
            time(attempt.finished),
            attempt.message.into(),
            attempt.sqlstate.into(),
        ]);
    }
    Ok(Relation { columns: COLUMNS, rows })
}
