//! BEGIN, COMMIT, ROLLBACK, savepoints, SET TRANSACTION.

use std::sync::Arc;

use super::{CommandTag, Output};
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::{Chain, TransactionModes};
use crate::session::transaction::TransactionTables;
use crate::session::{Block, Session};

fn done(tag: &'static str) -> Result<Output> {
    Ok(Output::Complete(CommandTag::Plain(tag)))
}

pub fn begin(session: &mut Session, start: bool, modes: &TransactionModes) -> Result<Output> {
    let tag = if start { "START TRANSACTION" } else { "BEGIN" };
    match &mut session.block {
        // What the query string has done before is part of the transaction, as in Postgres.
        Some(block) if block.implicit => block.implicit = false,
        Some(_) => {
            session.warning(SqlState::ACTIVE_TRANSACTION, "there is already a transaction in progress");
        }
        None => open(session, Implicit::No)?,
    }
    apply_modes(session, modes)?;
    done(tag)
}

/// Whether the statements of one query string open a block by themselves.
#[derive(PartialEq)]
enum Implicit {
    No,
    Yes,
}

/// Opens the block of a query string of several statements, before each of them: one that ends it
/// begins another.
pub fn begin_implicit(session: &mut Session) -> Result<()> {
    match session.block {
        Some(_) => Ok(()),
        None => open(session, Implicit::Yes),
    }
}

/// The end of a query string of several statements: what they have done is committed, unless one of
/// them was BEGIN.
pub async fn commit_implicit(session: &mut Session) -> Result<()> {
    match session.block.as_ref().map(|block| (block.implicit, block.tables.clone())) {
        Some((true, tables)) => {
            let committed = session.committing().during(tables.commit()).await;
            end(session, committed.is_ok());
            committed
        }
        _ => Ok(()),
    }
}

fn open(session: &mut Session, implicit: Implicit) -> Result<()> {
    session.temporary.commit();
    session.settings.write().begin();
    session.block = Some(Block {
        start: session.engine.clock.now(),
        tables: Arc::new(TransactionTables::of_block()),
        savepoints: Vec::new(),
        temporary: session.temporary.save(),
        failed: false,
        implicit: implicit == Implicit::Yes,
    });
    let defaults = {
        let settings = session.settings.read();
        [
            ("transaction_isolation", "default_transaction_isolation"),
            ("transaction_read_only", "default_transaction_read_only"),
        ]
        .map(|(name, default)| (name, settings.get(default).unwrap_or_default().to_string()))
    };
    for (name, value) in defaults {
        session.set(name, &value, true)?;
    }
    Ok(())
}

fn apply_modes(session: &mut Session, modes: &TransactionModes) -> Result<()> {
    let on_off = |on: bool| if on { "on" } else { "off" };
    if let Some(isolation) = modes.isolation {
        session.set("transaction_isolation", isolation, true)?;
    }
    if let Some(read_only) = modes.read_only {
        session.set("transaction_read_only", on_off(read_only), true)?;
    }
    if let Some(deferrable) = modes.deferrable {
        session.set("transaction_deferrable", on_off(deferrable), true)?;
    }
    Ok(())
}

/// `SET TRANSACTION`, `SET SESSION CHARACTERISTICS`.
pub fn set_modes(session: &mut Session, all: bool, modes: &TransactionModes) -> Result<Output> {
    if all {
        let on_off = |on: bool| if on { "on" } else { "off" };
        if let Some(isolation) = modes.isolation {
            session.set("default_transaction_isolation", isolation, false)?;
        }
        if let Some(read_only) = modes.read_only {
            session.set("default_transaction_read_only", on_off(read_only), false)?;
        }
        if let Some(deferrable) = modes.deferrable {
            session.set("default_transaction_deferrable", on_off(deferrable), false)?;
        }
    } else if session.block.is_none() {
        session.warning(
            SqlState::NO_ACTIVE_TRANSACTION,
            "SET TRANSACTION can only be used in transaction blocks",
        );
    } else {
        apply_modes(session, modes)?;
    }
    done("SET")
}

/// Ends the block: settings and cursors go with it.
pub fn end(session: &mut Session, committed: bool) -> Option<Block> {
    let block = session.block.take();
    let mut settings = session.settings.write();
    if committed {
        settings.commit();
    } else {
        settings.rollback();
    }
    drop(settings);
    session.locks.end_transaction();
    session.cursors.end(committed);
    match &block {
        Some(_) if committed => session.temporary.commit(),
        Some(block) => session.temporary.roll_back(&block.temporary),
        None => {}
    }
    block
}

