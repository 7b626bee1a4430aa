//! From a change to a committed version: per-table queue, attempts, rebase, and finding out what
//! became of an unknown outcome.
//!
//! Invariants: a change is attempted only on a version that it was checked against
//! ([`conflict`]); after an unknown outcome nothing is attempted again and nothing is deleted; the
//! change's files are deleted only when the commit certainly did not happen; a statement that is
//! cancelled while it commits does not interrupt the commit.

pub mod conflict;
mod queue;
mod retry;
pub(crate) mod several;
mod target;

use std::collections::HashSet;
use std::time::Duration;

use self::conflict::Rebase;
pub use self::queue::{Turn, turn};
use self::retry::RetryLimits;
use self::target::{CommitTarget, TableTarget};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::format::CommitOutcome;
use crate::registry::Table;
use crate::table::{Isolation, Operation, TableChange, TableFormat, TableVersion};
use crate::write::WrittenFiles;

/// How often an unknown outcome is looked up, and how long the first pause is (it doubles).
const LOOK_UPS: u32 = 5;
const LOOK_UP_PAUSE: Duration = Duration::from_millis(200);

/// Commits `change`, which was made against `table.snapshot`. The files it adds are deleted if it
/// certainly fails.
///
/// Fails with `Conflict` (another commit won and the change does not fit on top of it, or the
/// retries ran out), `TableExists` (of a staged table), `CommitUnknown`, and whatever the format's
/// commit fails with.
pub async fn commit(table: &Table, change: TableChange) -> Result<TableVersion> {
    let turn = turn(table).await;
    commit_in_turn(table, change, turn).await
}

/// [`commit`] of somebody who has the table's turn already.
async fn commit_in_turn(table: &Table, change: TableChange, _turn: Turn) -> Result<TableVersion> {
    let outcome = run(&TableTarget { table }, &change).await;
    if matches!(outcome, Ok(_) | Err(Error::CommitUnknown { .. })) {
        tell_of_alteration(table, &change).await;
    }
    if matches!(change.operation, Operation::Create | Operation::Replace) {
        table.catalog.contents_changed();
    }
    table.catalog.committed();
    outcome
}

/// A Delta table is altered in its own log, of which the catalog's database knows nothing: other servers,
/// whose caches go by the changes of the database, have to be told.
async fn tell_of_alteration(table: &Table, change: &TableChange) {
    let alters = !change.alterations.is_empty() || change.replacement.is_some();
    if table.snapshot.format == TableFormat::Delta
        && alters
        && let Err(error) = table.catalog.backend().count_change().await
    {
        // It was altered all the same, and others see it a moment later.
        tracing::warn!(table = %table.ident, %error, "other servers were not told that a table was altered");
    }
}

/// [`commit`] of files just written, going on to the end even if the caller stops waiting. `turn`: of the
/// table, if the caller has it.
pub async fn commit_written(
    table: &Table,
    change: TableChange,
    written: WrittenFiles,
    turn: Option<Turn>,
) -> Result<TableVersion> {
    // From here on only the commit knows whether the files are part of the table.
    written.keep();
    let name = table.ident.to_string();
    let table = table.clone();
    let committing = tokio::spawn(async move {
        match turn {
            Some(turn) => commit_in_turn(&table, change, turn).await,
            None => commit(&table, change).await,
        }
    });
    match committing.await {
        Ok(outcome) => outcome,
        Err(source) => Err(Error::CommitUnknown { table: name, source: Box::new(source) }),
    }
}

async fn run(target: &dyn CommitTarget, change: &TableChange) -> Result<TableVersion> {
    let outcome = attempts(target, change).await;
    if outcome.is_ok() {
        // Too late to fail: tests only stop here.
        let _ = failpoint::pass("commit::after-attempt");
    }
    match &outcome {
        Ok(_) | Err(Error::CommitUnknown { .. }) => {}
        Err(_) => {
            failpoint::pass("commit::before-cleanup")?;
            target.delete(&change.written_paths()).await;
        }
    }
    outcome
}

async fn attempts(target: &dyn CommitTarget, change: &TableChange) -> Result<TableVersion> {
    let read = target.read();
    let limits = RetryLimits::of(&read.properties)?;
    let mut waits = limits.waits();
    // Whoever committed since the statement began would only make the first attempt fail.
    let mut base = match change.operation {
        Operation::Create => read.clone(),
        _ => target.current().await?,
    };
    loop {
        let blind = match change.isolation {
            Isolation::WriteSerializable => target.blind_appends(&base).await?,
            Isolation::Serializable | Isolation::Snapshot => HashSet::new(),
        };
        if let Rebase::Conflict(reason) = conflict::rebase(read, &base, change, &blind).await? {
            return Err(Error::Conflict { table: target.name(), winner: reason });
        }
        if change.once
            && let Some(id) = change.commit_id()
            && target.find(id).await?.is_some()
        {
            return Err(Error::AlreadyCommitted { table: target.name(), id: id.to_string() });
        }
        failpoint::pass("commit::before-attempt")?;
        let winner = match target.attempt(&base, change).await? {
            CommitOutcome::Committed(version) => return Ok(version),
            CommitOutcome::Unknown(source) => return look_up(target, change, source).await,
            CommitOutcome::Conflict { winner } => winner,
        };
        if change.operation == Operation::Create {
            return Err(target.exists());
        }
        let Some(wait) = waits.next() else {
            return Err(Error::Conflict { table: target.name(), winner });
        };
        tracing::debug!(table = target.name(), winner, ?wait, "commit conflict, trying again");
        tokio::time::sleep(wait).await;
        base = target.current().await?;
    }
}

/// Looks for the commit in the table. What is not found may still be on its way, so that only a
/// find is an answer.
async fn look_up(
    target: &dyn CommitTarget,
    change: &TableChange,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> Result<TableVersion> {
    let Some(id) = change.commit_id() else {
        return Err(Error::CommitUnknown { table: target.name(), source });
    };
    let mut pause = LOOK_UP_PAUSE;
    for look_up in 0..LOOK_UPS {
        if look_up > 0 {
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        match target.find(id).await {
            Ok(Some(version)) => return Ok(version),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(table = target.name(), %error, "could not look up an unknown commit");
                if matches!(error, Error::Unsupported { .. }) {
                    break;
                }
            }
        }
    }
    Err(Error::CommitUnknown { table: target.name(), source })
}

#[cfg(test)]
mod tests;
