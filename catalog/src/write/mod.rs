//! Parquet writing: partition fan-out, sort order, target file size, statistics.
//!
//! [`write()`] takes rows in the order of a table's columns and leaves data files that nothing refers
//! to yet; whoever called it commits them, or drops [`Written`], which deletes them. Memory is
//! bounded by the table's row group size and the limits of [`WriteOptions`], accounted to the
//! statement's memory pool.
//!
//! Works on the neutral model alone, for published and staged snapshots alike.

mod assigned_columns;
mod column_stats;
mod conform;
mod encodings;
mod fan_out;
mod file;
mod file_schema;
mod lineage;
mod new_values;
mod options;
mod order;
mod partition;
pub mod partition_path;
mod shares;
mod source;
mod splice;
mod upload;
mod written_files;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use datafusion::common::runtime::JoinSet;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::sorts::sort::sort_batch;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use parking_lot::Mutex;
use parquet::file::metadata::ParquetMetaData;

pub use self::assigned_columns::AssignedColumns;
pub use self::fan_out::{batch_bytes, compact};
pub use self::file_schema::FileSchema;
pub use self::new_values::NewValues;
pub use self::options::{BOUND_BYTES, WriteOptions, data_location};
pub use self::order::{TransformFunction, write_order};
pub use self::partition::{PartitionKey, PartitionRows, Partitioner, source_path};
pub use self::source::{Part, Source};
pub use self::splice::{LaterValues, Splice};
pub use self::upload::Upload;
pub use self::written_files::{WrittenFiles, delete_files};

use self::conform::conform;
use self::encodings::Encodings;
use self::fan_out::{FanOut, FannedOut, join, merge};
use self::lineage::Inherited;
use self::shares::Shares;
use crate::error::{Error, Result};
use crate::storage::{Located, Storage};
use crate::table::{LiveFile, NewDataFile, RowLineage, TableSnapshot};

/// How rows arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputOrder {
    Any,
    /// As [`write_order`] asks, in one stream: partitions follow one another, and files can claim
    /// the table's sort order.
    TableOrder,
}

/// What the tasks of one statement share.
#[derive(Debug)]
pub struct WriteContext {
    /// Name of the table, for messages.
    pub table: String,
    pub storage: Storage,
    pub snapshot: Arc<TableSnapshot>,
    pub schema: Arc<FileSchema>,
    pub options: WriteOptions,
    pub files: WrittenFiles,
    encodings: Arc<Encodings>,
    /// Tasks that write side by side, each with files of its own.
    tasks: usize,
    /// Threads that there are for them.
    threads: usize,
    /// Of the tasks, those that have not ended.
    busy: AtomicUsize,
    /// Each stream follows the table's sort order: once a partition's first row has come, no more rows
    /// of the ones before it will.
    sorted: bool,
    sort_order_id: Option<i32>,
}

impl WriteContext {
    /// Columns that one task encodes at a time: more when others have ended, so that no thread waits for
    /// the last one.
    fn encoders(&self) -> usize {
        (self.threads / self.busy.load(Ordering::Relaxed).max(1)).max(1)
    }
}

/// One of the tasks, for as long as it writes.
struct Busy(Arc<WriteContext>);

