//! New values of rows that wait until the whole statement is read: then they take the places of the old ones, in the
//! file or the row group that is made of theirs, so that columns without a new value need not be written again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{filter_record_batch, not};
use arrow::error::ArrowError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use parking_lot::Mutex;

use super::changes::NewRows;
use super::of_file::{OfFile, Run, runs};
use super::spilled_values::{SpilledValues, ValueSpill};
use super::updated::UpdatedInOrder;
use crate::error::{Error, Result};
use crate::write::{AssignedColumns, batch_bytes, compact};

/// Memory of whole rows that wait, in bytes. What is beyond does not wait.
const MOST_BYTES_OF_ROWS: usize = 256 << 20;
/// Memory of values that wait, in bytes. What is beyond waits on disk.
const MOST_BYTES_OF_VALUES: usize = 512 << 20;
/// Memory that values take whatever else needs it: what is spilled at a time is not less.
const LEAST_BYTES_OF_VALUES: usize = 4 << 20;

/// What waits of an updated row.
#[derive(Debug)]
pub enum Kept {
    /// All of it, as it may belong elsewhere now. What there is no memory for is a new row.
    Row,
    /// The values that it has been assigned, which do not say where it belongs. The others are those that its file
    /// has.
    Values(Arc<AssignedColumns>),
}

/// Collects the updated rows of one statement from all its tasks.
pub struct Waiting {
    kept: Kept,
    rows: Mutex<Rows>,
    reservation: MemoryReservation,
    /// Of [`Kept::Values`].
    spill: Option<Arc<ValueSpill>>,
}

#[derive(Default)]
struct Rows {
    in_memory: InMemory,
    /// By number of the file.
    on_disk: HashMap<i32, Vec<SpilledValues>>,
}

#[derive(Debug, Default)]
struct InMemory {
    batches: Vec<RecordBatch>,
    /// By number of the file.
    runs: BTreeMap<i32, Vec<Run>>,
    /// What is reserved for it.
    bytes: usize,
}

impl Waiting {
    pub fn new(kept: Kept, context: &TaskContext) -> Result<Self> {
        let consumer = MemoryConsumer::new("updated rows").with_can_spill(true);
        let spill = match &kept {
            Kept::Row => None,
            Kept::Values(columns) => Some(Arc::new(ValueSpill::new(columns.schema(), context)?)),
        };
        let reservation = consumer.register(context.memory_pool());
        Ok(Self { kept, rows: Mutex::default(), reservation, spill })
    }

    /// The columns whose values wait. `None`: whole rows do.
    pub fn columns(&self) -> Option<&Arc<AssignedColumns>> {
        match &self.kept {
            Kept::Row => None,
            Kept::Values(columns) => Some(columns),
        }
    }

    /// Keeps those of the rows that replace others. Returns the ones that do not wait.
    pub async fn keep(&self, new: NewRows) -> Result<RecordBatch> {
        if new.places.is_empty() {
            return Ok(new.rows);
        }
        let updated = filter_record_batch(&new.rows, &new.updates).map_err(internal)?;
        let (updated, most) = match &self.kept {
            Kept::Row => (compact(updated), MOST_BYTES_OF_ROWS),
            Kept::Values(columns) => (compact(columns.values(&updated)?), MOST_BYTES_OF_VALUES),
        };
        // Nested texts hold on to all those of the batch they came in.
        let nested = updated.columns().iter().filter(|column| column.data_type().is_nested());
        let nested: usize = nested.map(|column| column.get_array_memory_size()).sum();
        let runs = runs(&new.places)?;
        // Twice: as they come, and in the order of their file, then with a number for each row, and in its row group.
        let numbers = 2 * size_of::<u64>() * new.places.len() + size_of::<Run>() * runs.len();
        let bytes = 2 * batch_bytes(&updated) + nested + numbers;
        let has_room = self.has_room(bytes, most);
        let full = match (&self.spill, has_room) {
            (None, false) => return Ok(new.rows),
            (None | Some(_), true) => {
                self.rows.lock().in_memory.add(updated, runs, bytes)?;
                None
            }
            (Some(spill), false) => {
                let mut rows = self.rows.lock();
                rows.in_memory.add(updated, runs, 0)?;
                Some((spill, std::mem::take(&mut rows.in_memory)))
            }
        };
        if let Some((spill, full)) = full {
            self.spill(spill, full).await?;
        }
        filter_record_batch(&new.rows, &not(&new.updates).map_err(internal)?).map_err(internal)
    }

    fn has_room(&self, bytes: usize, most: usize) -> bool {
        let all = self.reservation.size() + bytes;
        if all <= most && self.reservation.try_grow(bytes).is_ok() {
            return true;
        }
        let is_little = self.spill.is_some() && all <= LEAST_BYTES_OF_VALUES;
        if is_little {
            self.reservation.grow(bytes);
        }
        is_little
    }

