//! One version of a Delta table: loading it, keeping it, and moving on from it.
//!
//! A cached snapshot is current when its own commit file is still the one that was read (else the
//! table was dropped and made anew at the same place) and the next one does not exist: two small
//! requests, sent together. Otherwise the kernel reads what is new.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use delta_kernel::schema::StructType;
use delta_kernel::snapshot::SnapshotRef;
use delta_kernel::table_features::{Operation, TableFeature};
use delta_kernel::{Engine, Snapshot};
use futures::future::try_join;
use object_store::ObjectStoreExt;

use super::action::{FileFormat, Metadata, Protocol};
use super::engine::{InTable, blocking};
use super::files::DeltaFiles;
use super::{LOG_DIRECTORY, alter, commit_location, history, properties, schema, writable};
use crate::error::{Error, Result};
use crate::storage::{Key, Kind, Storage, owner, to_url};
use crate::table::partition::{PartitionSpec, SortOrder};
use crate::table::schema::TableSchema;
use crate::table::snapshot::{CommitWatch, SnapshotFiles};
use crate::table::{Alteration, TableFormat, TableSnapshot, TableVersion};
use crate::turns::Turns;

/// About what a parsed log takes beside its metadata.
const SNAPSHOT_BYTES: usize = 16 * 1024;

/// What a commit on top of a snapshot needs to know ([`TableSnapshot::state`]).
pub(super) struct DeltaState {
    pub protocol: Protocol,
    pub metadata: Metadata,
    /// `None` for a table to be.
    pub kernel: Option<SnapshotRef>,
}

impl DeltaState {
    /// The same for a table to be.
    pub fn unpublished(&self) -> Self {
        Self { protocol: self.protocol.clone(), metadata: self.metadata.clone(), kernel: None }
    }
}

impl fmt::Debug for DeltaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeltaState")
            .field("protocol", &self.protocol)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

/// Finds the Delta state of a snapshot of ours.
pub(super) fn state(snapshot: &TableSnapshot) -> Result<Arc<DeltaState>> {
    let state = Arc::clone(&snapshot.state).downcast::<DeltaState>();
    state.map_err(|_| Error::Internal(format!("{} is not a Delta snapshot", snapshot.location)))
}

/// Latest snapshot of each table by root location, and their file lists.
#[derive(Debug)]
pub(super) struct SnapshotCache {
    owner: u64,
    /// Of the turns to read a log, so that many sessions read a new version once.
    turns: Turns<Key>,
    /// Number of the next load: keys the file list.
    next_load: AtomicU64,
}

/// What the cache has of a table.
enum Cached {
    Current(Arc<TableSnapshot>),
    /// Some commits behind.
    Behind(Arc<Loaded>),
    Nothing,
}

#[derive(Debug)]
struct Loaded {
    snapshot: Arc<TableSnapshot>,
    files: Arc<DeltaFiles>,
    version: u64,
    /// The commit file of `version` as it was then; `None` when only a checkpoint was left of it.
    commit: Option<FileIdentity>,
}

impl Loaded {
    /// About what it takes.
    fn bytes(&self) -> usize {
        let properties: usize =
            self.snapshot.properties.iter().map(|(name, value)| name.len() + value.len()).sum();
        SNAPSHOT_BYTES + properties + self.snapshot.schema.arrow.fields().len() * 1024
    }

    /// Whether what its log says of files means the same in a later version.
    fn reads_the_same_as(&self, later: &DeltaState) -> bool {
        let own = state(&self.snapshot);
        own.is_ok_and(|own| own.protocol == later.protocol && own.metadata == later.metadata)
    }
}

/// Tells a file from another one later written at the same place.
#[derive(Debug, PartialEq, Eq)]
struct FileIdentity {
    e_tag: Option<String>,
    last_modified: DateTime<Utc>,
    size: u64,
}

impl SnapshotCache {
    pub fn new() -> Self {
        Self { owner: owner(), turns: Turns::default(), next_load: AtomicU64::new(0) }
    }

