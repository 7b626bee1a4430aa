//! A data file of ours whose row groups can be taken over by another as they are: not decoded, not encoded
//! and not compressed again; nor are those decoded of which rows go.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Fields, Schema};
use bytes::Bytes;
use bytes::buf::{Buf, Reader};
use object_store::ObjectStore;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::{ChunkReader, Length};
use roaring::RoaringTreemap;

use super::file_schema::FileSchema;
use super::lineage::Inherited;
use super::new_values::{NewValues, StoredColumn};
use super::options::{CREATED_BY, WriteOptions};
use crate::error::{Error, Result};
use crate::storage::Located;

/// Bytes of columns that are read at a time, unless a single one has more.
const RUN_BYTES: usize = 8 << 20;

/// A file, and where its columns are.
#[derive(Debug, Clone)]
pub struct Source {
    located: Located,
    footer: Arc<ParquetMetaData>,
    /// Of its rows, in a table with row lineage.
    lineage: Inherited,
    /// Decodes the types that are written. `None`: it does not.
    as_written: Option<ArrowReaderMetadata>,
    /// Rows or bytes from which on a row group is taken over. Smaller ones are joined with each other, so that
    /// many changes do not leave many small ones.
    worth_rows: u64,
    worth_bytes: i64,
}

/// What becomes of a file's rows, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A row group is taken over, without its rows that go.
    Group { number: usize, positions: Range<u64> },
    /// So many rows that are left of others are written anew.
    Rows(u64),
}

/// What a statement makes of a row group.
struct Fate {
    positions: Range<u64>,
    /// No row goes.
    is_whole: bool,
    /// What is left is enough to be taken over, whatever its neighbours are.
    is_large: bool,
    /// Rows that are left if it is not taken over.
    left: u64,
}

