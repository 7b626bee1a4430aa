//! The updated rows of one file.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Int64Type;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::error::{Error, Result};
use crate::write::{AssignedColumns, NewValues};

/// Positions in the file, ascending, and a row for each: all columns of the table, or those that are assigned, as
/// files store them.
#[derive(Debug)]
pub struct Updated {
    pub positions: Vec<u64>,
    pub values: RecordBatch,
    /// For what is not accounted for elsewhere.
    memory: Vec<Arc<MemoryReservation>>,
}

impl Updated {
    pub fn new(positions: Vec<u64>, values: RecordBatch) -> Self {
        Self { positions, values, memory: Vec::new() }
    }

    /// What `memory` accounts for.
    pub fn accounted(self, memory: Vec<Arc<MemoryReservation>>) -> Self {
        Self { memory, ..self }
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
                by_group.insert(*number, self.new_values(start..end, group.start, stored)?);
            }
        }
        rest.extend(next..self.positions.len());
        Ok((by_group, rest))
    }

    /// Some of the rows as new values of a row group, which begins at position `first`.
    pub fn new_values(
        &self,
        rows: Range<usize>,
        first: u64,
        stored: &BTreeMap<usize, ArrayRef>,
    ) -> Result<NewValues> {
        let of_group =
            |(column, values): (&usize, &ArrayRef)| (*column, values.slice(rows.start, rows.len()));
        let values = stored.iter().map(of_group).collect();
        let positions = self.positions.get(rows.clone()).unwrap_or_default();
        let row = |position: &u64| usize::try_from(position - first);
        let rows = positions.iter().map(row).collect::<Result<_, _>>();
        Ok(NewValues { rows: rows.map_err(|e| Error::Internal(e.to_string()))?, values })
    }

    /// What accounts for the values.
    pub fn memory(&self) -> Vec<Arc<MemoryReservation>> {
        self.memory.clone()
    }

    /// Some of the rows.
    pub fn rows(&self, numbers: Vec<usize>) -> Result<RecordBatch> {
        let numbers: UInt64Array = numbers.into_iter().map(|row| row as u64).collect();
        take_record_batch(&self.values, &numbers).map_err(internal)
    }

    fn slice(&self, rows: Range<usize>) -> Self {
        let positions = self.positions.get(rows.clone()).unwrap_or_default().to_vec();
        let values = self.values.slice(rows.start, rows.len());
        Self { positions, values, memory: self.memory.clone() }
    }
}

/// The updated rows of one file, in its order, as far as they have not been asked for.
pub struct UpdatedInOrder {
    parts: Vec<Part>,
}

struct Part {
    next: Option<Updated>,
    rest: BoxStream<'static, Result<Updated>>,
}

impl UpdatedInOrder {
    pub fn new(in_memory: Option<Updated>) -> Self {
        let part = |next| Part { next: Some(next), rest: futures::stream::empty().boxed() };
        Self { parts: in_memory.into_iter().map(part).collect() }
    }

    /// More, which has an order of its own and no position in common with what is there.
    pub fn add(&mut self, rest: BoxStream<'static, Result<Updated>>) {
        self.parts.push(Part { next: None, rest });
    }

    /// The next rows, up to this position. `None`: there are none.
    pub async fn up_to(&mut self, position: u64) -> Result<Option<Updated>> {
        let mut found = Vec::new();
        for part in &mut self.parts {
            while let Some(next) = match part.next.take() {
                Some(next) => Some(next),
                None => part.rest.next().await.transpose()?,
            } {
                let end = next.positions.partition_point(|known| *known <= position);
                if end == next.positions.len() {
                    found.push(next);
                    continue;
                }
                if end > 0 {
                    found.push(next.slice(0..end));
                }
                part.next = Some(next.slice(end..next.positions.len()));
                break;
            }
        }
        Updated::join(found)
    }

    /// The next rows of the file, as it has them, followed by their positions; returned as the table writes them,
    /// with the values of `columns` that they have now.
    pub async fn put(&mut self, columns: &AssignedColumns, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut rows = rows.clone();
        let last = rows.num_columns().checked_sub(1);
        let positions = last.map(|last| rows.remove_column(last));
        let positions = positions.as_ref().and_then(|positions| positions.as_primitive_opt::<Int64Type>());
        let misplaced = || Error::Internal("rows of a file do not come with their positions in order".into());
        let positions = positions.map(|positions| positions.values().as_ref()).ok_or_else(misplaced)?;
        if !positions.is_sorted() {
            return Err(misplaced());
        }
        let last = positions.last().map(|last| u64::try_from(*last)).transpose().map_err(|_| misplaced())?;
        let updated = match last {
            Some(last) => self.up_to(last).await?,
            None => None,
        };
        let Some(updated) = updated else { return columns.put(&rows, None, &[]) };
        let (mut places, mut next) = (Vec::with_capacity(updated.positions.len()), 0);
        for (row, position) in positions.iter().enumerate() {
            let is_before = |known: &&u64| i64::try_from(**known).is_ok_and(|known| known < *position);
            next += updated.positions.get(next..).unwrap_or_default().iter().take_while(is_before).count();
            if updated.positions.get(next).is_some_and(|known| i64::try_from(*known) == Ok(*position)) {
                places.push((row, next));
            }
        }
        columns.put(&rows, Some(&updated.values), &places)
    }
}

fn internal(e: arrow::error::ArrowError) -> Error {
    Error::Internal(e.to_string())
}
