//! A change to a table as data: made by DML, committed by a format.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use super::alteration::Alteration;
use super::data_file::NewDataFile;
use super::deletes::NewRowDeletes;
use super::live_file::LiveFile;
use super::snapshot::TableSnapshot;

/// Key in [`TableChange::summary`] of the id that tells this commit from all others. A format
/// stores it with the commit, so that an unknown outcome can be looked up.
pub const COMMIT_ID: &str = "auric.commit-id";

/// What kind of change it is (Iceberg `operation` of the snapshot summary, Delta `operation` of the
/// commit info).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `CREATE TABLE [AS]`: the table comes into being together with its first files.
    Create,
    /// `CREATE OR REPLACE TABLE [AS]` of a table that exists.
    Replace,
    /// Rows are only added.
    Append,
    /// Partitions, or what a predicate selects, are replaced by new rows (`INSERT OVERWRITE`,
    /// `INSERT … REPLACE WHERE`).
    Overwrite,
    Delete,
    Truncate,
    Update,
    Merge,
    /// `ALTER TABLE`: no row changes.
    Alter,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "CREATE TABLE",
            Self::Replace => "CREATE OR REPLACE TABLE",
            Self::Append => "INSERT",
            Self::Overwrite => "INSERT OVERWRITE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::Update => "UPDATE",
            Self::Merge => "MERGE",
            Self::Alter => "ALTER TABLE",
        })
    }
}

/// What the outcome of a change depends on, besides the files that it removes or marks: a commit that
/// adds, removes or marks files in here conflicts under [`Isolation::Serializable`].
#[derive(Debug, Clone, Default, PartialEq)]
pub enum ReadSet {
    /// Nothing of the table was read.
    #[default]
    Nothing,
    /// Rows for which all these predicates over the table's columns may be true. None: every row.
    Filters(Vec<Expr>),
    /// Rows of these partitions: spec id and partition values.
    Partitions(Vec<(i32, Vec<ScalarValue>)>),
    /// The version as such: any other version of the rows conflicts, whatever the isolation, also one with
    /// the same files.
    Version,
}

/// Isolation of a change against commits since the version it was made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Isolation {
    /// As if all statements had run one after the other.
    #[default]
    Serializable,
    /// Rows that another commit added without having read the table do not conflict (Delta:
    /// `WriteSerializable`).
    WriteSerializable,
    /// Rows added meanwhile do not conflict; files that the change removes or marks must be unchanged.
    Snapshot,
}

/// How many rows a statement changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Rows copied unchanged from rewritten files.
    pub copied: u64,
}

/// Files added, removed and marked, what was read to find them, and what the commit records.
///
/// Invariants: a file is not both in `removed` and in `deletes`; every path in them is live in the
/// version that the change was made against.
#[derive(Debug, Clone)]
pub struct TableChange {
    pub operation: Operation,
    pub added: Vec<NewDataFile>,
    /// Files that are no longer part of the table; their deletes go with them.
    pub removed: Vec<Arc<LiveFile>>,
    /// Rows deleted from files that stay, already stored by
    /// [`Format::write_deletes`](crate::format::Format::write_deletes).
    pub deletes: Vec<NewRowDeletes>,
    /// Every row that is inserted, deleted or updated (as it was and as it becomes), for a table that
    /// keeps a change data feed ([`Format::change_feed`](crate::format::Format::change_feed)). No data
    /// files of the table.
    pub change_files: Vec<NewDataFile>,
    /// What becomes of the table itself, in order.
    pub alterations: Vec<Alteration>,
    /// The table becomes this one, staged by
    /// [`Format::stage_replacement`](crate::format::Format::stage_replacement): whatever rows it has go, those of
    /// `added` are all that it then has.
    pub replacement: Option<Arc<TableSnapshot>>,
    pub read: ReadSet,
    pub isolation: Isolation,
    pub rows: RowCounts,
    /// What the statement asked for, as Delta's `operationParameters` name it (`predicate`, …);
    /// values are plain text.
    pub parameters: BTreeMap<String, String>,
    /// A commit with the same id is made once: one that is there already refuses this one.
    pub once: bool,
    /// Extra entries for the snapshot summary / commit info.
    pub summary: BTreeMap<String, String>,
}

impl TableChange {
    /// A change with a commit id of its own that only adds files.
    pub fn new(operation: Operation, added: Vec<NewDataFile>) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        let rows = RowCounts { inserted: added.iter().map(|f| f.record_count).sum(), ..Default::default() };
        Self {
            operation,
            added,
            removed: Vec::new(),
            deletes: Vec::new(),
            change_files: Vec::new(),
            alterations: Vec::new(),
            replacement: None,
            read: ReadSet::Nothing,
            isolation: Isolation::default(),
            rows,
            parameters: BTreeMap::new(),
            once: false,
            summary: BTreeMap::from([(COMMIT_ID.to_string(), id)]),
        }
    }

    /// The id that tells this commit from all others, if it was given one.
    pub fn commit_id(&self) -> Option<&str> {
        self.summary.get(COMMIT_ID).map(String::as_str)
    }

    /// Whether no row is added, none is taken away, nothing is altered, and nothing is to be recorded.
    pub fn is_empty(&self) -> bool {
        let tells = self.summary.keys().any(|key| key != COMMIT_ID);
        !self.changes_rows() && self.alterations.is_empty() && self.replacement.is_none() && !tells
    }

    /// Whether a row is added or taken away.
    pub fn changes_rows(&self) -> bool {
        !(self.added.is_empty() && self.removed.is_empty() && self.deletes.is_empty())
    }

    /// Paths of the files that this change removes or marks.
    pub fn touched(&self) -> impl Iterator<Item = &Arc<LiveFile>> {
        self.removed.iter().chain(self.deletes.iter().map(|d| &d.file))
    }

    /// Paths of all files written for this change and not used by anything else yet.
    pub fn written_paths(&self) -> Vec<String> {
        let deletes = self.deletes.iter().map(|d| d.stored.path());
        let files = self.added.iter().chain(&self.change_files).map(|file| file.path.as_str());
        let mut paths: Vec<String> = files.chain(deletes).map(str::to_string).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}
