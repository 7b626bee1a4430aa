//! Row groups of another file, as they are, without some of their rows, or with new values of some: columns without
//! a new value are taken over, and the others written anew.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::ArrayRef;
use auric_pages::{KeptRows, Retained};
use datafusion::execution::memory_pool::MemoryReservation;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowColumnWriter;
use parquet::column::writer::ColumnCloseResult;

use super::retain::{retain, without_what_goes};
use super::{ParquetFile, close_column, encoding, write_column};
use crate::error::{Error, Result};
use crate::write::column_stats::ColumnCounts;
use crate::write::new_values::{NewValues, StoredColumn};
use crate::write::source::{GroupBytes, Source};

/// A row group of another file, and what becomes of it.
pub struct TakenOver<'a> {
    pub number: usize,
    /// `None`: all of them.
    pub kept: Option<KeptRows>,
    pub new: Option<&'a NewValues>,
}

/// What is left of a column.
enum Left<'a> {
    All(Vec<ColumnCloseResult>),
    Pages(Box<Retained>),
    /// To be encoded.
    Values(Box<dyn Iterator<Item = Result<ArrayRef>> + Send + 'a>),
}

impl ParquetFile {
    /// Appends a row group of another file.
    pub async fn take_over(
        &mut self,
        source: &Source,
        group: &TakenOver<'_>,
        reservation: &MemoryReservation,
    ) -> Result<()> {
        self.end_row_group().await?;
        let TakenOver { number, kept, new } = group;
        let is_as_it_was = kept.is_none() && new.is_none();
        let mut anew = match is_as_it_was {
            true => Vec::new(),
            false => self.column_writers()?,
        };
        let known = source.null_counts(*number)?;
        let schema = self.context.schema.arrow.clone();
        let mut chunks = source.chunks(*number)?.into_iter();
        let mut writer = self.writer.next_row_group().map_err(|e| encoding(&self.path, e))?;
        for (leaves, size) in source.runs(*number)? {
            // Little, and there is no way to do with less.
            reservation.resize(size);
            let bytes = source.read(*number, leaves.clone()).await?;
            let (mut columns, mut to_retain) = (Vec::new(), Vec::new());
            for (column, leaves) in source.columns(leaves) {
                let stored = StoredColumn { source, group: *number, bytes: &bytes, column };
                let chunks: Vec<ColumnCloseResult> = chunks.by_ref().take(leaves.len()).collect();
                let new = match new {
                    Some(new) if !stored.has(new)? => Some(*new),
                    _ => None,
                };
                if let (None, Some(_)) = (new, kept) {
                    to_retain.extend(chunks.iter().map(|chunk| (column, chunk.clone())));
                }
                columns.push((column, stored, chunks, new));
            }
            let mut retained = match kept {
                Some(kept) => {
                    reservation.resize(2 * size);
                    retain(&self.context, &bytes, to_retain, kept).await?
                }
                None => BTreeMap::new(),
            };
            let mut uncounted = BTreeSet::new();
            for (column, stored, chunks, new) in columns {
                let missing = || Error::Internal(format!("{}: there is no column {column}", self.path));
                let counts = self.counts.get_mut(column).ok_or_else(missing)?;
                let field = schema.fields().get(column).ok_or_else(missing)?;
                let left = match (new, kept) {
                    (None, None) => Left::All(chunks),
                    (None, Some(kept)) => match retained.remove(&column) {
                        Some(left) => {
                            if field.data_type().is_floating() {
                                without_what_goes(stored.read(None)?, kept)
                                    .try_for_each(|values| values.map(|values| counts.update(&values)))?;
                            } else {
                                counts.add_nulls(left.nulls);
                            }
                            Left::Pages(Box::new(left))
                        }
                        None => Left::Values(Box::new(without_what_goes(stored.read(None)?, kept))),
                    },
                    (Some(new), None) => Left::Values(stored.with(new)?),
                    (Some(new), Some(kept)) => {
                        Left::Values(Box::new(without_what_goes(stored.with(new)?, kept)))
                    }
                };
                match left {
                    Left::All(chunks) => {
                        for chunk in chunks {
                            writer.append_column(&bytes, chunk).map_err(|e| encoding(&self.path, e))?;
                        }
                        match known.get(&column) {
                            Some(nulls) if !field.data_type().is_floating() => counts.add_nulls(*nulls),
                            _ => _ = uncounted.insert(column),
                        }
                    }
                    Left::Pages(left) => {
                        writer.append_column(&left.bytes, left.close).map_err(|e| encoding(&self.path, e))?;
                    }
                    Left::Values(values) => {
                        let mut writers = std::mem::take(anew.get_mut(column).ok_or_else(missing)?);
                        for values in values {
                            let values = values?;
                            counts.update(&values);
                            write_column(&mut writers, field, &values)
                                .map_err(|e| encoding(&self.path, e))?;
                            let encoded: usize = writers.iter().map(ArrowColumnWriter::memory_size).sum();
                            reservation.resize(2 * size + encoded);
                        }
                        for chunk in close_column(writers).map_err(|e| encoding(&self.path, e))? {
                            chunk.append_to_row_group(&mut writer).map_err(|e| encoding(&self.path, e))?;
                        }
                    }
                }
                if let Some(bytes) = self.outbox.take() {
                    self.upload.put(bytes).await?;
                }
                if !is_as_it_was {
                    // Decoding and encoding take their time, in which the statement can be cancelled.
                    tokio::task::yield_now().await;
                }
            }
            count(&mut self.counts, source, *number, &bytes, &uncounted).await?;
        }
        let written = writer.close().map_err(|e| encoding(&self.path, e))?;
        // Dictionaries that stay have entries of rows that went.
        if new.is_some() && kept.is_none() {
            self.context.encodings.learn(&written);
        }
        self.rows += match kept {
            Some(kept) => kept.count() as u64,
            None => source.group_rows(*number)?,
        };
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
