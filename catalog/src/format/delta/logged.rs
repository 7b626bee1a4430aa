//! The `add` actions of a file list as they stand in the log: what a commit has to repeat of a file
//! that it removes or marks, and the neutral model leaves out.
//!
//! Kept as the kernel's own columns, a few dozen bytes a file besides its path; the statistics only
//! up to a limit, beyond which the log is read for them again.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, Int64Array, MapArray, RecordBatch,
    StringArray, StructArray,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::Int64Type;

use super::action::DeletionVectorDescriptor;
use super::{snapshot, vectors};
use crate::error::{Error, Result};
use crate::table::FileList;

/// Columns of scan metadata that are kept (`delta_kernel::scan::scan_row_schema`).
const KEPT: [&str; 6] = ["path", "size", "modificationTime", "stats", "deletionVector", "fileConstantValues"];
/// Statistics kept of one file list.
const MAX_STATS_BYTES: usize = 64 << 20;

/// More batches than these are put together, up to so many rows.
const MAX_BATCHES: usize = 64;
const GATHERED_ROWS: usize = 4096;

/// An `add` action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoggedAdd {
    /// As the log has it: encoded, relative or not.
    pub path: String,
    pub partition_values: BTreeMap<String, Option<String>>,
    pub size: u64,
    pub modification_time: i64,
    /// JSON text. None: there are none, or they were not kept.
    pub stats: Option<String>,
    pub tags: Option<BTreeMap<String, Option<String>>>,
    pub deletion_vector: Option<DeletionVectorDescriptor>,
    pub base_row_id: Option<i64>,
    pub default_row_commit_version: Option<i64>,
    pub clustering_provider: Option<String>,
}

/// The `add` actions of a file list, in its order ([`FileList::state`]).
#[derive(Debug, Default)]
pub(super) struct LoggedAdds {
    /// With the number of the first row.
    batches: Vec<(usize, RecordBatch)>,
    len: usize,
    stats_bytes: usize,
}

impl LoggedAdds {
    pub fn of(list: &FileList) -> Result<Arc<Self>> {
        let adds = list.state.clone().and_then(|state| state.downcast::<Self>().ok());
        adds.ok_or_else(|| Error::Internal("the list is not one of a Delta table".into()))
    }

    /// Those of a list that nobody else has yet.
    pub fn taken(list: &FileList) -> Result<Self> {
        let adds = Self::of(list)?;
        Ok(Self { batches: adds.batches.clone(), len: adds.len, stats_bytes: adds.stats_bytes })
    }

    /// Adds a batch of scan metadata.
    pub fn push(&mut self, root: &str, batch: &RecordBatch) -> Result<()> {
        let columns = KEPT.iter().map(|name| batch.schema_ref().index_of(name));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|_| odd(root))?;
        let mut kept = batch.project(&columns).map_err(|_| odd(root))?;
        if let Some(index) = KEPT.iter().position(|name| *name == "stats") {
            let bytes = kept.column(index).get_array_memory_size();
            if self.stats_bytes.saturating_add(bytes) > MAX_STATS_BYTES {
                let mut columns = kept.columns().to_vec();
                if let Some(stats) = columns.get_mut(index) {
                    *stats = arrow::array::new_null_array(stats.data_type(), kept.num_rows());
                }
                kept = RecordBatch::try_new(kept.schema(), columns).map_err(|_| odd(root))?;
            } else {
                self.stats_bytes += bytes;
            }
        }
        let rows = kept.num_rows();
        self.batches.push((self.len, kept));
        self.len += rows;
        Ok(())
    }

    /// These actions and those of an earlier list without the files that are gone, and which of that list
    /// stay.
    pub fn before(
        mut self,
        root: &str,
        earlier: &Self,
        is_gone: impl Fn(&AddRows<'_>, usize) -> Result<bool>,
    ) -> Result<(Self, BooleanArray)> {
        let mut stays = BooleanBufferBuilder::new(earlier.len);
        for (_, batch) in &earlier.batches {
            let rows = AddRows::new(root, batch)?;
            let keep = (0..batch.num_rows()).map(|row| Ok(!is_gone(&rows, row)?));
            let keep = BooleanArray::from(keep.collect::<Result<Vec<bool>>>()?);
            stays.append_buffer(keep.values());
            match keep.true_count() {
                0 => {}
                all if all == batch.num_rows() => self.push(root, batch)?,
                _ => self.push(root, &filter_record_batch(batch, &keep).map_err(|_| odd(root))?)?,
            }
        }
        self.gather();
        Ok((self, BooleanArray::new(stays.finish(), None)))
    }

    /// Puts batches together where each commit has left one of its own.
    fn gather(&mut self) {
        if self.batches.len() <= MAX_BATCHES {
            return;
        }
        let mut gathered: Vec<(usize, RecordBatch)> = Vec::new();
        for (first, batch) in std::mem::take(&mut self.batches) {
            if let Some((_, last)) = gathered.last_mut()
                && last.num_rows() + batch.num_rows() <= GATHERED_ROWS
                && let Ok(both) = concat_batches(&last.schema(), [&*last, &batch])
            {
                *last = both;
                continue;
            }
            gathered.push((first, batch));
        }
        self.batches = gathered;
    }

    pub fn memory_bytes(&self) -> usize {
        self.batches.iter().map(|(_, batch)| batch.get_array_memory_size()).sum()
    }

    /// The action of the file in this row of the list.
    pub fn get(&self, root: &str, row: usize) -> Result<LoggedAdd> {
        let at = self.batches.partition_point(|(first, _)| *first <= row);
        let batch = at.checked_sub(1).and_then(|at| self.batches.get(at));
        let (first, batch) = batch.filter(|_| row < self.len).ok_or_else(|| odd(root))?;
        AddRows::new(root, batch)?.get(row - first)
    }
}