impl Busy {
    fn new(context: &Arc<WriteContext>) -> Self {
        context.busy.fetch_add(1, Ordering::Relaxed);
        Self(context.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Files that are complete but not committed. Dropping this deletes them, unless
/// [`WrittenFiles::keep`] was called.
#[derive(Debug)]
pub struct Written {
    pub files: Vec<NewDataFile>,
    pub rows: u64,
    pub guard: WrittenFiles,
}

/// Writes the rows of `inputs` into new files of the table, one task for each input. On failure or
/// when the future is dropped, every file written so far is deleted.
///
/// Fails with `NotNullViolation`; with an arrow error for a value that does not fit its column; with
/// `Invalid` for table properties that make no sense; with `Unsupported` for transforms or types
/// that cannot be written; with `Storage`.
pub async fn write(
    table: &str,
    storage: &Storage,
    snapshot: &Arc<TableSnapshot>,
    inputs: Vec<SendableRecordBatchStream>,
    order: InputOrder,
    task: &TaskContext,
) -> Result<Written> {
    let schema = Arc::new(FileSchema::of(snapshot)?);
    let options = WriteOptions::of(snapshot, &schema)?;
    let mut writer = TableWriter::with(table, storage, snapshot, schema, options);
    let tasks = inputs.len();
    writer.round(inputs, tasks, order, task).await?;
    writer.finish().await
}

/// Writes rows into new files of one table, in rounds: what a round leaves as too little for a file
/// goes to files of the next. Dropping it deletes every file.
#[derive(Debug)]
pub struct TableWriter {
    table: String,
    storage: Storage,
    snapshot: Arc<TableSnapshot>,
    schema: Arc<FileSchema>,
    options: WriteOptions,
    guard: WrittenFiles,
    encodings: Arc<Encodings>,
    files: Vec<NewDataFile>,
    rows: u64,
    /// Rows without a file yet.
    carried: FannedOut,
    last: Option<Arc<WriteContext>>,
}

impl TableWriter {
    /// A writer of the table's columns; with `lineage`, of the columns of
    /// [`FileSchema::with_lineage`] too. Fails as [`write()`] does. To be called inside the runtime
    /// that writes.
    pub fn new(
        table: &str,
        storage: &Storage,
        snapshot: &Arc<TableSnapshot>,
        lineage: Option<&RowLineage>,
    ) -> Result<Self> {
        let schema = match lineage {
            Some(lineage) => FileSchema::with_lineage(snapshot, lineage)?,
            None => FileSchema::of(snapshot)?,
        };
        let options = WriteOptions::of(snapshot, &schema)?;
        Ok(Self::with(table, storage, snapshot, Arc::new(schema), options))
    }

    fn with(
        table: &str,
        storage: &Storage,
        snapshot: &Arc<TableSnapshot>,
        schema: Arc<FileSchema>,
        options: WriteOptions,
    ) -> Self {
        Self {
            table: table.to_string(),
            storage: storage.clone(),
            snapshot: snapshot.clone(),
            schema,
            options,
            guard: WrittenFiles::new(storage.clone()),
            encodings: Arc::default(),
            files: Vec::new(),
            rows: 0,
            carried: FannedOut::default(),
            last: None,
        }
    }

    /// A writer whose files are kept or deleted together with those of another one.
    pub fn sharing(mut self, guard: &WrittenFiles) -> Self {
        self.guard = guard.clone();
        self
    }

    /// Rows that it has got so far.
    pub fn rows_written(&self) -> u64 {
        self.rows
    }

    /// The files written, to be kept or deleted together with others of the same statement.
    pub fn guard(&self) -> &WrittenFiles {
        &self.guard
    }

    /// Writes rows by so many tasks, or fewer, each of which reads some of `inputs` one after the other. In
    /// [`InputOrder::TableOrder`] each of them is sorted by itself.
    pub async fn round(
        &mut self,
        inputs: Vec<SendableRecordBatchStream>,
        tasks: usize,
        order: InputOrder,
        task: &TaskContext,
    ) -> Result<()> {
        if inputs.is_empty() {
            return Ok(());
        }
        let tasks = tasks.clamp(1, inputs.len());
        let context = self.context(tasks, order, task);
        let sorted = context.sorted;
        let carried = Arc::new(Mutex::new(std::mem::take(&mut self.carried)));
        let shares = Arc::new(Shares::new(inputs, tasks));
        let mut running = JoinSet::new();
        for i in 0..tasks {
            let (context, shares) = (context.clone(), shares.clone());
            let carried = (!sorted).then(|| carried.clone());
            let consumer = MemoryConsumer::new(format!("write[{i}]")).with_can_spill(true);
            let reservation = consumer.register(task.memory_pool());
            let busy = Busy::new(&context);
            running.spawn(async move {
                let _busy = busy;
                let mut fan_out = FanOut::new(context, reservation)?;
                while let Some(mut input) = shares.next(i, |_| true) {
                    while let Some(batch) = input.next().await {
                        fan_out.push(batch?).await?;
                    }
                    if sorted {
                        // The next one begins its order anew.
                        fan_out.close_all().await?;
                    }
                }
                fan_out.finish(carried.as_deref()).await
            });
        }
        let mut done: Vec<FannedOut> = Vec::with_capacity(tasks + 1);
        while let Some(joined) = running.join_next().await {
            // Leaving early drops `running`, which stops the other tasks.
            let joined: Result<FannedOut> =
                joined.map_err(|e| Error::Internal(format!("writing {}: {e}", self.table)))?;
            done.push(joined?);
        }
        self.rows += done.iter().map(|one| one.rows).sum::<u64>();
        done.push(std::mem::take(&mut *carried.lock()));
        self.carried = join(done);
        self.files.append(&mut self.carried.files);
        self.last = Some(context);
        Ok(())
    }

    /// Writes rows, which need not be in the table's order.
    pub async fn rows(&mut self, batches: Vec<RecordBatch>, task: &TaskContext) -> Result<()> {
        let Some(first) = batches.first() else { return Ok(()) };
        let schema = first.schema();
        let mut rows = concat_batches(&schema, &batches).map_err(|e| Error::DataFusion(e.into()))?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if let Some(order) = write_order(&self.snapshot, &schema, 0)? {
            rows = sort_batch(&rows, &order, None).map_err(Error::DataFusion)?;
        }
        let rows = Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(rows)])));
        self.round(vec![rows], 1, InputOrder::TableOrder, task).await
    }

    fn context(&self, tasks: usize, order: InputOrder, task: &TaskContext) -> Arc<WriteContext> {
        let sorted = order == InputOrder::TableOrder && !self.snapshot.sort_order.fields.is_empty();
        Arc::new(WriteContext {
            table: self.table.clone(),
            storage: self.storage.clone(),
            snapshot: self.snapshot.clone(),
            schema: self.schema.clone(),
            options: self.options.clone(),
            files: self.guard.clone(),
            encodings: self.encodings.clone(),
            tasks,
            threads: task.session_config().target_partitions(),
            busy: AtomicUsize::new(0),
            sorted,
            sort_order_id: sorted.then_some(self.snapshot.sort_order.order_id),
        })
    }

    /// A file as one whose row groups may be taken over, if they may be.
    pub fn source(
        &self,
        file: &LiveFile,
        located: Located,
        footer: Arc<ParquetMetaData>,
    ) -> Result<Option<Source>> {
        Ok(Source::of(located, footer, Inherited::of(file)?, &self.schema, &self.options))
    }

    /// Rows of the table as files of a partition store them, by number of the stored column, without row lineage.
    /// `None`: some belong to another partition.
    pub fn stored(
        &self,
        rows: &RecordBatch,
        partition: &[ScalarValue],
    ) -> Result<Option<BTreeMap<usize, ArrayRef>>> {
        let rows = conform(rows, &self.schema, &self.table)?;
        let partitioner = Partitioner::new(&self.snapshot, &self.table)?;
        let key = partitioner.key(partition)?;
        match partitioner.split(rows.clone())?.iter().all(|piece| piece.key == key) {
            true => {
                let stored = self.schema.project(&rows)?;
                let columns = stored.columns().iter().take(self.schema.without_lineage());
                Ok(Some(columns.cloned().enumerate().collect()))
            }
            false => Ok(None),
        }
    }

    /// Numbers among the stored columns of columns of the table, as far as they are stored.
    pub fn stored_columns(&self, columns: &BTreeSet<usize>) -> BTreeSet<usize> {
        let stored = self.schema.stored.iter().enumerate();
        stored.filter(|(_, column)| columns.contains(column)).map(|(number, _)| number).collect()
    }

    /// Columns of the table, to be stored without the rest of their rows.
    pub fn assigned(&self, columns: &BTreeSet<usize>) -> Result<AssignedColumns> {
        AssignedColumns::new(&self.table, &self.schema, columns)
    }

    /// The stored columns that say where a row belongs in the table's sort order.
    pub fn sort_columns(&self) -> Vec<usize> {
        let ids = &self.schema.field_ids;
        let fields = self.snapshot.sort_order.fields.iter();
        fields.filter_map(|field| ids.iter().position(|id| *id == field.source_id)).collect()
    }

    /// Writes what is left.
    pub async fn finish(mut self) -> Result<Written> {
        if let Some(context) = self.last.take() {
            let mut rest = merge(&context, std::mem::take(&mut self.carried)).await?;
            self.files.append(&mut rest);
        }
        Ok(Written { files: self.files, rows: self.rows, guard: self.guard })
    }
}

#[cfg(test)]
mod tests;
