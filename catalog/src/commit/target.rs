//! What a commit does to the outside world, one method for each step that others can see.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::format::CommitOutcome;
use crate::registry::Table;
use crate::table::{TableChange, TableSnapshot, TableVersion};
use crate::write::delete_files;

/// The table that is committed to.
#[async_trait]
pub trait CommitTarget: Debug + Send + Sync {
    /// Name for messages.
    fn name(&self) -> String;
    /// The version that the change was made against.
    fn read(&self) -> &Arc<TableSnapshot>;
    /// The error of a staged table that somebody else has created meanwhile.
    fn exists(&self) -> Error;
    /// The table's current version. Fails with `Conflict` if there is no such table any more.
    async fn current(&self) -> Result<Arc<TableSnapshot>>;
    /// Files of `current` that were added since the version read, by commits that had read nothing.
    async fn blind_appends(&self, current: &TableSnapshot) -> Result<HashSet<String>>;
    /// One attempt on top of `base`.
    async fn attempt(&self, base: &TableSnapshot, change: &TableChange) -> Result<CommitOutcome>;
    /// The version that the commit with this id made, if it is part of the table.
    async fn find(&self, commit_id: &str) -> Result<Option<TableVersion>>;
    /// Deletes files of a commit that certainly did not happen, as well as it can.
    async fn delete(&self, paths: &[String]);
}

#[derive(Debug)]
pub struct TableTarget<'a> {
    pub table: &'a Table,
}

#[async_trait]
impl CommitTarget for TableTarget<'_> {
    fn name(&self) -> String {
        self.table.ident.to_string()
    }

    fn read(&self) -> &Arc<TableSnapshot> {
        &self.table.snapshot
    }

    fn exists(&self) -> Error {
        Error::TableExists(self.table.ident.clone())
    }

    async fn current(&self) -> Result<Arc<TableSnapshot>> {
        match self.table.catalog.table(&self.table.ident).await? {
            Some(current) => Ok(current.snapshot),
            None => Err(Error::Conflict { table: self.name(), winner: "the table was dropped".into() }),
        }
    }

    async fn blind_appends(&self, current: &TableSnapshot) -> Result<HashSet<String>> {
        let catalog = &self.table.catalog;
        let format = catalog.format(current.format);
        format.blind_appends(catalog.storage(), &self.table.snapshot, current).await
    }

    async fn attempt(&self, base: &TableSnapshot, change: &TableChange) -> Result<CommitOutcome> {
        let catalog = &self.table.catalog;
        let format = catalog.format(base.format);
        let backend = catalog.backend().as_ref();
        format.commit(catalog.storage(), backend, &self.table.ident, base, change).await
    }

    async fn find(&self, commit_id: &str) -> Result<Option<TableVersion>> {
        let catalog = &self.table.catalog;
        let Some(entry) = catalog.backend().table(&self.table.ident).await? else { return Ok(None) };
        catalog.format(entry.format).find_commit(catalog.storage(), &entry, commit_id).await
    }

    async fn delete(&self, paths: &[String]) {
        delete_files(self.table.catalog.storage(), paths).await;
    }
}
