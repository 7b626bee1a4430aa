//! One writing task: keeps the partitions of its rows apart, within bounds of files and memory.
//!
//! Rows of a partition are kept back until they are worth a file. What a task still keeps back when
//! its input ends goes to [`merge`], which joins it with what the other tasks kept back: however
//! many tasks write, a partition with few rows gets one file.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use datafusion::common::runtime::JoinSet;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;

use super::conform::conform;
use super::file::ParquetFile;
use super::partition::{PartitionKey, Partitioner};
use super::{Busy, WriteContext};
use crate::error::{Error, Result};
use crate::table::NewDataFile;

/// Rows handed to an encoder at a time, at least, unless they are large.
const ENCODE_ROWS: usize = 8_192;
const ENCODE_BYTES: usize = 1 << 20;

/// Rows of one partition on their way into files.
#[derive(Debug)]
struct OpenPartition {
    values: Vec<ScalarValue>,
    kept_back: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    file: Option<ParquetFile>,
}

impl OpenPartition {
    fn memory(&self) -> usize {
        self.bytes + self.file.as_ref().map_or(0, ParquetFile::memory)
    }
}

/// Rows that a task did not open a file for: partition values and batches.
#[derive(Debug)]
pub struct Remainder {
    pub values: Vec<ScalarValue>,
    pub batches: Vec<RecordBatch>,
}

/// What one task made.
#[derive(Debug, Default)]
pub struct FannedOut {
    pub files: Vec<NewDataFile>,
    pub remainders: HashMap<PartitionKey, Remainder>,
    pub rows: u64,
    /// Accounts for the remainders until they are written.
    reservation: Option<MemoryReservation>,
}

/// Takes batches of one input stream.
#[derive(Debug)]
pub struct FanOut {
    context: Arc<WriteContext>,
    partitioner: Partitioner,
    open: HashMap<PartitionKey, OpenPartition>,
    files: Vec<NewDataFile>,
    rows: u64,
    /// Memory of all open partitions.
    memory: usize,
    open_files: usize,
    reservation: MemoryReservation,
}

impl FanOut {
    pub fn new(context: Arc<WriteContext>, reservation: MemoryReservation) -> Result<Self> {
        let partitioner = Partitioner::new(&context.snapshot, &context.table)?;
        Ok(Self {
            context,
            partitioner,
            open: HashMap::new(),
            files: vec![],
            rows: 0,
            memory: 0,
            open_files: 0,
            reservation,
        })
    }

