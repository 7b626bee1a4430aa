//! One Parquet file being written: encoding, by several tasks if asked to, and upload as it grows.

mod retain;
mod take_over;

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use datafusion::common::runtime::JoinSet;
use datafusion::scalar::ScalarValue;
use parking_lot::Mutex;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::SchemaDescriptor;

pub use self::take_over::TakenOver;
use super::WriteContext;
use super::column_stats::{ColumnCounts, written_columns};
use super::partition_path::partition_path;
use super::upload::Upload;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::table::{NewDataFile, TableFormat};

/// Batches with fewer rows are encoded where they are: handing them out costs more.
const MIN_PARALLEL_ROWS: usize = 4_096;

/// A file that takes rows until it is finished. Dropping it abandons the upload.
pub struct ParquetFile {
    context: Arc<WriteContext>,
    path: String,
    partition: Vec<ScalarValue>,
    upload: Upload,
    writer: SerializedFileWriter<Outbox>,
    outbox: Outbox,
    factory: ArrowRowGroupWriterFactory,
    /// Leaf columns that `factory` gives no dictionary.
    plain: Arc<BTreeSet<usize>>,
    /// Writers of the open row group's leaf columns, by stored column; none between row groups.
    columns: Vec<Vec<ArrowColumnWriter>>,
    group_rows: usize,
    rows: u64,
    counts: Vec<ColumnCounts>,
    /// Bytes held by the open row group, and an estimate of its encoded size.
    group_memory: usize,
    group_bytes: usize,
}

