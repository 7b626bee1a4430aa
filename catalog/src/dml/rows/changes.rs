//! What the input of a row-level statement says, batch by batch: positions to delete, and new rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
};
use arrow::compute::{filter, filter_record_batch, nullif};
use arrow::datatypes::{DataType, Field, Int8Type, Int32Type, Int64Type, Schema, SchemaRef};
use datafusion::execution::memory_pool::MemoryReservation;
use parking_lot::Mutex;
use roaring::RoaringTreemap;

use super::{RowAction, SecondChange};
use crate::error::{Error, Result};
use crate::table::RowCounts;

/// Neighbouring rows that are worth a look at all of their positions at once.
const LONG_RUN: usize = 16;

/// Rows that RETURNING is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnedRows {
    Changed,
    New,
}

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
    pub returned: ReturnedRows,
}

/// Collects the changes of one statement from all its tasks.
#[derive(Debug)]
pub struct Changes {
    columns: InputColumns,
    second_change: SecondChange,
    deleted: Mutex<HashMap<i32, RoaringTreemap>>,
    /// Those of them that are replaced, where somebody asks.
    updated: Option<Mutex<HashMap<i32, RoaringTreemap>>>,
    counts: Mutex<RowCounts>,
    returned: Mutex<Returned>,
}

/// The new rows of a batch of the input.
#[derive(Debug)]
pub struct NewRows {
    /// The table's columns, then, if rows have ids, row id and (unknown) sequence number.
    pub rows: RecordBatch,
    /// Which of them take the place of a row.
    pub updates: BooleanArray,
    /// File and position of those rows, in order.
    pub places: Vec<(i32, u64)>,
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
    /// Those of them that are replaced, if they were to be kept.
    pub updated: HashMap<i32, RoaringTreemap>,
    pub counts: RowCounts,
    pub returned: Vec<RecordBatch>,
    /// Accounts for `returned`.
    pub reservation: MemoryReservation,
}

impl Changes {
    /// `keeps_updates`: see [`Collected::updated`].
    pub fn new(
        columns: InputColumns,
        second_change: SecondChange,
        keeps_updates: bool,
        reservation: MemoryReservation,
    ) -> Self {
        Self {
            columns,
            second_change,
            deleted: Mutex::default(),
            updated: keeps_updates.then(Mutex::default),
            counts: Mutex::default(),
            returned: Mutex::new(Returned { batches: Vec::new(), reservation }),
        }
    }

    /// Notes the deletes of a batch and returns its new rows.
    ///
    /// Fails with `CardinalityViolation`; with a DataFusion error if RETURNING needs too much memory.
    pub fn record(&self, batch: &RecordBatch) -> Result<NewRows> {
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
        let (is_new, is_update) = (BooleanArray::from(is_new), BooleanArray::from(is_update));
        match self.columns.returned {
            ReturnedRows::Changed => self.keep_returned(batch, &BooleanArray::from(is_change))?,
            ReturnedRows::New => self.keep_returned(batch, &is_new)?,
        }
        let places = places(batch, &is_update)?;
        if let Some(updated) = &self.updated {
            let mut updated = updated.lock();
            // Neighbours in a file are noted at once.
            for run in places.chunk_by(|(file, position), next| *next == (*file, position + 1)) {
                if let (Some((file, first)), Some((_, last))) = (run.first(), run.last()) {
                    updated.entry(*file).or_default().insert_range(*first..=*last);
                }
            }
        }
        let rows = self.new_rows(batch, &is_new, &is_update)?;
        let updates = filter(&is_update, &is_new).map_err(internal)?.as_boolean().clone();
        Ok(NewRows { rows, updates, places })
    }

    /// The action of each row, those left out that come second for their target row.
    fn actions(&self, batch: &RecordBatch) -> Result<Vec<Option<RowAction>>> {
        let numbers = column(batch, self.columns.action)?.as_primitive_opt::<Int8Type>();
        let numbers = numbers.ok_or_else(|| Error::Internal("actions are not of type int8".into()))?;
        let (files, positions) = addresses(batch)?;
        let actions = numbers.iter().map(|number| number.map(RowAction::from_number).transpose());
        let mut actions = actions.collect::<Result<Vec<_>>>()?;
        let mut deleted = self.deleted.lock();
        let mut row = 0;
        while row < actions.len() {
            if !matches!(actions[row], Some(RowAction::Delete | RowAction::Update)) {
                row += 1;
                continue;
            }
            if files.is_null(row) || positions.is_null(row) {
                return Err(Error::Internal("a change of a row without an address".into()));
            }
            let (file, position) = (files.value(row), positions.value(row));
            let start = u64::try_from(position).map_err(|_| Error::Internal("a negative position".into()))?;
            // Rows come in the order of their files: neighbours are noted at once.
            let follows = |i: usize| {
                matches!(actions[i], Some(RowAction::Delete | RowAction::Update))
                    && files.is_valid(i)
                    && files.value(i) == file
                    && positions.is_valid(i)
                    && positions.value(i) == position.wrapping_add_unsigned((i - row) as u64)
            };
            let end = (row + 1..actions.len()).find(|i| !follows(*i)).unwrap_or(actions.len());
            let of_file = deleted.entry(file).or_default();
            let range = start..start + (end - row) as u64;
            if end - row >= LONG_RUN && of_file.range_cardinality(range.clone()) == 0 {
                of_file.insert_range(range);
                row = end;
                continue;
            }
            for (position, action) in range.zip(&mut actions[row..end]) {
                match (of_file.insert(position), self.second_change) {
                    (true, _) => {}
                    (false, SecondChange::Ignore) => *action = None,
                    (false, SecondChange::Refuse(command)) => {
                        return Err(Error::CardinalityViolation { command });
                    }
                }
            }
            row = end;
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

    fn keep_returned(&self, batch: &RecordBatch, is_returned: &BooleanArray) -> Result<()> {
        if self.columns.returning == 0 || is_returned.true_count() == 0 {
            return Ok(());
        }
        let first = self.columns.values + self.columns.table_columns;
        let columns: Vec<usize> = (first..first + self.columns.returning).collect();
        let rows = batch.project(&columns).map_err(internal)?;
        let rows = filter_record_batch(&rows, is_returned).map_err(internal)?;
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
            updated: self
                .updated
                .as_ref()
                .map(|updated| std::mem::take(&mut *updated.lock()))
                .unwrap_or_default(),
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

/// File and position of the rows chosen.
fn places(batch: &RecordBatch, chosen: &BooleanArray) -> Result<Vec<(i32, u64)>> {
    let (files, positions) = addresses(batch)?;
    let place = |row: usize| {
        let position = u64::try_from(positions.value(row));
        Ok((files.value(row), position.map_err(|_| Error::Internal("a negative position".into()))?))
    };
    chosen.values().set_indices().map(place).collect()
}

/// Files and positions.
fn addresses(batch: &RecordBatch) -> Result<(&Int32Array, &Int64Array)> {
    let files = column(batch, 0)?.as_primitive_opt::<Int32Type>();
    let positions = column(batch, 1)?.as_primitive_opt::<Int64Type>();
    files.zip(positions).ok_or_else(|| Error::Internal("row addresses are not numbers".into()))
}

fn column(batch: &RecordBatch, index: usize) -> Result<&ArrayRef> {
    let missing = || Error::Internal(format!("the input of a row-level change has no column {index}"));
    batch.columns().get(index).ok_or_else(missing)
}

fn internal(e: arrow::error::ArrowError) -> Error {
    Error::Internal(e.to_string())
}
