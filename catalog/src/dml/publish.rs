//! What becomes of a statement's change: it is committed, or waits for the COMMIT of its transaction.

use std::fmt::Debug;
use std::sync::Arc;

use crate::commit;
use crate::error::Result;
use crate::registry::Table;
use crate::table::TableChange;
use crate::write::WrittenFiles;

/// Takes the change of a statement that runs in a transaction block.
pub trait Deferred: Debug + Send + Sync {
    /// Called once, when everything is written, and only if the table changes. Whoever takes the change
    /// answers for its files: dropping `written` deletes them.
    fn take(&self, change: TableChange, written: WrittenFiles) -> Result<()>;
}

/// When a statement's change is committed.
#[derive(Debug, Clone, Default)]
pub enum Publish {
    /// At the end of the statement.
    #[default]
    Now,
    /// By somebody else, together with what else the transaction does to the table.
    Later(Arc<dyn Deferred>),
}

impl Publish {
    /// Commits or hands over a change made against `table.snapshot`. Fails as
    /// [`commit::commit_written`] does.
    pub async fn publish(&self, table: &Table, change: TableChange, written: WrittenFiles) -> Result<()> {
        match self {
            Self::Now => commit::commit_written(table, change, written).await.map(|_| ()),
            Self::Later(deferred) => deferred.take(change, written),
        }
    }
}
