//! Lineage of rows that are taken over: in another file it does not follow from their places any more.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;

use super::new_values::{BATCH_ROWS, Values};
use crate::error::{Error, Result};
use crate::table::data_file::{DataFile, ROW_IDS_TO_COME};
use crate::table::row_lineage::ROW_ID;
use crate::table::{FieldId, LiveFile};

/// What follows from a file for rows of which it stores no lineage (Iceberg spec, "Row Lineage"; Delta protocol,
/// "Row Tracking").
#[derive(Debug, Clone, Copy)]
pub struct Inherited {
    first_row_id: Option<i64>,
    sequence_number: i64,
}

impl Inherited {
    pub fn of(file: &LiveFile) -> Result<Self> {
        let DataFile { first_row_id, sequence_number, .. } = file.file()?;
        Ok(Self { first_row_id: *first_row_id, sequence_number: *sequence_number })
    }

    /// Whether the values of a column of lineage are those that are stored. `nulls`: how many of them are null.
    pub fn is_stored(&self, nulls: Option<u64>) -> bool {
        match self.first_row_id {
            // Without it rows have no lineage, whatever is stored.
            None => false,
            Some(ROW_IDS_TO_COME) => nulls.is_some(),
            Some(_) => nulls == Some(0),
        }
    }

    /// Of `rows` rows, of which the first is at this position. `stored`: what the file has, if it has the column.
    pub fn values<'a>(
        &self,
        column: FieldId,
        first: u64,
        rows: u64,
        stored: Option<Values<'a>>,
    ) -> Values<'a> {
        let inherited = *self;
        match stored {
            Some(stored) => {
                let mut next = first;
                Box::new(stored.map(move |stored| {
                    let stored = stored?;
                    let position = next;
                    next += stored.len() as u64;
                    inherited.filled(column, position, stored.len(), Some(&stored))
                }))
            }
            None => {
                let starts = (first..first + rows).step_by(BATCH_ROWS);
                Box::new(starts.map(move |start| {
                    let count = (first + rows - start).min(BATCH_ROWS as u64) as usize;
                    inherited.filled(column, start, count, None)
                }))
            }
        }
    }

    fn filled(
        &self,
        column: FieldId,
        position: u64,
        rows: usize,
        stored: Option<&ArrayRef>,
    ) -> Result<ArrayRef> {
        let numbers = stored.map(|stored| {
            let numbers = stored.as_primitive_opt::<Int64Type>();
            numbers.ok_or_else(|| Error::Internal("row lineage is not of type int64".into()))
        });
        let stored = numbers.transpose()?;
        let first_row_id = match self.first_row_id {
            None => return Ok(Arc::new(Int64Array::new_null(rows))),
            Some(ROW_IDS_TO_COME) => {
                return Ok(Arc::new(stored.cloned().unwrap_or_else(|| Int64Array::new_null(rows))));
            }
            Some(first) => first,
        };
        let inherited = |row: usize| match column {
            ROW_ID => first_row_id.wrapping_add_unsigned(position + row as u64),
            _ => self.sequence_number,
        };
        let value = |row: usize| match stored {
            Some(stored) if stored.is_valid(row) => stored.value(row),
            _ => inherited(row),
        };
        Ok(Arc::new(Int64Array::from_iter_values((0..rows).map(value))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::row_lineage::LAST_UPDATED_SEQUENCE_NUMBER;

    #[test]
    fn lineage_is_stored_or_follows_from_the_file() {
        let of = |first_row_id| Inherited { first_row_id, sequence_number: 7 };
        let stored = || Box::new(std::iter::once(Ok(numbers(&[Some(3), None])))) as Values<'_>;
        let all = |values: Values<'_>| values.collect::<Result<Vec<_>>>().unwrap();
        fn numbers(values: &[Option<i64>]) -> ArrayRef {
            Arc::new(Int64Array::from(values.to_vec()))
        }
        for (first, column, without, with) in [
            (Some(100), ROW_ID, [Some(110), Some(111)], [Some(3), Some(111)]),
            (Some(100), LAST_UPDATED_SEQUENCE_NUMBER, [Some(7), Some(7)], [Some(3), Some(7)]),
            (Some(ROW_IDS_TO_COME), ROW_ID, [None, None], [Some(3), None]),
            (None, ROW_ID, [None, None], [None, None]),
        ] {
            assert_eq!(all(of(first).values(column, 10, 2, None)), [numbers(&without)]);
            assert_eq!(all(of(first).values(column, 10, 2, Some(stored()))), [numbers(&with)]);
        }
        let many = all(of(Some(0)).values(ROW_ID, 5, BATCH_ROWS as u64 + 1, None));
        assert_eq!(many.iter().map(|values| values.len()).collect::<Vec<_>>(), [BATCH_ROWS, 1]);
        assert_eq!(&many[1], &numbers(&[Some(5 + BATCH_ROWS as i64)]));
        assert!(of(Some(1)).is_stored(Some(0)) && !of(Some(1)).is_stored(Some(1)));
        assert!(!of(Some(1)).is_stored(None) && !of(None).is_stored(Some(0)));
        assert!(of(Some(ROW_IDS_TO_COME)).is_stored(Some(2)));
    }
}
