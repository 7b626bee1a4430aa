//! Provenance of a commit in the words of Spark's Delta writer, which `DESCRIBE HISTORY` and other
//! engines' conflict checks know: operation, parameters, metrics.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::action::CommitInfo;
use super::properties;
use super::snapshot::DeltaState;
use crate::error::{Error, Result};
use crate::table::alteration::{Alteration, NewColumn};
use crate::table::{Isolation, Operation, ReadSet, TableChange};

const ENGINE_INFO: &str = concat!("Auric/", env!("CARGO_PKG_VERSION"));
const PREDICATE: &str = "predicate";
/// Tag (Delta protocol, "Writer Requirements for Row Tracking").
const ROW_IDS_PRESERVED: &str = "delta.rowTracking.preserved";

/// When a commit is made, and on top of what.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommitTime {
    /// Milliseconds since the epoch.
    pub now: i64,
    pub in_commit_timestamp: Option<i64>,
    pub read_version: Option<u64>,
}

pub(super) fn of_change(
    state: &DeltaState,
    change: &TableChange,
    time: CommitTime,
) -> Result<CommitInfo<'static>> {
    Ok(CommitInfo {
        timestamp: time.in_commit_timestamp.unwrap_or(time.now),
        in_commit_timestamp: time.in_commit_timestamp,
        operation: operation(change),
        operation_parameters: parameters(state, change)?,
        read_version: time.read_version,
        isolation_level: match change.isolation {
            Isolation::Serializable => "Serializable",
            Isolation::WriteSerializable => "WriteSerializable",
            Isolation::Snapshot => "SnapshotIsolation",
        },
        // Other writers let blind appends pass their conflict checks.
        is_blind_append: change.read == ReadSet::Nothing
            && change.touched().next().is_none()
            && change.alterations.is_empty()
            && change.replacement.is_none(),
        operation_metrics: metrics(change),
        engine_info: ENGINE_INFO.to_string(),
        // Rows that move take their ids along, or are not moved at all.
        tags: properties::row_lineage(&state.metadata.configuration)
            .map(|_| BTreeMap::from([(ROW_IDS_PRESERVED, "true")])),
        txn_id: Uuid::new_v4().to_string(),
        summary: summary(change),
    })
}

fn operation(change: &TableChange) -> &'static str {
    match change.operation {
        Operation::Create if change.added.is_empty() => "CREATE TABLE",
        Operation::Create => "CREATE TABLE AS SELECT",
        Operation::Replace if change.added.is_empty() => "CREATE OR REPLACE TABLE",
        Operation::Replace => "CREATE OR REPLACE TABLE AS SELECT",
        Operation::Append | Operation::Overwrite => "WRITE",
        Operation::Delete => "DELETE",
        Operation::Truncate => "TRUNCATE",
        Operation::Update => "UPDATE",
        Operation::Merge => "MERGE",
        Operation::Alter => match change.alterations.as_slice() {
            [Alteration::AddConstraint(_)] => "ADD CONSTRAINT",
            [Alteration::DropConstraint(_)] => "DROP CONSTRAINT",
            [Alteration::AddColumns(_)] => "ADD COLUMNS",
            [Alteration::Comments(comments)] => match comments.iter().any(|c| c.column.is_some()) {
                true => "CHANGE COLUMN",
                false => "SET TBLPROPERTIES",
            },
            [Alteration::Properties(change)] if change.set.is_empty() => "UNSET TBLPROPERTIES",
            [Alteration::Properties(_)] => "SET TBLPROPERTIES",
            _ => "ALTER TABLE",
        },
    }
}

