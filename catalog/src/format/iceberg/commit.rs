//! One attempt to commit a change: new manifests, new metadata file, one atomic step in the catalog.
//!
//! Until that step nothing refers to what was written, so every failure before it is certain and
//! cleans up after itself. An unknown outcome of the step leaves all files where they are.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use iceberg::spec::{FormatVersion, MAIN_BRANCH, Operation as IcebergOperation, TableMetadata};
use uuid::Uuid;

use super::cache::{Caches, METADATA_FACTOR};
use super::metadata_file;
use super::metrics::{EntryBuilder, delete_entry};
use super::partition::{BoundSpec, bind_specs, check_writable};
use super::properties::{deletes_old_metadata, metadata_folder, metadata_gzip};
use super::snapshot::{IcebergState, View, metadata, state, table_snapshot};
use super::snapshot_producer::{FileChanges, SnapshotProducer};
use super::unknown_transforms;
use super::{alter, identity, replace};
use crate::TableIdent;
use crate::backend::{Backend, NewTableEntry, SwapOutcome};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::format::{CommitOutcome, Prepared};
use crate::storage::Storage;
use crate::table::deletes::StoredDeletes;
use crate::table::identity::raised;
use crate::table::{COMMIT_ID, Operation, TableChange, TableFormat, TableSnapshot, TableVersion};

/// Where an attempt works.
pub struct Commit<'a> {
    pub writer: Writer<'a>,
    pub backend: &'a dyn Backend,
}

/// What writes a new version of a table.
pub struct Writer<'a> {
    pub storage: &'a Storage,
    pub caches: &'a Arc<Caches>,
    pub ident: &'a TableIdent,
}

/// A new version of a table, written but not yet published.
struct NewVersion {
    metadata: TableMetadata,
    location: String,
    metadata_bytes: usize,
    /// Metadata files that fell out of the log.
    expired: Vec<String>,
}

impl Commit<'_> {
    /// See [`Format::commit`](crate::format::Format::commit).
    pub async fn attempt(&self, base: &TableSnapshot, change: &TableChange) -> Result<CommitOutcome> {
        let base_state = state(base)?;
        let staged = base_state.metadata_location.is_none();
        if !staged && change.is_empty() {
            return Ok(CommitOutcome::Committed(base.version.clone()));
        }
        let previous = base_state.metadata_location.as_deref();
        let writer = &self.writer;
        let (prepared, written) = writer.write(base_state, change).await?;
        if let Err(e) = failpoint::pass("iceberg::before-swap") {
            writer.remove(&written).await;
            return Err(e);
        }
        let published = match previous {
            None => self.create(&prepared).await,
            Some(previous) => self.swap(previous, &prepared).await,
        };
        match &published {
            Ok(CommitOutcome::Committed(_)) => writer.settle(prepared).await,
            Ok(CommitOutcome::Conflict { .. }) | Err(_) => writer.remove(&written).await,
            Ok(CommitOutcome::Unknown(_)) => {}
        }
        published
    }

    async fn create(&self, prepared: &NewVersion) -> Result<CommitOutcome> {
        let entry = NewTableEntry {
            ident: self.writer.ident.clone(),
            format: TableFormat::Iceberg,
            pointer: prepared.location.clone(),
            external: false,
        };
        match self.backend.create_table(&entry).await {
            Ok(()) => Ok(CommitOutcome::Committed(prepared.version())),
            Err(e) => unless_certain(e),
        }
    }

    async fn swap(&self, previous: &str, prepared: &NewVersion) -> Result<CommitOutcome> {
        match self.backend.swap_pointer(self.writer.ident, previous, &prepared.location).await {
            Ok(SwapOutcome::Swapped) => Ok(CommitOutcome::Committed(prepared.version())),
            Ok(SwapOutcome::Moved) => Ok(CommitOutcome::Conflict { winner: self.describe_winner().await }),
            Ok(SwapOutcome::Unknown(source)) => Ok(CommitOutcome::Unknown(source)),
            Err(e) => unless_certain(e),
        }
    }

    /// The commit that made ours impossible, as far as the table says.
    async fn describe_winner(&self) -> String {
        match self.read_winner().await {
            Ok(Some(description)) => description,
            Ok(None) => "the table was dropped".to_string(),
            Err(_) => "the table was changed".to_string(),
        }
    }

    async fn read_winner(&self) -> Result<Option<String>> {
        let Some(entry) = self.backend.table(self.writer.ident).await? else { return Ok(None) };
        let bytes = self.writer.storage.read(&entry.pointer).await?;
        let metadata = metadata_file::parse(&entry.pointer, &bytes)?;
        let Some(snapshot) = metadata.current_snapshot() else {
            return Ok(Some("the table's metadata was changed".to_string()));
        };
        let summary = snapshot.summary();
        let operation = summary.operation.as_str();
        let engine = summary.additional_properties.get("engine-name");
        let by = engine.map(|name| format!(" by {name}")).unwrap_or_default();
        Ok(Some(format!("{operation}{by}, snapshot {}", snapshot.snapshot_id())))
    }
}

