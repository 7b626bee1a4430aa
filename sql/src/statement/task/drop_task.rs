//! `DROP TASK`.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output};
use super::{find, find_if_any};
use crate::error::{Error, Result, SqlState};
use crate::materialize::task::{self, Task};
use crate::session::Session;

pub async fn execute(
    session: &mut Session,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
) -> Result<Output> {
    session.check_writable("DROP TASK")?;
    let scope = session.scope().await?;
    let mut gone: Vec<_> = Vec::new();
    for name in names {
        let found = match if_exists {
            true => find_if_any(&scope, name).await?,
            false => Some(find(&scope, name).await?),
        };
        match found {
            Some((catalog, stored)) => gone.push((catalog, stored)),
            None => {
                let message = format!("task \"{name}\" does not exist, skipping");
                session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
            }
        }
    }
    let mut at = 0;
    while let Some((catalog, stored)) = gone.get(at).cloned() {
        at += 1;
        for other in Task::all(&catalog).await? {
            let comes_after = other.task.trigger.after().contains(&stored.task.ident);
            let known = gone
                .iter()
                .any(|(known, gone)| known.name() == catalog.name() && gone.task.ident == other.task.ident);
            if !comes_after || known {
                continue;
            }
            if !cascade {
                let message =
                    format!("cannot drop task {} because other objects depend on it", stored.task.ident);
                let detail = format!("task {} comes after task {}", other.task.ident, stored.task.ident);
                return Err(Error::new(SqlState::DEPENDENT_OBJECTS, message)
                    .with_detail(detail)
                    .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
            }
            let message = format!("drop cascades to task {}", other.task.ident);
            session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
            gone.push((catalog.clone(), other));
        }
    }
    let mut dropped = Vec::new();
    for (catalog, stored) in gone {
        let name = (catalog.name().to_string(), stored.task.ident.clone());
        if dropped.contains(&name) {
            continue;
        }
        task::change(&catalog, &stored.task.ident, Some(stored.text), None).await?;
        dropped.push(name);
    }
    Ok(Output::Complete(CommandTag::Plain("DROP TASK")))
}
