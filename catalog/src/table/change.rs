//! A change to a table as data: made by DML, committed by a format.

use std::collections::BTreeMap;

use super::data_file::NewDataFile;

/// What kind of change it is (Iceberg `operation` of the snapshot summary, Delta `operation` of the
/// commit info).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// CREATE TABLE [AS]: the table comes into being together with its first files.
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
