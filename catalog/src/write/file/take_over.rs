//! Row groups of another file, as they are, without some of their rows, or with new values of some: columns without
//! a new value are taken over, and the others written anew.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::Fields;
use auric_pages::{KeptRows, Retained};
use datafusion::execution::memory_pool::MemoryReservation;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowColumnWriter;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::RowGroupMetaDataPtr;
use parquet::file::writer::SerializedRowGroupWriter;

use super::retain::{retain, without_what_goes};
use super::{Outbox, ParquetFile, close_column, encoding, write_column};
use crate::error::{Error, Result};
use crate::table::FieldId;
use crate::table::row_lineage::{LAST_UPDATED_SEQUENCE_NUMBER, ROW_ID};
use crate::write::column_stats::ColumnCounts;
use crate::write::file_schema::is_lineage;
use crate::write::new_values::{NewValues, StoredColumn, Values};
use crate::write::source::{GroupBytes, Source};

/// A row group of another file, and what becomes of it.
pub struct TakenOver {
    pub number: usize,
    /// Position of its first row.
    pub first: u64,
    /// `None`: all of them.
    pub kept: Option<KeptRows>,
    /// Of rows that stay.
    pub new: Option<NewValues>,
}

/// A column of a row group of another file.
struct Column<'a> {
    stored: StoredColumn<'a>,
    chunks: Vec<ColumnCloseResult>,
    becomes: Becomes<'a>,
}

/// What becomes of the values of rows that stay.
enum Becomes<'a> {
    Same,
    /// Some differ from those that are there.
    New(&'a NewValues),
    /// Not all of them are those that are there: see [`TakenOver::lineage`].
    Lineage(FieldId),
}

/// What is left of a column.
enum Left<'a> {
    All(Vec<ColumnCloseResult>),
    Pages(Box<Retained>),
    /// To be encoded.
    Values(Values<'a>),
}

/// A row group that is made of another.
struct NewGroup<'a> {
    /// Of the file.
    path: &'a str,
    fields: &'a Fields,
    writer: SerializedRowGroupWriter<'a, Outbox>,
    /// Of the columns that are written anew, by stored column.
    encoders: Vec<Vec<ArrowColumnWriter>>,
    counts: &'a mut [ColumnCounts],
}

impl TakenOver {
    /// Rows that are left.
    fn rows(&self, source: &Source) -> Result<u64> {
        match &self.kept {
            Some(kept) => Ok(kept.count() as u64),
            None => source.group_rows(self.number),
        }
    }

    /// What is left of a column of which all rows have the values `old`.
    fn values<'a>(
        &'a self,
        source: &Source,
        column: usize,
        new: Option<&'a NewValues>,
        old: impl FnOnce() -> Result<Values<'a>>,
    ) -> Result<Values<'a>> {
        let rows = self.rows(source)?;
        let with_new = match new {
            Some(new) if new.rows.len() as u64 == rows => return new.only(column),
            Some(new) => new.put(column, old()?)?,
            None => old()?,
        };
        Ok(match &self.kept {
            Some(kept) => without_what_goes(with_new, kept),
            None => with_new,
        })
    }

    fn becomes(&self, stored: &StoredColumn<'_>, id: FieldId, nulls: Option<&u64>) -> Result<Becomes<'_>> {
        Ok(match &self.new {
            new if is_lineage(id) => match stored.source.lineage().is_stored(nulls.copied()) {
                true if new.is_none() || id == ROW_ID => Becomes::Same,
                _ => Becomes::Lineage(id),
            },
            Some(new) if !stored.has(new)? => Becomes::New(new),
            _ => Becomes::Same,
        })
    }

    /// What is left of a column of row lineage, where it says all: what follows from the file does not from another
    /// one, and rows with new values were changed last by the commit that is to come. `stored`: where the file has the
    /// column.
    fn lineage<'a>(
        &'a self,
        id: FieldId,
        stored: Option<&StoredColumn<'_>>,
        source: &Source,
    ) -> Result<Values<'a>> {
        let rows = source.group_rows(self.number)?;
        let changed = self.new.as_ref().filter(|_| id == LAST_UPDATED_SEQUENCE_NUMBER);
        let left = self.rows(source)?;
        let is_needed = |_: &&StoredColumn<'_>| changed.is_none_or(|new| (new.rows.len() as u64) < left);
        let stored = stored.filter(is_needed).map(|stored| stored.read(None)).transpose()?;
        let values = source.lineage().values(id, self.first, rows, stored);
        let values = match changed {
            Some(new) => new.nulled(values),
            None => values,
        };
        Ok(match &self.kept {
            Some(kept) => without_what_goes(values, kept),
            None => values,
        })
    }
}

