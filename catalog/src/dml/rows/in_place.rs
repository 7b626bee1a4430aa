//! Rows with new values that wait for the file of the old ones to be made anew: there they can take the places of
//! the old ones, so that columns without a new value need not be written again.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt64Array};
use arrow::compute::{filter_record_batch, interleave_record_batch, not, take_record_batch};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

use super::changes::NewRows;
use crate::error::{Error, Result};
use crate::write::{NewValues, batch_bytes, compact};

/// Memory of the rows that wait, in bytes. What is beyond does not wait.
const MOST_BYTES: usize = 256 << 20;

#[derive(Debug)]
pub struct Waiting {
    rows: Mutex<Rows>,
    reservation: MemoryReservation,
}

#[derive(Debug, Default)]
struct Rows {
    batches: Vec<RecordBatch>,
    /// By number of the file.
    places: HashMap<i32, Vec<Place>>,
}

/// Position in the file, and where its new values are.
#[derive(Debug, Clone, Copy)]
struct Place {
    position: u64,
    batch: usize,
    row: usize,
}

/// New values of rows of one file.
#[derive(Debug)]
pub struct Updated {
    /// Ascending.
    pub positions: Vec<u64>,
    /// A row for each: the table's columns.
    pub rows: RecordBatch,
}

impl Waiting {
    pub fn new(pool: &Arc<dyn MemoryPool>) -> Self {
        let reservation = MemoryConsumer::new("updated rows").with_can_spill(true).register(pool);
        Self { rows: Mutex::default(), reservation }
    }

    /// Keeps those of the rows that replace others, if there is memory. Returns the ones that do not wait.
    pub fn keep(&self, new: NewRows) -> Result<RecordBatch> {
        if new.places.is_empty() {
            return Ok(new.rows);
        }
        let updated = compact(filter_record_batch(&new.rows, &new.updates).map_err(internal)?);
        // Nested texts hold on to all those of the batch they came in.
        let nested = updated.columns().iter().filter(|column| column.data_type().is_nested());
        let nested: usize = nested.map(|column| column.get_array_memory_size()).sum();
        // Twice: as they come, and in the order of their file.
        let bytes = 2 * batch_bytes(&updated) + nested + size_of::<Place>() * new.places.len();
        if self.reservation.size() + bytes > MOST_BYTES || self.reservation.try_grow(bytes).is_err() {
            return Ok(new.rows);
        }
        let rest = filter_record_batch(&new.rows, &not(&new.updates).map_err(internal)?).map_err(internal)?;
        let mut rows = self.rows.lock();
        let batch = rows.batches.len();
        rows.batches.push(updated);
        for (row, (file, position)) in new.places.into_iter().enumerate() {
            rows.places.entry(file).or_default().push(Place { position, batch, row });
        }
        Ok(rest)
    }

    /// Whether rows of a file wait.
    pub fn has(&self, file: i32) -> bool {
        self.rows.lock().places.contains_key(&file)
    }

    /// The rows that wait for a file, which then do not any more.
    pub fn take(&self, file: i32) -> Result<Option<Updated>> {
        let mut rows = self.rows.lock();
        let Some(mut places) = rows.places.remove(&file) else { return Ok(None) };
        places.sort_unstable_by_key(|place| place.position);
        // A file's rows come in few of all batches.
        let mut used: Vec<usize> = places.iter().map(|place| place.batch).collect();
        used.sort_unstable();
        used.dedup();
        let batches: Vec<&RecordBatch> = used.iter().filter_map(|batch| rows.batches.get(*batch)).collect();
        let index = |place: &Place| (used.partition_point(|batch| *batch < place.batch), place.row);
        let indices: Vec<_> = places.iter().map(index).collect();
        let all = interleave_record_batch(&batches, &indices).map_err(internal)?;
        Ok(Some(Updated { positions: places.iter().map(|place| place.position).collect(), rows: all }))
    }
}

impl Updated {
    /// New values of rows of row groups that are taken over (number and positions, ascending), by the number;
    /// and the other rows. `stored`: the rows as the file stores them; `assigned`: those of its columns that may
    /// have other values than before.
    pub fn by_group(
        &self,
        groups: &[(usize, Range<u64>)],
        stored: &RecordBatch,
        assigned: &Option<Arc<BTreeSet<usize>>>,
    ) -> Result<(HashMap<usize, NewValues>, RecordBatch)> {
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
                by_group.insert(
                    *number,
                    NewValues { rows, values: stored.slice(start, end - start), assigned: assigned.clone() },
                );
            }
        }
        rest.extend(next..self.positions.len());
        let rest: UInt64Array = rest.into_iter().map(|row| row as u64).collect();
        Ok((by_group, take_record_batch(&self.rows, &rest).map_err(internal)?))
    }
}

fn internal(e: arrow::error::ArrowError) -> Error {
    Error::Internal(e.to_string())
}
