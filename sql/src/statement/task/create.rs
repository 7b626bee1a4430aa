//! `CREATE [OR REPLACE] TASK`.

use std::collections::BTreeSet;

use auric_catalog::TableIdent;

use super::super::{CommandTag, Output, not_supported};
use super::{check_cycle, trigger};
use crate::error::{Error, Result, SqlState};
use crate::materialize::run_task::{Touched, touched};
use crate::materialize::task::{self, Task, Trigger};
use crate::parser::Parsed;
use crate::parser::statement::CreateTask;
use crate::planner::Scope;
use crate::session::Session;

const DONE: Output = Output::Complete(CommandTag::Plain("CREATE TASK"));

/// The task that a statement defines, before it is known what it changes and reads.
pub fn defined(scope: &Scope, create: &CreateTask, ident: TableIdent, trigger: Trigger) -> Task {
    Task {
        ident,
        id: uuid::Uuid::new_v4().to_string(),
        statement: create.text.trim_end().to_string(),
        search_path: scope.info.search_path.clone(),
        user: scope.info.user.clone(),
        trigger,
        retries: create.retries,
        comment: create.comment.clone(),
        suspended: false,
        since: scope.info.statement_start.timestamp_millis(),
        target: String::new(),
        reads: BTreeSet::new(),
    }
}

pub async fn execute(session: &mut Session, create: &CreateTask, _parsed: &Parsed) -> Result<Output> {
    session.check_writable("CREATE TASK")?;
    let scope = session.scope().await?;
    let (catalog, ident) = scope.new_table(&create.name)?;
    if catalog.is_temporary() {
        return Err(not_supported("a temporary task"));
    }
    auric_catalog::name::check_name("task", &ident.name)?;
    if !catalog.namespaces().await?.iter().any(|schema| schema.name == ident.namespace) {
        return Err(auric_catalog::Error::NamespaceNotFound(ident.namespace).into());
    }
    let existing = Task::find(&catalog, &ident).await?;
    match &existing {
        Some(_) if create.if_not_exists => {
            let message = format!("task \"{}\" already exists, skipping", ident.name);
            session.notice("NOTICE", SqlState::DUPLICATE_OBJECT, message);
            return Ok(DONE);
        }
        Some(_) if !create.or_replace => {
            let message = format!("task \"{}\" already exists", ident.name);
            return Err(Error::new(SqlState::DUPLICATE_OBJECT, message));
        }
        _ => {}
    }
    let trigger = trigger(&scope, &catalog, &create.trigger).await?;
    let mut new = defined(&scope, create, ident.clone(), trigger);
    if let Some(existing) = &existing {
        new.id.clone_from(&existing.task.id);
        // What was suspended stays so: whoever replaces a task may not know why it rests.
        new.suspended = existing.task.suspended;
    }
    Touched { target: new.target, reads: new.reads } = touched(session, &new).await?;
    check_cycle(&scope, &catalog, &new).await?;
    if let Some(existing) = &existing
        && existing.task.trigger == new.trigger
    {
        // A slot that was missed is still to be run.
        new.since = existing.task.since;
    }
    task::change(&catalog, &ident, existing.map(|existing| existing.text), Some(new.to_json())).await?;
    Ok(DONE)
}
