//! Iceberg tables, format versions 1 to 3 (<https://iceberg.apache.org/spec/>).
//!
//! The `iceberg` crate is our library for metadata only: its types of the specification, its reader
//! and writer of manifests, its builder of table metadata. Reading files, caching, pruning, commits
//! and their outcome are ours. No arrow value of the crate, which has an arrow of its own, crosses
//! into this one.
//!
//! | file | turns | into |
//! |---|---|---|
//! | `metadata_file`, `features` | a metadata file | `TableMetadata`, or the name of what we cannot read |
//! | `snapshot`, `schema`, `partition` | `TableMetadata` | the neutral snapshot |
//! | `manifests`, `data_manifest`, `delete_manifest` | manifests | columns of statistics, an index of deletes |
//! | `stage` | a table definition | the metadata of a new table |
//! | `row_deletes`, `puffin` | deleted positions | deletion vectors or position delete files |
//! | `metrics`, `summary`, `snapshot_producer`, `new_manifest`, `manifest_filter`, `superseded`, `manifest_merge`, `commit` | a change | a committed version |
//! | `avro`, `copied_entries` | entries of a manifest that stay | those of a new one |
//! | `manifest_header`, `unknown_transforms`, `uuid_partitions` | what the crate would not take of a manifest | what it takes |
//! | `view` | a view | its metadata file, and back |
//! | `history` | a snapshot id, branch, tag or time | an earlier version |
//!
//! **Invariant:** whatever is read from a file is checked before it is believed; a file that breaks
//! the specification gives an error that names it, never a panic and never a wrong row.

mod alter;
mod avro;
mod cache;
mod commit;
mod copied_entries;
mod data_manifest;
mod delete_manifest;
mod features;
mod history;
mod identity;
mod literal;
mod manifest_filter;
mod manifest_header;
mod manifest_merge;
mod manifests;
mod metadata_file;
mod metrics;
mod new_manifest;
mod partition;
mod properties;
mod puffin;
mod replace;
mod row_deletes;
mod schema;
mod snapshot;
mod snapshot_producer;
mod stage;
mod summary;
mod superseded;
#[cfg(test)]
mod tests;
mod unknown_transforms;
mod uuid_partitions;
pub mod view;

use std::sync::Arc;

use async_trait::async_trait;

use self::cache::{Caches, METADATA_FACTOR, parse_aside};
use self::snapshot::View;
use super::{CommitOutcome, Format, Prepared, Reference, RowLevelMode, Step, VersionInfo, VersionSpec};
use crate::TableIdent;
use crate::backend::{Backend, TableEntry};
use crate::error::Result;
use crate::storage::Storage;
use crate::table::deletes::{NewRowDeletes, RowDeletes};
use crate::table::{
    Alteration, Isolation, Operation, TableChange, TableDefinition, TableSnapshot, TableVersion,
};
use crate::write::WrittenFiles;

pub use self::snapshot::metadata;

/// The Iceberg format with its caches.
#[derive(Debug, Default)]
pub struct IcebergFormat {
    caches: Arc<Caches>,
}

/// The current metadata file of the Iceberg table whose root folder is `root`, by the names of the
/// files under `root/metadata`. `None`: there is no Iceberg table.
pub async fn find_metadata(storage: &Storage, root: &str) -> Result<Option<String>> {
    metadata_file::find(storage, root).await
}

#[async_trait]
impl Format for IcebergFormat {
    async fn load(&self, storage: &Storage, entry: &TableEntry) -> Result<Arc<TableSnapshot>> {
        let location = entry.pointer.as_str();
        let read = async {
            let bytes = storage.read(location).await?;
            let size = bytes.len();
            let owned = location.to_string();
            let metadata = parse_aside(location, move || metadata_file::parse(&owned, &bytes)).await?;
            let view = View::current(&metadata);
            let published = Some((storage, location));
            let snapshot = snapshot::table_snapshot(Arc::new(metadata), view, published, &self.caches)?;
            Ok((Arc::new(snapshot), size.saturating_mul(METADATA_FACTOR)))
        };
        storage.memory().get_or_read(self.caches.table(location), read).await
    }

    fn stage(
        &self,
        ident: &TableIdent,
        definition: &TableDefinition,
        location: &str,
    ) -> Result<Arc<TableSnapshot>> {
        let metadata = stage::new_metadata(ident, definition, location)?;
        let view = View::current(&metadata);
        Ok(Arc::new(snapshot::table_snapshot(Arc::new(metadata), view, None, &self.caches)?))
    }