    fn latest(&self, root: &str) -> Key {
        Key::new(Kind::Tables, self.owner, root)
    }

    fn earlier(&self, root: &str, version: u64) -> Key {
        // The latest has no version among its numbers.
        self.latest(root).with_numbers([1, version])
    }

    /// The table at `root` at its current version.
    pub async fn load(&self, storage: &Storage, root: &str) -> Result<Arc<TableSnapshot>> {
        if let Cached::Current(snapshot) = self.look(storage, root).await? {
            return Ok(snapshot);
        }
        let _reading = self.turns.take(self.latest(root)).await;
        // Somebody else may have read it meanwhile.
        let base = match self.look(storage, root).await? {
            Cached::Current(snapshot) => return Ok(snapshot),
            Cached::Behind(loaded) => Some(loaded),
            Cached::Nothing => None,
        };
        if let Some(base) = &base {
            // What follows the table's changes asks for the version that it has seen last.
            storage.memory().insert(self.earlier(root, base.version), base.clone(), base.bytes());
        }
        let loaded = match self.read(storage, root, ReadFrom::Latest(base)).await {
            Ok(loaded) => Arc::new(loaded),
            Err(e) => return Err(super::diagnosis::explain(storage, root, e).await),
        };
        storage.memory().insert(self.latest(root), loaded.clone(), loaded.bytes());
        Ok(loaded.snapshot.clone())
    }

