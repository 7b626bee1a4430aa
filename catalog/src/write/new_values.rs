//! New values of rows that stay in their places: which columns of a row group they change, and what those become.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::{interleave, nullif};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection};

use super::source::{GroupBytes, Source};
use crate::error::{Error, Result};

/// Rows that are decoded at a time.
pub const BATCH_ROWS: usize = 8_192;

/// New values of some rows of a row group.
#[derive(Debug)]
pub struct NewValues {
    /// Which rows, counted from the row group's first; ascending.
    pub rows: Vec<usize>,
    /// A value for each, by number of the stored column; other columns keep their values. None of row lineage.
    pub values: BTreeMap<usize, ArrayRef>,
}

/// The values of a column, in the order of their rows.
pub type Values<'a> = Box<dyn Iterator<Item = Result<ArrayRef>> + Send + 'a>;

impl NewValues {
    /// The values of a column where no row stays but those that have a new one.
    pub fn only(&self, column: usize) -> Result<Values<'static>> {
        let values = self.of(column)?.clone();
        let starts = (0..values.len()).step_by(BATCH_ROWS);
        Ok(Box::new(starts.map(move |start| Ok(values.slice(start, BATCH_ROWS.min(values.len() - start))))))
    }

    /// `old`, the values of a column in all rows of the row group, with the new ones in their places.
    pub fn put<'n>(&'n self, column: usize, old: Values<'n>) -> Result<Values<'n>> {
        let values = self.of(column)?;
        Ok(self.changed(old, |old, first, places, used| {
            replace(old, first, places, &values.slice(used, places.len()))
        }))
    }

    /// `old`, the values of a column in all rows of the row group, without those of rows that have new values.
    pub fn nulled<'n>(&'n self, old: Values<'n>) -> Values<'n> {
        self.changed(old, |old, first, places, _| {
            let mut is_new = vec![false; old.len()];
            for place in places {
                if let Some(is_new) = is_new.get_mut(place.saturating_sub(first)) {
                    *is_new = true;
                }
            }
            nullif(old, &BooleanArray::from(is_new)).map_err(|e| Error::DataFusion(e.into()))
        })
    }

    /// `change` gets some values, the number of the first one's row, those of the rows that have new values, and how
    /// many had one before.
    fn changed<'n>(
        &'n self,
        old: Values<'n>,
        change: impl Fn(&ArrayRef, usize, &[usize], usize) -> Result<ArrayRef> + Send + 'n,
    ) -> Values<'n> {
        let (mut first, mut used) = (0, 0);
        Box::new(old.map(move |old| {
            let old = old?;
            let end = first + old.len();
            let ahead = self.rows.get(used..).unwrap_or_default();
            let places = ahead.get(..ahead.partition_point(|row| *row < end)).unwrap_or_default();
            let changed = change(&old, first, places, used)?;
            first = end;
            used += places.len();
            Ok(changed)
        }))
    }

    fn of(&self, column: usize) -> Result<&ArrayRef> {
        let missing = || Error::Internal(format!("there are no new values for column {column}"));
        self.values.get(&column).ok_or_else(missing)
    }
}

/// A stored column of a row group, its bytes read.
pub struct StoredColumn<'a> {
    pub source: &'a Source,
    pub group: usize,
    pub bytes: &'a GroupBytes,
    pub column: usize,
}

impl StoredColumn<'_> {
    /// Whether the new values are those that are there, to the bit.
    pub fn has(&self, new: &NewValues) -> Result<bool> {
        let Some(values) = new.values.get(&self.column) else { return Ok(true) };
        let total = usize::try_from(self.source.group_rows(self.group)?).unwrap_or(usize::MAX);
        let rows = RowSelection::from_consecutive_ranges(runs(&new.rows).into_iter(), total);
        let mut seen = 0;
        for old in self.read(Some(rows))? {
            let old = old?;
            let end = seen + old.len();
            if end > values.len() || *old != *values.slice(seen, old.len()) {
                return Ok(false);
            }
            seen = end;
        }
        match seen == values.len() {
            true => Ok(true),
            false => Err(Error::Internal(format!("{seen} rows of {} to be compared", values.len()))),
        }
    }

    /// The column's values, of all rows or of some.
    pub fn read(&self, rows: Option<RowSelection>) -> Result<Values<'static>> {
        let leaves = self.source.footer().file_metadata().schema_descr();
        let metadata = self.source.as_written()?.clone();
        let mut reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), metadata)
            .with_row_groups(vec![self.group])
            .with_projection(ProjectionMask::roots(leaves, [self.column]))
            .with_batch_size(BATCH_ROWS);
        if let Some(rows) = rows {
            reader = reader.with_row_selection(rows);
        }
        let batches = reader.build().map_err(|e| Error::DataFusion(e.into()))?;
        Ok(Box::new(batches.map(|batch| {
            let batch = batch.map_err(|e| Error::DataFusion(e.into()))?;
            let column = batch.columns().first().cloned();
            column.ok_or_else(|| Error::Internal("a column was not read".into()))
        })))
    }
}

/// Ascending numbers as ranges.
fn runs(numbers: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.end == *number => run.end += 1,
            _ => runs.push(*number..number + 1),
        }
    }
    runs
}

/// `old`, whose first row is number `first`, with `new` at `places`.
fn replace(old: &ArrayRef, first: usize, places: &[usize], new: &ArrayRef) -> Result<ArrayRef> {
    if places.is_empty() {
        return Ok(old.clone());
    }
    let mut which: Vec<(usize, usize)> = (0..old.len()).map(|row| (0, row)).collect();
    for (number, place) in places.iter().enumerate() {
        if let Some(row) = which.get_mut(place.saturating_sub(first)) {
            *row = (1, number);
        }
    }
    interleave(&[old.as_ref(), new.as_ref()], &which).map_err(|e| Error::DataFusion(e.into()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int32Array;

    use super::*;

    #[test]
    fn runs_of_numbers() {
        assert!(runs(&[]).is_empty());
        assert_eq!(runs(&[0, 1, 2, 5, 7, 8]), vec![0..3, 5..6, 7..9]);
    }

    #[test]
    fn values_are_replaced_in_their_places() {
        let numbers = |values: &[i32]| Arc::new(Int32Array::from(values.to_vec())) as ArrayRef;
        let old = numbers(&[10, 11, 12, 13]);
        assert_eq!(&replace(&old, 100, &[], &numbers(&[])).unwrap(), &old);
        let replaced = replace(&old, 100, &[100, 103], &numbers(&[1, 2])).unwrap();
        assert_eq!(&replaced, &numbers(&[1, 11, 12, 2]));
    }

    #[test]
    fn values_give_way_to_null_in_their_places() {
        let numbers = |values: &[Option<i32>]| Arc::new(Int32Array::from(values.to_vec())) as ArrayRef;
        let batches = [&[Some(0), None, Some(2)][..], &[Some(3)], &[Some(4), Some(5)]];
        let old = || Box::new(batches.into_iter().map(|values| Ok(numbers(values)))) as Values<'_>;
        let nulled = |rows: &[usize]| {
            let new = NewValues { rows: rows.to_vec(), values: BTreeMap::new() };
            new.nulled(old()).collect::<Result<Vec<_>>>().unwrap()
        };
        assert_eq!(nulled(&[]), batches.map(numbers));
        let expected = [&[None, None, Some(2)][..], &[Some(3)], &[None, None]];
        assert_eq!(nulled(&[0, 4, 5]), expected.map(numbers));
    }
}