impl ParquetFile {
    /// Appends a row group of another file.
    pub async fn take_over(
        &mut self,
        source: &Source,
        group: &TakenOver,
        reservation: &MemoryReservation,
    ) -> Result<()> {
        self.end_row_group().await?;
        let TakenOver { number, kept, new, .. } = group;
        let rows = group.rows(source)?;
        let known = source.null_counts(*number)?;
        let schema = self.context.schema.clone();
        let fields = schema.arrow.fields();
        let is_stored = |column| source.lineage().is_stored(known.get(&column).copied());
        let has_lineage = (schema.without_lineage()..fields.len()).all(is_stored);
        let is_as_it_was = kept.is_none() && new.is_none() && has_lineage;
        let encoders = match is_as_it_was {
            true => Vec::new(),
            false => self.column_writers()?,
        };
        let mut chunks = source.chunks(*number)?.into_iter();
        let mut made = NewGroup {
            path: &self.path,
            fields,
            writer: self.writer.next_row_group().map_err(|e| encoding(&self.path, e))?,
            encoders,
            counts: &mut self.counts,
        };
        for (leaves, size) in source.runs(*number)? {
            // Little, and there is no way to do with less.
            reservation.resize(size);
            let bytes = source.read(*number, leaves.clone()).await?;
            let (mut columns, mut to_retain) = (Vec::new(), Vec::new());
            for (column, leaves) in source.columns(leaves) {
                let stored = StoredColumn { source, group: *number, bytes: &bytes, column };
                let chunks: Vec<ColumnCloseResult> = chunks.by_ref().take(leaves.len()).collect();
                let id = *schema.field_ids.get(column).ok_or_else(|| missing(&self.path, column))?;
                let becomes = group.becomes(&stored, id, known.get(&column))?;
                if matches!(becomes, Becomes::Same) && kept.is_some() {
                    to_retain.extend(chunks.iter().map(|chunk| (column, chunk.clone())));
                }
                columns.push(Column { stored, chunks, becomes });
            }
            let mut retained = match kept {
                Some(kept) => {
                    reservation.resize(2 * size);
                    retain(&self.context, &bytes, to_retain, kept).await?
                }
                None => BTreeMap::new(),
            };
            let mut uncounted = BTreeSet::new();
            for mut column in columns {
                let number = column.stored.column;
                match column.left(group, retained.remove(&number))? {
                    Left::All(chunks) => {
                        if !made.copy(number, &bytes, chunks, known.get(&number))? {
                            uncounted.insert(number);
                        }
                    }
                    Left::Pages(left) => made.append(number, *left, &column, kept.as_ref())?,
                    Left::Values(values) => made.encode(number, values, 2 * size, reservation)?,
                }
                if let Some(bytes) = self.outbox.take() {
                    self.upload.put(bytes).await?;
                }
                if !is_as_it_was {
                    // Decoding and encoding take their time, in which the statement can be cancelled.
                    tokio::task::yield_now().await;
                }
            }
            count(made.counts, source, *number, &bytes, &uncounted).await?;
        }
        for (column, id) in schema.field_ids.iter().enumerate().skip(source.stored_columns()) {
            made.encode(column, group.lineage(*id, None, source)?, 0, reservation)?;
        }
        let written = made.close()?;
        // Dictionaries that stay have entries of rows that went.
        if !is_as_it_was && kept.is_none() {
            self.context.encodings.learn(&written);
        }
        self.rows += rows;
        self.send().await
    }
}

