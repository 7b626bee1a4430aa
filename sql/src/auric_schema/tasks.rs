//! `auric.tasks`: every task, when it runs, and how that went.

use super::{Relation, next_run, state_of, time};
use crate::error::Result;
use crate::materialize::scheduler::history::{self, Attempt};
use crate::materialize::scheduler::node::NodeKind;
use crate::materialize::scheduler::state::Outcome;
use crate::materialize::task::{Task, Trigger};
use crate::pg_catalog::value::Value;
use crate::planner::Scope;

const COLUMNS: &[(&str, &str)] = &[
    ("schema_name", "name"),
    ("task_name", "name"),
    ("owner", "name"),
    // As in CREATE TASK; null: it runs when it is told to.
    ("schedule", "text"),
    // `scheduled`, `suspended`, `manual`.
    ("state", "text"),
    // `catalog.schema.table` that it changes.
    ("target", "text"),
    ("statement", "text"),
    ("comment", "text"),
    ("retries", "int4"),
    ("last_run_id", "text"),
    ("last_run_at", "timestamptz"),
    // `succeeded`, `failed`, `skipped`, `cancelled`.
    ("last_status", "text"),
    ("last_error", "text"),
    // When the schedule next says so; null if that depends on what happens.
    ("next_run_at", "timestamptz"),
    ("failures_in_a_row", "int4"),
];

pub async fn rows(scope: &Scope) -> Result<Relation> {
    let catalog = scope.database()?;
    let attempts = history::all(&catalog, NodeKind::Task).await?;
    let mut rows = Vec::new();
    for stored in Task::all(&catalog).await? {
        let task = stored.task;
        let state = state_of(&catalog, NodeKind::Task, &task.ident).await?;
        let own = attempts.iter().filter(|(ident, _)| *ident == task.ident).map(|(_, attempt)| attempt);
        let last: Option<&Attempt> = own.max_by_key(|attempt| attempt.finished);
        let failed = last.filter(|last| last.outcome != Outcome::Done);
        let next = match &task.trigger {
            Trigger::Schedule(schedule) if !task.suspended => {
                next_run(schedule, &state, scope.info.statement_start)
            }
            _ => None,
        };
        let word = match (&task.trigger, task.suspended) {
            (_, true) => "suspended",
            (Trigger::None, false) => "manual",
            (Trigger::Schedule(_) | Trigger::After(_), false) => "scheduled",
        };
        rows.push(vec![
            (&task.ident.namespace).into(),
            (&task.ident.name).into(),
            (&task.user).into(),
            task.trigger.clause().into(),
            word.into(),
            (&task.target).into(),
            (&task.statement).into(),
            task.comment.clone().into(),
            task.retries.and_then(|retries| i32::try_from(retries).ok()).into(),
            last.map(|last| last.run_id.clone()).into(),
            last.map_or(Value::Null, |last| time(last.started)),
            last.map(|last| last.outcome.word().to_string()).into(),
            failed.and_then(|last| last.message.clone()).into(),
            next.map_or(Value::Null, time),
            i32::try_from(state.failures).unwrap_or(i32::MAX).into(),
        ]);
    }
    Ok(Relation { columns: COLUMNS, rows })
}
