//! Files made of the row groups of other files and of rows: what copy-on-write makes of a file, and merge-on-read of
//! rows that leave theirs.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use auric_pages::KeptRows;
use datafusion::common::runtime::JoinSet;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use parking_lot::Mutex;
use roaring::RoaringTreemap;

use super::conform::conform;
use super::fan_out::{FannedOut, Remainder, join_small};
use super::file::{ParquetFile, TakenOver};
use super::new_values::NewValues;
use super::partition::{PartitionKey, Partitioner};
use super::shares::Shares;
use super::source::{Part, Source};
use super::{Busy, InputOrder, TableWriter, WriteContext};
use crate::error::{Error, Result};
use crate::table::NewDataFile;
use crate::table::positions::runs;

/// New values of rows of a row group, which are made when it is its turn.
pub type LaterValues = Box<dyn FnOnce() -> Result<NewValues> + Send>;

/// What a file is made of, or a part of it.
pub struct Splice {
    pub source: Source,
    pub parts: Vec<Part>,
    /// Positions of the rows that go. Row groups that are taken over lose them.
    pub gone: Arc<RoaringTreemap>,
    /// New values of rows of row groups that are taken over, by the row group's number.
    pub new_values: HashMap<usize, LaterValues>,
    /// What accounts for them, if nothing else does.
    pub memory: Vec<Arc<MemoryReservation>>,
    /// The rows of the parts that are not row groups, in order; all columns of the table.
    pub rows: SendableRecordBatchStream,
    /// Partition values of the file.
    pub partition: Vec<ScalarValue>,
    /// The sort order that its rows follow, if any.
    pub sort_order_id: Option<i32>,
}

impl Splice {
    /// Compressed bytes of its row groups.
    fn bytes(&self) -> u64 {
        self.source.bytes_of(&self.parts)
    }
}

impl TableWriter {
    /// Makes a file of each splice, several at a time. Where rows are in no order, those that earlier rounds have
    /// left of the same partition go to the end of a new file that has room.
    pub async fn splice(&mut self, files: Vec<Splice>, task: &TaskContext) -> Result<()> {
        let tasks = task.session_config().target_partitions();
        let files = self.with_keys(files)?;
        self.splice_by(tasks, files, false, task).await
    }

    /// The same, but the splices of one partition make a file together, until it is large enough.
    pub async fn splice_joined(&mut self, parts: Vec<Splice>, task: &TaskContext) -> Result<()> {
        let mut parts = self.with_keys(parts)?;
        let mut numbers = HashMap::new();
        for (key, _) in &parts {
            let next = numbers.len();
            numbers.entry(key.clone()).or_insert(next);
        }
        parts.sort_by_key(|(key, _)| numbers.get(key).copied());
        // Each task makes files of its own: what is little is for one.
        let bytes: u64 = parts.iter().map(|(_, part)| part.bytes()).sum();
        let worth = usize::try_from(bytes / self.options.open_file_bytes.max(1) as u64).unwrap_or(usize::MAX);
        self.splice_by(worth.min(task.session_config().target_partitions()), parts, true, task).await
    }

    /// Each with its partition.
    fn with_keys(&self, parts: Vec<Splice>) -> Result<Vec<(PartitionKey, Splice)>> {
        let partitioner = Partitioner::new(&self.snapshot, &self.table)?;
        parts.into_iter().map(|part| Ok((partitioner.key(&part.partition)?, part))).collect()
    }

    /// By so many tasks, or fewer.
    async fn splice_by(
        &mut self,
        tasks: usize,
        parts: Vec<(PartitionKey, Splice)>,
        joined: bool,
        task: &TaskContext,
    ) -> Result<()> {
        if parts.is_empty() {
            return Ok(());
        }
        let tasks = tasks.clamp(1, parts.len());
        let context = self.context(tasks, InputOrder::Any, task);
        let left = Arc::new(Mutex::new(std::mem::take(&mut self.carried)));
        let shares = Arc::new(Shares::new(parts, tasks));
        let mut running = JoinSet::new();
        for i in 0..tasks {
            let reservation =
                MemoryConsumer::new(format!("splice[{i}]")).with_can_spill(true).register(task.memory_pool());
            let (context, left, shares) = (context.clone(), left.clone(), shares.clone());
            let busy = Busy::new(&context);
            running.spawn(async move {
                let _busy = busy;
                let (mut made, mut open) = (Vec::new(), None::<Open>);
                loop {
                    let key = open.as_ref().map(|open| open.key.clone());
                    let next = shares.next(i, |(of_part, _)| key.as_ref() == Some(of_part));
                    let full = open.take_if(|open| {
                        let goes_on = |(key, splice): &(_, Splice)| joined && open.takes(key, splice.bytes());
                        !next.as_ref().is_some_and(goes_on)
                    });
                    if let Some(full) = full {
                        made.push(full.finish(&left, &reservation).await?);
                    }
                    let Some((key, splice)) = next else { return Ok::<_, Error>(made) };
                    let open = match &mut open {
                        Some(open) => open,
                        none => none.insert(Open::new(&context, key, &splice)?),
                    };
                    open.append(splice, &reservation).await?;
                }
            });
        }
        while let Some(joined) = running.join_next().await {
            let made = joined.map_err(|e| Error::Internal(format!("writing {}: {e}", self.table)))??;
            for (file, rows) in made {
                self.files.push(file);
                self.rows += rows;
            }
        }
        self.carried = std::mem::take(&mut *left.lock());
        self.last = Some(context);
        Ok(())
    }
}