    /// The table at `root` at an earlier version than `current`, or `current` itself. `None`: there is
    /// no such version, or the log no longer has all that it takes to put it together.
    pub async fn load_at(
        &self,
        storage: &Storage,
        current: &Arc<TableSnapshot>,
        version: u64,
    ) -> Result<Option<Arc<TableSnapshot>>> {
        let root = &current.location;
        match current.version {
            TableVersion::Delta { version: newest } if version == newest => return Ok(Some(current.clone())),
            TableVersion::Delta { version: newest } if version < newest => {}
            _ => return Ok(None),
        }
        let key = self.earlier(root, version);
        if let Some(cached) = storage.memory().get::<Loaded>(&key)
            && identity(storage, root, version).await? == cached.commit
        {
            return Ok(Some(cached.snapshot.clone()));
        }
        match self.read(storage, root, ReadFrom::Version(version)).await {
            Ok(loaded) => {
                let loaded = Arc::new(loaded);
                storage.memory().insert(key, loaded.clone(), loaded.bytes());
                Ok(Some(loaded.snapshot.clone()))
            }
            Err(_) if history::has_expired(storage, current, version).await? => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn look(&self, storage: &Storage, root: &str) -> Result<Cached> {
        let Some(cached) = storage.memory().get::<Loaded>(&self.latest(root)) else {
            return Ok(Cached::Nothing);
        };
        let (current, next) = try_join(
            identity(storage, root, cached.version),
            identity(storage, root, cached.version.saturating_add(1)),
        )
        .await?;
        Ok(match (current == cached.commit, next) {
            (true, None) => Cached::Current(cached.snapshot.clone()),
            (true, Some(_)) => Cached::Behind(cached),
            (false, _) => Cached::Nothing,
        })
    }

    async fn read(&self, storage: &Storage, root: &str, from: ReadFrom) -> Result<Loaded> {
        let base = match &from {
            ReadFrom::Latest(base) => base.clone(),
            ReadFrom::Version(_) => None,
        };
        let (kernel, timestamp_ms) = read_kernel_snapshot(storage, root, from).await?;
        let version = kernel.version();
        let commit = identity(storage, root, version).await?;
        let watch = commit.as_ref().and_then(|commit| watch(root, version, commit));
        let load = self.next_load.fetch_add(1, Ordering::Relaxed);
        to_loaded(root, kernel, timestamp_ms, commit, |kernel, state, schema, spec| {
            let files = DeltaFiles::new(load, storage.clone(), root, kernel, schema, spec, self.owner);
            let files = files.watched(watch);
            match base.filter(|base| base.reads_the_same_as(state)) {
                Some(base) => files.after(&base.files),
                None => files,
            }
        })
    }
}

/// Which version is read, and what is known already.
enum ReadFrom {
    /// The latest, going on from what was the latest.
    Latest(Option<Arc<Loaded>>),
    Version(u64),
}

async fn read_kernel_snapshot(
    storage: &Storage,
    root: &str,
    from: ReadFrom,
) -> Result<(SnapshotRef, Option<i64>)> {
    let root = root.to_string();
    blocking(storage, &root.clone(), move |engine| {
        let kernel = build(engine, &root, from)?;
        // Only for people: a log whose commit file is gone has no timestamp, but is sound.
        let timestamp_ms = kernel.get_timestamp(engine).ok();
        Ok((kernel, timestamp_ms))
    })
    .await
}

fn build(engine: &dyn Engine, root: &str, from: ReadFrom) -> Result<SnapshotRef> {
    let kernel = match from {
        ReadFrom::Latest(base) => {
            let base = base.map(|base| state(&base.snapshot)).transpose()?;
            match base.and_then(|base| base.kernel.clone()) {
                Some(base) => Snapshot::builder_from(base).build(engine),
                None => Snapshot::builder_for(to_url(root)?).build(engine),
            }
        }
        ReadFrom::Version(version) => Snapshot::builder_for(to_url(root)?).at_version(version).build(engine),
    };
    let kernel = kernel.in_table(root)?;
    let configuration = kernel.table_configuration();
    for feature in [TableFeature::CatalogManaged, TableFeature::CatalogOwnedPreview] {
        // Its newest commits are known to another catalog only: the log alone would give an old version.
        if configuration.is_feature_supported(&feature) {
            return Err(Error::unsupported(
                format!("Delta table {root}"),
                format!("the table feature \"{feature}\""),
            ));
        }
    }
    configuration.ensure_operation_supported(Operation::Scan).in_table(root)?;
    Ok(kernel)
}

/// `None`: the log is not on this machine.
fn watch(root: &str, version: u64, commit: &FileIdentity) -> Option<CommitWatch> {
    let path = |version| {
        let url = to_url(&commit_location(root, version)).ok().filter(|url| url.scheme() == "file")?;
        url.to_file_path().ok()
    };
    Some(CommitWatch {
        commit: path(version)?,
        modified: commit.last_modified,
        size: commit.size,
        next: path(version.checked_add(1)?)?,
    })
}

/// The commit file of `version`, if it exists.
async fn identity(storage: &Storage, root: &str, version: u64) -> Result<Option<FileIdentity>> {
    let location = commit_location(root, version);
    let at = storage.locate(&location)?;
    match at.store.head(&at.path).await {
        Ok(meta) => {
            Ok(Some(FileIdentity { e_tag: meta.e_tag, last_modified: meta.last_modified, size: meta.size }))
        }
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(Error::storage(location, e)),
    }
}

fn to_loaded(
    root: &str,
    kernel: SnapshotRef,
    timestamp_ms: Option<i64>,
    commit: Option<FileIdentity>,
    files: impl FnOnce(SnapshotRef, &DeltaState, Arc<TableSchema>, Arc<PartitionSpec>) -> DeltaFiles,
) -> Result<Loaded> {
    let configuration = kernel.table_configuration();
    let schema = schema::to_table_schema(root, &kernel.schema(), configuration.column_mapping_mode())?;
    let (protocol, metadata) = (protocol_of(&kernel), metadata_of(root, &kernel)?);
    let schema = Arc::new(schema.with_text_types(|name| metadata.configuration.get(name)));
    let spec = Arc::new(schema::partition_spec(root, &schema, &metadata.partition_columns)?);
    let version = kernel.version();
    let state = DeltaState { protocol, metadata, kernel: Some(kernel.clone()) };
    let files = Arc::new(files(kernel, &state, schema.clone(), spec.clone()));
    let number = TableVersion::Delta { version };
    let snapshot = assemble(root, number, schema, spec, state, timestamp_ms, files.clone());
    Ok(Loaded { snapshot: Arc::new(snapshot), files, version, commit })
}

/// Puts a snapshot together from its parts.
pub(super) fn assemble(
    root: &str,
    version: TableVersion,
    schema: Arc<TableSchema>,
    spec: Arc<PartitionSpec>,
    state: DeltaState,
    timestamp_ms: Option<i64>,
    files: Arc<dyn SnapshotFiles>,
) -> TableSnapshot {
    let (protocol, metadata) = (&state.protocol, &state.metadata);
    let constraints = match &state.kernel {
        Some(kernel) => writable::constraints(metadata, &kernel.schema()),
        None => writable::checks(metadata),
    };
    TableSnapshot {
        format: TableFormat::Delta,
        format_version: format!(
            "reader {}, writer {}",
            protocol.min_reader_version, protocol.min_writer_version
        ),
        location: root.to_string(),
        table_id: metadata.id.clone(),
        version,
        schema,
        partition_specs: BTreeMap::from([(spec.spec_id, spec.clone())]),
        default_spec: spec,
        sort_order: Arc::new(SortOrder::default()),
        properties: metadata.configuration.clone(),
        constraints,
        comment: metadata.description.clone(),
        row_lineage: properties::row_lineage(&metadata.configuration),
        timestamp_ms,
        files,
        state: Arc::new(state),
    }
}

/// The same version once this is done to it.
pub(super) fn altered(
    table: &str,
    snapshot: &TableSnapshot,
    alteration: &Alteration,
) -> Result<TableSnapshot> {
    let before = state(snapshot)?;
    let (metadata, protocol) =
        alter::all(table, &before.metadata, &before.protocol, std::slice::from_ref(alteration))?;
    let metadata = metadata.unwrap_or_else(|| before.metadata.clone());
    let protocol = protocol.unwrap_or_else(|| before.protocol.clone());
    let mode = properties::column_mapping_mode(&metadata.configuration);
    let parsed: StructType =
        serde_json::from_str(&metadata.schema_string).map_err(|e| Error::corrupt(table, e))?;
    let schema = schema::to_table_schema(table, &parsed, mode)?;
    let schema = Arc::new(schema.with_text_types(|name| metadata.configuration.get(name)));
    let spec = Arc::new(schema::partition_spec(table, &schema, &metadata.partition_columns)?);
    let state = DeltaState { protocol, metadata, kernel: before.kernel.clone() };
    let (version, timestamp, files) =
        (snapshot.version.clone(), snapshot.timestamp_ms, snapshot.files.clone());
    Ok(assemble(&snapshot.location, version, schema, spec, state, timestamp, files))
}

fn protocol_of(kernel: &Snapshot) -> Protocol {
    let protocol = kernel.table_configuration().protocol();
    let names =
        |features: Option<&[TableFeature]>| features.map(|f| f.iter().map(|f| f.to_string()).collect());
    Protocol {
        min_reader_version: protocol.min_reader_version(),
        min_writer_version: protocol.min_writer_version(),
        reader_features: names(protocol.reader_features()),
        writer_features: names(protocol.writer_features()),
    }
}

fn metadata_of(root: &str, kernel: &Snapshot) -> Result<Metadata> {
    let metadata = kernel.table_configuration().metadata();
    if !metadata.format_provider().eq_ignore_ascii_case(FileFormat::PARQUET.provider) {
        return Err(Error::unsupported(
            format!("Delta table {root}"),
            format!("files of format \"{}\"", metadata.format_provider()),
        ));
    }
    Ok(Metadata {
        id: metadata.id().to_string(),
        name: metadata.name().map(str::to_string),
        description: metadata.description().map(str::to_string),
        format: FileFormat::PARQUET,
        schema_string: metadata.schema_string().clone(),
        partition_columns: metadata.partition_columns().to_vec(),
        created_time: metadata.created_time(),
        configuration: metadata.configuration().iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
    })
}

/// Location of the log of the table at `root`, for messages.
pub(super) fn log_location(root: &str) -> String {
    format!("{root}/{LOG_DIRECTORY}")
}
