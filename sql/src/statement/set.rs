//! SET, RESET, DISCARD.

use super::{CommandTag, Output};
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::{Discard, Set};
use crate::session::Session;
use crate::session::settings::Scope;

pub fn set(session: &mut Session, set: &Set) -> Result<Output> {
    if set.local && session.block.is_none() {
        session.warning(SqlState::NO_ACTIVE_TRANSACTION, "SET LOCAL can only be used in transaction blocks");
        return Ok(Output::Complete(CommandTag::Plain("SET")));
    }
    let scope = if set.local { Scope::Transaction } else { Scope::Session };
    match &set.value {
        Some(value) => {
            session.settings.write().set(&set.name, value, scope)?;
        }
        None => session.settings.write().reset(&set.name, scope)?,
    }
    Ok(Output::Complete(CommandTag::Plain("SET")))
}

pub fn reset(session: &mut Session, name: Option<&str>) -> Result<Output> {
    match name {
        Some(name) => session.settings.write().reset(name, Scope::Session)?,
        None => session.settings.write().reset_all(),
    }
    Ok(Output::Complete(CommandTag::Plain("RESET")))
}

pub fn discard(session: &mut Session, what: Discard) -> Result<Output> {
    match what {
        Discard::All => {
            if session.block.is_some() {
                let message = "DISCARD ALL cannot run inside a transaction block";
                return Err(Error::new(SqlState::ACTIVE_TRANSACTION, message));
            }
            session.settings.write().reset_all();
            session.prepared.write().clear();
            session.cursors.clear();
            session.locks.unlock_all();
            session.temporary.discard();
            session.temporary.commit();
            Ok(Output::Complete(CommandTag::Plain("DISCARD ALL")))
        }
        Discard::Plans => {
            for statement in session.prepared.read().values() {
                *statement.prepared.planned.lock() = None;
            }
            Ok(Output::Complete(CommandTag::Plain("DISCARD PLANS")))
        }
        Discard::Sequences => Ok(Output::Complete(CommandTag::Plain("DISCARD SEQUENCES"))),
        Discard::Temp => {
            session.temporary.discard();
            if session.block.is_none() {
                session.temporary.commit();
            }
            Ok(Output::Complete(CommandTag::Plain("DISCARD TEMP")))
        }
    }
}
