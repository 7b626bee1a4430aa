//! `CREATE [OR REPLACE] TASK`.

use std::collections::BTreeSet;

use super::super::{CommandTag, Output, not_supported};
use super::{check_cycle, trigger};
use crate::error::{Error, Result, SqlState};
use crate::materialize::run_task::{Touched, touched};
use crate::materialize::task::{self, Task};
use crate::parser::Parsed;
use crate::parser::statement::CreateTask;
use crate::session::Session;

const DONE: Output = Output::Complete(CommandTag::Plain("CREATE TASK"));

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
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
    let mut new = Task {
        ident: ident.clone(),
        id: existing.as_ref().map_or_else(new_id, |existing| existing.task.id.clone()),
        statement: create.text.trim_end().to_string(),
        search_path: scope.info.search_path.clone(),
        user: scope.info.user.clone(),
        trigger: trigger(&scope, &catalog, &create.trigger).await?,
        retries: create.retries,
        comment: create.comment.clone(),
        // What was suspended stays so: whoever replaces a task may not know why it rests.
        suspended: existing.as_ref().is_some_and(|existing| existing.task.suspended),
        since: scope.info.statement_start.timestamp_millis(),
        target: String::new(),
        reads: BTreeSet::new(),
    };
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
