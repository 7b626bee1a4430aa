//! What a statement did, or (`EXPLAIN (IMPACT)`) would do.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Result};
use crate::table::{PartitionSpec, TableChange};

/// Rows, files and bytes of one statement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Impact {
    pub rows_inserted: u64,
    pub rows_updated: u64,
    pub rows_deleted: u64,
    /// Rows copied unchanged because their file is rewritten.
    pub rows_copied: u64,
    pub files_added: u64,
    /// Files taken out of the table: rewritten, replaced, or left without rows.
    pub files_removed: u64,
    /// Files that get a deletion vector or a position delete file.
    pub files_marked: u64,
    /// Partitions with a file added, removed or marked.
    pub partitions: u64,
    pub bytes_added: u64,
    pub bytes_removed: u64,
}

const FIELDS: [&str; 10] = [
    "rows_inserted",
    "rows_updated",
    "rows_deleted",
    "rows_copied",
    "files_added",
    "files_removed",
    "files_marked",
    "partitions",
    "bytes_added",
    "bytes_removed",
];

/// One `UInt64` column for each field of [`Impact`], under its name.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(FIELDS.map(|name| Field::new(name, DataType::UInt64, false)).to_vec()))
}

impl Impact {
    /// What a change does to its table.
    pub fn of(change: &TableChange) -> Result<Self> {
        let mut partitions = HashSet::new();
        let mut count = |spec: &PartitionSpec, values: &[ScalarValue]| -> Result<()> {
            // The same value may be a string in one place and a view of one in another.
            let values = values.iter().zip(&spec.fields);
            let values = values.map(|(value, field)| field.typed(value.clone()));
            partitions.insert((spec.spec_id, values.collect::<Result<Vec<_>>>()?));
            Ok(())
        };
        for file in &change.added {
            count(&file.spec, &file.partition)?;
        }
        for file in change.touched() {
            count(file.spec(), &file.partition()?)?;
        }
        let mut bytes_removed = 0;
        for file in &change.removed {
            bytes_removed += file.file()?.size_bytes;
        }
        Ok(Self {
            rows_inserted: change.rows.inserted,
            rows_updated: change.rows.updated,
            rows_deleted: change.rows.deleted,
            rows_copied: change.rows.copied,
            files_added: change.added.len() as u64,
            files_removed: change.removed.len() as u64,
            files_marked: change.deletes.len() as u64,
            partitions: partitions.len() as u64,
            bytes_added: change.added.iter().map(|f| f.size_bytes).sum(),
            bytes_removed,
        })
    }

    /// Rows inserted, updated and deleted: the count of the command tag.
    pub fn rows_changed(&self) -> u64 {
        self.rows_inserted + self.rows_updated + self.rows_deleted
    }

    fn values(&self) -> [u64; 10] {
        [
            self.rows_inserted,
            self.rows_updated,
            self.rows_deleted,
            self.rows_copied,
            self.files_added,
            self.files_removed,
            self.files_marked,
            self.partitions,
            self.bytes_added,
            self.bytes_removed,
        ]
    }

    /// Names and values, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
        FIELDS.into_iter().zip(self.values())
    }

    /// As one row of [`schema`].
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let columns = self.values().map(|value| Arc::new(UInt64Array::from(vec![value])) as ArrayRef);
        RecordBatch::try_new(schema(), columns.to_vec()).map_err(|e| Error::Internal(e.to_string()))
    }

    /// From one row of [`schema`]. `None`: it is something else.
    pub fn from_batch(batch: &RecordBatch) -> Option<Self> {
        if batch.num_rows() != 1 || batch.num_columns() != FIELDS.len() {
            return None;
        }
        let value = |i: usize| batch.column(i).as_any().downcast_ref::<UInt64Array>().map(|a| a.value(0));
        Some(Self {
            rows_inserted: value(0)?,
            rows_updated: value(1)?,
            rows_deleted: value(2)?,
            rows_copied: value(3)?,
            files_added: value(4)?,
            files_removed: value(5)?,
            files_marked: value(6)?,
            partitions: value(7)?,
            bytes_added: value(8)?,
            bytes_removed: value(9)?,
        })
    }
}