impl<'a> Column<'a> {
    /// `retained`: the column without the rows that go, if that could be done.
    fn left(&mut self, group: &'a TakenOver, retained: Option<Retained>) -> Result<Left<'a>> {
        let StoredColumn { source, column, .. } = self.stored;
        let read = || self.stored.read(None);
        Ok(match (&self.becomes, &group.kept, retained) {
            (Becomes::Same, None, _) => Left::All(std::mem::take(&mut self.chunks)),
            (Becomes::Same, Some(_), Some(left)) => Left::Pages(Box::new(left)),
            (Becomes::Same, ..) => Left::Values(group.values(source, column, None, read)?),
            (Becomes::New(new), ..) => Left::Values(group.values(source, column, Some(new), read)?),
            (Becomes::Lineage(id), ..) => Left::Values(group.lineage(*id, Some(&self.stored), source)?),
        })
    }
}

impl NewGroup<'_> {
    /// A column as it is. `nulls`: if they are known. Returns whether its values are counted.
    fn copy(
        &mut self,
        column: usize,
        bytes: &GroupBytes,
        chunks: Vec<ColumnCloseResult>,
        nulls: Option<&u64>,
    ) -> Result<bool> {
        for chunk in chunks {
            self.writer.append_column(bytes, chunk).map_err(|e| encoding(self.path, e))?;
        }
        match nulls {
            Some(nulls) if !self.is_floating(column)? => {
                self.counts(column)?.add_nulls(*nulls);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// A column without the rows that go.
    fn append(
        &mut self,
        number: usize,
        left: Retained,
        column: &Column<'_>,
        kept: Option<&KeptRows>,
    ) -> Result<()> {
        match kept {
            Some(kept) if self.is_floating(number)? => {
                for values in without_what_goes(column.stored.read(None)?, kept) {
                    self.counts(number)?.update(&values?);
                }
            }
            _ => self.counts(number)?.add_nulls(left.nulls),
        }
        self.writer.append_column(&left.bytes, left.close).map_err(|e| encoding(self.path, e))
    }

    /// `memory`: bytes that are held beside the encoders'.
    fn encode(
        &mut self,
        column: usize,
        values: Values<'_>,
        memory: usize,
        reservation: &MemoryReservation,
    ) -> Result<()> {
        let path = self.path;
        let encoders = self.encoders.get_mut(column).map(std::mem::take);
        let mut encoders = encoders.ok_or_else(|| missing(path, column))?;
        let field = self.fields.get(column).ok_or_else(|| missing(path, column))?;
        for values in values {
            let values = values?;
            self.counts(column)?.update(&values);
            write_column(&mut encoders, field, &values).map_err(|e| encoding(path, e))?;
            let encoded: usize = encoders.iter().map(ArrowColumnWriter::memory_size).sum();
            reservation.resize(memory + encoded);
        }
        for chunk in close_column(encoders).map_err(|e| encoding(path, e))? {
            chunk.append_to_row_group(&mut self.writer).map_err(|e| encoding(path, e))?;
        }
        Ok(())
    }

    fn close(self) -> Result<RowGroupMetaDataPtr> {
        self.writer.close().map_err(|e| encoding(self.path, e))
    }

    fn counts(&mut self, column: usize) -> Result<&mut ColumnCounts> {
        self.counts.get_mut(column).ok_or_else(|| missing(self.path, column))
    }

    fn is_floating(&self, column: usize) -> Result<bool> {
        let field = self.fields.get(column).ok_or_else(|| missing(self.path, column))?;
        Ok(field.data_type().is_floating())
    }
}

fn missing(path: &str, column: usize) -> Error {
    Error::Internal(format!("{path}: there is no column {column}"))
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
