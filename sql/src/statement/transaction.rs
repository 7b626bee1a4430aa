//! BEGIN, COMMIT, ROLLBACK, savepoints, SET TRANSACTION.

use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::table::{Alteration, Comment};

use super::{CommandTag, Output};
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::TransactionModes;
use crate::session::transaction::{TransactionTables, Work};
use crate::session::{Block, Session};

fn done(tag: &'static str) -> Result<Output> {
    Ok(Output::Complete(CommandTag::Plain(tag)))
}

pub fn begin(session: &mut Session, start: bool, modes: &TransactionModes) -> Result<Output> {
    let tag = if start { "START TRANSACTION" } else { "BEGIN" };
    if session.block.is_some() {
        session.warning(SqlState::ACTIVE_TRANSACTION, "there is already a transaction in progress");
        apply_modes(session, modes)?;
        return done(tag);
    }
    session.temporary.commit();
    session.settings.write().begin();
    session.block = Some(Block {
        start: session.engine.clock.now(),
        tables: Arc::new(TransactionTables::of_block()),
        savepoints: Vec::new(),
        temporary: session.temporary.save(),
        failed: false,
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
    apply_modes(session, modes)?;
    done(tag)
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
fn end(session: &mut Session, committed: bool) -> Option<Block> {
    let block = session.block.take();
    let mut settings = session.settings.write();
    if committed {
        settings.commit();
    } else {
        settings.rollback();
    }
    drop(settings);
    session.cursors.end(committed);
    match &block {
        Some(_) if committed => session.temporary.commit(),
        Some(block) => session.temporary.roll_back(&block.temporary),
        None => {}
    }
    block
}

pub async fn commit(session: &mut Session) -> Result<Output> {
    let Some(block) = &session.block else {
        session.warning(SqlState::NO_ACTIVE_TRANSACTION, "there is no transaction in progress");
        return done("COMMIT");
    };
    if block.failed {
        end(session, false);
        return done("ROLLBACK");
    }
    if let Some(work) = block.tables.take_work() {
        let published = publish(&block.tables, work).await;
        if let Err(e) = published {
            end(session, false);
            return Err(e);
        }
    }
    let comments = block.tables.take_comments();
    end(session, true);
    for ((catalog, ident), comments) in comments {
        if let Err(e) = comment(session, &catalog, &ident, comments).await {
            // The rest has happened.
            session.warning(e.code, format!("the comments on {ident} were not made: {}", e.message));
        }
    }
    done("COMMIT")
}

async fn comment(session: &Session, catalog: &str, ident: &TableIdent, comments: Vec<Comment>) -> Result<()> {
    // A table that the transaction has dropped after all needs none.
    if let Some(table) = session.engine.registry.catalog(catalog)?.table(ident).await? {
        table.alter(Alteration::Comments(comments)).await?;
    }
    Ok(())
}

/// Commits what the transaction changed, in one commit of its table.
async fn publish(tables: &TransactionTables, work: Work) -> Result<()> {
    let Work { table, created, dropped, pending } = work;
    match pending {
        _ if dropped => table.catalog.drop_table(&table.ident).await?,
        Some(pending) => tables.keep(Arc::unwrap_or_clone(pending).commit(&table).await?),
        None if created => table.catalog.create_staged(&table).await?,
        None => {}
    }
    Ok(())
}

pub fn rollback(session: &mut Session) -> Result<Output> {
    if end(session, false).is_none() {
        session.warning(SqlState::NO_ACTIVE_TRANSACTION, "there is no transaction in progress");
    }
    done("ROLLBACK")
}

fn outside(what: &str) -> Error {
    Error::new(SqlState::NO_ACTIVE_TRANSACTION, format!("{what} can only be used in transaction blocks"))
}

fn no_savepoint(name: &str) -> Error {
    Error::new(SqlState::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist"))
}

pub fn savepoint(session: &mut Session, name: &str) -> Result<Output> {
    let block = session.block.as_mut().ok_or_else(|| outside("SAVEPOINT"))?;
    block.savepoints.push((name.to_string(), block.tables.mark(), session.temporary.save()));
    session.settings.write().savepoint(name);
    done("SAVEPOINT")
}

pub fn release(session: &mut Session, name: &str) -> Result<Output> {
    let block = session.block.as_mut().ok_or_else(|| outside("RELEASE SAVEPOINT"))?;
    let index = block.savepoints.iter().rposition(|(n, ..)| n == name).ok_or_else(|| no_savepoint(name))?;
    block.savepoints.truncate(index);
    session.cursors.released(index);
    session.settings.write().release(name);
    done("RELEASE")
}

pub fn rollback_to(session: &mut Session, name: &str) -> Result<Output> {
    let block = session.block.as_mut().ok_or_else(|| outside("ROLLBACK TO SAVEPOINT"))?;
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
