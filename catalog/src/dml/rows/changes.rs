//! What the input of a row-level statement says, batch by batch: positions to delete, and new rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{filter_record_batch, nullif};
use arrow::datatypes::{DataType, Field, Int8Type, Int32Type, Int64Type, Schema, SchemaRef};
use datafusion::execution::memory_pool::MemoryReservation;
use parking_lot::Mutex;
use roaring::RoaringTreemap;

use super::{RowAction, SecondChange};
use crate::error::{Error, Result};
use crate::table::RowCounts;

/// Where things are in a batch of the input.
#[derive(Debug, Clone, Copy)]
pub struct InputColumns {
    /// Number of the column of row ids, if rows have them.
    pub row_id: Option<usize>,
    pub action: usize,
    /// Columns of the table: from here, as many.
    pub values: usize,
    pub table_columns: usize,
    /// Trailing columns of RETURNING.
    pub returning: usize,
}

/// Collects the changes of one statement from all its tasks.
#[derive(Debug)]
pub struct Changes {
    columns: InputColumns,
    second_change: SecondChange,
    deleted: Mutex<HashMap<i32, RoaringTreemap>>,
    counts: Mutex<RowCounts>,
    returned: Mutex<Returned>,
}

/// Rows of RETURNING, which wait for the commit.
#[derive(Debug)]
struct Returned {
    batches: Vec<RecordBatch>,
    reservation: MemoryReservation,
}

/// All changes of a statement.
#[derive(Debug)]
pub struct Collected {
    /// Positions by number of the file.
    pub deleted: HashMap<i32, RoaringTreemap>,
    pub counts: RowCounts,
    pub returned: Vec<RecordBatch>,
    /// Accounts for `returned`.
    pub reservation: MemoryReservation,
}

impl Changes {
    pub fn new(columns: InputColumns, second_change: SecondChange, reservation: MemoryReservation) -> Self {
        Self {
            columns,
            second_change,
            deleted: Mutex::default(),
            counts: Mutex::default(),
            returned: Mutex::new(Returned { batches: Vec::new(), reservation }),
        }
    }

    /// Notes the deletes of a batch and returns its new rows: the table's columns, then, if rows have
    /// ids, row id and (unknown) sequence number.
    ///
    /// Fails with `CardinalityViolation`; with a DataFusion error if RETURNING needs too much memory.
    pub fn record(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let actions = self.actions(batch)?;
        let mut counts = RowCounts::default();
        let mut is_change = Vec::with_capacity(actions.len());
        let mut is_new = Vec::with_capacity(actions.len());
        let mut is_update = Vec::with_capacity(actions.len());
        for action in actions {
            match action {
                Some(RowAction::Delete) => counts.deleted += 1,
                Some(RowAction::Update) => counts.updated += 1,
                Some(RowAction::Insert) => counts.inserted += 1,
                None => {}
            }
            is_change.push(action.is_some());
            is_new.push(matches!(action, Some(RowAction::Update | RowAction::Insert)));
            is_update.push(action == Some(RowAction::Update));
        }
        {
            let mut total = self.counts.lock();
            total.inserted += counts.inserted;
            total.updated += counts.updated;
            total.deleted += counts.deleted;
        }
        self.keep_returned(batch, &BooleanArray::from(is_change))?;
        self.new_rows(batch, &BooleanArray::from(is_new), &BooleanArray::from(is_update))
    }

