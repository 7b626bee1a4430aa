//! The updated rows of one file.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Int64Type;
use datafusion::execution::memory_pool::MemoryReservation;

use crate::error::{Error, Result};
use crate::write::{AssignedColumns, NewValues};

/// Positions in the file, ascending, and a row for each: all columns of the table, or those that are assigned, as
/// files store them.
#[derive(Debug)]
pub struct Updated {
    pub positions: Vec<u64>,
    pub values: RecordBatch,
    /// For what is not accounted for elsewhere.
    memory: Vec<MemoryReservation>,
}

impl Updated {
    pub fn new(positions: Vec<u64>, values: RecordBatch) -> Self {
        Self { positions, values, memory: Vec::new() }
    }

    /// What `memory` accounts for.
    pub fn accounted(self, memory: MemoryReservation) -> Self {
        Self { memory: vec![memory], ..self }
    }

    /// Parts that have no position in common. `None`: there are none.
    pub fn join(mut parts: Vec<Self>) -> Result<Option<Self>> {
        if parts.len() == 1 {
            return Ok(parts.pop());
        }
        let Some(first) = parts.first() else { return Ok(None) };
        let schema = first.values.schema();
        let positions: Vec<u64> = parts.iter().flat_map(|part| part.positions.iter().copied()).collect();
        let mut order: Vec<u64> = (0..positions.len() as u64).collect();
        let at = |row: &u64| usize::try_from(*row).ok().and_then(|row| positions.get(row)).copied();
        order.sort_unstable_by_key(at);
        let sorted = order.iter().filter_map(at).collect();
        let values = concat_batches(&schema, parts.iter().map(|part| &part.values)).map_err(internal)?;
        let values = take_record_batch(&values, &UInt64Array::from(order)).map_err(internal)?;
        let memory = parts.into_iter().flat_map(|part| part.memory).collect();
        Ok(Some(Self { positions: sorted, values, memory }))
    }

    /// New values of rows of row groups that are taken over (number and positions, ascending), by the number;
    /// and the numbers of the other rows. `stored`: the values by number of the stored column.
    pub fn by_group(
        &self,
        groups: &[(usize, Range<u64>)],
        stored: &BTreeMap<usize, ArrayRef>,
    ) -> Result<(HashMap<usize, NewValues>, Vec<usize>)> {
        let (mut by_group, mut rest, mut next) = (HashMap::new(), Vec::new(), 0);
        for (number, group) in groups {
            let start = self.positions.partition_point(|position| *position < group.start);
            let end = self.positions.partition_point(|position| *position < group.end);
            rest.extend(next..start);
            next = end;
            if start < end {
                let positions = self.positions.get(start..end).unwrap_or_default();
                let row = |position: &u64| usize::try_from(position - group.start);
                let rows = positions.iter().map(row).collect::<Result<_, _>>();
                let rows = rows.map_err(|e| Error::Internal(e.to_string()))?;
                let of_group =
                    |(column, values): (&usize, &ArrayRef)| (*column, values.slice(start, end - start));
                by_group.insert(*number, NewValues { rows, values: stored.iter().map(of_group).collect() });
            }
        }
        rest.extend(next..self.positions.len());
        Ok((by_group, rest))
    }

    /// Some of the rows.
    pub fn rows(&self, numbers: Vec<usize>) -> Result<RecordBatch> {
        let numbers: UInt64Array = numbers.into_iter().map(|row| row as u64).collect();
        take_record_batch(&self.values, &numbers).map_err(internal)
    }

    /// Rows of the file, as it has them, followed by their positions; returned as the table writes them, with the
    /// values of `columns` that they have now.
    pub fn put(&self, columns: &AssignedColumns, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut rows = rows.clone();
        let last = rows.num_columns().saturating_sub(1);
        let unknown = || Error::Internal("rows of a file come without their positions".into());
        if last == 0 || rows.column(last).as_primitive_opt::<Int64Type>().is_none() {
            return Err(unknown());
        }
        let positions = rows.remove_column(last);
        let positions = positions.as_primitive_opt::<Int64Type>().ok_or_else(unknown)?;
        let (mut places, mut next, mut before) = (Vec::new(), 0, None);
        for (row, position) in positions.values().iter().enumerate() {
            let position = u64::try_from(*position).map_err(|_| unknown())?;
            match before.is_some_and(|before| before < position) {
                true => {
                    next += self
                        .positions
                        .get(next..)
                        .unwrap_or_default()
                        .iter()
                        .take_while(|known| **known < position)
                        .count()
                }
                false => next = self.positions.partition_point(|known| *known < position),
            }
            before = Some(position);
            if self.positions.get(next) == Some(&position) {
                places.push((row, next));
            }
        }
        columns.put(&rows, &self.values, &places)
    }
}

fn internal(e: arrow::error::ArrowError) -> Error {
    Error::Internal(e.to_string())
}