    async fn spill(&self, spill: &Arc<ValueSpill>, mut full: InMemory) -> Result<()> {
        let (spill, bytes) = (spill.clone(), full.bytes);
        let write = move || {
            let mut written = Vec::with_capacity(full.runs.len());
            while let Some((file, runs)) = full.runs.pop_first() {
                written.push((file, spill.write(&full.of_file(runs).gather()?)?));
            }
            Ok::<_, Error>(written)
        };
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.map_err(|e| Error::Internal(format!("spilling updated rows: {e}")))??;
        self.reservation.shrink(bytes);
        let mut rows = self.rows.lock();
        for (file, values) in written {
            rows.on_disk.entry(file).or_default().push(values);
        }
        Ok(())
    }

    /// Whether rows of a file wait.
    pub fn has(&self, file: i32) -> bool {
        let rows = self.rows.lock();
        rows.in_memory.runs.contains_key(&file) || rows.on_disk.contains_key(&file)
    }

    /// For [`Self::take`]. `None`: there is too little memory for what waits for a file.
    pub fn memory_for(&self, file: i32) -> Option<MemoryReservation> {
        let rows = self.rows.lock();
        let on_disk = rows.on_disk.get(&file).map_or(&[][..], Vec::as_slice);
        let memory = self.reservation.new_empty();
        // Twice: as it comes, and in the file's order.
        let bytes = on_disk.iter().map(|values| 2 * values.bytes()).sum();
        memory.try_grow(bytes).is_ok().then_some(memory)
    }

    /// What waits for a file, which then does not any more.
    pub async fn take(&self, file: i32, memory: MemoryReservation) -> Result<Option<OfFile>> {
        let (in_memory, on_disk) = self.remove(file);
        if on_disk.is_empty() {
            return Ok(in_memory);
        }
        let all = self.read(in_memory, on_disk)?.up_to(u64::MAX).await?;
        all.map(|all| OfFile::gathered(all.accounted(vec![Arc::new(memory)]))).transpose()
    }

    /// The same, to be taken piece by piece.
    pub fn in_order(&self, file: i32) -> Result<UpdatedInOrder> {
        let (in_memory, on_disk) = self.remove(file);
        self.read(in_memory, on_disk)
    }

    fn remove(&self, file: i32) -> (Option<OfFile>, Vec<SpilledValues>) {
        let mut rows = self.rows.lock();
        (rows.in_memory.take(file), rows.on_disk.remove(&file).unwrap_or_default())
    }

    fn read(&self, in_memory: Option<OfFile>, on_disk: Vec<SpilledValues>) -> Result<UpdatedInOrder> {
        let mut all = match in_memory {
            Some(in_memory) => in_memory.in_order()?,
            None => UpdatedInOrder::new(None),
        };
        for values in on_disk {
            if let Some(spill) = &self.spill {
                all.add(spill.read(values)?);
            }
        }
        Ok(all)
    }
}

impl InMemory {
    /// `runs`: with the file of each, of whatever batch.
    fn add(&mut self, rows: RecordBatch, runs: Vec<(i32, Run)>, bytes: usize) -> Result<()> {
        let batch = u32::try_from(self.batches.len()).map_err(|e| Error::Internal(e.to_string()))?;
        for (file, run) in runs {
            self.runs.entry(file).or_default().push(Run { batch, ..run });
        }
        self.batches.push(rows);
        self.bytes += bytes;
        Ok(())
    }

    fn take(&mut self, file: i32) -> Option<OfFile> {
        self.runs.remove(&file).map(|runs| self.of_file(runs))
    }

    fn of_file(&self, runs: Vec<Run>) -> OfFile {
        OfFile::new(runs, &self.batches)
    }
}