    /// Takes a batch whose columns are in the order of the table's.
    pub async fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let batch = conform(&batch, &self.context.schema, &self.context.table)?;
        self.rows += batch.num_rows() as u64;
        for piece in self.partitioner.split(batch)? {
            let rows = self.context.schema.project(&piece.rows)?;
            if !self.open.contains_key(&piece.key) {
                if self.context.sorted {
                    // This partition begins, so the one before it is complete.
                    self.close_all().await?;
                }
                let values = piece.values()?;
                let fresh = OpenPartition { values, kept_back: vec![], rows: 0, bytes: 0, file: None };
                self.open.insert(piece.key.clone(), fresh);
            }
            self.keep_back(&piece.key, compact(rows)).await?;
        }
        self.stay_within_bounds().await
    }

    /// Finishes the files, with what is `carried` over for their partitions; rows without a file are
    /// left to [`merge`], or in order, written.
    pub async fn finish(mut self, carried: Option<&Mutex<FannedOut>>) -> Result<FannedOut> {
        let mut remainders = HashMap::new();
        let keys: Vec<PartitionKey> = self.open.keys().cloned().collect();
        for key in keys {
            let partition = self.open.get_mut(&key).filter(|p| p.file.is_some() || self.context.sorted);
            if let Some(partition) = partition {
                if let Some(mut more) = carried.and_then(|c| c.lock().remainders.remove(&key)) {
                    partition.kept_back.append(&mut more.batches);
                }
                self.close(&key).await?;
            } else if let Some(partition) = self.open.remove(&key)
                && partition.rows > 0
            {
                let remainder = Remainder { values: partition.values, batches: partition.kept_back };
                remainders.insert(key, remainder);
            }
        }
        self.reservation.resize(self.memory);
        Ok(FannedOut { files: self.files, remainders, rows: self.rows, reservation: Some(self.reservation) })
    }

    async fn keep_back(&mut self, key: &PartitionKey, rows: RecordBatch) -> Result<()> {
        let Some(partition) = self.open.get_mut(key) else {
            return Err(Error::Internal("partition is not open".into()));
        };
        let bytes = batch_bytes(&rows);
        partition.rows += rows.num_rows();
        partition.bytes += bytes;
        partition.kept_back.push(rows);
        self.memory += bytes;
        let encoders = self.context.encoders();
        let due = match partition.file {
            None => partition.bytes >= self.context.options.open_file_bytes,
            Some(_) => partition.rows >= ENCODE_ROWS * encoders || partition.bytes >= ENCODE_BYTES * encoders,
        };
        if due { self.encode(key).await } else { Ok(()) }
    }

    /// Moves what is kept back of a partition into its file, opening one if needed.
    async fn encode(&mut self, key: &PartitionKey) -> Result<()> {
        let Some(partition) = self.open.get_mut(key) else { return Ok(()) };
        let before = partition.memory();
        let batches = std::mem::take(&mut partition.kept_back);
        (partition.rows, partition.bytes) = (0, 0);
        for batch in join_small(batches)? {
            let file = match &mut partition.file {
                Some(file) => file,
                none => {
                    self.open_files += 1;
                    none.insert(ParquetFile::open(&self.context, partition.values.clone())?)
                }
            };
            file.write(&batch).await?;
            if file.bytes() >= self.context.options.target_file_bytes
                && let Some(full) = partition.file.take()
            {
                self.open_files = self.open_files.saturating_sub(1);
                self.files.push(full.finish().await?);
            }
        }
        self.memory = (self.memory + partition.memory()).saturating_sub(before);
        Ok(())
    }

    /// Completes the file of a partition; its next rows get a new one.
    async fn close(&mut self, key: &PartitionKey) -> Result<()> {
        self.encode(key).await?;
        let Some(partition) = self.open.remove(key) else { return Ok(()) };
        self.memory = self.memory.saturating_sub(partition.memory());
        if let Some(file) = partition.file {
            self.open_files = self.open_files.saturating_sub(1);
            self.files.push(file.finish().await?);
        }
        Ok(())
    }

    /// Completes all files.
    pub async fn close_all(&mut self) -> Result<()> {
        let keys: Vec<PartitionKey> = self.open.keys().cloned().collect();
        for key in keys {
            self.close(&key).await?;
        }
        Ok(())
    }

    /// Closes the largest partitions until files and memory are within bounds again.
    async fn stay_within_bounds(&mut self) -> Result<()> {
        let tasks = self.context.tasks.max(1);
        let max_files = (self.context.options.max_open_files / tasks).max(1);
        let max_bytes = self.context.options.max_buffered_bytes / tasks;
        loop {
            let too_many = self.open_files > max_files;
            // A single partition is bounded by its row group.
            let too_large = self.memory > max_bytes && self.open.len() > 1;
            let refused =
                if too_many || too_large { None } else { self.reservation.try_resize(self.memory).err() };
            if !too_many && !too_large && refused.is_none() {
                return Ok(());
            }
            let candidates = self.open.iter().filter(|(_, p)| !too_many || p.file.is_some());
            let largest =
                candidates.max_by_key(|(_, p)| p.memory()).map(|(key, p)| (key.clone(), p.memory()));
            match (largest, refused) {
                (Some((key, memory)), _) if memory > 0 || too_many => self.close(&key).await?,
                (_, Some(refused)) => return Err(refused.into()),
                _ => return Ok(()),
            }
        }
    }
}

/// What several tasks made, as one.
pub fn join(fanned_out: Vec<FannedOut>) -> FannedOut {
    let mut all = FannedOut::default();
    for mut one in fanned_out {
        all.files.append(&mut one.files);
        all.rows += one.rows;
        // One for all: the pool divides its memory by how many there are.
        match (&all.reservation, one.reservation.take()) {
            (Some(all), Some(own)) => all.grow(own.free()),
            (None, own) => all.reservation = own,
            (Some(_), None) => {}
        }
        for (key, mut remainder) in one.remainders {
            match all.remainders.get_mut(&key) {
                Some(known) => known.batches.append(&mut remainder.batches),
                None => {
                    all.remainders.insert(key, remainder);
                }
            }
        }
    }
    all
}

