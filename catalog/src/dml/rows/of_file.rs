//! The new values that wait for one file, and how they are put in its order.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::error::ArrowError;
use datafusion::execution::memory_pool::MemoryReservation;

use super::updated::{Updated, UpdatedInOrder};
use crate::error::{Error, Result};

/// Rows of a run from which on runs are copied as such.
const LONG_RUN: usize = 256;

/// Rows that follow one another, in their file and where their new values are.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Of the first one in the file.
    pub position: u64,
    pub batch: u32,
    pub row: u32,
    pub rows: u32,
}

impl Run {
    /// Of the row after the last one in the file.
    fn end(&self) -> u64 {
        self.position + u64::from(self.rows)
    }

    /// What of it is at these positions.
    fn within(&self, positions: &Range<u64>) -> Option<Self> {
        let (start, end) = (self.position.max(positions.start), self.end().min(positions.end));
        let skipped = u32::try_from(start - self.position).ok()?;
        let rows = u32::try_from(end.checked_sub(start)?).ok()?;
        (rows > 0).then_some(Self { position: start, row: self.row + skipped, rows, ..*self })
    }
}

/// The rows of a batch at `places` (file and position of each) as runs, each with its file.
pub fn runs(places: &[(i32, u64)]) -> Result<Vec<(i32, Run)>> {
    let number = |number: usize| u32::try_from(number).map_err(|e| Error::Internal(e.to_string()));
    let (mut runs, mut row) = (Vec::new(), 0);
    for run in places.chunk_by(|(file, position), next| *next == (*file, position + 1)) {
        if let Some((file, position)) = run.first() {
            let rows = number(run.len())?;
            runs.push((*file, Run { position: *position, batch: 0, row, rows }));
            row += rows;
        }
    }
    Ok(runs)
}

/// The rows of one file, or of a part of it.
#[derive(Debug)]
pub struct OfFile {
    /// In its order.
    runs: Vec<Run>,
    /// Those that they are in.
    batches: Arc<Vec<RecordBatch>>,
    /// For what is not accounted for elsewhere.
    memory: Vec<Arc<MemoryReservation>>,
}

impl OfFile {
    /// `runs` of `batches`, in any order.
    pub fn new(mut runs: Vec<Run>, batches: &[RecordBatch]) -> Self {
        runs.sort_unstable_by_key(|run| run.position);
        // A file's rows come in few of all batches.
        let mut used: Vec<u32> = runs.iter().map(|run| run.batch).collect();
        used.sort_unstable();
        used.dedup();
        for run in &mut runs {
            run.batch = used.partition_point(|batch| *batch < run.batch) as u32;
        }
        let batch = |batch: u32| batches.get(batch as usize).cloned();
        Self { runs, batches: Arc::new(used.into_iter().filter_map(batch).collect()), memory: Vec::new() }
    }

