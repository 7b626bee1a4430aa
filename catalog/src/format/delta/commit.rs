//! Writing to the log: staging a table, creating it, appending to it.
//!
//! A commit is the file of the next version, written only if it does not exist yet: whoever creates
//! it has won. It is ours, not the kernel's transaction (docs/adr/0002-delta-log-crate.md).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use delta_kernel::snapshot::SnapshotRef;
use delta_kernel::{Engine, Snapshot};
use tracing::{debug, warn};
use uuid::Uuid;

use super::action::{Action, Add, CommitInfo, DomainMetadata, FileFormat, Metadata, to_json_lines};
use super::engine::{InTable, blocking};
use super::files::NoFiles;
use super::snapshot::{DeltaState, assemble, state};
use super::{commit_location, is_delta_table, partition_value, properties, schema, stats_json};
use crate::TableIdent;
use crate::backend::{Backend, NewTableEntry};
use crate::error::{Error, Result};
use crate::format::CommitOutcome;
use crate::storage::{Storage, to_url};
use crate::table::data_file::NewDataFile;
use crate::table::partition::Transform;
use crate::table::{COMMIT_ID, TableChange, TableDefinition, TableFormat, TableSnapshot, TableVersion};

const ENGINE_INFO: &str = concat!("Auric/", env!("CARGO_PKG_VERSION"));
/// Commits read back to find one: many more than can race with one.
const COMMITS_LOOKED_AT: u64 = 50;
const ROW_TRACKING_DOMAIN: &str = "delta.rowTracking";

/// The empty snapshot of a table to be.
pub(super) fn stage(
    ident: &TableIdent,
    definition: &TableDefinition,
    root: &str,
) -> Result<Arc<TableSnapshot>> {
    let table = ident.to_string();
    if !definition.sorting.is_empty() {
        return Err(Error::unsupported(format!("Delta table \"{table}\""), "SORTED BY"));
    }
    if !definition.key_columns.is_empty() {
        return Err(Error::unsupported(format!("Delta table \"{table}\""), "PRIMARY KEY"));
    }
    if definition.partitioning.iter().any(|field| field.transform != Transform::Identity) {
        return Err(Error::unsupported(
            format!("Delta table \"{table}\""),
            "a partition transform (Delta tables can be partitioned by columns only)",
        ));
    }
    let mut new = properties::for_new_table(&definition.properties)?;
    let (schema, max_id) = schema::from_definition(&table, &definition.columns, new.column_mapping)?;
    if max_id > 0 {
        new.configuration.insert(properties::COLUMN_MAPPING_MAX_ID.into(), max_id.to_string());
    }
    let table_schema = Arc::new(schema::to_table_schema(&table, &schema, new.column_mapping)?);
    if schema::has_timestamp_ntz(&schema) {
        new.features.insert("timestampNtz".into());
    }
    if definition.columns.iter().any(|column| !column.nullable) {
        // NOT NULL is an invariant to older writers.
        new.features.insert("invariants".into());
    }
    let metadata = Metadata {
        id: Uuid::new_v4().to_string(),
        name: Some(ident.name.clone()),
        description: definition.comment.clone(),
        format: FileFormat::PARQUET,
        schema_string: serde_json::to_string(&schema).map_err(|e| Error::Internal(e.to_string()))?,
        partition_columns: partition_columns(&table, definition)?,
        created_time: Some(Utc::now().timestamp_millis()),
        configuration: new.configuration,
    };
    let spec = Arc::new(schema::partition_spec(&table, &table_schema, &metadata.partition_columns)?);
    let state = DeltaState { protocol: properties::protocol_for(&new.features), metadata, kernel: None };
    let files = Arc::new(NoFiles);
    Ok(Arc::new(assemble(root, TableVersion::Unpublished, table_schema, spec, state, None, files)))
}

fn partition_columns(table: &str, definition: &TableDefinition) -> Result<Vec<String>> {
    let mut columns: Vec<String> = Vec::with_capacity(definition.partitioning.len());
    for field in &definition.partitioning {
        let column = definition.columns.iter().find(|c| c.name == field.column).ok_or_else(|| {
            Error::ColumnNotFound { table: table.to_string(), column: field.column.clone() }
        })?;
        if column.data_type.is_nested() {
            return Err(Error::unsupported(
                format!("Delta table \"{table}\""),
                format!("partitioning by column \"{}\" of type {}", column.name, column.data_type),
            ));
        }
        if columns.contains(&column.name) {
            return Err(Error::Invalid(format!("partition column \"{}\" is given twice", column.name)));
        }
        columns.push(column.name.clone());
    }
    if columns.len() == definition.columns.len() {
        return Err(Error::Invalid(format!(
            "Delta table \"{table}\" needs a column besides its partition columns"
        )));
    }
    Ok(columns)
}

