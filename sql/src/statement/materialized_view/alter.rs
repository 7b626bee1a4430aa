//! `ALTER MATERIALIZED VIEW`.

use auric_catalog::table::{Alteration, Operation, PropertyChange};

use super::super::ddl::rename;
use super::super::dml::execute::Attempts;
use super::super::{CommandTag, Output, not_supported};
use super::find;
use crate::error::{Result, SqlState};
use crate::materialize::definition::{RefreshPolicy, check_own};
use crate::parser::Parsed;
use crate::parser::statement::{AlterMaterializedView, AlterViewAction};
use crate::session::Session;

const DONE: Output = Output::Complete(CommandTag::Plain("ALTER MATERIALIZED VIEW"));

pub async fn execute(
    session: &mut Session,
    alter: &AlterMaterializedView,
    parsed: &Parsed,
) -> Result<Output> {
    session.check_writable("ALTER MATERIALIZED VIEW")?;
    let mut attempts = Attempts::new(session.block.is_some());
    loop {
        if let Some(outcome) = attempts.last(attempt(session, alter, parsed).await) {
            return outcome;
        }
    }
}

async fn attempt(session: &mut Session, alter: &AlterMaterializedView, parsed: &Parsed) -> Result<Output> {
    let scope = session.scope().await?;
    let (table, definition) = match find(&scope, &alter.name, parsed).await {
        Ok(found) => found,
        Err(e) if e.code == SqlState::UNDEFINED_TABLE && alter.if_exists => {
            let message = format!("relation \"{}\" does not exist, skipping", alter.name);
            session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
            return Ok(DONE);
        }
        Err(e) => return Err(e),
    };
    let mut new = definition.clone();
    match &alter.action {
        AlterViewAction::Rename(to) => {
            rename::table(session, &scope, &table, to).await?;
            return Ok(DONE);
        }
        AlterViewAction::SetProperties(set) => {
            check_own(set.iter().map(|(key, _)| key))?;
            let set = set.iter().cloned().collect();
            let change = PropertyChange { set, unset: Vec::new() };
            table.check_writable(Operation::Alter)?;
            scope.tables.alter(&table, Alteration::Properties(change)).await?;
            return Ok(DONE);
        }
        AlterViewAction::UnsetProperties(keys) => {
            check_own(keys)?;
            let known = keys.iter().filter(|key| table.snapshot.properties.contains_key(*key));
            let unset: Vec<String> = known.cloned().collect();
            if !unset.is_empty() {
                let change = PropertyChange { unset, ..PropertyChange::default() };
                scope.tables.alter(&table, Alteration::Properties(change)).await?;
            }
            return Ok(DONE);
        }
        AlterViewAction::Suspend => new.suspended = true,
        AlterViewAction::Resume => new.suspended = false,
        AlterViewAction::Schedule(schedule) => {
            if let Some(schedule) = schedule {
                schedule.check()?;
            }
            new.schedule.clone_from(schedule);
        }
        AlterViewAction::Policy(RefreshPolicy::IncrementalStrict) => {
            return Err(not_supported("REFRESH POLICY INCREMENTAL STRICT"));
        }
        AlterViewAction::Policy(policy) => new.policy = *policy,
        AlterViewAction::Retries(retries) => new.retries = Some(*retries),
    }
    table.check_writable(Operation::Alter)?;
    if let Some(change) = definition.change_to(&new) {
        scope.tables.alter(&table, Alteration::Properties(change)).await?;
    }
    Ok(DONE)
}
