//! Where the rows of a large system relation are that have a key: what Postgres has indexes for.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use auric_catalog::backend::Oid;

/// Rows of one batch by the OID in one of its columns. Rows with the same one mostly stand together.
#[derive(Debug)]
pub struct KeyIndex(HashMap<Oid, Vec<Range<usize>>>);

impl KeyIndex {
    /// `None`: the column does not hold OIDs, whose type in plans is `Int64`.
    pub fn of(batch: &RecordBatch, column: usize) -> Option<Self> {
        let keys = batch.columns().get(column)?.as_primitive_opt::<Int64Type>()?;
        let mut rows: HashMap<Oid, Vec<Range<usize>>> = HashMap::new();
        for (row, key) in keys.iter().enumerate() {
            let Some(key) = key.and_then(|key| Oid::try_from(key).ok()) else { continue };
            let ranges = rows.entry(key).or_default();
            match ranges.last_mut() {
                Some(last) if last.end == row => last.end += 1,
                _ => ranges.push(row..row + 1),
            }
        }
        Some(Self(rows))
    }

    /// The rows of that batch with one of the keys, each once.
    pub fn rows(&self, batch: &RecordBatch, keys: &[Oid]) -> Result<RecordBatch, ArrowError> {
        let mut distinct = keys.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let ranges = distinct.iter().filter_map(|key| self.0.get(key)).flatten();
        let parts: Vec<RecordBatch> =
            ranges.map(|range| batch.slice(range.start, range.end - range.start)).collect();
        match parts.as_slice() {
            [] => Ok(batch.slice(0, 0)),
            [one] => Ok(one.clone()),
            all => concat_batches(&batch.schema(), all),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, Int64Array};

    use super::*;

    #[test]
    fn rows_are_found_by_their_keys() {
        let keys = Int64Array::from(vec![Some(7), Some(7), None, Some(9), Some(7), Some(-1)]);
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("key", Arc::new(keys) as ArrayRef, true),
            ("row", Arc::new(Int32Array::from(vec![0, 1, 2, 3, 4, 5])) as ArrayRef, true),
        ])
        .unwrap();
        let index = KeyIndex::of(&batch, 0).unwrap();
        let found = |keys: &[Oid]| {
            let rows = index.rows(&batch, keys).unwrap();
            rows.column(1).as_primitive::<arrow::datatypes::Int32Type>().values().to_vec()
        };
        assert_eq!(found(&[7]), [0, 1, 4]);
        assert_eq!(found(&[9, 7, 9, 1]), [0, 1, 4, 3]);
        assert_eq!(found(&[]), Vec::<i32>::new());
        assert!(KeyIndex::of(&batch, 1).is_none() && KeyIndex::of(&batch, 2).is_none());
    }
}