impl std::fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetFile")
            .field("path", &self.path)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl ParquetFile {
    /// Begins a file of a partition under a new name. Nothing is sent yet.
    pub fn open(context: &Arc<WriteContext>, partition: Vec<ScalarValue>) -> Result<Self> {
        failpoint::pass("write::before-file")?;
        let path = file_location(context, &partition);
        let upload = context.files.upload(&path)?;
        let outbox = Outbox::default();
        let properties = context.options.properties.clone();
        let writer = SerializedFileWriter::new(outbox.clone(), context.schema.parquet.clone(), properties);
        let writer = writer.map_err(|e| encoding(&path, e))?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, context.schema.arrow.clone());
        let plain = Arc::default();
        let counts = vec![ColumnCounts::default(); context.schema.arrow.fields().len()];
        Ok(Self {
            context: context.clone(),
            path,
            partition,
            upload,
            writer,
            outbox,
            factory,
            plain,
            columns: vec![],
            group_rows: 0,
            rows: 0,
            counts,
            group_memory: 0,
            group_bytes: 0,
        })
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.group_memory
    }

    /// Size of the file so far, the open row group estimated.
    pub fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.group_bytes) as u64
    }

    /// Appends rows (stored columns only), closing row groups as they fill.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut offset = 0;
        while offset < batch.num_rows() {
            if self.columns.is_empty() {
                self.columns = self.column_writers()?;
            }
            let room = self.context.options.row_group_rows.saturating_sub(self.group_rows).max(1);
            let rows = room.min(batch.num_rows() - offset);
            self.encode(&batch.slice(offset, rows)).await?;
            offset += rows;
            self.group_rows += rows;
            self.rows += rows as u64;
            let full = self.group_rows >= self.context.options.row_group_rows
                || self.group_bytes >= self.context.options.row_group_bytes;
            if full {
                self.end_row_group().await?;
            }
        }
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes the footer and completes the upload.
    pub async fn finish(mut self) -> Result<NewDataFile> {
        self.end_row_group().await?;
        let metadata = self.writer.finish().map_err(|e| encoding(&self.path, e))?;
        self.send().await?;
        let size_bytes = self.writer.bytes_written() as u64;
        self.upload.finish().await?;
        failpoint::pass("write::after-file")?;
        let context = &self.context;
        Ok(NewDataFile {
            path: self.path,
            size_bytes,
            record_count: self.rows,
            spec: context.snapshot.default_spec.clone(),
            partition: self.partition,
            columns: written_columns(&context.schema, &self.counts, &metadata)?,
            split_offsets: split_offsets(&metadata),
            sort_order_id: context.sort_order_id,
        })
    }

    /// Of a row group that begins, by stored column.
    fn column_writers(&mut self) -> Result<Vec<Vec<ArrowColumnWriter>>> {
        let plain = self.context.encodings.plain();
        if plain != self.plain {
            self.factory = factory(&self.context, &plain).map_err(|e| encoding(&self.path, e))?;
            self.plain = plain;
        }
        let number = self.writer.flushed_row_groups().len();
        let writers = self.factory.create_column_writers(number).map_err(|e| encoding(&self.path, e))?;
        let descriptor = self.writer.schema_descr();
        let mut columns: Vec<_> = self.context.schema.arrow.fields().iter().map(|_| vec![]).collect();
        for (leaf, writer) in writers.into_iter().enumerate() {
            match columns.get_mut(descriptor.get_column_root_idx(leaf)) {
                Some(column) => column.push(writer),
                None => return Err(Error::Internal(format!("{}: leaf {leaf} has no column", self.path))),
            }
        }
        Ok(columns)
    }

    async fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        for (counts, values) in self.counts.iter_mut().zip(batch.columns()) {
            counts.update(values);
        }
        let schema = self.context.schema.arrow.clone();
        if self.context.encoders() < 2 || batch.num_rows() < MIN_PARALLEL_ROWS {
            for (i, (writers, values)) in self.columns.iter_mut().zip(batch.columns()).enumerate() {
                write_column(writers, schema.field(i), values).map_err(|e| encoding(&self.path, e))?;
            }
        } else {
            let mut tasks = JoinSet::new();
            let columns = std::mem::take(&mut self.columns);
            let count = columns.len();
            for (i, (mut writers, values)) in columns.into_iter().zip(batch.columns()).enumerate() {
                let (schema, values) = (schema.clone(), values.clone());
                tasks.spawn(async move {
                    write_column(&mut writers, schema.field(i), &values).map(|()| (i, writers))
                });
            }
            self.columns = join_ordered(tasks, count, &self.path).await?;
        }
        let writers = || self.columns.iter().flatten();
        self.group_memory = writers().map(ArrowColumnWriter::memory_size).sum();
        self.group_bytes = writers().map(ArrowColumnWriter::get_estimated_total_bytes).sum();
        Ok(())
    }

    /// The next rows begin another one.
    pub async fn end_row_group(&mut self) -> Result<()> {
        let columns = std::mem::take(&mut self.columns);
        if columns.is_empty() {
            return Ok(());
        }
        // Closing compresses what is left of every column.
        let chunks: Vec<Vec<ArrowColumnChunk>> = if self.context.encoders() < 2 {
            columns
                .into_iter()
                .map(close_column)
                .collect::<Result<_, _>>()
                .map_err(|e| encoding(&self.path, e))?
        } else {
            let count = columns.len();
            let mut tasks = JoinSet::new();
            for (i, writers) in columns.into_iter().enumerate() {
                tasks.spawn(async move { close_column(writers).map(|chunks| (i, chunks)) });
            }
            join_ordered(tasks, count, &self.path).await?
        };
        let mut group = self.writer.next_row_group().map_err(|e| encoding(&self.path, e))?;
        for chunk in chunks.into_iter().flatten() {
            chunk.append_to_row_group(&mut group).map_err(|e| encoding(&self.path, e))?;
            if let Some(bytes) = self.outbox.take() {
                self.upload.put(bytes).await?;
            }
        }
        let written = group.close().map_err(|e| encoding(&self.path, e))?;
        self.context.encodings.learn(&written);
        (self.group_rows, self.group_memory, self.group_bytes) = (0, 0, 0);
        self.send().await
    }

    async fn send(&mut self) -> Result<()> {
        match self.outbox.take() {
            Some(bytes) => self.upload.put(bytes).await,
            None => Ok(()),
        }
    }
}

