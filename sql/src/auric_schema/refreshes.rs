//! `auric.refreshes`: every published refresh of a materialized view, as the history of its table tells;
//! those that published nothing, as the journal of the catalog does; and those that run on this server.

use super::{Relation, history, number, time, views};
use crate::error::Result;
use crate::materialize::definition::PREFIX;
use crate::materialize::provenance::Provenance;
use crate::materialize::scheduler::history::{self, Attempt};
use crate::materialize::scheduler::node::NodeKind;
use crate::materialize::scheduler::state::Outcome;
use crate::pg_catalog::value::Value;
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
    // `running`, `succeeded`, `failed`, `skipped`, `cancelled`.
    ("status", "text"),
    ("error", "text"),
    // Of a refresh that published nothing.
    ("attempt", "int4"),
    ("scheduled_for", "timestamptz"),
    ("started_at", "timestamptz"),
    ("finished_at", "timestamptz"),
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
                Outcome::Done.word().into(),
                Value::Null,
                Value::Null,
                Value::Null,
                run.duration_ms.map_or(Value::Null, |ms| {
                    time(version.committed_at.saturating_sub(i64::try_from(ms).unwrap_or_default()))
                }),
                time(version.committed_at),
            ]);
        }
    }
    for running in scope.engine.refreshing.of(scope.database()?.name()) {
        rows.push(told(vec![
            ("schema_name", (&running.ident.namespace).into()),
            ("view_name", (&running.ident.name).into()),
            ("run_id", (&running.run_id).into()),
            ("mode", running.mode.into()),
            ("reason", (&running.reason).into()),
            ("row_count", number(Some(running.audit.rows()))),
            ("status", "running".into()),
            ("started_at", time(running.started.timestamp_millis())),
        ]));
    }
    for (ident, attempt) in history::all(scope.database()?.as_ref(), NodeKind::View).await? {
        if attempt.outcome == Outcome::Done {
            // Its table tells more of it.
            continue;
        }
        let Attempt {
            run_id, number, scheduled_for, started, finished, outcome, message, expectations, ..
        } = attempt;
        rows.push(told(vec![
            ("schema_name", ident.namespace.into()),
            ("view_name", ident.name.into()),
            ("run_id", run_id.into()),
            ("status", outcome.word().into()),
            ("error", message.into()),
            ("expectations", expectations.into()),
            ("attempt", i32::try_from(number).unwrap_or(i32::MAX).into()),
            ("scheduled_for", time(scheduled_for)),
            ("started_at", time(started)),
            ("finished_at", time(finished)),
        ]));
    }
    Ok(Relation { columns: COLUMNS, rows })
}

/// A row of which these columns are known.
fn told(values: Vec<(&str, Value)>) -> Vec<Value> {
    let mut row = vec![Value::Null; COLUMNS.len()];
    for (name, value) in values {
        if let Some(at) = COLUMNS.iter().position(|(column, _)| *column == name)
            && let Some(slot) = row.get_mut(at)
        {
            *slot = value;
        }
    }
    row
}
