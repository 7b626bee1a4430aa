//! What becomes of a statement's change: it is committed, or waits for the COMMIT of its transaction.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::commit::{self, Turn};
use crate::error::Result;
use crate::registry::Table;
use crate::table::{COMMIT_ID, TableChange};
use crate::write::WrittenFiles;

/// Takes the change of a statement that runs in a transaction block.
pub trait Deferred: Debug + Send + Sync {
    /// Called once, when everything is written, and only if the table changes. Whoever takes the change
    /// answers for its files: dropping `written` deletes them.
    fn take(&self, change: TableChange, written: WrittenFiles) -> Result<()>;
}

/// What the commit of a run says of it, beside what every commit says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The commit's id: a second commit with it is refused.
    pub id: String,
    /// Entries of the summary.
    pub summary: BTreeMap<String, String>,
}

/// When a statement's change is committed.
#[derive(Debug, Clone, Default)]
pub enum Publish {
    /// At the end of the statement.
    #[default]
    Now,
    /// At the end of the statement, once for all runs of the same id.
    Once(Arc<Stamp>),
    /// At the end of the statement, which has had the table's turn from its beginning.
    InTurn(Turn),
    /// By somebody else, together with what else the transaction does to the table.
    Later(Arc<dyn Deferred>),
}

impl Publish {
    /// Commits or hands over a change made against `table.snapshot`. Fails as
    /// [`commit::commit_written`] does, and with `AlreadyCommitted`.
    pub async fn publish(&self, table: &Table, change: TableChange, written: WrittenFiles) -> Result<()> {
        match self {
            Self::Now => commit::commit_written(table, change, written, None).await.map(|_| ()),
            Self::InTurn(turn) => {
                let turn = turn.is_of(table).then(|| turn.clone());
                commit::commit_written(table, change, written, turn).await.map(|_| ())
            }
            Self::Once(stamp) => {
                let mut change = change;
                change.once = true;
                change.summary.insert(COMMIT_ID.to_string(), stamp.id.clone());
                change.summary.extend(stamp.summary.clone());
                commit::commit_written(table, change, written, None).await.map(|_| ())
            }
            Self::Later(deferred) => deferred.take(change, written),
        }
    }
}