/// What to say when another table is at `root`: the one of this name, mostly.
async fn taken(backend: &dyn Backend, ident: &TableIdent, root: &str) -> Result<Error> {
    Ok(match backend.table(ident).await? {
        Some(_) => Error::TableExists(ident.clone()),
        None => Error::Invalid(format!("there is a Delta table at {root} already")),
    })
}

/// Writes version 0 of a staged table and enters it into the catalog.
pub(super) async fn create(
    storage: &Storage,
    backend: &dyn Backend,
    ident: &TableIdent,
    staged: &TableSnapshot,
    change: &TableChange,
) -> Result<CommitOutcome> {
    let root = &staged.location;
    if is_delta_table(storage, root).await? {
        return Err(taken(backend, ident, root).await?);
    }
    let operation = if change.added.is_empty() { "CREATE TABLE" } else { "CREATE TABLE AS SELECT" };
    let commit = NextCommit::new(staged, change, operation, &Predecessor::default())?;
    match commit.write(storage).await? {
        Written::Ours => {}
        Written::Lost { .. } => return Err(taken(backend, ident, root).await?),
        Written::Unknown(e) => return Ok(CommitOutcome::Unknown(e)),
    }
    let entry = NewTableEntry {
        ident: ident.clone(),
        format: TableFormat::Delta,
        pointer: root.clone(),
        external: !root.starts_with(&format!("{}/", super::root_location(backend.warehouse())?)),
    };
    match backend.create_table(&entry).await {
        Ok(()) => Ok(CommitOutcome::Committed(TableVersion::Delta { version: 0 })),
        Err(e) if certainly_not_entered(&e) => {
            // Certainly not in the catalog, so nobody reads the version that we have just written.
            let location = commit_location(root, 0);
            if let Err(e) = storage.delete(&location).await {
                warn!(location, error = %e, "could not remove the log of a table that was not created");
            }
            Err(e)
        }
        Err(e) => Ok(CommitOutcome::Unknown(Box::new(e))),
    }
}

/// Whether a catalog that answers like this has refused the entry; else it may have taken it.
fn certainly_not_entered(error: &Error) -> bool {
    use Error::*;
    matches!(
        error,
        TableExists(_) | NamespaceNotFound(_) | CatalogNotFound(_) | Unsupported { .. } | Invalid(_)
    )
}

/// Writes the version after `base` with the files of `change`.
pub(super) async fn append(
    storage: &Storage,
    ident: &TableIdent,
    base: &TableSnapshot,
    change: &TableChange,
) -> Result<CommitOutcome> {
    let state = state(base)?;
    let kernel =
        state.kernel.clone().ok_or_else(|| Error::Internal(format!("{ident} is not yet created")))?;
    properties::ensure_writable(&ident.to_string(), &state.protocol, &state.metadata, &kernel.schema())?;
    let predecessor = Predecessor::read(storage, &base.location, &state, kernel.clone()).await?;
    let commit = NextCommit::new(base, change, "WRITE", &predecessor)?;
    match commit.write(storage).await? {
        Written::Ours => {
            let version = commit.version;
            if version % properties::checkpoint_interval(&state.metadata.configuration) == 0 {
                checkpoint(storage, &base.location, kernel, version).await;
            }
            Ok(CommitOutcome::Committed(TableVersion::Delta { version }))
        }
        Written::Lost { winner } => Ok(CommitOutcome::Conflict { winner }),
        Written::Unknown(e) => Ok(CommitOutcome::Unknown(e)),
    }
}

/// What the log of the version before says of the commit to come.
#[derive(Default)]
struct Predecessor {
    in_commit_timestamp: Option<i64>,
    row_id_high_water_mark: Option<i64>,
    /// Physical names of columns that must have statistics.
    clustering: Vec<String>,
}

impl Predecessor {
    /// Reads the log only for the features that the table has.
    async fn read(storage: &Storage, root: &str, state: &DeltaState, kernel: SnapshotRef) -> Result<Self> {
        let (protocol, configuration) = (&state.protocol, &state.metadata.configuration);
        let timestamps = properties::has_in_commit_timestamps(protocol, configuration);
        let row_ids = properties::assigns_row_ids(protocol, configuration);
        let clustering = properties::has_writer_feature(protocol, "clustering");
        let table = root.to_string();
        let read = move |engine: &dyn Engine| {
            let mut found = Self::default();
            if timestamps {
                found.in_commit_timestamp = kernel.get_in_commit_timestamp(engine).in_table(&table)?;
            }
            if row_ids {
                found.row_id_high_water_mark =
                    kernel.get_row_tracking_high_water_mark(engine).in_table(&table)?;
            }
            if clustering {
                let columns = kernel.get_physical_clustering_columns(engine).in_table(&table)?;
                for column in columns.into_iter().flatten() {
                    match column.path() {
                        [name] => found.clustering.push(name.clone()),
                        _ => {
                            return Err(Error::unsupported(
                                format!("writing Delta table {table}"),
                                format!("clustering by the nested column {column}"),
                            ));
                        }
                    }
                }
            }
            Ok(found)
        };
        if timestamps || row_ids || clustering {
            blocking(storage, root, read).await
        } else {
            Ok(Self::default())
        }
    }
}

