//! A change to a table as data: made by DML, committed by a format.

use std::collections::BTreeMap;

use super::data_file::NewDataFile;

/// Key in [`TableChange::summary`] of the id that tells this commit from all others. A format
/// stores it with the commit, so that an unknown outcome can be looked up.
pub const COMMIT_ID: &str = "auric.commit-id";

/// What kind of change it is (Iceberg `operation` of the snapshot summary, Delta `operation` of the
/// commit info).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `CREATE TABLE [AS]`: the table comes into being together with its first files.
    Create,
    /// Rows are only added.
    Append,
}

/// Files added to a table, plus what the commit records about them.
///
/// Row-level DML will add: files removed, deletion vectors added, metadata changed, and what the
/// change read (for conflict rules).
#[derive(Debug, Clone)]
pub struct TableChange {
    pub operation: Operation,
    pub added: Vec<NewDataFile>,
    /// Extra entries for the snapshot summary / commit info.
    pub summary: BTreeMap<String, String>,
}

impl TableChange {
    /// A change with a commit id of its own.
    pub fn new(operation: Operation, added: Vec<NewDataFile>) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        Self { operation, added, summary: BTreeMap::from([(COMMIT_ID.to_string(), id)]) }
    }

    /// The id that tells this commit from all others, if it was given one.
    pub fn commit_id(&self) -> Option<&str> {
        self.summary.get(COMMIT_ID).map(String::as_str)
    }
}
