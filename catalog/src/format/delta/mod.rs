//! Delta tables: the log is read by `delta_kernel` and written by us (docs/adr/0002-delta-log-crate.md).
//!
//! - [`snapshot`]: one version of a table, cached and advanced.
//! - [`files`]: its live files with partition values and statistics, as columns.
//! - [`schema`]: Delta's schema and arrow's.
//! - [`properties`]: table properties, protocol versions and table features.
//! - [`stats`], [`partition_value`]: statistics and partition values of files.
//! - [`commit`], [`action`], [`stats_json`]: what we write to the log.
//! - [`diagnosis`]: which file of a broken log is to blame.
//! - [`engine`]: the kernel's I/O over our object stores.

mod action;
mod commit;
mod diagnosis;
mod engine;
mod files;
mod partition_value;
mod properties;
mod schema;
mod snapshot;
mod stats;
mod stats_json;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;

use super::{CommitOutcome, Format};
use crate::TableIdent;
use crate::backend::{Backend, TableEntry};
use crate::error::{Error, Result};
use crate::storage::{Storage, from_url, to_url};
use crate::table::{Operation, TableChange, TableDefinition, TableSnapshot, TableVersion};

/// Directory of the log below a table's root.
const LOG_DIRECTORY: &str = "_delta_log";

/// Delta Lake, protocol 1 to 3 (reader) and 1 to 7 (writer).
#[derive(Debug)]
pub struct DeltaFormat {
    snapshots: snapshot::SnapshotCache,
}

impl Default for DeltaFormat {
    fn default() -> Self {
        Self { snapshots: snapshot::SnapshotCache::new() }
    }
}

#[async_trait]
impl Format for DeltaFormat {
    async fn load(&self, storage: &Storage, entry: &TableEntry) -> Result<Arc<TableSnapshot>> {
        self.snapshots.load(storage, &root_location(&entry.pointer)?).await
    }

    fn stage(
        &self,
        ident: &TableIdent,
        definition: &TableDefinition,
        location: &str,
    ) -> Result<Arc<TableSnapshot>> {
        commit::stage(ident, definition, &root_location(location)?)
    }

    async fn commit(
        &self,
        storage: &Storage,
        backend: &dyn Backend,
        ident: &TableIdent,
        base: &TableSnapshot,
        change: &TableChange,
    ) -> Result<CommitOutcome> {
        match change.operation {
            Operation::Create => commit::create(storage, backend, ident, base, change).await,
            _ => commit::append(storage, ident, base, change).await,
        }
    }

    async fn find_commit(
        &self,
        storage: &Storage,
        entry: &TableEntry,
        commit_id: &str,
    ) -> Result<Option<TableVersion>> {
        let current = self.load(storage, entry).await?;
        commit::find(storage, &current, commit_id).await
    }
}

/// Whether `root` is the root of a Delta table: whether its log holds a commit or a checkpoint.
pub async fn is_delta_table(storage: &Storage, root: &str) -> Result<bool> {
    let log = format!("{}/{LOG_DIRECTORY}", root_location(root)?);
    let at = storage.locate(&log)?;
    let mut files = at.store.list(Some(&at.path));
    loop {
        match files.try_next().await {
            Ok(Some(file)) if file.location.filename().is_some_and(is_log_file) => return Ok(true),
            Ok(Some(_)) => {}
            Ok(None) | Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(e) => return Err(Error::storage(log, e)),
        }
    }
}

/// `00000000000000000007.json`, `….checkpoint.parquet`, `….checkpoint.<uuid>.json`, …
fn is_log_file(name: &str) -> bool {
    let Some((version, extension)) = name.split_once('.') else { return false };
    version.len() == 20
        && version.bytes().all(|b| b.is_ascii_digit())
        && (extension == "json" || extension.starts_with("checkpoint"))
}

/// Location of the commit file of `version`.
fn commit_location(root: &str, version: u64) -> String {
    format!("{root}/{LOG_DIRECTORY}/{version:020}.json")
}

/// A table's root in the one form that all our locations have, however it was written.
fn root_location(location: &str) -> Result<String> {
    from_url(&to_url(location)?)
}