/// What the change's author wants recorded, unless the name is one of our own.
fn summary(change: &TableChange) -> BTreeMap<String, String> {
    let own = |key: &String| !CommitInfo::FIELDS.contains(&key.as_str());
    change.summary.iter().filter(|(key, _)| own(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn parameters(state: &DeltaState, change: &TableChange) -> Result<BTreeMap<String, String>> {
    let metadata = &state.metadata;
    let mut parameters = change.parameters.clone();
    let mut set = |key: &str, value: String| _ = parameters.entry(key.to_string()).or_insert(value);
    match change.operation {
        Operation::Create | Operation::Replace => {
            set("partitionBy", json(&metadata.partition_columns)?);
            set("isManaged", "true".into());
            set("properties", json(&metadata.configuration)?);
            metadata.description.iter().for_each(|d| set("description", d.clone()));
        }
        Operation::Append | Operation::Overwrite => {
            set("partitionBy", json(&metadata.partition_columns)?);
            let mode = if change.operation == Operation::Append { "Append" } else { "Overwrite" };
            set("mode", mode.into());
        }
        // These have a list of predicates.
        Operation::Delete | Operation::Update | Operation::Merge => {
            let predicates: Vec<String> = parameters.remove(PREDICATE).into_iter().collect();
            parameters.insert(PREDICATE.into(), json(&predicates)?);
        }
        Operation::Truncate => {}
        Operation::Alter => match change.alterations.as_slice() {
            [Alteration::AddConstraint(constraint)] => {
                set("name", constraint.name.clone());
                set("expr", constraint.expression.clone());
            }
            [Alteration::DropConstraint(name)] => {
                set("constraint", name.clone());
                set("existed", "true".into());
            }
            [Alteration::AddColumns(columns)] => {
                let column = |column: &NewColumn| serde_json::json!({"column": {"name": column.name}});
                set("columns", json(&columns.iter().map(column).collect::<Vec<_>>())?);
            }
            [Alteration::Comments(comments)] => {
                for comment in comments {
                    match &comment.column {
                        Some(column) => {
                            let column = serde_json::json!({"name": column, "comment": comment.text});
                            set("column", column.to_string());
                        }
                        None => set("properties", serde_json::json!({"comment": comment.text}).to_string()),
                    }
                }
            }
            [Alteration::Properties(change)] if change.set.is_empty() => {
                set("properties", json(&change.unset)?);
            }
            [Alteration::Properties(change)] => set("properties", json(&change.set)?),
            _ => {}
        },
    }
    Ok(parameters)
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::Internal(e.to_string()))
}

/// Files and bytes of a change.
struct Counts {
    added: u64,
    added_bytes: u64,
    removed: u64,
    removed_bytes: u64,
    vectors_added: u64,
    vectors_removed: u64,
    vectors_updated: u64,
    change_files: u64,
}

impl Counts {
    fn of(change: &TableChange) -> Self {
        let has_vector = |file: &crate::table::LiveFile| file.deletes.deletion_vector.is_some();
        let updated = change.deletes.iter().filter(|d| has_vector(&d.file)).count() as u64;
        let gone = change.removed.iter().filter(|file| has_vector(file)).count() as u64;
        Self {
            added: change.added.len() as u64,
            added_bytes: change.added.iter().map(|f| f.size_bytes).sum(),
            removed: change.removed.len() as u64,
            removed_bytes: change.removed.iter().filter_map(|f| Some(f.file().ok()?.size_bytes)).sum(),
            // An updated one counts as one added and one removed too.
            vectors_added: change.deletes.len() as u64,
            vectors_removed: gone + updated,
            vectors_updated: updated,
            change_files: change.change_files.len() as u64,
        }
    }
}

fn metrics(change: &TableChange) -> BTreeMap<&'static str, String> {
    let (counts, rows) = (Counts::of(change), change.rows);
    let written: u64 = change.added.iter().map(|f| f.record_count).sum();
    let mut metrics = match change.operation {
        Operation::Create | Operation::Replace | Operation::Append | Operation::Overwrite => vec![
            ("numFiles", counts.added),
            ("numOutputRows", written),
            ("numOutputBytes", counts.added_bytes),
        ],
        Operation::Truncate | Operation::Alter => Vec::new(),
        Operation::Delete => vec![("numDeletedRows", rows.deleted), ("numCopiedRows", rows.copied)],
        Operation::Update => vec![("numUpdatedRows", rows.updated), ("numCopiedRows", rows.copied)],
        Operation::Merge => vec![
            ("numTargetRowsInserted", rows.inserted),
            ("numTargetRowsUpdated", rows.updated),
            ("numTargetRowsDeleted", rows.deleted),
            ("numTargetRowsCopied", rows.copied),
            ("numOutputRows", written),
        ],
    };
    metrics.extend(match change.operation {
        Operation::Create | Operation::Replace | Operation::Append | Operation::Alter => Vec::new(),
        Operation::Overwrite | Operation::Truncate => {
            vec![("numRemovedFiles", counts.removed), ("numRemovedBytes", counts.removed_bytes)]
        }
        Operation::Delete | Operation::Update => vec![
            ("numRemovedFiles", counts.removed),
            ("numRemovedBytes", counts.removed_bytes),
            ("numAddedFiles", counts.added),
            ("numAddedBytes", counts.added_bytes),
            ("numDeletionVectorsAdded", counts.vectors_added),
            ("numDeletionVectorsRemoved", counts.vectors_removed),
            ("numDeletionVectorsUpdated", counts.vectors_updated),
            ("numAddedChangeFiles", counts.change_files),
        ],
        Operation::Merge => vec![
            ("numTargetFilesAdded", counts.added),
            ("numTargetBytesAdded", counts.added_bytes),
            ("numTargetFilesRemoved", counts.removed),
            ("numTargetBytesRemoved", counts.removed_bytes),
            ("numTargetDeletionVectorsAdded", counts.vectors_added),
            ("numTargetDeletionVectorsRemoved", counts.vectors_removed),
            ("numTargetDeletionVectorsUpdated", counts.vectors_updated),
            ("numTargetChangeFilesAdded", counts.change_files),
        ],
    });
    metrics.into_iter().map(|(name, value)| (name, value.to_string())).collect()
}