/// Writers of row groups whose columns `plain` have no dictionary. A file's own factory has the properties that the
/// file began with; what a row group is written with is nobody's concern but its own.
fn factory(
    context: &WriteContext,
    plain: &BTreeSet<usize>,
) -> Result<ArrowRowGroupWriterFactory, ParquetError> {
    let leaves = SchemaDescriptor::new(context.schema.parquet.clone());
    let mut properties = context.options.properties.as_ref().clone().into_builder();
    for (leaf, column) in leaves.columns().iter().enumerate() {
        if plain.contains(&leaf) {
            properties = properties.set_column_dictionary_enabled(column.path().clone(), false);
        }
    }
    let nowhere = std::io::sink();
    let writer =
        SerializedFileWriter::new(nowhere, context.schema.parquet.clone(), Arc::new(properties.build()))?;
    Ok(ArrowRowGroupWriterFactory::new(&writer, context.schema.arrow.clone()))
}

fn write_column(
    writers: &mut [ArrowColumnWriter],
    field: &arrow::datatypes::Field,
    values: &arrow::array::ArrayRef,
) -> Result<(), ParquetError> {
    for (writer, leaf) in writers.iter_mut().zip(compute_leaves(field, values)?) {
        writer.write(&leaf)?;
    }
    Ok(())
}

fn close_column(writers: Vec<ArrowColumnWriter>) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    writers.into_iter().map(ArrowColumnWriter::close).collect()
}

/// Results of numbered tasks in order of their numbers.
async fn join_ordered<T: Send + 'static>(
    mut tasks: JoinSet<Result<(usize, T), ParquetError>>,
    count: usize,
    path: &str,
) -> Result<Vec<T>> {
    let mut slots: Vec<Option<T>> = (0..count).map(|_| None).collect();
    while let Some(joined) = tasks.join_next().await {
        let (i, value) = joined
            .map_err(|e| Error::Internal(format!("encoding {path}: {e}")))?
            .map_err(|e| encoding(path, e))?;
        if let Some(slot) = slots.get_mut(i) {
            *slot = Some(value);
        }
    }
    let all: Option<Vec<T>> = slots.into_iter().collect();
    all.ok_or_else(|| Error::Internal(format!("encoding {path}: a column is missing")))
}

fn encoding(path: &str, e: ParquetError) -> Error {
    Error::DataFusion(datafusion::error::DataFusionError::from(e).context(format!("encoding {path}")))
}

/// Name of a new file. Time-ordered UUIDs keep a directory's listing in the order of writing.
fn file_location(context: &WriteContext, partition: &[ScalarValue]) -> String {
    let format = context.snapshot.format;
    let mut path = context.options.data_location.clone();
    let directory = partition_path(format, &context.snapshot.default_spec, partition);
    if !directory.is_empty() {
        path.push('/');
        path.push_str(&directory);
    }
    let id = uuid::Uuid::now_v7();
    let codec = context.options.codec;
    let dot = if codec.is_empty() { "" } else { "." };
    match format {
        TableFormat::Iceberg => path + &format!("/{id}.parquet"),
        TableFormat::Delta => path + &format!("/part-00000-{id}-c000{dot}{codec}.parquet"),
    }
}

/// Where the row groups begin.
fn split_offsets(metadata: &ParquetMetaData) -> Vec<i64> {
    let start = |group: &parquet::file::metadata::RowGroupMetaData| {
        let first = group.columns().first()?;
        Some(first.dictionary_page_offset().unwrap_or(first.data_page_offset()).min(first.data_page_offset()))
    };
    metadata.row_groups().iter().filter_map(start).collect()
}

/// Encoded bytes on their way from the file writer to the upload.
#[derive(Debug, Clone, Default)]
struct Outbox(Arc<Mutex<Vec<u8>>>);

impl Outbox {
    fn take(&self) -> Option<Bytes> {
        let mut bytes = self.0.lock();
        (!bytes.is_empty()).then(|| Bytes::from(std::mem::take(&mut *bytes)))
    }
}

impl Write for Outbox {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
