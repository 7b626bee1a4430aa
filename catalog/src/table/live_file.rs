//! A live data file with what a change needs to know to remove it or to delete rows from it.

use std::sync::Arc;

use arrow::array::Array;
use datafusion::scalar::ScalarValue;

use super::data_file::{DataFile, FileList};
use super::deletes::FileDeletes;
use super::partition::PartitionSpec;
use crate::error::{Error, Result};

/// One file of a version: a row of a shared file list, and the deletes that apply to it.
#[derive(Debug, Clone)]
pub struct LiveFile {
    pub list: Arc<FileList>,
    pub row: usize,
    /// [`DataFile::deletion_vector`] included.
    pub deletes: FileDeletes,
}

impl LiveFile {
    /// Fails with `Internal` if the list has no such row.
    pub fn file(&self) -> Result<&DataFile> {
        let missing = || Error::Internal(format!("file {} of a list of {}", self.row, self.list.files.len()));
        self.list.files.get(self.row).ok_or_else(missing)
    }

    pub fn path(&self) -> &str {
        self.list.files.get(self.row).map_or("", |file| file.path.as_str())
    }

    pub fn spec(&self) -> &Arc<PartitionSpec> {
        self.list.spec()
    }

    /// Partition values, one for each field of the spec.
    pub fn partition(&self) -> Result<Vec<ScalarValue>> {
        let value = |bounds: &super::statistics::PartitionBounds| match self.row < bounds.lower.len() {
            true => Ok(ScalarValue::try_from_array(&bounds.lower, self.row)?),
            false => Err(Error::Internal(format!("{} has no partition values", self.path()))),
        };
        self.list.stats.partitions.iter().map(value).collect()
    }
}
