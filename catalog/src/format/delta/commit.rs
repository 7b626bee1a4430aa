//! Writing to the log: a change of a table that exists.
//!
//! A commit is the file of the next version, written only if it does not exist yet: whoever creates
//! it has won. It is ours, not the kernel's transaction (docs/adr/0002-delta-log-crate.md).

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::Utc;
use delta_kernel::Engine;
use delta_kernel::snapshot::SnapshotRef;

use super::action::{Action, Add, ChangeFile, DomainMetadata, to_json_lines};
use super::commit_info::{self, CommitTime};
use super::engine::{InTable, blocking};
use super::snapshot::{DeltaState, state};
use super::touched::{Changed, Touched};
use super::{
    alter, checkpoint, commit_location, history, identity, partition_value, properties, replace, schema,
    stats_json, writable,
};
use crate::TableIdent;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::format::CommitOutcome;
use crate::storage::{Storage, to_url};
use crate::table;
use crate::table::data_file::NewDataFile;
use crate::table::{Operation, TableChange, TableSnapshot, TableVersion};

const ROW_TRACKING_DOMAIN: &str = "delta.rowTracking";
const DELETION_VECTORS: &str = "deletionVectors";

/// Whether a commit of this kind would be refused whatever it holds.
pub(super) fn check(table: &str, base: &TableSnapshot, operation: Operation) -> Result<()> {
    let state = state(base)?;
    if let Some(kernel) = &state.kernel {
        writable::ensure_writable(table, &state.protocol, &state.metadata, &kernel.schema())?;
    }
    writable::ensure_operation(table, &state, operation)
}

/// Writes the version after `base`.
pub(super) async fn commit(
    storage: &Storage,
    ident: &TableIdent,
    base: &TableSnapshot,
    change: &TableChange,
) -> Result<CommitOutcome> {
    let (table, state) = (ident.to_string(), state(base)?);
    let kernel =
        state.kernel.clone().ok_or_else(|| Error::Internal(format!("{ident} is not yet created")))?;
    writable::ensure_writable(&table, &state.protocol, &state.metadata, &kernel.schema())?;
    writable::ensure_change(&table, &state, change)?;
    let touched = match &change.replacement {
        Some(staged) => {
            replace::check(ident, &state, staged)?;
            Touched::all(base).await?
        }
        None => match Touched::find(storage, base, change).await? {
            Ok(touched) => touched,
            Err(Changed(winner)) => return Ok(CommitOutcome::Conflict { winner }),
        },
    };
    let predecessor = Predecessor::read(storage, &base.location, &state, kernel.clone()).await?;
    let commit = NextCommit::new(base, change, touched, &predecessor)?;
    match commit.write(storage).await? {
        Written::Ours => {
            let version = commit.version;
            if version % properties::checkpoint_interval(&state.metadata.configuration) == 0 {
                checkpoint::write(storage, &base.location, kernel, version).await;
            }
            Ok(CommitOutcome::Committed(TableVersion::Delta { version }))
        }
        Written::Lost { winner } => Ok(CommitOutcome::Conflict { winner }),
        Written::Unknown(e) => Ok(CommitOutcome::Unknown(e)),
    }
}

/// What the log of the version before says of the commit to come.
#[derive(Default)]
pub(super) struct Predecessor {
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
pub(super) struct NextCommit {
    version: u64,
    location: String,
    bytes: Bytes,
}

pub(super) enum Written {
    Ours,
    Lost { winner: String },
    Unknown(Box<dyn std::error::Error + Send + Sync>),
}

impl NextCommit {
    pub fn new(
        base: &TableSnapshot,
        change: &TableChange,
        touched: Touched,
        predecessor: &Predecessor,
    ) -> Result<Self> {
        let before = state(base)?;
        // What the commit makes of the table.
        let shape = change.replacement.as_deref().unwrap_or(base);
        let state = state(shape)?;
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
        let time = CommitTime { now, in_commit_timestamp, read_version };
        let mut actions = vec![Action::CommitInfo(commit_info::of_change(&state, change, time)?)];
        let (mut altered, mut raised) =
            alter::all(&base.location, &state.metadata, &state.protocol, &change.alterations)?;
        if read_version.is_none() {
            raised = raised.or_else(|| Some(state.protocol.clone()));
            altered = altered.or_else(|| Some(state.metadata.clone()));
        }
        if change.replacement.is_some() {
            altered = Some(state.metadata.clone());
            raised = (state.protocol != before.protocol).then(|| state.protocol.clone());
        }
        if touched.marks_rows() {
            let so_far = raised.as_ref().unwrap_or(&state.protocol);
            raised = properties::with_feature(so_far, DELETION_VECTORS).or(raised);
        }
        let columns = table::identity::altered(&shape.schema.identity, &change.alterations);
        let marks = table::identity::raised(&columns, &change.added)?;
        if !marks.is_empty() {
            let metadata = altered.get_or_insert_with(|| state.metadata.clone());
            let schema =
                identity::with_marks(&base.location, &metadata.schema_string, &shape.schema, &marks)?;
            metadata.schema_string = schema;
        }
        actions.extend(raised.as_ref().map(Action::Protocol));
        actions.extend(altered.as_ref().map(Action::MetaData));
        let (removes, mut adds) = touched.actions(now);
        for file in &change.added {
            adds.push(add(shape, &state, file, now, &predecessor.clustering)?);
        }
        let row_ids = match properties::assigns_row_ids(&state.protocol, configuration) {
            true => assign_row_ids(&mut adds, version, predecessor.row_id_high_water_mark)?,
            false => None,
        };
        actions.extend(removes.into_iter().map(Action::Remove));
        actions.extend(adds.into_iter().map(Action::Add));
        // The first rows of a table are new, whatever happened to them in between.
        for file in change.change_files.iter().filter(|_| read_version.is_some()) {
            actions.push(Action::Cdc(change_file(base, file)?));
        }
        actions.extend(row_ids.map(Action::DomainMetadata));
        let location = commit_location(&base.location, version);
        Ok(Self { version, location, bytes: to_json_lines(&actions)?.into() })
    }

