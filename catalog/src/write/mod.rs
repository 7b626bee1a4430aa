//! Parquet writing: partition fan-out, sort order, target file size, statistics.
//!
//! [`write()`] takes rows in the order of a table's columns and leaves data files that nothing refers
//! to yet; whoever called it commits them, or drops [`Written`], which deletes them. Memory is
//! bounded by the table's row group size and the limits of [`WriteOptions`], accounted to the
//! statement's memory pool.
//!
//! Works on the neutral model alone, for published and staged snapshots alike.

mod column_stats;
mod conform;
mod fan_out;
mod file;
mod file_schema;
mod options;
mod order;
mod partition;
pub mod partition_path;
mod upload;
mod written_files;

use std::sync::Arc;

use datafusion::common::runtime::JoinSet;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;

pub use self::file_schema::FileSchema;
pub use self::options::{BOUND_BYTES, WriteOptions, data_location};
pub use self::order::{TransformFunction, write_order};
pub use self::partition::{PartitionKey, PartitionRows, Partitioner};
pub use self::upload::Upload;
pub use self::written_files::{WrittenFiles, delete_files};

use self::fan_out::{FanOut, FannedOut, merge};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::table::{NewDataFile, TableSnapshot};

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
    pub schema: FileSchema,
    pub options: WriteOptions,
    pub files: WrittenFiles,
    /// Tasks that write side by side, each with files of its own.
    tasks: usize,
    /// Columns that one task encodes at a time.
    encoders: usize,
    /// Once a partition's first row has come, no more rows of the ones before it will.
    clustered: bool,
    sort_order_id: Option<i32>,
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
    let schema = FileSchema::of(snapshot)?;
    let options = WriteOptions::of(snapshot, &schema)?;
    write_with(table, storage, snapshot, inputs, order, task, schema, options).await
}

#[expect(clippy::too_many_arguments, reason = "the tests' way in, with options of their own")]
async fn write_with(
    table: &str,
    storage: &Storage,
    snapshot: &Arc<TableSnapshot>,
    inputs: Vec<SendableRecordBatchStream>,
    order: InputOrder,
    task: &TaskContext,
    schema: FileSchema,
    options: WriteOptions,
) -> Result<Written> {
    let tasks = inputs.len().max(1);
    let sorted = order == InputOrder::TableOrder && !snapshot.sort_order.fields.is_empty();
    let guard = WrittenFiles::new(storage.clone());
    let context = Arc::new(WriteContext {
        table: table.to_string(),
        storage: storage.clone(),
        snapshot: snapshot.clone(),
        schema,
        options,
        files: guard.clone(),
        tasks,
        encoders: (task.session_config().target_partitions() / tasks).max(1),
        clustered: sorted,
        sort_order_id: sorted.then_some(snapshot.sort_order.order_id),
    });
    let mut running = JoinSet::new();
    for (i, mut input) in inputs.into_iter().enumerate() {
        let context = context.clone();
        let consumer = MemoryConsumer::new(format!("write[{i}]")).with_can_spill(true);
        let reservation = consumer.register(task.memory_pool());
        running.spawn(async move {
            let mut fan_out = FanOut::new(context, reservation)?;
            while let Some(batch) = input.next().await {
                fan_out.push(batch?).await?;
            }
            fan_out.finish().await
        });
    }
    let mut done: Vec<FannedOut> = Vec::with_capacity(tasks);
    while let Some(joined) = running.join_next().await {
        // Leaving early drops `running`, which stops the other tasks.
        let joined: Result<FannedOut> =
            joined.map_err(|e| Error::Internal(format!("writing {table}: {e}")))?;
        done.push(joined?);
    }
    let rows = done.iter().map(|one| one.rows).sum();
    let files = merge(&context, done).await?;
    Ok(Written { files, rows, guard })
}

#[cfg(test)]
mod tests;