/// Writes what tasks kept back: one file for each partition, up to the target size.
pub async fn merge(context: &Arc<WriteContext>, kept_back: FannedOut) -> Result<Vec<NewDataFile>> {
    let mut files = kept_back.files;
    // Dropped once everything is written.
    let _reservation = kept_back.reservation;
    let mut waiting = kept_back.remainders.into_values();
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < context.tasks.max(context.threads)
            && let Some(remainder) = waiting.next()
        {
            let (context, busy) = (context.clone(), Busy::new(context));
            tasks.spawn(async move {
                let _busy = busy;
                write_remainder(context, remainder).await
            });
        }
        match tasks.join_next().await {
            None => return Ok(files),
            Some(joined) => {
                let written: Result<Vec<NewDataFile>> =
                    joined.map_err(|e| Error::Internal(format!("writing {}: {e}", context.table)))?;
                files.append(&mut written?);
            }
        }
    }
}

async fn write_remainder(context: Arc<WriteContext>, remainder: Remainder) -> Result<Vec<NewDataFile>> {
    let mut files = vec![];
    let mut file = ParquetFile::open(&context, remainder.values.clone())?;
    for batch in join_small(remainder.batches)? {
        if file.bytes() >= context.options.target_file_bytes {
            files.push(file.finish().await?);
            file = ParquetFile::open(&context, remainder.values.clone())?;
        }
        file.write(&batch).await?;
    }
    files.push(file.finish().await?);
    Ok(files)
}

/// Batches worth encoding: small ones joined, in order.
pub fn join_small(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let mut joined = vec![];
    let mut small: Vec<RecordBatch> = vec![];
    let mut rows = 0;
    let mut flush = |small: &mut Vec<RecordBatch>, rows: &mut usize| -> Result<()> {
        *rows = 0;
        match small.len() {
            0 => {}
            1 => joined.append(small),
            _ => {
                if let Some(first) = small.first() {
                    let all = concat_batches(&first.schema(), small.iter());
                    joined.push(all.map_err(|e| Error::DataFusion(e.into()))?);
                }
                small.clear();
            }
        }
        Ok(())
    };
    for batch in batches {
        if batch.num_rows() >= ENCODE_ROWS / 2 {
            flush(&mut small, &mut rows)?;
            small.push(batch);
            flush(&mut small, &mut rows)?;
            continue;
        }
        rows += batch.num_rows();
        small.push(batch);
        if rows >= ENCODE_ROWS {
            flush(&mut small, &mut rows)?;
        }
    }
    flush(&mut small, &mut rows)?;
    Ok(joined)
}

/// The batch without hold of much more memory than its rows need: a few rows taken from a string
/// view column would keep all of its buffers alive.
pub fn compact(batch: RecordBatch) -> RecordBatch {
    let wasteful = |values: &ArrayRef| {
        let total = values.get_array_memory_size();
        total > 64 << 10 && total / 2 > values.len() * 16
    };
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|values| match values.data_type() {
            DataType::Utf8View if wasteful(values) => {
                let views = values.as_string_view();
                if views.total_buffer_bytes_used() * 2 < buffer_bytes(views.data_buffers()) {
                    Arc::new(views.gc()) as ArrayRef
                } else {
                    values.clone()
                }
            }
            DataType::BinaryView if wasteful(values) => {
                let views = values.as_binary_view();
                if views.total_buffer_bytes_used() * 2 < buffer_bytes(views.data_buffers()) {
                    Arc::new(views.gc()) as ArrayRef
                } else {
                    values.clone()
                }
            }
            _ => values.clone(),
        })
        .collect();
    RecordBatch::try_new(batch.schema(), columns).unwrap_or(batch)
}

fn buffer_bytes(buffers: &[Buffer]) -> usize {
    buffers.iter().map(Buffer::len).sum()
}

/// Bytes of a batch's rows: of slices only what they show; a text that many rows share counts once.
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    let of_views =
        |rows: usize, shown: usize, buffers: &[Buffer]| 16 * rows + shown.min(buffer_bytes(buffers));
    let size = |values: &ArrayRef| match values.data_type() {
        DataType::Utf8View => {
            let views = values.as_string_view();
            of_views(views.len(), views.total_buffer_bytes_used(), views.data_buffers())
        }
        DataType::BinaryView => {
            let views = values.as_binary_view();
            of_views(views.len(), views.total_buffer_bytes_used(), views.data_buffers())
        }
        _ => values.to_data().get_slice_memory_size().unwrap_or_else(|_| values.get_array_memory_size()),
    };
    batch.columns().iter().map(size).sum()
}
