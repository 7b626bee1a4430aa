//! The two log formats behind one trait. `iceberg/` and `delta/` are twins: same file names, same
//! responsibilities. A change that touches both in the same way belongs one level up.

pub mod delta;
pub mod iceberg;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::TableIdent;
use crate::backend::{Backend, TableEntry};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::table::{TableChange, TableDefinition, TableSnapshot, TableVersion};

/// How one attempt to commit ended.
#[derive(Debug)]
pub enum CommitOutcome {
    Committed(TableVersion),
    /// Certainly not committed: the table has moved on since `base` was read (`winner` describes
    /// the commit that won, as far as known).
    Conflict {
        winner: String,
    },
    /// Nobody knows. The table must be read again to find out.
    Unknown(Box<dyn std::error::Error + Send + Sync>),
}

/// A table format: reads snapshots, stages new tables, attempts commits. Holds its own caches.
#[async_trait]
pub trait Format: Debug + Send + Sync {
    /// Reads the table that `entry` points to, at its current version. Cheap when nothing changed.
    async fn load(&self, storage: &Storage, entry: &TableEntry) -> Result<Arc<TableSnapshot>>;

    /// The empty snapshot of a table to be, with all ids given out, so that its first files can be
    /// written before it exists. Version [`TableVersion::Unpublished`].
    fn stage(
        &self,
        ident: &TableIdent,
        definition: &TableDefinition,
        location: &str,
    ) -> Result<Arc<TableSnapshot>>;

    /// One attempt to commit `change` on top of `base` (an unpublished `base` is created).
    /// Errors mean: certainly not committed, and trying again will not help.
    async fn commit(
        &self,
        storage: &Storage,
        backend: &dyn Backend,
        ident: &TableIdent,
        base: &TableSnapshot,
        change: &TableChange,
    ) -> Result<CommitOutcome>;

    /// The version that the commit with this id ([`COMMIT_ID`](crate::table::COMMIT_ID) of its
    /// summary) made, if it is part of the table's history: asked after an unknown outcome, so the
    /// last few dozen commits are far enough.
    async fn find_commit(
        &self,
        _storage: &Storage,
        entry: &TableEntry,
        _commit_id: &str,
    ) -> Result<Option<TableVersion>> {
        Err(Error::unsupported(&entry.ident, "looking up a commit"))
    }
}
