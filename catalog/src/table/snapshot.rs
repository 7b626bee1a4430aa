//! One version of one table.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::constraint::CheckConstraint;
use super::data_file::FileList;
use super::definition::TableFormat;
use super::deletes::DeleteIndex;
use super::partition::{PartitionSpec, SortOrder};
use super::row_lineage::RowLineage;
use super::schema::TableSchema;
use super::statistics::StatisticsTable;
use crate::error::Result;

/// Identifies a version of a table: two reads of a table saw the same rows if their versions are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TableVersion {
    /// Not committed anywhere: CREATE TABLE in progress, or a table with the changes of a transaction
    /// that is not over. Such versions are never the same.
    Unpublished,
    /// Location of the metadata file and the current snapshot's id (`None`: no snapshot yet).
    Iceberg {
        metadata_location: String,
        snapshot_id: Option<i64>,
    },
    Delta {
        version: u64,
    },
}

/// One version of a table: all of it that is not in data files.
#[derive(Debug)]
pub struct TableSnapshot {
    pub format: TableFormat,
    /// Protocol level for people: `v2`, `reader 3, writer 7`.
    pub format_version: String,
    /// Root location (URL without trailing slash).
    pub location: String,
    /// The table's own UUID / id, stable over its life.
    pub table_id: String,
    pub version: TableVersion,
    pub schema: Arc<TableSchema>,
    /// All specs that files of this snapshot may use, by id.
    pub partition_specs: BTreeMap<i32, Arc<PartitionSpec>>,
    /// Spec of new files.
    pub default_spec: Arc<PartitionSpec>,
    pub sort_order: Arc<SortOrder>,
    pub properties: BTreeMap<String, String>,
    /// What rows must satisfy besides NOT NULL. A commit takes it that added rows do.
    pub constraints: Vec<CheckConstraint>,
    pub comment: Option<String>,
    /// Rows have identities that outlive updates: where files keep them.
    pub row_lineage: Option<RowLineage>,
    /// When this version was committed, milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    /// The files, read on demand.
    pub files: Arc<dyn SnapshotFiles>,
    /// What the format needs to commit on top of this snapshot. Private to the format.
    pub state: Arc<dyn std::any::Any + Send + Sync>,
}

impl TableSnapshot {
    /// What to look at to learn that this is still the current version, if the catalog's entry does not tell
    /// that. `None`: nothing can be looked at without asking the store.
    pub fn commit_watch(&self) -> Option<CommitWatch> {
        self.files.commit_watch()
    }
}

/// Two files of a log on this machine, by which a version is known to be the current one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitWatch {
    /// The commit of the version, as it was when it was read: another table may take the place.
    pub commit: PathBuf,
    pub modified: DateTime<Utc>,
    /// Bytes.
    pub size: u64,
    /// What the next commit will be.
    pub next: PathBuf,
}

impl CommitWatch {
    /// `false` also where that cannot be told.
    pub fn is_current(&self) -> bool {
        let is_same = |found: std::fs::Metadata| {
            found.len() == self.size
                && found.modified().is_ok_and(|modified| DateTime::<Utc>::from(modified) == self.modified)
        };
        std::fs::metadata(&self.commit).is_ok_and(is_same) && matches!(self.next.try_exists(), Ok(false))
    }
}

/// Lists of files that can be pruned by their summaries before they are read.
#[derive(Debug, Clone)]
pub struct FileListIndex {
    /// One group per partition spec (lists of one group share it): summaries, and for each the
    /// number to hand to [`SnapshotFiles::file_list`].
    pub groups: Vec<(StatisticsTable, Vec<usize>)>,
}

/// Access to the files of a snapshot. Everything returned is immutable and comes from a cache when warm.
#[async_trait]
pub trait SnapshotFiles: Debug + Send + Sync {
    async fn index(&self) -> Result<Arc<FileListIndex>>;
    /// One list of the index.
    async fn file_list(&self, number: usize) -> Result<Arc<FileList>>;
    /// Delete files of the snapshot (empty for Delta).
    async fn deletes(&self) -> Result<Arc<DeleteIndex>>;
    /// See [`TableSnapshot::commit_watch`].
    fn commit_watch(&self) -> Option<CommitWatch> {
        None
    }
    /// Whether a data file is one that the running transaction has written: rows are not deleted from
    /// it, it is replaced.
    fn is_uncommitted(&self, _path: &str) -> bool {
        false
    }
}
