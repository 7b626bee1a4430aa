//! Delta tables: the log is read by `delta_kernel` and written by us (docs/adr/0002-delta-log-crate.md).
//!
//! - [`snapshot`]: one version of a table, cached and advanced.
//! - [`files`]: its live files with partition values and statistics, as columns; [`logged`]: their
//!   `add` actions; [`vectors`]: their deletion vectors.
//! - [`history`]: earlier versions.
//! - [`schema`]: Delta's schema and arrow's.
//! - [`properties`]: table properties, protocol versions and table features.
//! - [`stats`], [`partition_value`]: statistics and partition values of files.
//! - [`writable`]: what may be written to a table.
//! - [`change_feed`]: where the rows of the change data feed go.
//! - [`stage`], [`commit`], [`alter`]: new tables and changes; [`touched`], [`commit_info`], [`action`],
//!   [`stats_json`]: what of them we write to the log.
//! - [`checkpoint`]: the kernel's checkpoints, for tables that it would refuse too.
//! - [`diagnosis`]: which file of a broken log is to blame.
//! - [`engine`]: the kernel's I/O over our object stores.

mod action;
mod advance;
mod alter;
mod change_feed;
mod checkpoint;
mod commit;
mod commit_info;
mod diagnosis;
mod engine;
mod files;
mod history;
mod identity;
mod logged;
mod partition_value;
mod properties;
mod replace;
mod schema;
mod snapshot;
mod stage;
mod stats;
mod stats_json;
#[cfg(test)]
mod tests;
mod touched;
mod vectors;
mod writable;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;

use super::{
    CommitOutcome, Format, Prepared, Reference, ReferenceKind, RowLevelMode, Step, VersionInfo, VersionSpec,
};
use crate::TableIdent;
use crate::backend::{Backend, TableEntry};
use crate::error::{Error, Result};
use crate::storage::{Storage, from_url, to_url};
use crate::table::deletes::{NewRowDeletes, RowDeletes};
use crate::table::{
    Alteration, Isolation, Operation, TableChange, TableDefinition, TableSnapshot, TableVersion,
};
use crate::write::WrittenFiles;

/// Directory of the log below a table's root.
const LOG_DIRECTORY: &str = "_delta_log";

/// The part of the program that tells, at the level info, of every file that it reads of a table's log.
pub const TALKATIVE: &str = "delta_kernel";

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
        stage::stage(ident, definition, &root_location(location)?)
    }

    fn stage_replacement(
        &self,
        ident: &TableIdent,
        base: &TableSnapshot,
        definition: &TableDefinition,
    ) -> Result<Arc<TableSnapshot>> {
        replace::staged(ident, base, definition)
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
            Operation::Create => stage::create(storage, backend, ident, base, change).await,
            _ => commit::commit(storage, ident, base, change).await,
        }
    }

    async fn prepare(
        &self,
        storage: &Storage,
        ident: &TableIdent,
        base: &TableSnapshot,
        change: &TableChange,
    ) -> Result<Prepared> {
        match change.operation {
            Operation::Create => stage::prepare(storage, ident, base, change).await,
            _ => Err(Error::unsupported(ident, "a commit together with those of other tables")),
        }
    }

    fn altered(
        &self,
        ident: &TableIdent,
        snapshot: &TableSnapshot,
        alteration: &Alteration,
    ) -> Result<Arc<TableSnapshot>> {
        Ok(Arc::new(snapshot::altered(&ident.to_string(), snapshot, alteration)?))
    }

    async fn write_deletes(
        &self,
        snapshot: &TableSnapshot,
        deletes: Vec<RowDeletes>,
        written: &WrittenFiles,
    ) -> Result<Vec<NewRowDeletes>> {
        vectors::write(snapshot, deletes, written).await
    }

    fn row_level_mode(&self, snapshot: &TableSnapshot, operation: Operation) -> Result<RowLevelMode> {
        writable::row_level_mode(&snapshot.location, &*snapshot::state(snapshot)?, operation)
    }

    fn check_writable(&self, snapshot: &TableSnapshot, operation: Operation) -> Result<()> {
        commit::check(&snapshot.location, snapshot, operation)
    }

    fn change_feed(
        &self,
        snapshot: &TableSnapshot,
        operation: Operation,
    ) -> Result<Option<Arc<TableSnapshot>>> {
        change_feed::table(snapshot, operation)
    }

    fn isolation(&self, snapshot: &TableSnapshot, _operation: Operation) -> Result<Isolation> {
        Ok(writable::isolation(&*snapshot::state(snapshot)?))
    }

    async fn blind_appends(
        &self,
        storage: &Storage,
        read: &TableSnapshot,
        current: &TableSnapshot,
    ) -> Result<HashSet<String>> {
        history::blind_appends(storage, read, current).await
    }

    async fn load_at(
        &self,
        storage: &Storage,
        entry: &TableEntry,
        version: &VersionSpec,
    ) -> Result<Arc<TableSnapshot>> {
        let current = self.load(storage, entry).await?;
        let (number, text) = match version {
            VersionSpec::Id(id) => (u64::try_from(*id).ok(), id.to_string()),
            VersionSpec::Ref(name) => (None, format!("\"{name}\"")),
            VersionSpec::Timestamp(ms) => {
                let text = chrono::DateTime::from_timestamp_millis(*ms);
                let text = text.map_or_else(|| ms.to_string(), |time| time.to_rfc3339());
                (history::version_at(storage, &current, *ms).await?, format!("at or before {text}"))
            }
        };
        let found = match number {
            Some(number) => self.snapshots.load_at(storage, &current, number).await?,
            None => None,
        };
        found.ok_or_else(|| Error::VersionNotFound { table: entry.ident.to_string(), version: text })
    }

    async fn history(&self, storage: &Storage, entry: &TableEntry) -> Result<Vec<VersionInfo>> {
        history::history(storage, &root_location(&entry.pointer)?).await
    }

    async fn last_change(&self, storage: &Storage, snapshot: &TableSnapshot) -> Result<Option<VersionInfo>> {
        history::last_change(storage, snapshot).await
    }

    async fn steps_since(
        &self,
        storage: &Storage,
        earlier: Option<i64>,
        later: &TableSnapshot,
    ) -> Result<Option<Vec<Step>>> {
        history::steps_since(storage, earlier, later).await
    }

    async fn references(&self, storage: &Storage, entry: &TableEntry) -> Result<Vec<Reference>> {
        let snapshot = self.load(storage, entry).await?;
        let TableVersion::Delta { version } = snapshot.version else { return Ok(Vec::new()) };
        Ok(vec![Reference {
            name: "main".to_string(),
            kind: ReferenceKind::Branch,
            version: i64::try_from(version).unwrap_or(i64::MAX),
            max_reference_age_ms: None,
            min_versions_to_keep: None,
            max_version_age_ms: None,
        }])
    }

    async fn find_commit(
        &self,
        storage: &Storage,
        entry: &TableEntry,
        commit_id: &str,
    ) -> Result<Option<TableVersion>> {
        let current = self.load(storage, entry).await?;
        history::find(storage, &current, commit_id).await
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