/// A file that is being made.
struct Open {
    context: Arc<WriteContext>,
    key: PartitionKey,
    file: ParquetFile,
    sort_order_id: Option<i32>,
}

impl Open {
    fn new(context: &Arc<WriteContext>, key: PartitionKey, first: &Splice) -> Result<Self> {
        let file = ParquetFile::open(context, first.partition.clone())?;
        Ok(Self { context: context.clone(), key, file, sort_order_id: first.sort_order_id })
    }

    /// Whether the file is of this partition, and has room for so many bytes.
    fn takes(&self, key: &PartitionKey, bytes: u64) -> bool {
        *key == self.key && self.file.bytes() + bytes <= self.context.options.target_file_bytes
    }

    fn has_room(&self) -> bool {
        self.file.bytes() < self.context.options.target_file_bytes
    }

    async fn append(&mut self, splice: Splice, reservation: &MemoryReservation) -> Result<()> {
        let context = &self.context;
        let Splice { source, parts, gone, mut new_values, memory: _memory, rows, .. } = splice;
        let mut rows = Rows { stream: rows, rest: None };
        for part in parts {
            match part {
                Part::Group { number, positions } => {
                    let kept = kept_rows(&gone, &positions)?;
                    let new = new_values.remove(&number).map(|make| make()).transpose()?;
                    let group = TakenOver { number, first: positions.start, kept, new };
                    self.file.take_over(&source, &group, reservation).await?;
                }
                Part::Rows(count) => {
                    let mut wanted = usize::try_from(count).map_err(|e| Error::Internal(e.to_string()))?;
                    while wanted > 0 {
                        let batch = rows.next(wanted).await?;
                        wanted -= batch.num_rows();
                        let batch = conform(&batch, &context.schema, &context.table)?;
                        write(&mut self.file, &context.schema.project(&batch)?, reservation).await?;
                    }
                }
            }
        }
        rows.end().await
    }

    /// Returns the file, and how many rows it has beside those that were `left` of earlier rounds.
    async fn finish(
        mut self,
        left: &Mutex<FannedOut>,
        reservation: &MemoryReservation,
    ) -> Result<(NewDataFile, u64)> {
        let rows = self.file.rows();
        if self.has_room()
            && self.context.snapshot.sort_order.fields.is_empty()
            && let Some(more) = { left.lock().remainders.remove(&self.key) }
        {
            let mut batches = join_small(more.batches)?.into_iter();
            while self.has_room()
                && let Some(batch) = batches.next()
            {
                write(&mut self.file, &batch, reservation).await?;
            }
            let batches: Vec<_> = batches.collect();
            if !batches.is_empty() {
                left.lock().remainders.insert(self.key, Remainder { batches, ..more });
            }
        }
        let file = self.file.finish().await?;
        reservation.free();
        Ok((NewDataFile { sort_order_id: self.sort_order_id, ..file }, rows))
    }
}

/// The rows of a row group that stay. `None`: all of them.
fn kept_rows(gone: &RoaringTreemap, positions: &Range<u64>) -> Result<Option<KeptRows>> {
    if gone.range_cardinality(positions.clone()) == 0 {
        return Ok(None);
    }
    let number = |position: u64| {
        usize::try_from(position - positions.start).map_err(|e| Error::Internal(e.to_string()))
    };
    let gone = runs(gone, positions.clone());
    let gone: Vec<Range<usize>> =
        gone.map(|run| Ok(number(run.start)?..number(run.end)?)).collect::<Result<_>>()?;
    Ok(Some(KeptRows::without(number(positions.end)?, gone)))
}

/// Where memory is short, the row group ends.
async fn write(file: &mut ParquetFile, batch: &RecordBatch, reservation: &MemoryReservation) -> Result<()> {
    file.write(batch).await?;
    if reservation.try_resize(file.memory()).is_err() {
        file.end_row_group().await?;
        reservation.try_resize(file.memory())?;
    }
    Ok(())
}

/// Rows that are taken bit by bit.
struct Rows {
    stream: SendableRecordBatchStream,
    rest: Option<RecordBatch>,
}

impl Rows {
    /// Some of the next rows, at most so many.
    async fn next(&mut self, at_most: usize) -> Result<RecordBatch> {
        let batch = match self.rest.take() {
            Some(rest) => Some(rest),
            None => self.stream.next().await.transpose()?,
        };
        let Some(batch) = batch else {
            return Err(Error::Internal(format!("{at_most} rows of a file are missing")));
        };
        if batch.num_rows() > at_most {
            self.rest = Some(batch.slice(at_most, batch.num_rows() - at_most));
        }
        Ok(batch.slice(0, at_most.min(batch.num_rows())))
    }

    /// Fails if there are more rows: they would be lost.
    async fn end(mut self) -> Result<()> {
        let mut more = self.rest.map_or(0, |rest| rest.num_rows());
        while let Some(batch) = self.stream.next().await {
            more += batch?.num_rows();
        }
        match more {
            0 => Ok(()),
            more => Err(Error::Internal(format!("a file has {more} rows more than it should"))),
        }
    }
}