fn odd(root: &str) -> Error {
    Error::Internal(format!("unexpected scan metadata for {}", snapshot::log_location(root)))
}

/// Columns of one batch of scan metadata.
pub(super) struct AddRows<'a> {
    pub path: &'a StringArray,
    pub size: &'a Int64Array,
    modification_time: &'a Int64Array,
    stats: &'a StringArray,
    pub deletion_vector: &'a StructArray,
    pub partition_values: &'a MapArray,
    pub base_row_id: &'a Int64Array,
    default_row_commit_version: &'a Int64Array,
    tags: &'a MapArray,
    clustering_provider: &'a StringArray,
    /// Not among what is kept.
    pub parsed_stats: Option<&'a StructArray>,
}

impl<'a> AddRows<'a> {
    pub fn new(root: &str, batch: &'a RecordBatch) -> Result<Self> {
        let odd = || odd(root);
        let top = |name: &str| batch.column_by_name(name).ok_or_else(odd);
        let constants = top("fileConstantValues")?.as_struct_opt().ok_or_else(odd)?;
        let constant = |name: &str| constants.column_by_name(name).ok_or_else(odd);
        let text = |column: &'a ArrayRef| column.as_string_opt().ok_or_else(odd);
        let long = |column: &'a ArrayRef| column.as_primitive_opt::<Int64Type>().ok_or_else(odd);
        let map = |column: &'a ArrayRef| column.as_map_opt().ok_or_else(odd);
        Ok(Self {
            path: text(top("path")?)?,
            size: long(top("size")?)?,
            modification_time: long(top("modificationTime")?)?,
            stats: text(top("stats")?)?,
            deletion_vector: top("deletionVector")?.as_struct_opt().ok_or_else(odd)?,
            partition_values: map(constant("partitionValues")?)?,
            base_row_id: long(constant("baseRowId")?)?,
            default_row_commit_version: long(constant("defaultRowCommitVersion")?)?,
            tags: map(constant("tags")?)?,
            clustering_provider: text(constant("clusteringProvider")?)?,
            parsed_stats: batch.column_by_name("stats_parsed").and_then(|c| c.as_struct_opt()),
        })
    }

    /// Path and statistics, where there are any.
    pub fn stats(&self, row: usize) -> Option<(&'a str, &'a str)> {
        let both = self.path.is_valid(row) && self.stats.is_valid(row);
        both.then(|| (self.path.value(row), self.stats.value(row)))
    }

    /// The version that rows of the file were changed last with, where the file does not say: 0 if the
    /// log does not say either.
    pub fn default_row_commit_version(&self, row: usize) -> i64 {
        let versions = self.default_row_commit_version;
        if versions.is_valid(row) { versions.value(row) } else { 0 }
    }

    fn get(&self, row: usize) -> Result<LoggedAdd> {
        let path = self.path.value(row).to_string();
        let deletion_vector = match self.deletion_vector.is_valid(row) {
            true => {
                let found = vectors::descriptor_at(self.deletion_vector, row);
                Some(found.map_err(|reason| Error::corrupt(&path, reason))?)
            }
            false => None,
        };
        let long = |column: &Int64Array| column.is_valid(row).then(|| column.value(row));
        let text = |column: &StringArray| column.is_valid(row).then(|| column.value(row).to_string());
        Ok(LoggedAdd {
            partition_values: entries(self.partition_values, row).unwrap_or_default(),
            size: u64::try_from(self.size.value(row))
                .map_err(|_| Error::corrupt(&path, "the log gives it a negative size"))?,
            path,
            modification_time: long(self.modification_time).unwrap_or_default(),
            stats: text(self.stats),
            tags: entries(self.tags, row),
            deletion_vector,
            base_row_id: long(self.base_row_id),
            default_row_commit_version: long(self.default_row_commit_version),
            clustering_provider: text(self.clustering_provider),
        })
    }
}

/// One value of a column of string maps; `None`: null.
fn entries(maps: &MapArray, row: usize) -> Option<BTreeMap<String, Option<String>>> {
    if maps.is_null(row) {
        return None;
    }
    let entries = maps.value(row);
    let keys = entries.column(0).as_string_opt::<i32>()?;
    let values = entries.column(1).as_string_opt::<i32>()?;
    let value = |i: usize| values.is_valid(i).then(|| values.value(i).to_string());
    Some((0..entries.len()).map(|i| (keys.value(i).to_string(), value(i))).collect())
}
