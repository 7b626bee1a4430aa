//! What a task's definition and the task of its name differ in.

use std::sync::Arc;

use auric_catalog::registry::Catalog;

use super::Action;
use crate::error::{Error, Result, SqlState};
use crate::materialize::definition::normal_form;
use crate::materialize::run_task::{Touched, touched};
use crate::materialize::task::{Stored, Task, Trigger};
use crate::parser::statement::{CreateTask, TriggerClause};
use crate::planner::Scope;
use crate::session::Session;
use crate::statement::task::{alter, create, trigger};

/// A task that exists, as it is and as it should be.
struct Difference {
    catalog: Arc<Catalog>,
    present: Stored,
    wanted: Task,
    reasons: Vec<String>,
    /// Words for what is altered.
    settings: Vec<String>,
}

/// Compares. Fails as planning its statement does, unless what that names may be defined by the same files.
pub(super) async fn action(session: &mut Session, create: &CreateTask) -> Result<Action> {
    let scope = session.scope().await?;
    let Some(mut found) = difference(&scope, create).await? else {
        let (_, ident) = scope.new_table(&create.name)?;
        let wanted = create::defined(&scope, create, ident, Trigger::None);
        return match touched(session, &wanted).await {
            Err(e) if !may_be_defined(&e) => Err(e),
            _ => Ok(Action::Create),
        };
    };
    if found.reasons.is_empty() {
        match touched(session, &found.wanted).await {
            Ok(Touched { target, reads }) => {
                let present = &found.present.task;
                if present.target != target || present.reads != reads {
                    found.reasons.push("its names mean other tables".to_string());
                }
            }
            Err(e) if !may_be_defined(&e) => return Err(e),
            Err(_) => {}
        }
    }
    Ok(match (found.reasons.is_empty(), found.settings.is_empty()) {
        (false, _) => Action::Replace(found.reasons),
        (true, false) => Action::Alter(found.settings),
        (true, true) => Action::Keep,
    })
}

/// What it lacks may be made before it.
fn may_be_defined(e: &Error) -> bool {
    matches!(
        e.code,
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN | SqlState::NOT_IN_PREREQUISITE_STATE
    )
}

/// Sets what differs; what it does, whether it rests and its runs are left alone.
pub(super) async fn alter(session: &mut Session, create: &CreateTask) -> Result<()> {
    session.check_writable("ALTER TASK")?;
    let scope = session.scope().await?;
    let Some(Difference { catalog, present, mut wanted, .. }) = difference(&scope, create).await? else {
        let message = format!("task \"{}\" does not exist any more", create.name);
        return Err(Error::new(SqlState::SERIALIZATION_FAILURE, message));
    };
    // By now what it comes after has to be there.
    wanted.trigger = trigger(&scope, &catalog, &create.trigger).await?;
    alter::replace(&scope, &catalog, present, wanted).await
}

/// `None`: there is no such task.
async fn difference(scope: &Scope, create: &CreateTask) -> Result<Option<Difference>> {
    let (catalog, ident) = scope.new_table(&create.name)?;
    let Some(present) = Task::find(&catalog, &ident).await? else { return Ok(None) };
    let wanted = create::defined(scope, create, ident, by_name(scope, &create.trigger)?);
    let mut reasons = Vec::new();
    let mut differs = |differs: bool, what: &str| {
        if differs {
            reasons.push(what.to_string());
        }
    };
    let task = &present.task;
    differs(normal_form(&task.statement) != normal_form(&wanted.statement), "another statement");
    differs(task.search_path != wanted.search_path, "another search path");
    differs(task.user != wanted.user, "another owner");
    let mut settings = Vec::new();
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_string());
    if task.trigger != wanted.trigger {
        settings.push(format!("schedule: {}", or_none(wanted.trigger.clause())));
    }
    if task.retries != wanted.retries {
        settings.push(format!("retries: {}", or_none(wanted.retries.map(|number| number.to_string()))));
    }
    if wanted.comment.is_some() && task.comment != wanted.comment {
        settings.push("comment".to_string());
    }
    let wanted = Task {
        trigger: wanted.trigger,
        retries: wanted.retries,
        comment: wanted.comment.or_else(|| task.comment.clone()),
        ..task.clone()
    };
    Ok(Some(Difference { catalog, present, wanted, reasons, settings }))
}

/// When it runs, by the names alone: what they mean may not be there yet.
fn by_name(scope: &Scope, clause: &TriggerClause) -> Result<Trigger> {
    Ok(match clause {
        TriggerClause::None => Trigger::None,
        TriggerClause::Schedule(schedule) => {
            schedule.check()?;
            Trigger::Schedule(schedule.clone())
        }
        TriggerClause::After(names) => {
            let mut after = Vec::with_capacity(names.len());
            for name in names {
                let (_, ident) = scope.new_table(name)?;
                if !after.contains(&ident) {
                    after.push(ident);
                }
            }
            Trigger::After(after)
        }
    })
}
