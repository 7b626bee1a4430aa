//! Row groups of another file, as they are or with new values of some rows: then columns without a new value are
//! taken over as they are, and the others written anew.

use std::collections::BTreeSet;

use datafusion::execution::memory_pool::MemoryReservation;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowColumnWriter;

use super::{ParquetFile, close_column, encoding, write_column};
use crate::error::{Error, Result};
use crate::write::column_stats::ColumnCounts;
use crate::write::new_values::{NewValues, StoredColumn};
use crate::write::source::{GroupBytes, Source};

impl ParquetFile {
    /// Appends a row group of another file.
    pub async fn take_over(
        &mut self,
        source: &Source,
        group: usize,
        new: Option<&NewValues>,
        reservation: &MemoryReservation,
    ) -> Result<()> {
        self.end_row_group().await?;
        let mut anew = match new {
            Some(_) => self.column_writers()?,
            None => Vec::new(),
        };
        let known = source.null_counts(group)?;
        let schema = self.context.schema.arrow.clone();
        let mut chunks = source.chunks(group)?.into_iter();
        let mut writer = self.writer.next_row_group().map_err(|e| encoding(&self.path, e))?;
        for (leaves, size) in source.runs(group)? {
            // Little, and there is no way to do with less.
            reservation.resize(size);
            let bytes = source.read(group, leaves.clone()).await?;
            let mut uncounted = BTreeSet::new();
            for (column, leaves) in source.columns(leaves) {
                let stored = StoredColumn { source, group, bytes: &bytes, column };
                let missing = || Error::Internal(format!("{}: there is no column {column}", self.path));
                let counts = self.counts.get_mut(column).ok_or_else(missing)?;
                let field = schema.fields().get(column).ok_or_else(missing)?;
                let chunks: Vec<_> = chunks.by_ref().take(leaves.len()).collect();
                match new {
                    Some(new) if !stored.has(new)? => {
                        let mut writers = std::mem::take(anew.get_mut(column).ok_or_else(missing)?);
                        for values in stored.with(new)? {
                            let values = values?;
                            counts.update(&values);
                            write_column(&mut writers, field, &values)
                                .map_err(|e| encoding(&self.path, e))?;
                            let encoded: usize = writers.iter().map(ArrowColumnWriter::memory_size).sum();
                            reservation.resize(size + encoded);
                        }
                        for chunk in close_column(writers).map_err(|e| encoding(&self.path, e))? {
                            chunk.append_to_row_group(&mut writer).map_err(|e| encoding(&self.path, e))?;
                        }
                    }
                    _ => {
                        for chunk in chunks {
                            writer.append_column(&bytes, chunk).map_err(|e| encoding(&self.path, e))?;
                        }
                        match known.get(&column) {
                            Some(nulls) if !field.data_type().is_floating() => counts.add_nulls(*nulls),
                            _ => _ = uncounted.insert(column),
                        }
                    }
                }
                if let Some(bytes) = self.outbox.take() {
                    self.upload.put(bytes).await?;
                }
                if new.is_some() {
                    // Decoding and encoding take their time, in which the statement can be cancelled.
                    tokio::task::yield_now().await;
                }
            }
            count(&mut self.counts, source, group, &bytes, &uncounted).await?;
        }
        let written = writer.close().map_err(|e| encoding(&self.path, e))?;
        if new.is_some() {
            self.context.encodings.learn(&written);
        }
        self.rows += source.group_rows(group)?;
        self.send().await
    }
}

/// Counts what is in stored columns (floating point and nested ones) of a row group that is taken over: its footer
/// does not say all of it.
async fn count(
    counts: &mut [ColumnCounts],
    source: &Source,
    group: usize,
    bytes: &GroupBytes,
    columns: &BTreeSet<usize>,
) -> Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    let read = || {
        let footer = ArrowReaderMetadata::try_new(source.footer().clone(), ArrowReaderOptions::new())?;
        let descriptor = source.footer().file_metadata().schema_descr();
        let mask = ProjectionMask::roots(descriptor, columns.iter().copied());
        ParquetRecordBatchReaderBuilder::new_with_metadata(bytes.clone(), footer)
            .with_row_groups(vec![group])
            .with_projection(mask)
            .build()
    };
    for batch in read().map_err(|e| Error::DataFusion(e.into()))? {
        let batch = batch.map_err(|e| Error::DataFusion(e.into()))?;
        for (column, values) in columns.iter().zip(batch.columns()) {
            if let Some(counts) = counts.get_mut(*column) {
                counts.update(values);
            }
        }
        // Many rows of long lists take their time, in which the statement can be cancelled.
        tokio::task::yield_now().await;
    }
    Ok(())
}
