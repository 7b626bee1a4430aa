//! Making definitions in a transaction that is rolled back, so that a mistake in the last of them is found
//! before the first is made.
//!
//! Nothing is computed: materialized views are made without rows. What only rows can tell (an expectation
//! that fails, a division by zero) is not found.

use super::read::{Item, Key};
use super::{Action, Located};
use crate::error::Result;
use crate::parser::statement::Statement;
use crate::session::Session;
use crate::statement::transaction;

/// Fails as the definition does that cannot be made. Definitions in other databases than the session's are
/// passed over, and all of them where the database knows no transactions over several changes.
pub(super) async fn all(items: &[Item], session: &mut Session) -> Result<(), Located> {
    let database = session.parameters.database.clone();
    let catalog = session.engine.registry.catalog(&database);
    let is_able = catalog.is_ok_and(|catalog| catalog.backend().is_transactional());
    let Some(first) = items.first().filter(|_| is_able) else { return Ok(()) };
    session.begin_implicit().map_err(|error| first.located(error))?;
    session.rehearses = true;
    let outcome = each(items, &database, session).await;
    session.rehearses = false;
    if session.block.is_some() {
        transaction::end(session, false);
    }
    // What it told of has not happened.
    session.notices.clear();
    outcome
}

async fn each(items: &[Item], database: &str, session: &mut Session) -> Result<(), Located> {
    for item in items.iter().filter(|item| item.key.catalog() == database) {
        let action = item.change(session).await?.action;
        one(item, action, session).await.map_err(|error| item.located(error))?;
    }
    Ok(())
}

async fn one(item: &Item, action: Action, session: &mut Session) -> Result<()> {
    let mut item = item.without_rows();
    let statement = item.parsed.statement.clone();
    match (action, statement.as_ref()) {
        (Action::Keep, _) => Ok(()),
        // It was planned, and its columns stay.
        (Action::Alter(_), Statement::CreateMaterializedView(_)) => Ok(()),
        (Action::Replace(_), Statement::CreateMaterializedView(create)) => {
            // What reads it is to find its new columns.
            if let Key::Relation { ident, .. } = &item.key {
                session.scope().await?.database()?.drop_table(ident).await?;
            }
            let mut create = create.clone();
            // Its files are where the new ones are to be.
            create.table.location = None;
            item.parsed.statement = Statement::CreateMaterializedView(create).into();
            item.carry_out(session, &Action::Create).await
        }
        (action, _) => item.carry_out(session, &action).await,
    }
}

impl Item {
    fn without_rows(&self) -> Self {
        let mut statement = self.parsed.statement.as_ref().clone();
        if let Statement::CreateMaterializedView(create) = &mut statement {
            create.table.with_no_data = true;
        }
        let mut copy = self.clone();
        copy.parsed.statement = statement.into();
        copy
    }
}