    /// Rows that are in order already.
    pub fn gathered(rows: Updated) -> Result<Self> {
        let memory = rows.memory();
        let places: Vec<(i32, u64)> = rows.positions.iter().map(|position| (0, *position)).collect();
        let runs = runs(&places)?.into_iter().map(|(_, run)| run).collect();
        Ok(Self { runs, batches: Arc::new(vec![rows.values]), memory })
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// What accounts for the rows, if nothing else does.
    pub fn memory(&self) -> Vec<Arc<MemoryReservation>> {
        self.memory.clone()
    }

    /// The rows of each row group (its number and positions, ascending) that has some, with number and first position,
    /// and those of none of them.
    pub fn by_group(self, groups: &[(usize, Range<u64>)]) -> (Vec<(usize, u64, Self)>, Self) {
        let (mut by_group, mut rest, mut outside) = (Vec::new(), Vec::new(), 0);
        let within = |positions: Range<u64>| {
            let start = self.runs.partition_point(|run| run.end() <= positions.start);
            let end = self.runs.partition_point(|run| run.position < positions.end);
            let runs = self.runs.get(start..end).unwrap_or_default();
            runs.iter().filter_map(|run| run.within(&positions)).collect::<Vec<Run>>()
        };
        for (number, positions) in groups {
            rest.extend(within(outside..positions.start));
            outside = positions.end;
            let runs = within(positions.clone());
            if !runs.is_empty() {
                by_group.push((*number, positions.start, self.with(runs)));
            }
        }
        rest.extend(within(outside..u64::MAX));
        let rest = self.with(rest);
        (by_group, rest)
    }

    fn with(&self, runs: Vec<Run>) -> Self {
        Self { runs, batches: self.batches.clone(), memory: self.memory.clone() }
    }

    pub fn in_order(self) -> Result<UpdatedInOrder> {
        Ok(UpdatedInOrder::new(match self.is_empty() {
            true => None,
            false => Some(self.gather()?),
        }))
    }

    /// Fails with `Internal` if there are none.
    pub fn gather(self) -> Result<Updated> {
        let rows: usize = self.runs.iter().map(|run| run.rows as usize).sum();
        let mut positions = Vec::with_capacity(rows);
        for run in &self.runs {
            positions.extend(run.position..run.end());
        }
        let values = match rows >= LONG_RUN * self.runs.len() {
            true => self.copied(),
            false => self.picked(rows),
        };
        let values = values.map_err(|e| Error::Internal(e.to_string()))?;
        Ok(Updated::new(positions, values).accounted(self.memory))
    }

    fn copied(&self) -> Result<RecordBatch, ArrowError> {
        let slice = |run: &Run| {
            Some(self.batches.get(run.batch as usize)?.slice(run.row as usize, run.rows as usize))
        };
        let slices: Vec<RecordBatch> = self.runs.iter().filter_map(slice).collect();
        match slices.first() {
            Some(first) => concat_batches(&first.schema(), &slices),
            None => Err(ArrowError::ComputeError("no rows to be gathered".into())),
        }
    }

    fn picked(&self, rows: usize) -> Result<RecordBatch, ArrowError> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let mut indices = Vec::with_capacity(rows);
        for run in &self.runs {
            indices.extend((run.row..run.row + run.rows).map(|row| (run.batch as usize, row as usize)));
        }
        interleave_record_batch(&batches, &indices)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    /// Of each row its position.
    fn rows(places: &[u64]) -> (Vec<Run>, RecordBatch) {
        let numbers = Int64Array::from_iter_values(places.iter().map(|place| *place as i64));
        let places: Vec<(i32, u64)> = places.iter().map(|place| (0, *place)).collect();
        let runs = runs(&places).unwrap().into_iter().map(|(_, run)| run).collect();
        (runs, RecordBatch::try_from_iter([("position", Arc::new(numbers) as _)]).unwrap())
    }

    fn positions(rows: OfFile) -> Vec<u64> {
        if rows.is_empty() {
            return Vec::new();
        }
        let rows = rows.gather().unwrap();
        let values = rows.values.column(0).as_primitive::<Int64Type>();
        assert_eq!(values.values().to_vec(), rows.positions.iter().map(|p| *p as i64).collect::<Vec<_>>());
        rows.positions
    }

    #[test]
    fn rows_go_to_their_row_groups() {
        let (few, first) = rows(&[2, 3, 4, 9, 1]);
        let long: Vec<u64> = (20..1_000).collect();
        let (many, second) = rows(&long);
        let all = few.into_iter().chain(many.into_iter().map(|run| Run { batch: 2, ..run })).collect();
        let unused = first.clone();
        let all = OfFile::new(all, &[first, unused, second]);
        let groups = [(0, 0..3), (1, 3..10), (2, 10..20), (3, 400..401), (4, 500..900)];
        let (by_group, rest) = all.by_group(&groups);
        let by_group: Vec<_> =
            by_group.into_iter().map(|(number, first, rows)| (number, first, positions(rows))).collect();
        let expected =
            [(0, 0, vec![1, 2]), (1, 3, vec![3, 4, 9]), (3, 400, vec![400]), (4, 500, (500..900).collect())];
        assert_eq!(by_group, expected);
        let expected: Vec<u64> = (20..400).chain(401..500).chain(900..1_000).collect();
        assert_eq!(positions(rest), expected);
    }
}