/// A commit file, ready to be written.
struct NextCommit {
    version: u64,
    location: String,
    bytes: Bytes,
}

enum Written {
    Ours,
    Lost { winner: String },
    Unknown(Box<dyn std::error::Error + Send + Sync>),
}

impl NextCommit {
    fn new(
        base: &TableSnapshot,
        change: &TableChange,
        operation: &str,
        predecessor: &Predecessor,
    ) -> Result<Self> {
        let state = state(base)?;
        let (read_version, version) = match base.version {
            TableVersion::Unpublished => (None, 0),
            TableVersion::Delta { version } => (Some(version), version + 1),
            TableVersion::Iceberg { .. } => {
                return Err(Error::Internal(format!("{} is not a Delta snapshot", base.location)));
            }
        };
        let now = Utc::now().timestamp_millis();
        let configuration = &state.metadata.configuration;
        // They must grow from commit to commit, whatever the clock does.
        let in_commit_timestamp = properties::has_in_commit_timestamps(&state.protocol, configuration)
            .then(|| predecessor.in_commit_timestamp.map_or(now, |last| now.max(last.saturating_add(1))));
        let info = CommitInfo {
            timestamp: in_commit_timestamp.unwrap_or(now),
            in_commit_timestamp,
            operation,
            operation_parameters: operation_parameters(&state, read_version.is_none())?,
            read_version,
            is_blind_append: true,
            operation_metrics: metrics(&change.added),
            engine_info: ENGINE_INFO.to_string(),
            txn_id: Uuid::new_v4().to_string(),
            summary: summary(change),
        };
        let mut actions = vec![Action::CommitInfo(info)];
        if read_version.is_none() {
            actions.push(Action::Protocol(&state.protocol));
            actions.push(Action::MetaData(&state.metadata));
        }
        for file in &change.added {
            actions.push(Action::Add(add(base, &state, file, now, &predecessor.clustering)?));
        }
        if properties::assigns_row_ids(&state.protocol, configuration) && !change.added.is_empty() {
            let high_water_mark =
                assign_row_ids(&mut actions, change, version, predecessor.row_id_high_water_mark);
            actions.push(Action::DomainMetadata(DomainMetadata {
                domain: ROW_TRACKING_DOMAIN,
                configuration: format!("{{\"rowIdHighWaterMark\":{high_water_mark}}}"),
                removed: false,
            }));
        }
        let location = commit_location(&base.location, version);
        Ok(Self { version, location, bytes: to_json_lines(&actions)?.into() })
    }

    /// Writes the file unless it exists. `Err`: certainly not written.
    async fn write(&self, storage: &Storage) -> Result<Written> {
        storage.locate(&self.location)?;
        match storage.create(&self.location, self.bytes.clone()).await {
            Ok(true) => Ok(Written::Ours),
            // A store may have repeated a request that had already succeeded.
            Ok(false) => Ok(match storage.read(&self.location).await {
                Ok(bytes) if bytes == self.bytes => Written::Ours,
                Ok(bytes) => Written::Lost { winner: describe(self.version, &bytes) },
                Err(e) => Written::Unknown(Box::new(e)),
            }),
            Err(e) => Ok(Written::Unknown(Box::new(e))),
        }
    }
}

/// Gives each added file the next row ids (Delta protocol, "Row Tracking"); returns the last one given.
fn assign_row_ids(actions: &mut [Action<'_>], change: &TableChange, version: u64, last: Option<i64>) -> i64 {
    let mut next = last.unwrap_or(-1).saturating_add(1);
    let adds = actions.iter_mut().filter_map(|action| match action {
        Action::Add(add) => Some(add),
        _ => None,
    });
    for (add, file) in adds.zip(&change.added) {
        add.base_row_id = Some(next);
        add.default_row_commit_version = Some(version);
        next = next.saturating_add_unsigned(file.record_count);
    }
    next - 1
}

/// What the change's author wants recorded, unless the name is one of our own.
fn summary(change: &TableChange) -> BTreeMap<String, String> {
    let own = |key: &String| !CommitInfo::FIELDS.contains(&key.as_str());
    change.summary.iter().filter(|(key, _)| own(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn operation_parameters(state: &DeltaState, create: bool) -> Result<BTreeMap<&'static str, String>> {
    let json = |value: serde_json::Result<String>| value.map_err(|e| Error::Internal(e.to_string()));
    let metadata = &state.metadata;
    let mut parameters =
        BTreeMap::from([("partitionBy", json(serde_json::to_string(&metadata.partition_columns))?)]);
    if create {
        parameters.insert("isManaged", "true".into());
        parameters.insert("properties", json(serde_json::to_string(&metadata.configuration))?);
        parameters.extend(metadata.description.clone().map(|d| ("description", d)));
    } else {
        parameters.insert("mode", "Append".into());
    }
    Ok(parameters)
}

fn metrics(added: &[NewDataFile]) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("numFiles", added.len().to_string()),
        ("numOutputRows", added.iter().map(|f| f.record_count).sum::<u64>().to_string()),
        ("numOutputBytes", added.iter().map(|f| f.size_bytes).sum::<u64>().to_string()),
    ])
}