    /// Writes the file unless it exists. `Err`: certainly not written.
    pub async fn write(&self, storage: &Storage) -> Result<Written> {
        failpoint::pass("delta::before-log")?;
        storage.locate(&self.location)?;
        match storage.create(&self.location, self.bytes.clone()).await {
            Ok(true) => Ok(Written::Ours),
            // A store may have repeated a request that had already succeeded.
            Ok(false) => Ok(match storage.read(&self.location).await {
                Ok(bytes) if bytes == self.bytes => Written::Ours,
                Ok(bytes) => Written::Lost { winner: history::describe(self.version, &bytes) },
                Err(e) => Written::Unknown(Box::new(e)),
            }),
            Err(e) if e.is_refusal() => Err(e),
            Err(e) => Ok(Written::Unknown(Box::new(e))),
        }
    }
}

/// Gives each file without row ids the next ones (Delta protocol, "Row Tracking"); files that stay keep
/// theirs. Returns the new high water mark, if it rises.
fn assign_row_ids(adds: &mut [Add], version: u64, last: Option<i64>) -> Result<Option<DomainMetadata>> {
    let overflow = || Error::Internal("the table has used up its row ids".into());
    let version = i64::try_from(version).map_err(|_| overflow())?;
    let first = last.unwrap_or(-1).checked_add(1).ok_or_else(overflow)?;
    let mut next = first;
    for add in adds.iter_mut().filter(|add| add.base_row_id.is_none()) {
        add.base_row_id = Some(next);
        add.default_row_commit_version = Some(version);
        next = next.checked_add_unsigned(add.record_count).ok_or_else(overflow)?;
    }
    Ok((next > first).then(|| DomainMetadata {
        domain: ROW_TRACKING_DOMAIN,
        configuration: format!("{{\"rowIdHighWaterMark\":{}}}", next - 1),
        removed: false,
    }))
}

fn add(
    base: &TableSnapshot,
    state: &DeltaState,
    file: &NewDataFile,
    now: i64,
    clustering: &[String],
) -> Result<Add> {
    let partition_ids: Vec<_> = base.default_spec.fields.iter().map(|f| f.source_id).collect();
    let indexed = properties::indexed_columns(&state.metadata.configuration);
    Ok(Add {
        path: logged_path(base, file)?,
        partition_values: partition_values(base, file)?,
        size: file.size_bytes,
        modification_time: now,
        data_change: true,
        stats: stats_json::of_file(file, &base.schema, &partition_ids, &indexed, clustering),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
        record_count: file.record_count,
    })
}

fn change_file(base: &TableSnapshot, file: &NewDataFile) -> Result<ChangeFile> {
    Ok(ChangeFile {
        path: logged_path(base, file)?,
        partition_values: partition_values(base, file)?,
        size: file.size_bytes,
        data_change: false,
    })
}

/// The log holds paths URL-encoded, relative to the root where they are below it.
fn logged_path(base: &TableSnapshot, file: &NewDataFile) -> Result<String> {
    let (path, root) = (to_url(&file.path)?, to_url(&base.location)?);
    let relative = path.as_str().strip_prefix(root.as_str()).and_then(|p| p.strip_prefix('/'));
    Ok(relative.unwrap_or(path.as_str()).to_string())
}

/// By physical name.
fn partition_values(base: &TableSnapshot, file: &NewDataFile) -> Result<BTreeMap<String, Option<String>>> {
    let spec = &base.default_spec;
    if file.partition.len() != spec.fields.len() {
        return Err(Error::Internal(format!(
            "{} does not fit the partitioning of {}",
            file.path, base.location
        )));
    }
    let mut values = BTreeMap::new();
    for (field, value) in spec.fields.iter().zip(&file.partition) {
        let column = base.schema.column_by_id(field.source_id);
        let (_, column) = column.ok_or_else(|| Error::Internal(format!("no column {}", field.source_id)))?;
        let text = partition_value::to_text(&base.location, &field.name, value)?;
        values.insert(schema::physical_name(column).to_string(), text);
    }
    Ok(values)
}