impl Writer<'_> {
    /// See [`Format::prepare`](crate::format::Format::prepare).
    pub async fn prepare(&self, base: &TableSnapshot, change: &TableChange) -> Result<Prepared> {
        let base = state(base)?;
        let (NewVersion { location, expired, .. }, written) = self.write(base, change).await?;
        Ok(Prepared { pointer: location, previous: base.metadata_location.clone(), written, expired })
    }

    /// Writes the next version, and removes what it wrote if it fails.
    async fn write(&self, base: &IcebergState, change: &TableChange) -> Result<(NewVersion, Vec<String>)> {
        let mut written = Vec::new();
        let previous = base.metadata_location.as_deref();
        match self.next_version(&base.metadata, previous, change, &mut written).await {
            Ok(next) => Ok((next, written)),
            Err(e) => {
                self.remove(&written).await;
                Err(e)
            }
        }
    }

    async fn next_version(
        &self,
        base: &TableMetadata,
        previous: Option<&str>,
        change: &TableChange,
        written: &mut Vec<String>,
    ) -> Result<NewVersion> {
        failpoint::pass("iceberg::before-manifests")?;
        unknown_transforms::check_writable(base)?;
        let gzip = metadata_gzip(base.properties())?;
        let replaced = match &change.replacement {
            Some(staged) => Some(replace::onto(self.ident, base, metadata(staged)?)?),
            None => None,
        };
        let base = replaced.as_ref().unwrap_or(base);
        // Its snapshot is one of the altered table: rows may be in columns that are new.
        let altered = match change.alterations.as_slice() {
            [] => None,
            alterations => {
                let builder = base.clone().into_builder(None);
                let builder = alter::altered(&self.ident.to_string(), base, builder, alterations)?;
                Some(builder.build().map_err(rejected)?.metadata)
            }
        };
        let base = altered.as_ref().unwrap_or(base);
        let mut builder = base.clone().into_builder(previous.map(str::to_string));
        let marks = identity::of_table(base)?;
        let raised = raised(&marks, &change.added)?;
        if !raised.is_empty() {
            builder = builder.set_properties(identity::stored(&raised)).map_err(rejected)?;
        }
        // CREATE TABLE without rows has no snapshot, nor has an alteration; what carries a summary has one.
        let tells = change.summary.keys().any(|key| key != COMMIT_ID);
        let only_alters = !change.alterations.is_empty() || change.replacement.is_some();
        let changes_rows = previous.is_some() && (!only_alters || change.changes_rows());
        if changes_rows || tells || !change.added.is_empty() {
            let specs = bind_specs(base)?.into_iter().map(|bound| (bound.spec.spec_id, bound)).collect();
            let changes = file_changes(self.ident, base, &specs, change)?;
            let table = self.ident.to_string();
            let mut producer = SnapshotProducer::new(table, self.storage, self.caches, base, specs);
            let snapshot = producer.produce(changes).await;
            written.extend(producer.into_written());
            builder = builder.set_branch_snapshot(snapshot?, MAIN_BRANCH).map_err(rejected)?;
        }
        let built = builder.build().map_err(rejected)?;
        let folder = metadata_folder(base.location(), base.properties());
        // Named after the commit, so that the commit can be found again even if it made no snapshot.
        let id = change.commit_id().and_then(|id| Uuid::parse_str(id).ok()).unwrap_or_else(Uuid::new_v4);
        let location = metadata_file::next_location(&folder, previous, id, gzip);
        let bytes = metadata_file::serialize(&built.metadata, gzip)?;
        let metadata_bytes = bytes.len();
        failpoint::pass("iceberg::before-metadata")?;
        written.push(location.clone());
        self.storage.create_own(&location, bytes).await?;
        let expired = match deletes_old_metadata(built.metadata.properties()) {
            true => built.expired_metadata_logs.into_iter().map(|log| log.metadata_file).collect(),
            false => Vec::new(),
        };
        Ok(NewVersion { metadata: built.metadata, location, metadata_bytes, expired })
    }

    /// After the commit, best effort: nothing here can undo it.
    async fn settle(&self, prepared: NewVersion) {
        let NewVersion { metadata, location, metadata_bytes, expired } = prepared;
        let view = View::current(&metadata);
        let published = Some((self.storage, location.as_str()));
        if let Ok(snapshot) = table_snapshot(Arc::new(metadata), view, published, self.caches) {
            let bytes = metadata_bytes.saturating_mul(METADATA_FACTOR);
            self.storage.memory().insert(self.caches.table(&location), Arc::new(snapshot), bytes);
        }
        self.remove(&expired).await;
    }

    async fn remove(&self, paths: &[String]) {
        for path in paths {
            if let Err(error) = self.storage.delete(path).await {
                tracing::debug!(
                    path,
                    error = &error as &dyn std::error::Error,
                    "could not remove metadata file"
                );
            }
        }
    }
}

