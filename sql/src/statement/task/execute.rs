//! `EXECUTE TASK`: runs it now, and waits.

use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::registry::Catalog;
use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output};
use super::{find, refuse_block};
use crate::error::{Error, Result, SqlState};
use crate::materialize::run_task::{Ran, TaskRun};
use crate::materialize::scheduler::history::{self, Attempt};
use crate::materialize::scheduler::node::NodeKind;
use crate::materialize::scheduler::state::Outcome;
use crate::materialize::task::Task;
use crate::session::Session;
use crate::session::transaction::Pins;

pub async fn execute(session: &mut Session, name: &ObjectName, cascade: bool) -> Result<Output> {
    session.check_writable("EXECUTE TASK")?;
    refuse_block(session, "EXECUTE TASK")?;
    let scope = session.scope().await?;
    let (catalog, first) = find(&scope, name).await?;
    let mut tasks = vec![first.task.clone()];
    if cascade {
        let all: Vec<Task> = Task::all(&catalog).await?.into_iter().map(|stored| stored.task).collect();
        tasks = in_order(first.task, &all);
    }
    let now = scope.info.statement_start;
    let pins = Pins::default();
    let mut failed: Vec<(TableIdent, Error)> = Vec::new();
    for task in tasks {
        let stops =
            task.trigger.after().iter().find(|before| failed.iter().any(|(ident, _)| ident == *before));
        if let Some(before) = stops {
            let message = format!("task {} was not run, as {before} failed", task.ident);
            session.warning(SqlState::WARNING, message.clone());
            failed.push((task.ident, Error::new(SqlState::WARNING, message)));
            continue;
        }
        match one(session, &catalog, &task, now, &pins).await {
            Ok(tag) => {
                let message = format!("task {}: {tag}", task.ident);
                session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
            }
            Err(e) if cascade => {
                session.warning(SqlState::WARNING, format!("task {} failed: {}", task.ident, e.message));
                failed.push((task.ident, e));
            }
            Err(e) => return Err(e),
        }
    }
    match failed.into_iter().next() {
        Some((_, e)) => Err(e),
        None => Ok(Output::Complete(CommandTag::Plain("EXECUTE TASK"))),
    }
}

async fn one(
    session: &Session,
    catalog: &Arc<Catalog>,
    task: &Task,
    now: chrono::DateTime<chrono::Utc>,
    pins: &Pins,
) -> Result<String> {
    // Nobody else has a slot of this name.
    let slot = format!("by hand {}", uuid::Uuid::new_v4());
    let run = TaskRun {
        engine: &session.engine,
        catalog: catalog.name(),
        task,
        run_id: task.run_id(catalog.name(), &slot),
        scheduled_for: now,
        pins: pins.clone(),
        pid: session.parameters.pid,
        abandoned: session.abandoned.clone(),
    };
    let started = session.engine.clock.now();
    let outcome = run.run().await.map(|ran| match ran {
        Ran::Done(tag) => tag,
        Ran::AlreadyDone => "done before".to_string(),
    });
    let (ended, message, sqlstate) = match &outcome {
        Ok(tag) => (Outcome::Done, tag.clone(), None),
        Err(e) => (Outcome::Failed, e.message.clone(), Some(e.code.to_string())),
    };
    let attempt = Attempt {
        run_id: run.run_id.clone(),
        number: 1,
        scheduled_for: now.timestamp_millis(),
        started: started.timestamp_millis(),
        finished: session.engine.clock.now().timestamp_millis(),
        outcome: ended,
        message: Some(message),
        sqlstate,
        expectations: None,
    };
    if let Err(error) = history::record(catalog, NodeKind::Task, &task.ident, &attempt, history::KEPT).await {
        tracing::warn!(task = %task.ident, %error, "history of a run was not written");
    }
    outcome
}

/// The task and all that come after it, directly or through others, each after those that it comes after.
fn in_order(first: Task, all: &[Task]) -> Vec<Task> {
    let mut members = vec![first];
    loop {
        let is_member =
            |ident: &TableIdent, members: &[Task]| members.iter().any(|task| task.ident == *ident);
        let next = all.iter().find(|task| {
            let after = task.trigger.after();
            !is_member(&task.ident, &members) && after.iter().any(|before| is_member(before, &members))
        });
        match next {
            Some(next) => members.push(next.clone()),
            None => break,
        }
    }
    let mut ordered: Vec<Task> = Vec::with_capacity(members.len());
    while !members.is_empty() {
        let waits = |task: &Task| {
            let after = task.trigger.after();
            after.iter().any(|before| members.iter().any(|member| member.ident == *before))
        };
        // There is one without any before it, as there are no cycles.
        let at = members.iter().position(|task| !waits(task)).unwrap_or(0);
        ordered.push(members.remove(at));
    }
    ordered
}
