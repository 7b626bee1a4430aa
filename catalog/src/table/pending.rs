//! What a transaction has written into a table and not committed yet: one change, made up of those of
//! its statements, and the table as the next statement sees it.
//!
//! Files are written as each statement runs; only the change waits, so that memory does not grow with
//! the rows. Invariants: the change is one against the version that the transaction began with (all
//! files that it removes or marks are files of that version), so that it is committed like any other;
//! files that are not committed are never marked, only removed, and then were never there.
//!
//! Nothing of it outlives a transaction that does not commit: dropping the last clone deletes the files.

mod compose;
mod files;
mod lists;
mod reads;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::files::PendingFiles;
use super::change::{Operation, TableChange};
use super::identity;
use super::schema::TableSchema;
use super::snapshot::{TableSnapshot, TableVersion};
use crate::commit;
use crate::error::Result;
use crate::registry::Table;
use crate::storage::Storage;
use crate::write::WrittenFiles;

/// The changes of a transaction's statements to one table, as one change. Clones share the files.
#[derive(Debug, Clone)]
pub struct PendingChange {
    base: Arc<TableSnapshot>,
    /// The same with what the transaction has altered.
    altered: Arc<TableSnapshot>,
    change: TableChange,
    /// Files of all statements that the change is made of.
    guards: Vec<WrittenFiles>,
    /// Files that a statement wrote and a later one made superfluous. They stay until the end of the
    /// transaction: an open cursor may still read them.
    obsolete: BTreeSet<String>,
}

impl PendingChange {
    /// The change of a first statement, made against `base`.
    pub fn new(base: Arc<TableSnapshot>, mut change: TableChange, guard: WrittenFiles) -> Self {
        if base.version == TableVersion::Unpublished {
            // Whatever is done to it, the table has yet to be made.
            change.operation = Operation::Create;
        }
        Self { altered: base.clone(), base, change, guards: vec![guard], obsolete: BTreeSet::new() }
    }

    /// The version that the transaction began with.
    pub fn base(&self) -> &Arc<TableSnapshot> {
        &self.base
    }

    /// The version that the transaction began with, as it has altered it.
    pub fn altered(&self) -> &Arc<TableSnapshot> {
        &self.altered
    }

    /// The change as COMMIT will commit it.
    pub fn change(&self) -> &TableChange {
        &self.change
    }

    /// Files that were written and are of no use any more.
    pub fn obsolete(&self) -> impl Iterator<Item = &str> {
        self.obsolete.iter().map(String::as_str)
    }

    /// Adds the change of a next statement, which was made against [`Self::snapshot`].
    ///
    /// Fails with `Internal`, and leaves everything as it was, if the change is not one that can be
    /// made there: it marks a file that is not committed.
    pub fn compose(&mut self, next: TableChange, guard: WrittenFiles) -> Result<()> {
        let before: BTreeSet<String> = self.change.written_paths().into_iter().collect();
        let new: BTreeSet<String> = next.written_paths().into_iter().collect();
        self.change = compose::compose(&self.change, next)?;
        let after: BTreeSet<String> = self.change.written_paths().into_iter().collect();
        self.obsolete.extend(before.union(&new).filter(|path| !after.contains(*path)).cloned());
        self.obsolete.remove("");
        self.guards.push(guard);
        Ok(())
    }

    /// Adds an alteration, which makes `altered` of [`Self::altered`]. Fails as [`Self::compose`] does.
    pub fn alter(&mut self, change: TableChange, altered: Arc<TableSnapshot>) -> Result<()> {
        if self.base.version == TableVersion::Unpublished {
            // Made as it is now.
            self.base = altered.clone();
        } else {
            self.change = compose::compose(&self.change, change)?;
        }
        self.altered = altered;
        Ok(())
    }

    /// The columns, with the marks that the change leaves.
    fn schema(&self) -> Arc<TableSchema> {
        let schema = &self.altered.schema;
        if schema.identity.is_empty() {
            return schema.clone();
        }
        let mut columns = identity::altered(&schema.identity, &self.change.alterations);
        // What files do not tell fails the commit.
        columns.extend(identity::raised(&columns, &self.change.added).unwrap_or_default());
        Arc::new(TableSchema { identity: columns, ..schema.as_ref().clone() })
    }

    /// The table with the change made. Its version is [`TableVersion::Unpublished`].
    pub fn snapshot(&self) -> Arc<TableSnapshot> {
        let base = &self.altered;
        Arc::new(TableSnapshot {
            format: base.format,
            format_version: base.format_version.clone(),
            location: base.location.clone(),
            table_id: base.table_id.clone(),
            version: TableVersion::Unpublished,
            schema: self.schema(),
            partition_specs: base.partition_specs.clone(),
            default_spec: base.default_spec.clone(),
            sort_order: base.sort_order.clone(),
            properties: base.properties.clone(),
            constraints: base.constraints.clone(),
            comment: base.comment.clone(),
            row_lineage: base.row_lineage.clone(),
            timestamp_ms: base.timestamp_ms,
            files: Arc::new(PendingFiles::new(&self.base, &self.change)),
            state: base.state.clone(),
        })
    }

    /// Commits the change to `table`, in one commit. A staged table is created even if nothing is left
    /// to be added to it. Goes on to the end even if the caller stops waiting. Returns the files that
    /// became superfluous, which are deleted when that is dropped.
    ///
    /// Fails as [`commit::commit`] does, and then deletes what that deletes.
    pub async fn commit(self, table: &Table) -> Result<WrittenFiles> {
        let storage = table.catalog.storage();
        let Parts { base, change, guards, superfluous } = self.into_parts(storage);
        if change.is_empty() && change.operation != Operation::Create {
            return Ok(superfluous);
        }
        guards.iter().for_each(WrittenFiles::keep);
        let table = Table { snapshot: base, ..table.clone() };
        commit::commit_written(&table, change, WrittenFiles::new(storage.clone()), None).await?;
        Ok(superfluous)
    }

    pub(crate) fn into_parts(self, storage: &Storage) -> Parts {
        let superfluous = WrittenFiles::new(storage.clone());
        self.obsolete.into_iter().for_each(|path| superfluous.add(path));
        Parts { base: self.base, change: self.change, guards: self.guards, superfluous }
    }
}

/// What is to be committed.
#[derive(Debug)]
pub(crate) struct Parts {
    pub base: Arc<TableSnapshot>,
    pub change: TableChange,
    /// Of all files that were written.
    pub guards: Vec<WrittenFiles>,
    /// Of those that are of no use: deleted when this is dropped.
    pub superfluous: WrittenFiles,
}

#[cfg(test)]
mod tests;