    fn stage_replacement(
        &self,
        ident: &TableIdent,
        base: &TableSnapshot,
        definition: &TableDefinition,
    ) -> Result<Arc<TableSnapshot>> {
        let metadata = replace::staged(ident, metadata(base)?, definition)?;
        let view = View::current(&metadata);
        Ok(Arc::new(snapshot::table_snapshot(Arc::new(metadata), view, None, &self.caches)?))
    }

    async fn commit(
        &self,
        storage: &Storage,
        backend: &dyn Backend,
        ident: &TableIdent,
        base: &TableSnapshot,
        change: &TableChange,
    ) -> Result<CommitOutcome> {
        let writer = commit::Writer { storage, caches: &self.caches, ident };
        commit::Commit { writer, backend }.attempt(base, change).await
    }

    async fn prepare(
        &self,
        storage: &Storage,
        ident: &TableIdent,
        base: &TableSnapshot,
        change: &TableChange,
    ) -> Result<Prepared> {
        commit::Writer { storage, caches: &self.caches, ident }.prepare(base, change).await
    }

    fn altered(
        &self,
        ident: &TableIdent,
        snapshot: &TableSnapshot,
        alteration: &Alteration,
    ) -> Result<Arc<TableSnapshot>> {
        let before = snapshot::state(snapshot)?;
        let metadata = Arc::new(alter::metadata(&ident.to_string(), before, alteration)?);
        let shown = snapshot::table_snapshot(metadata.clone(), View::current(&metadata), None, &self.caches)?;
        let metadata_location = before.metadata_location.clone();
        Ok(Arc::new(TableSnapshot {
            files: snapshot.files.clone(),
            timestamp_ms: snapshot.timestamp_ms,
            state: Arc::new(snapshot::IcebergState { metadata, metadata_location }),
            ..shown
        }))
    }

    async fn write_deletes(
        &self,
        snapshot: &TableSnapshot,
        deletes: Vec<RowDeletes>,
        written: &WrittenFiles,
    ) -> Result<Vec<NewRowDeletes>> {
        row_deletes::write(snapshot, deletes, written).await
    }

    fn row_level_mode(&self, snapshot: &TableSnapshot, operation: Operation) -> Result<RowLevelMode> {
        let version = metadata(snapshot)?.format_version();
        properties::row_level_mode(version, &snapshot.properties, operation)
    }

    fn check_writable(&self, snapshot: &TableSnapshot, operation: Operation) -> Result<()> {
        unknown_transforms::check_writable(metadata(snapshot)?)?;
        match operation {
            // Files only go, and their partitions are checked by the commit.
            Operation::Delete | Operation::Truncate | Operation::Alter | Operation::Replace => Ok(()),
            Operation::Create
            | Operation::Append
            | Operation::Overwrite
            | Operation::Update
            | Operation::Merge => commit::check_default_spec(metadata(snapshot)?),
        }
    }

    fn isolation(&self, snapshot: &TableSnapshot, operation: Operation) -> Result<Isolation> {
        properties::isolation(&snapshot.properties, operation)
    }

    async fn load_at(
        &self,
        storage: &Storage,
        entry: &TableEntry,
        version: &VersionSpec,
    ) -> Result<Arc<TableSnapshot>> {
        let metadata = metadata(self.load(storage, entry).await?.as_ref())?.clone();
        let view = history::view(&entry.ident, &metadata, version)?;
        let published = Some((storage, entry.pointer.as_str()));
        Ok(Arc::new(snapshot::table_snapshot(metadata, view, published, &self.caches)?))
    }

    async fn history(&self, storage: &Storage, entry: &TableEntry) -> Result<Vec<VersionInfo>> {
        Ok(history::versions(metadata(self.load(storage, entry).await?.as_ref())?))
    }

    async fn last_change(&self, _storage: &Storage, snapshot: &TableSnapshot) -> Result<Option<VersionInfo>> {
        Ok(history::last_change(metadata(snapshot)?))
    }

    async fn steps_since(
        &self,
        _storage: &Storage,
        earlier: Option<i64>,
        later: &TableSnapshot,
    ) -> Result<Option<Vec<Step>>> {
        Ok(history::steps_since(metadata(later)?, earlier, &later.version))
    }

    async fn references(&self, storage: &Storage, entry: &TableEntry) -> Result<Vec<Reference>> {
        history::references(metadata(self.load(storage, entry).await?.as_ref())?)
    }

    async fn find_commit(
        &self,
        storage: &Storage,
        entry: &TableEntry,
        commit_id: &str,
    ) -> Result<Option<TableVersion>> {
        commit::find(self.load(storage, entry).await?.as_ref(), commit_id)
    }
}