/// What the transaction after this one is to be; `None`: there is none to follow it. Fails with 25P01 outside
/// of a block.
fn chained(session: &Session, chain: Chain, what: &str) -> Result<Option<TransactionModes>> {
    if chain == Chain::No {
        return Ok(None);
    }
    if session.block.as_ref().is_none_or(|block| block.implicit) {
        return Err(outside(&format!("{what} AND CHAIN")));
    }
    let settings = session.settings.read();
    let isolation = settings.get("transaction_isolation").unwrap_or_default();
    Ok(Some(TransactionModes {
        isolation: ISOLATION_LEVELS.iter().find(|level| **level == isolation).copied(),
        read_only: Some(settings.bool("transaction_read_only")),
        deferrable: Some(settings.bool("transaction_deferrable")),
    }))
}

const ISOLATION_LEVELS: [&str; 4] = ["serializable", "repeatable read", "read committed", "read uncommitted"];

fn begin_as(session: &mut Session, modes: Option<&TransactionModes>) -> Result<()> {
    match modes {
        Some(modes) => open(session, Implicit::No).and_then(|()| apply_modes(session, modes)),
        None => Ok(()),
    }
}

pub async fn commit(session: &mut Session, chain: Chain) -> Result<Output> {
    let next = chained(session, chain, "COMMIT")?;
    if session.block.as_ref().is_none_or(|block| block.implicit) {
        session.warning(SqlState::NO_ACTIVE_TRANSACTION, "there is no transaction in progress");
    }
    let Some(block) = &session.block else { return done("COMMIT") };
    if block.failed {
        end(session, false);
        begin_as(session, next.as_ref())?;
        return done("ROLLBACK");
    }
    let committed = session.committing().during(block.tables.commit()).await;
    end(session, committed.is_ok());
    committed?;
    begin_as(session, next.as_ref())?;
    done("COMMIT")
}

pub fn rollback(session: &mut Session, chain: Chain) -> Result<Output> {
    let next = chained(session, chain, "ROLLBACK")?;
    if end(session, false).is_none_or(|block| block.implicit) {
        session.warning(SqlState::NO_ACTIVE_TRANSACTION, "there is no transaction in progress");
    }
    begin_as(session, next.as_ref())?;
    done("ROLLBACK")
}

fn outside(what: &str) -> Error {
    Error::new(SqlState::NO_ACTIVE_TRANSACTION, format!("{what} can only be used in transaction blocks"))
}

fn no_savepoint(name: &str) -> Error {
    Error::new(SqlState::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist"))
}

pub fn savepoint(session: &mut Session, name: &str) -> Result<Output> {
    let block = session.block.as_mut().filter(|block| !block.implicit).ok_or_else(|| outside("SAVEPOINT"))?;
    block.savepoints.push((name.to_string(), block.tables.mark(), session.temporary.save()));
    session.settings.write().savepoint(name);
    done("SAVEPOINT")
}

pub fn release(session: &mut Session, name: &str) -> Result<Output> {
    let block =
        session.block.as_mut().filter(|block| !block.implicit).ok_or_else(|| outside("RELEASE SAVEPOINT"))?;
    let index = block.savepoints.iter().rposition(|(n, ..)| n == name).ok_or_else(|| no_savepoint(name))?;
    block.savepoints.truncate(index);
    session.cursors.released(index);
    session.settings.write().release(name);
    done("RELEASE")
}

pub fn rollback_to(session: &mut Session, name: &str) -> Result<Output> {
    let block = session
        .block
        .as_mut()
        .filter(|block| !block.implicit)
        .ok_or_else(|| outside("ROLLBACK TO SAVEPOINT"))?;
    let index = block.savepoints.iter().rposition(|(n, ..)| n == name).ok_or_else(|| no_savepoint(name))?;
    block.savepoints.truncate(index + 1);
    if let Some((_, mark, temporary)) = block.savepoints.last() {
        block.tables.rollback_to(mark);
        session.temporary.restore(temporary);
    }
    block.failed = false;
    session.cursors.rolled_back_to(index);
    session.settings.write().rollback_to(name);
    done("ROLLBACK")
}
