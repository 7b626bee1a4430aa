//! `ALTER TASK`.

use super::super::{CommandTag, Output};
use super::{check_cycle, find, find_if_any, trigger};
use crate::error::{Result, SqlState};
use crate::materialize::task::{self, Stored};
use crate::parser::statement::{AlterTask, AlterTaskAction};
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
    if new == task {
        return Ok(DONE);
    }
    check_cycle(&scope, &catalog, &new).await?;
    if task.suspended != new.suspended || task.trigger != new.trigger {
        // What was due while it rested is not made up for.
        new.since = scope.info.statement_start.timestamp_millis();
    }
    task::change(&catalog, &task.ident, Some(text), Some(new.to_json())).await?;
    Ok(DONE)
}
