//! `ALTER TASK`.

use std::sync::Arc;

use auric_catalog::registry::Catalog;

use super::super::{CommandTag, Output};
use super::{check_cycle, find, find_if_any, trigger};
use crate::error::{Result, SqlState};
use crate::materialize::task::{self, Stored, Task};
use crate::parser::statement::{AlterTask, AlterTaskAction};
use crate::planner::Scope;
use crate::session::Session;

const DONE: Output = Output::Complete(CommandTag::Plain("ALTER TASK"));

pub async fn execute(session: &mut Session, alter: &AlterTask) -> Result<Output> {
    session.check_writable("ALTER TASK")?;
    let scope = session.scope().await?;
    let found = match alter.if_exists {
        true => find_if_any(&scope, &alter.name).await?,
        false => Some(find(&scope, &alter.name).await?),
    };
    let Some((catalog, Stored { task, text })) = found else {
        let message = format!("task \"{}\" does not exist, skipping", alter.name);
        session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
        return Ok(DONE);
    };
    let mut new = task.clone();
    match &alter.action {
        AlterTaskAction::Suspend => new.suspended = true,
        AlterTaskAction::Resume => new.suspended = false,
        AlterTaskAction::Trigger(clause) => new.trigger = trigger(&scope, &catalog, clause).await?,
        AlterTaskAction::Retries(retries) => new.retries = *retries,
        AlterTaskAction::Comment(comment) => new.comment.clone_from(comment),
    }
    replace(&scope, &catalog, Stored { task, text }, new).await?;
    Ok(DONE)
}

/// Puts the altered task in the place of the one that is there. Fails with 42P17 if it would come after
/// itself, 40001 if somebody else has changed it meanwhile.
pub async fn replace(scope: &Scope, catalog: &Arc<Catalog>, old: Stored, mut new: Task) -> Result<()> {
    if new == old.task {
        return Ok(());
    }
    check_cycle(scope, catalog, &new).await?;
    if old.task.suspended != new.suspended || old.task.trigger != new.trigger {
        // What was due while it rested is not made up for.
        new.since = scope.info.statement_start.timestamp_millis();
    }
    task::change(catalog, &old.task.ident, Some(old.text), Some(new.to_json())).await
}
