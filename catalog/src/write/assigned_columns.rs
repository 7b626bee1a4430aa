//! The columns that a statement assigns to rows whose other values come from their files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{interleave, nullif};
use arrow::datatypes::SchemaRef;

use super::conform::{conform, conform_column};
use super::file_schema::FileSchema;
use crate::error::{Error, Result};

/// Columns of a table, with their values as its files store them.
#[derive(Debug, Clone)]
pub struct AssignedColumns {
    /// Name of the table, for messages.
    table: String,
    schema: Arc<FileSchema>,
    /// Numbers among the table's columns, ascending.
    columns: Vec<usize>,
    /// Of [`Self::values`].
    values: SchemaRef,
}

impl AssignedColumns {
    /// Fails with `Internal` if the table has no such column.
    pub fn new(table: &str, schema: &Arc<FileSchema>, columns: &BTreeSet<usize>) -> Result<Self> {
        let columns: Vec<usize> = columns.iter().copied().collect();
        let values = schema.physical.project(&columns).map_err(|e| Error::Internal(e.to_string()))?;
        Ok(Self { table: table.to_string(), schema: schema.clone(), columns, values: Arc::new(values) })
    }

    /// Schema of [`Self::values`].
    pub fn schema(&self) -> &SchemaRef {
        &self.values
    }

    /// Schema of [`Self::put`].
    pub fn row_schema(&self) -> &SchemaRef {
        &self.schema.physical
    }

    /// These columns of rows of the table, as files store them. Fails as writing the rows does.
    pub fn values(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let missing = |column| Error::Internal(format!("new rows of {} have no column {column}", self.table));
        let values = self.columns.iter().map(|column| {
            let values = rows.columns().get(*column).ok_or_else(|| missing(column))?;
            conform_column(values, &self.schema, *column, &self.table)
        });
        batch(self.values.clone(), values.collect::<Result<_>>()?, rows.num_rows())
    }

    /// `values` by number of the stored column.
    pub fn by_stored_column(&self, values: &RecordBatch) -> BTreeMap<usize, ArrayRef> {
        let stored = |column| self.schema.stored.iter().position(|stored| stored == column);
        let columns = self.columns.iter().zip(values.columns());
        columns.filter_map(|(column, values)| Some((stored(column)?, values.clone()))).collect()
    }

    /// Rows of the table as it writes them, with the values of `places` in the places of old ones: number of the
    /// row, and of its values. Such a row has its id, and was changed last by the commit that is to come.
    pub fn put(
        &self,
        rows: &RecordBatch,
        values: Option<&RecordBatch>,
        places: &[(usize, usize)],
    ) -> Result<RecordBatch> {
        let rows = conform(rows, &self.schema, &self.table)?;
        let Some(values) = values.filter(|_| !places.is_empty()) else { return Ok(rows) };
        let mut which: Vec<(usize, usize)> = (0..rows.num_rows()).map(|row| (0, row)).collect();
        for (row, value) in places {
            let no_row = || Error::Internal(format!("there is no row {row} to be changed"));
            *which.get_mut(*row).ok_or_else(no_row)? = (1, *value);
        }
        let mut columns = rows.columns().to_vec();
        for (column, new) in self.columns.iter().zip(values.columns()) {
            if let Some(old) = columns.get_mut(*column) {
                let both: [&dyn Array; 2] = [old.as_ref(), new.as_ref()];
                *old = interleave(&both, &which).map_err(|e| Error::Internal(e.to_string()))?;
            }
        }
        if let Some(last_change) = self.schema.last_change().and_then(|column| columns.get_mut(column)) {
            let is_new: BooleanArray = which.iter().map(|(side, _)| Some(*side == 1)).collect();
            *last_change = nullif(last_change, &is_new).map_err(|e| Error::Internal(e.to_string()))?;
        }
        batch(rows.schema(), columns, rows.num_rows())
    }
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(|e| Error::Internal(e.to_string()))
}