    /// The action of each row, those left out that come second for their target row.
    fn actions(&self, batch: &RecordBatch) -> Result<Vec<Option<RowAction>>> {
        let numbers = column(batch, self.columns.action)?.as_primitive_opt::<Int8Type>();
        let numbers = numbers.ok_or_else(|| Error::Internal("actions are not of type int8".into()))?;
        let files = column(batch, 0)?.as_primitive_opt::<Int32Type>();
        let positions = column(batch, 1)?.as_primitive_opt::<Int64Type>();
        let (Some(files), Some(positions)) = (files, positions) else {
            return Err(Error::Internal("row addresses are not numbers".into()));
        };
        let mut actions = Vec::with_capacity(numbers.len());
        let mut deleted = self.deleted.lock();
        for row in 0..numbers.len() {
            let action = match numbers.is_valid(row).then(|| numbers.value(row)) {
                None => None,
                Some(n) => Some(RowAction::from_number(n)?),
            };
            let changes_target = matches!(action, Some(RowAction::Delete | RowAction::Update));
            if !changes_target {
                actions.push(action);
                continue;
            }
            if files.is_null(row) || positions.is_null(row) {
                return Err(Error::Internal("a change of a row without an address".into()));
            }
            let position = u64::try_from(positions.value(row))
                .map_err(|_| Error::Internal("a negative row position".into()))?;
            let first = deleted.entry(files.value(row)).or_default().insert(position);
            actions.push(match (first, self.second_change) {
                (true, _) => action,
                (false, SecondChange::Ignore) => None,
                (false, SecondChange::Refuse(command)) => {
                    return Err(Error::CardinalityViolation { command });
                }
            });
        }
        Ok(actions)
    }

    fn new_rows(
        &self,
        batch: &RecordBatch,
        is_new: &BooleanArray,
        is_update: &BooleanArray,
    ) -> Result<RecordBatch> {
        let InputColumns { values, table_columns, row_id, .. } = self.columns;
        let mut columns: Vec<ArrayRef> =
            (values..values + table_columns).map(|i| column(batch, i).cloned()).collect::<Result<_>>()?;
        if let Some(row_id) = row_id {
            let inserted = arrow::compute::not(is_update).map_err(internal)?;
            columns.push(nullif(column(batch, row_id)?, &inserted).map_err(internal)?);
            columns.push(Arc::new(Int64Array::new_null(batch.num_rows())));
        }
        let rows = batch_of(columns, batch.num_rows())?;
        if is_new.true_count() == is_new.len() {
            return Ok(rows);
        }
        filter_record_batch(&rows, is_new).map_err(internal)
    }

    fn keep_returned(&self, batch: &RecordBatch, is_change: &BooleanArray) -> Result<()> {
        if self.columns.returning == 0 || is_change.true_count() == 0 {
            return Ok(());
        }
        let first = self.columns.values + self.columns.table_columns;
        let columns: Vec<usize> = (first..first + self.columns.returning).collect();
        let rows = batch.project(&columns).map_err(internal)?;
        let rows = filter_record_batch(&rows, is_change).map_err(internal)?;
        let mut returned = self.returned.lock();
        returned.reservation.try_grow(rows.get_array_memory_size())?;
        returned.batches.push(rows);
        Ok(())
    }

    /// Everything collected so far, which is then forgotten.
    pub fn take(&self) -> Collected {
        let mut returned = self.returned.lock();
        let reservation = returned.reservation.take();
        Collected {
            deleted: std::mem::take(&mut *self.deleted.lock()),
            counts: std::mem::take(&mut *self.counts.lock()),
            returned: std::mem::take(&mut returned.batches),
            reservation,
        }
    }
}

/// Columns without names of their own: writers go by position.
fn batch_of(columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema_of(&columns), columns, &options).map_err(internal)
}

fn schema_of(columns: &[ArrayRef]) -> SchemaRef {
    let field =
        |(i, values): (usize, &ArrayRef)| Field::new(format!("c{i}"), values.data_type().clone(), true);
    Arc::new(Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>()))
}

/// Schema of the new rows that [`Changes::record`] returns.
pub fn new_rows_schema(table: &Schema, lineage: bool) -> SchemaRef {
    let mut types: Vec<DataType> = table.fields().iter().map(|f| f.data_type().clone()).collect();
    if lineage {
        types.extend([DataType::Int64, DataType::Int64]);
    }
    let fields = types.into_iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), t, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn column(batch: &RecordBatch, index: usize) -> Result<&ArrayRef> {
    let missing = || Error::Internal(format!("the input of a row-level change has no column {index}"));
    batch.columns().get(index).ok_or_else(missing)
}

fn internal(e: arrow::error::ArrowError) -> Error {
    Error::Internal(e.to_string())
}