impl Source {
    /// `None`: the file is not as we would write it now. It has other columns, or types, or names (those of row
    /// lineage it may be without); another program wrote it, whose statistics may mean something else; it has no
    /// page index; or the table asks for bloom filters.
    pub fn of(
        located: Located,
        footer: Arc<ParquetMetaData>,
        lineage: Inherited,
        schema: &FileSchema,
        options: &WriteOptions,
    ) -> Option<Self> {
        let about = footer.file_metadata();
        let is_ours = about.created_by().is_some_and(|by| by.starts_with(CREATED_BY));
        let columns = about.schema().get_fields();
        let wanted = schema.parquet.get_fields();
        let is_alike = columns == wanted || wanted.get(..schema.without_lineage()) == Some(columns);
        let is_indexed = footer.column_index().is_some() && footer.offset_index().is_some();
        let leaves = about.schema_descr().columns();
        let is_filtered =
            leaves.iter().any(|leaf| options.properties.bloom_filter_properties(leaf.path()).is_some());
        let worth_rows = options.row_group_rows as u64 / 2;
        let worth_bytes = i64::try_from(options.row_group_bytes / 2).unwrap_or(i64::MAX);
        let may_be = is_ours && is_alike && is_indexed && !is_filtered;
        let types: Fields = schema.arrow.fields().iter().take(columns.len()).cloned().collect();
        let types = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(types)));
        let as_written = ArrowReaderMetadata::try_new(footer.clone(), types).ok();
        let may_be = may_be && (as_written.is_some() || schema.without_lineage() == wanted.len());
        may_be.then_some(Self { located, footer, lineage, as_written, worth_rows, worth_bytes })
    }

    pub fn footer(&self) -> &Arc<ParquetMetaData> {
        &self.footer
    }

    /// Whether rows of row groups that are taken over can have new values.
    pub fn takes_new_values(&self) -> bool {
        self.as_written.is_some()
    }

    /// To decode the file by. Fails if [`Self::takes_new_values`] is false.
    pub fn as_written(&self) -> Result<&ArrowReaderMetadata> {
        let differs = || Error::Internal(format!("{} is not decoded as it is written", self.location()));
        self.as_written.as_ref().ok_or_else(differs)
    }

    pub fn lineage(&self) -> &Inherited {
        &self.lineage
    }

    /// How many of the stored columns the file has: all but, maybe, those of row lineage.
    pub fn stored_columns(&self) -> usize {
        self.footer.file_metadata().schema().get_fields().len()
    }

    /// Positions of each row group.
    pub fn positions(&self) -> Vec<Range<u64>> {
        let mut first = 0;
        let rows = self.footer.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(0));
        rows.map(|rows| {
            let start = first;
            first += rows;
            start..first
        })
        .collect()
    }

    /// Whether the new values of these stored columns of a row group are those that are there.
    pub async fn has(&self, group: usize, columns: &[usize], new: &NewValues) -> Result<bool> {
        let leaves = self.group(group)?.num_columns();
        for (column, leaves) in self.columns(0..leaves) {
            if columns.contains(&column) {
                let bytes = self.read(group, leaves).await?;
                if !(StoredColumn { source: self, group, bytes: &bytes, column }).has(new)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The row groups of which enough is left, without the rows `gone`, to be part of a file with others.
    pub fn large_groups(&self, gone: &RoaringTreemap) -> Vec<Part> {
        let groups = self.footer.row_groups().iter().zip(self.positions()).enumerate();
        let large = groups.filter_map(|(number, (group, positions))| {
            let fate = self.fate(group, positions, gone, &RoaringTreemap::new());
            fate.is_large.then_some(Part::Group { number, positions: fate.positions })
        });
        large.collect()
    }

    /// Compressed bytes of row groups.
    pub fn bytes_of(&self, parts: &[Part]) -> u64 {
        let groups = parts.iter().filter_map(|part| match part {
            Part::Group { number, .. } => self.footer.row_groups().get(*number),
            Part::Rows(_) => None,
        });
        groups.map(|group| u64::try_from(group.compressed_size()).unwrap_or(0)).sum()
    }

    /// `None`: there is no row group to be taken over. `replaced`: those of `deleted` that get new
    /// values in their places.
    pub fn parts(&self, deleted: &RoaringTreemap, replaced: &RoaringTreemap) -> Option<Vec<Part>> {
        let groups = self.footer.row_groups().iter().zip(self.positions());
        let groups: Vec<Fate> =
            groups.map(|(group, positions)| self.fate(group, positions, deleted, replaced)).collect();
        let mut parts: Vec<Part> = Vec::new();
        let mut taken_over = false;
        for (number, fate) in groups.iter().enumerate() {
            let before = number.checked_sub(1).and_then(|before| groups.get(before));
            let beside = [before, groups.get(number + 1)];
            // One that is too small is joined with a neighbour that is too small itself.
            let settled = || beside.into_iter().flatten().all(|fate| fate.is_large);
            let stays = fate.is_large || fate.is_whole && settled();
            match parts.last_mut() {
                _ if stays => {
                    taken_over = true;
                    parts.push(Part::Group { number, positions: fate.positions.clone() });
                }
                Some(Part::Rows(rows)) => *rows += fate.left,
                _ => parts.push(Part::Rows(fate.left)),
            }
        }
        taken_over.then_some(parts)
    }

    fn fate(
        &self,
        group: &RowGroupMetaData,
        positions: Range<u64>,
        deleted: &RoaringTreemap,
        replaced: &RoaringTreemap,
    ) -> Fate {
        let rows = positions.end - positions.start;
        let deleted = deleted.range_cardinality(positions.clone());
        let gone = deleted.saturating_sub(replaced.range_cardinality(positions.clone()));
        let stay = rows.saturating_sub(gone);
        // What is left of a row group takes about its share of the bytes. Dictionaries stay, and say nothing of it.
        let bytes = match gone {
            0 => group.compressed_size(),
            _ => group.columns().iter().map(bytes_of_rows).sum(),
        };
        let bytes = i128::from(bytes) * i128::from(stay) / i128::from(rows.max(1));
        let is_enough = stay >= self.worth_rows.max(1) || bytes >= i128::from(self.worth_bytes.max(1));
        // Dictionaries are those of all rows.
        let is_enough = is_enough && 2 * stay >= rows;
        Fate {
            is_whole: gone == 0,
            is_large: is_enough && (gone == 0 || self.as_written.is_some()),
            left: rows.saturating_sub(deleted),
            positions,
        }
    }

    /// The leaf columns of a row group in runs that are worth a request each and need little memory; all leaves
    /// of a stored column are in one. Each with its compressed bytes.
    pub fn runs(&self, group: usize) -> Result<Vec<(Range<usize>, usize)>> {
        let mut runs: Vec<(Range<usize>, usize)> = Vec::new();
        for (leaf, column) in self.group(group)?.columns().iter().enumerate() {
            let bytes = usize::try_from(column.compressed_size()).unwrap_or(0);
            let root = self.root_of(leaf);
            match runs.last_mut() {
                Some((run, total))
                    if *total + bytes <= RUN_BYTES || self.root_of(run.end.saturating_sub(1)) == root =>
                {
                    run.end = leaf + 1;
                    *total += bytes;
                }
                _ => runs.push((leaf..leaf + 1, bytes)),
            }
        }
        Ok(runs)
    }

    /// The stored columns of a run of leaves, each with its own.
    pub fn columns(&self, run: Range<usize>) -> Vec<(usize, Range<usize>)> {
        let mut columns: Vec<(usize, Range<usize>)> = Vec::new();
        for leaf in run {
            let root = self.root_of(leaf);
            match columns.last_mut() {
                Some((column, leaves)) if *column == root => leaves.end = leaf + 1,
                _ => columns.push((root, leaf..leaf + 1)),
            }
        }
        columns
    }

    /// Rows of a row group.
    pub fn group_rows(&self, number: usize) -> Result<u64> {
        Ok(u64::try_from(self.group(number)?.num_rows()).unwrap_or(0))
    }

    fn group(&self, number: usize) -> Result<&RowGroupMetaData> {
        self.footer.row_groups().get(number).ok_or_else(|| self.missing(number))
    }

    /// Reads leaf columns of a row group.
    pub async fn read(&self, group: usize, leaves: Range<usize>) -> Result<GroupBytes> {
        let columns = self.group(group)?.columns().get(leaves).unwrap_or_default();
        let ranges: Vec<_> = columns.iter().map(|column| column.byte_range()).collect();
        let wanted: Vec<_> = ranges.iter().map(|(start, length)| *start..start + length).collect();
        let read = self.located.store.get_ranges(&self.located.path, &wanted).await;
        let read = read.map_err(|e| Error::storage(self.location(), e))?;
        let parts = ranges.into_iter().map(|(start, _)| start).zip(read).collect();
        Ok(GroupBytes(Arc::new(parts)))
    }

    /// The column chunks of a row group, each with its bytes as the writer takes them.
    pub fn chunks(&self, number: usize) -> Result<Vec<ColumnCloseResult>> {
        let (group, rows) = (self.group(number)?, self.group_rows(number)?);
        let columns = self.footer.column_index().and_then(|all| all.get(number));
        let offsets = self.footer.offset_index().and_then(|all| all.get(number));
        let (Some(columns), Some(offsets)) = (columns, offsets) else { return Err(self.missing(number)) };
        let chunks = group.columns().iter().zip(columns).zip(offsets);
        let chunks = chunks.map(|((metadata, column_index), offset_index)| ColumnCloseResult {
            bytes_written: u64::try_from(metadata.compressed_size()).unwrap_or(0),
            rows_written: rows,
            metadata: metadata.clone(),
            bloom_filter: None,
            column_index: Some(column_index.clone()).filter(|index| *index != ColumnIndexMetaData::NONE),
            offset_index: Some(offset_index.clone()),
        });
        Ok(chunks.collect())
    }

    /// The stored column that a leaf belongs to.
    pub fn root_of(&self, leaf: usize) -> usize {
        self.footer.file_metadata().schema_descr().get_column_root_idx(leaf)
    }

    /// Nulls of the stored columns of which the footer tells: of those that are not nested.
    pub fn null_counts(&self, number: usize) -> Result<HashMap<usize, u64>> {
        let columns = self.group(number)?.columns().iter().enumerate();
        let count = |(leaf, column): (usize, &ColumnChunkMetaData)| {
            let is_whole = column.column_path().parts().len() == 1;
            let nulls = column.statistics()?.null_count_opt()?;
            is_whole.then(|| (self.root_of(leaf), nulls))
        };
        Ok(columns.filter_map(count).collect())
    }

    fn location(&self) -> String {
        format!("{}{}", self.located.store_url.as_str(), self.located.path)
    }

    fn missing(&self, group: usize) -> Error {
        Error::Internal(format!("{} has no row group {group} with a page index", self.location()))
    }
}

/// Compressed bytes of a column without its dictionary.
fn bytes_of_rows(column: &ColumnChunkMetaData) -> i64 {
    let dictionary = column.dictionary_page_offset().map_or(0, |start| column.data_page_offset() - start);
    column.compressed_size() - dictionary
}

/// Bytes of a row group's columns, found by their place in the file.
#[derive(Debug, Clone)]
pub struct GroupBytes(Arc<Vec<(u64, Bytes)>>);

impl GroupBytes {
    fn from(&self, start: u64) -> Option<Bytes> {
        self.0.iter().find_map(|(first, bytes)| {
            let skipped = usize::try_from(start.checked_sub(*first)?).ok()?;
            (skipped < bytes.len()).then(|| bytes.slice(skipped..))
        })
    }
}

impl Length for GroupBytes {
    fn len(&self) -> u64 {
        self.0.iter().map(|(first, bytes)| first + bytes.len() as u64).max().unwrap_or(0)
    }
}

impl ChunkReader for GroupBytes {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        self.from(start).map(Buf::reader).ok_or_else(|| outside(start, 0))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let found = self.from(start).filter(|bytes| bytes.len() >= length);
        found.map(|bytes| bytes.slice(..length)).ok_or_else(|| outside(start, length))
    }
}

fn outside(start: u64, length: usize) -> ParquetError {
    ParquetError::General(format!("{length} bytes at {start} are of no column that was read"))
}
