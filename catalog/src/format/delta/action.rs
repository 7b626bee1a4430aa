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
    pub operation_parameters: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_version: Option<u64>,
    pub is_blind_append: bool,
    pub operation_metrics: BTreeMap<&'a str, String>,
    pub engine_info: String,
    /// Random: tells our own commit from somebody else's at the same version.
    pub txn_id: String,
    /// What the change's author wants recorded.
    #[serde(flatten)]
    pub summary: BTreeMap<String, String>,
}

impl CommitInfo<'_> {
    /// Names that `summary` must leave alone: JSON readers disagree on repeated keys.
    pub const FIELDS: [&'static str; 9] = [
        "timestamp",
        "inCommitTimestamp",
        "operation",
        "operationParameters",
        "readVersion",
        "isBlindAppend",
        "operationMetrics",
        "engineInfo",
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
    pub base_row_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_row_commit_version: Option<u64>,
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
