//! The actions that we write (Delta protocol, "Actions"), one JSON object a line. Reading them is the
//! kernel's work.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{Error, Result};

/// One line of a commit file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Action<'a> {
    CommitInfo(CommitInfo<'a>),
    Protocol(&'a Protocol),
    MetaData(&'a Metadata),
    Add(Add),
    Remove(Remove),
    Cdc(ChangeFile),
    DomainMetadata(DomainMetadata),
}

/// Provenance of a commit. First in its file: readers of in-commit timestamps rely on that.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommitInfo<'a> {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_commit_timestamp: Option<i64>,
    pub operation: &'a str,
    pub operation_parameters: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_version: Option<u64>,
    pub isolation_level: &'a str,
    pub is_blind_append: bool,
    pub operation_metrics: BTreeMap<&'a str, String>,
    pub engine_info: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<&'a str, &'a str>>,
    /// Random: tells our own commit from somebody else's at the same version.
    pub txn_id: String,
    /// What the change's author wants recorded.
    #[serde(flatten)]
    pub summary: BTreeMap<String, String>,
}

impl CommitInfo<'_> {
    /// Names that `summary` must leave alone: JSON readers disagree on repeated keys.
    pub const FIELDS: [&'static str; 11] = [
        "timestamp",
        "inCommitTimestamp",
        "operation",
        "operationParameters",
        "readVersion",
        "isolationLevel",
        "isBlindAppend",
        "operationMetrics",
        "engineInfo",
        "tags",
        "txnId",
    ];
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub min_reader_version: i32,
    pub min_writer_version: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reader_features: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer_features: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub format: FileFormat,
    pub schema_string: String,
    pub partition_columns: Vec<String>,
    /// Milliseconds since the epoch.
    pub created_time: Option<i64>,
    pub configuration: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FileFormat {
    pub provider: &'static str,
    pub options: BTreeMap<String, String>,
}

impl FileFormat {
    pub const PARQUET: Self = Self { provider: "parquet", options: BTreeMap::new() };
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    /// URL-encoded; relative to the table's root where the file is below it.
    pub path: String,
    /// By physical column name; `None` is a null.
    pub partition_values: BTreeMap<String, Option<String>>,
    pub size: u64,
    /// Milliseconds since the epoch.
    pub modification_time: i64,
    pub data_change: bool,
    /// JSON text inside the JSON.
    pub stats: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Option<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_vector: Option<DeletionVectorDescriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_row_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_row_commit_version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clustering_provider: Option<String>,
    /// Rows in the file, deleted ones counted: how many row ids it takes.
    #[serde(skip)]
    pub record_count: u64,
}

/// What a version no longer has. With a deletion vector it names the file only as it was with it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    /// As the `add` has it.
    pub path: String,
    /// Milliseconds since the epoch.
    pub deletion_timestamp: i64,
    pub data_change: bool,
    /// Partition values, size and tags are given.
    pub extended_file_metadata: bool,
    pub partition_values: BTreeMap<String, Option<String>>,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Option<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_vector: Option<DeletionVectorDescriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_row_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_row_commit_version: Option<i64>,
}

/// A file of the change data feed (Delta protocol, "Add CDC File").
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeFile {
    /// As an `add` has it.
    pub path: String,
    pub partition_values: BTreeMap<String, Option<String>>,
    pub size: u64,
    /// False: the file holds no data of the table.
    pub data_change: bool,
}

/// Where a deletion vector is (Delta protocol, "Deletion Vector Descriptor Schema").
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeletionVectorDescriptor {
    /// `u`: file named by a uuid below the root, `p`: file by its path, `i`: in the log itself.
    pub storage_type: String,
    pub path_or_inline_dv: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Without length prefix and checksum.
    pub size_in_bytes: u64,
    pub cardinality: u64,
}

impl DeletionVectorDescriptor {
    /// What tells it from other vectors of the same file (Delta protocol, "Action Reconciliation").
    pub fn unique_id(&self) -> String {
        let Self { storage_type, path_or_inline_dv, .. } = self;
        match self.offset {
            Some(offset) => format!("{storage_type}{path_or_inline_dv}@{offset}"),
            None => format!("{storage_type}{path_or_inline_dv}"),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct DomainMetadata {
    pub domain: &'static str,
    /// JSON text inside the JSON.
    pub configuration: String,
    pub removed: bool,
}

/// A commit file's text.
pub(super) fn to_json_lines(actions: &[Action<'_>]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut lines, action)
            .map_err(|e| Error::Internal(format!("could not encode a Delta action: {e}")))?;
        lines.push(b'\n');
    }
    Ok(lines)
}