/// The version that the commit with this id made, if it is in the history of `current`.
pub fn find(current: &TableSnapshot, commit_id: &str) -> Result<Option<TableVersion>> {
    let IcebergState { metadata, metadata_location: Some(pointer) } = state(current)? else {
        return Ok(None);
    };
    let snapshot = metadata
        .snapshots()
        .find(|s| s.summary().additional_properties.get(COMMIT_ID).is_some_and(|id| id == commit_id))
        .map(|s| s.snapshot_id());
    let log = metadata.metadata_log().iter().map(|log| &log.metadata_file);
    let location = Uuid::parse_str(commit_id)
        .ok()
        .and_then(|id| log.chain([pointer]).find(|location| metadata_file::is_named(location, id)));
    if snapshot.is_none() && location.is_none() {
        return Ok(None);
    }
    let metadata_location = location.unwrap_or(pointer).clone();
    Ok(Some(TableVersion::Iceberg { metadata_location, snapshot_id: snapshot }))
}

impl NewVersion {
    fn version(&self) -> TableVersion {
        TableVersion::Iceberg {
            metadata_location: self.location.clone(),
            snapshot_id: self.metadata.current_snapshot_id(),
        }
    }
}

/// An error of the catalog's database while it was asked to commit says nothing about whether it did;
/// every other error does.
fn unless_certain(e: Error) -> Result<CommitOutcome> {
    match e {
        Error::CatalogDatabase { .. } => Ok(CommitOutcome::Unknown(Box::new(e))),
        certain => Err(certain),
    }
}

/// The crate found the new metadata inconsistent: nothing that a retry would change.
fn rejected(e: iceberg::Error) -> Error {
    Error::Internal(format!("new table metadata: {e}"))
}

fn file_changes<'a>(
    ident: &TableIdent,
    base: &TableMetadata,
    specs: &BTreeMap<i32, BoundSpec>,
    change: &'a TableChange,
) -> Result<FileChanges<'a>> {
    let writable = |spec_id: i32| {
        let bound = specs.get(&spec_id);
        let bound = bound.ok_or_else(|| Error::Internal(format!("there is no partition spec {spec_id}")))?;
        check_writable(bound).map(|()| bound)
    };
    let entries = EntryBuilder::new(base);
    let mut added: BTreeMap<i32, Vec<_>> = BTreeMap::new();
    for file in &change.added {
        let bound = writable(file.spec.spec_id)?;
        added.entry(bound.spec.spec_id).or_default().push(entries.data_file(file, bound)?);
    }
    let mut added_deletes: BTreeMap<i32, Vec<_>> = BTreeMap::new();
    let mut vectors = HashSet::new();
    for new in &change.deletes {
        // Readers refuse a data file with two deletion vectors. Position delete files add up.
        if matches!(new.stored, StoredDeletes::Vector { .. }) && !vectors.insert(new.file.path()) {
            return Err(Error::Internal(format!("{} gets two deletion vectors", new.file.path())));
        }
        let fits = match (&new.stored, base.format_version()) {
            (StoredDeletes::Vector { .. }, version) => version >= FormatVersion::V3,
            (StoredDeletes::Positions { .. }, version) => version == FormatVersion::V2,
        };
        if !fits {
            let winner = format!("the table has format version {} now", base.format_version());
            return Err(Error::Conflict { table: ident.to_string(), winner });
        }
        let bound = writable(new.file.spec().spec_id)?;
        added_deletes.entry(bound.spec.spec_id).or_default().push(delete_entry(new, bound)?);
    }
    for file in &change.removed {
        writable(file.spec().spec_id)?;
    }
    Ok(FileChanges {
        operation: operation(change),
        added,
        added_deletes,
        removed: &change.removed,
        marked: &change.deletes,
        summary: change.summary.clone(),
    })
}

/// Fails with `Unsupported` if no file of the table's default spec can be committed.
pub fn check_default_spec(metadata: &TableMetadata) -> Result<()> {
    let specs = bind_specs(metadata)?;
    let default = specs.iter().find(|bound| bound.spec.spec_id == metadata.default_partition_spec_id());
    default.map_or(Ok(()), check_writable)
}

/// The operation as readers understand it: by what happens to files (Iceberg spec, "Snapshots"), not
/// by the statement.
fn operation(change: &TableChange) -> IcebergOperation {
    let adds = !change.added.is_empty();
    let takes_away = !change.removed.is_empty() || !change.deletes.is_empty();
    match (adds, takes_away, change.operation) {
        (true, true, _) => IcebergOperation::Overwrite,
        (true, false, _) => IcebergOperation::Append,
        (false, true, _) | (false, false, Operation::Delete | Operation::Truncate) => {
            IcebergOperation::Delete
        }
        (false, false, Operation::Create | Operation::Replace | Operation::Append | Operation::Alter) => {
            IcebergOperation::Append
        }
        (false, false, Operation::Overwrite | Operation::Update | Operation::Merge) => {
            IcebergOperation::Overwrite
        }
    }
}