fn internal(e: ArrowError) -> Error {
    Error::Internal(e.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Range;

    use arrow::array::{AsArray, BooleanArray, Int64Array, StringViewArray, TimestampMicrosecondArray};
    use arrow::datatypes::Int64Type;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;

    use super::super::updated::Updated;
    use super::*;
    use crate::dml::tests::Lake;
    use crate::table::TableFormat;
    use crate::write::FileSchema;

    /// For a table of `id`, `name` and `at`, of which `name` is assigned.
    async fn waiting(memory: usize) -> (Waiting, TaskContext) {
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory, 1.0).build_arc().unwrap();
        let context = TaskContext::default().with_runtime(runtime);
        let table = Lake::new().await.stage(TableFormat::Delta, &[], &[]).await;
        let schema = Arc::new(FileSchema::of(&table.snapshot).unwrap());
        let columns = AssignedColumns::new("t", &schema, &BTreeSet::from([1])).unwrap();
        (Waiting::new(Kept::Values(Arc::new(columns)), &context).unwrap(), context)
    }

    /// Rows that replace those at `places`, and one that is new.
    fn rows(places: Vec<(i32, u64)>) -> NewRows {
        let names = places.iter().map(|(file, position)| format!("row {position} of file {file}"));
        let names: StringViewArray = names.chain(["new".to_string()]).map(Some).collect();
        let ids = Int64Array::new_null(places.len() + 1);
        let updates = (0..=places.len()).map(|row| Some(row < places.len())).collect::<BooleanArray>();
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("c0", Arc::new(ids) as _, true),
            ("c1", Arc::new(names) as _, true),
            ("c2", Arc::new(TimestampMicrosecondArray::new_null(places.len() + 1)) as _, true),
        ]);
        NewRows { rows: rows.unwrap(), updates, places }
    }

    async fn taken(waiting: &Waiting, file: i32) -> Option<Updated> {
        let memory = waiting.memory_for(file).unwrap();
        let all = waiting.take(file, memory).await.unwrap()?;
        let [of_first, rest] = of_groups(all, 0..40_000);
        let updated = [of_first, rest].map(|part| part.in_order().unwrap());
        let mut parts = Vec::new();
        for mut part in updated {
            parts.extend(part.up_to(u64::MAX).await.unwrap());
        }
        Updated::join(parts).unwrap()
    }

    /// The rows at these positions, and the others.
    fn of_groups(all: OfFile, positions: Range<u64>) -> [OfFile; 2] {
        let (mut groups, rest) = all.by_group(&[(7, positions)]);
        let (number, first, group) = groups.pop().unwrap();
        assert_eq!((number, first, groups.len()), (7, 0, 0));
        [group, rest]
    }

    #[tokio::test]
    async fn values_wait_in_memory_and_on_disk() {
        // With very little memory, at least some values are spilled at a time.
        let memories = [(64 << 20, false), (6 << 20, true), (64 << 10, true)];
        for ((memory, spills), in_runs) in
            memories.iter().flat_map(|memory| [(*memory, false), (*memory, true)])
        {
            let (waiting, context) = waiting(memory).await;
            for batch in 0..40u64 {
                // Of two files, in an order that is not theirs, or half of either in its own.
                let place = |n: u64| match in_runs {
                    true => ((n / 1_000 + 5) as i32, n + 2_000 * (39 - batch)),
                    false => ((n % 2 + 5) as i32, (n * 37) % 2_000 + 2_000 * batch),
                };
                let places = (0..2_000).map(place).collect();
                let rest = waiting.keep(rows(places)).await.unwrap();
                assert_eq!(rest.column(1).as_string_view().iter().collect::<Vec<_>>(), [Some("new")]);
            }
            let spilled = context.runtime_env().disk_manager.used_disk_space();
            assert_eq!(spilled > 0, spills, "{spilled} bytes on disk");
            for file in [5, 6] {
                assert!(waiting.has(file));
                let pieces = match memory < 1 << 20 {
                    true => {
                        assert!(waiting.memory_for(file).is_none());
                        let mut values = waiting.in_order(file).unwrap();
                        let mut pieces = Vec::new();
                        for end in (0..100_000).step_by(777) {
                            pieces.extend(values.up_to(end).await.unwrap());
                        }
                        pieces
                    }
                    false => taken(&waiting, file).await.into_iter().collect(),
                };
                let mut last = None;
                let mut count = 0;
                for updated in pieces {
                    let names = updated.values.column(0).as_string_view();
                    for (position, name) in updated.positions.iter().zip(names) {
                        assert!(last < Some(*position));
                        assert_eq!(name, Some(format!("row {position} of file {file}").as_str()));
                        (last, count) = (Some(*position), count + 1);
                    }
                }
                assert_eq!(count, 40 * 1_000);
                assert!(!waiting.has(file));
            }
            drop(waiting);
            assert_eq!(context.memory_pool().reserved(), 0);
            assert_eq!(context.runtime_env().disk_manager.used_disk_space(), 0);
        }
    }

    #[tokio::test]
    async fn values_are_put_in_the_places_of_old_ones() {
        let (waiting, _) = waiting(1 << 20).await;
        waiting.keep(rows(vec![(0, 7), (0, 3), (1, 4), (0, 20)])).await.unwrap();
        let mut values = waiting.in_order(0).unwrap();
        let columns = waiting.columns().unwrap();
        let stored = |positions: &[i64]| {
            let names: StringViewArray = positions.iter().map(|p| Some(format!("old {p}"))).collect();
            let stored = RecordBatch::try_from_iter([
                ("id", Arc::new(Int64Array::from(positions.to_vec())) as _),
                ("name", Arc::new(names) as _),
                ("at", Arc::new(TimestampMicrosecondArray::new_null(positions.len())) as _),
                ("position", Arc::new(Int64Array::from(positions.to_vec())) as _),
            ]);
            stored.unwrap()
        };
        for positions in [vec![1, 2], vec![3], vec![4, 7, 8], vec![], vec![19, 20, 21]] {
            let put = values.put(columns, &stored(&positions)).await.unwrap();
            assert_eq!(put.column(0).as_primitive::<Int64Type>().values(), positions.as_slice());
            for (position, name) in positions.iter().zip(put.column(1).as_string_view()) {
                let expected = match [3, 7, 20].contains(position) {
                    true => format!("row {position} of file 0"),
                    false => format!("old {position}"),
                };
                assert_eq!(name, Some(expected.as_str()));
            }
        }
        assert!(values.put(columns, &stored(&[23, 22])).await.is_err(), "out of order");
    }
}