fn add(
    base: &TableSnapshot,
    state: &DeltaState,
    file: &NewDataFile,
    now: i64,
    clustering: &[String],
) -> Result<Add> {
    let spec = &base.default_spec;
    if file.partition.len() != spec.fields.len() {
        return Err(Error::Internal(format!(
            "{} does not fit the partitioning of {}",
            file.path, base.location
        )));
    }
    let mut partition_values = BTreeMap::new();
    for (field, value) in spec.fields.iter().zip(&file.partition) {
        let column = base.schema.column_by_id(field.source_id);
        let (_, column) = column.ok_or_else(|| Error::Internal(format!("no column {}", field.source_id)))?;
        let text = partition_value::to_text(&base.location, &field.name, value)?;
        partition_values.insert(schema::physical_name(column).to_string(), text);
    }
    let partition_ids: Vec<_> = spec.fields.iter().map(|f| f.source_id).collect();
    let indexed = properties::indexed_columns(&state.metadata.configuration);
    // The log holds paths URL-encoded, relative to the root where they are below it.
    let (path, root) = (to_url(&file.path)?, to_url(&base.location)?);
    let relative = path.as_str().strip_prefix(root.as_str()).and_then(|p| p.strip_prefix('/'));
    Ok(Add {
        path: relative.unwrap_or(path.as_str()).to_string(),
        partition_values,
        size: file.size_bytes,
        modification_time: now,
        data_change: true,
        stats: stats_json::of_file(file, &base.schema, &partition_ids, &indexed, clustering),
        base_row_id: None,
        default_row_commit_version: None,
    })
}

/// The version that the commit with this id made, among the last ones up to `current`.
pub(super) async fn find(
    storage: &Storage,
    current: &TableSnapshot,
    commit_id: &str,
) -> Result<Option<TableVersion>> {
    let TableVersion::Delta { version: last } = current.version else { return Ok(None) };
    for version in (last.saturating_sub(COMMITS_LOOKED_AT)..=last).rev() {
        let location = commit_location(&current.location, version);
        if !storage.exists(&location).await? {
            // Cleaned up behind a checkpoint: older than any commit that is asked for.
            return Ok(None);
        }
        let info = commit_info(&storage.read(&location).await?);
        if info.is_some_and(|info| info.get(COMMIT_ID).is_some_and(|id| id == commit_id)) {
            return Ok(Some(TableVersion::Delta { version }));
        }
    }
    Ok(None)
}

fn commit_info(bytes: &[u8]) -> Option<serde_json::Value> {
    bytes.split(|b| *b == b'\n').find_map(|line| {
        let mut action: serde_json::Value = serde_json::from_slice(line).ok()?;
        action.get_mut("commitInfo").map(serde_json::Value::take)
    })
}

/// The commit that won, for people.
fn describe(version: u64, bytes: &[u8]) -> String {
    let info = commit_info(bytes);
    let text = |key: &str| info.as_ref().and_then(|i| i.get(key)).and_then(|v| v.as_str());
    match (text("operation"), text("engineInfo")) {
        (Some(operation), Some(engine)) => format!("version {version} ({operation} by {engine})"),
        (Some(operation), None) => format!("version {version} ({operation})"),
        _ => format!("version {version}"),
    }
}

/// Best effort: the commit stands without it, and the next interval tries again.
async fn checkpoint(storage: &Storage, root: &str, base: SnapshotRef, version: u64) {
    let table = root.to_string();
    let written = blocking(storage, root, move |engine| {
        let snapshot = Snapshot::builder_from(base).at_version(version).build(engine).in_table(&table)?;
        snapshot.checkpoint(engine, None).in_table(&table)?;
        Ok(())
    });
    match written.await {
        Ok(()) => debug!(root, version, "wrote a checkpoint"),
        Err(e) => warn!(root, version, error = %e, "could not write a checkpoint"),
    }
}
