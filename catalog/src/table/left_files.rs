//! The files of a version from those of an earlier one: what is known of those that stay is neither read
//! nor parsed again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array, new_null_array};
use arrow::compute::{FilterBuilder, FilterPredicate, concat};
use arrow::datatypes::{DataType, UInt64Type};

use super::data_file::{DataFile, FileList};
use super::schema::FieldId;
use super::statistics::{ColumnBounds, PartitionBounds, StatisticsTable};
use crate::error::{Error, Result};

/// Strings of so many lists are copied into one.
const MAX_STRING_BUFFERS: usize = 16;

/// Those of the list that stay.
pub fn left_of(list: &FileList, stays: BooleanArray) -> Result<FileList> {
    let nothing = |array: &ArrayRef| new_null_array(array.data_type(), 0);
    let partitions = list.stats.partitions.iter().map(|partition| PartitionBounds {
        lower: nothing(&partition.lower),
        upper: nothing(&partition.upper),
        may_contain_null: Vec::new(),
    });
    let stats = StatisticsTable {
        len: 0,
        row_counts: UInt64Array::new_null(0),
        columns: HashMap::new(),
        spec: list.stats.spec.clone(),
        partitions: partitions.collect(),
    };
    added_to(FileList { files: Vec::new(), stats, state: None }, list, stays)
}

/// The added files, then those of an earlier list of the same spec that stay. Without the format's state.
pub fn added_to(added: FileList, earlier: &FileList, stays: BooleanArray) -> Result<FileList> {
    let left = Left::new(stays);
    let FileList { mut files, stats: new, .. } = added;
    let old = &earlier.stats;
    let mut columns: HashMap<FieldId, ColumnBounds> = HashMap::with_capacity(old.columns.len());
    for id in new.columns.keys().chain(old.columns.keys()) {
        if !columns.contains_key(id) {
            let both = (new.columns.get(id), old.columns.get(id));
            columns.extend(left.bounds(both, new.len)?.map(|bounds| (*id, bounds)));
        }
    }
    let partitions = new.partitions.iter().zip(&old.partitions);
    let partitions = partitions.map(|(new, old)| left.partition(new, old)).collect::<Result<_>>()?;
    let kept = earlier.files.iter().zip(left.stays.values().iter()).filter(|(_, stays)| *stays);
    files.extend(kept.map(|(file, _)| DataFile::clone(file)));
    let stats = StatisticsTable {
        len: files.len(),
        row_counts: left.numbers(&new.row_counts, &old.row_counts)?,
        columns,
        spec: new.spec,
        partitions,
    };
    Ok(FileList { files, stats, state: None })
}

/// What is left of an earlier list.
struct Left {
    stays: BooleanArray,
    filter: FilterPredicate,
}

impl Left {
    fn new(stays: BooleanArray) -> Self {
        let filter = FilterBuilder::new(&stays).optimize().build();
        Self { stays, filter }
    }

    fn behind(&self, new: &dyn Array, old: &dyn Array) -> Result<ArrayRef> {
        let internal = |e: arrow::error::ArrowError| Error::Internal(e.to_string());
        let old = self.filter.filter(old).map_err(internal)?;
        let both = concat(&[new, old.as_ref()]).map_err(internal)?;
        Ok(match both.data_type() {
            DataType::Utf8View if both.as_string_view().data_buffers().len() > MAX_STRING_BUFFERS => {
                Arc::new(both.as_string_view().gc())
            }
            DataType::BinaryView if both.as_binary_view().data_buffers().len() > MAX_STRING_BUFFERS => {
                Arc::new(both.as_binary_view().gc())
            }
            _ => both,
        })
    }

    fn numbers(&self, new: &UInt64Array, old: &UInt64Array) -> Result<UInt64Array> {
        Ok(self.behind(new, old)?.as_primitive::<UInt64Type>().clone())
    }

    /// Of a column of which one of the lists may know nothing.
    fn bounds(
        &self,
        (new, old): (Option<&ColumnBounds>, Option<&ColumnBounds>),
        added: usize,
    ) -> Result<Option<ColumnBounds>> {
        let Some(known) = new.or(old) else { return Ok(None) };
        let nothing = |len: usize| ColumnBounds {
            lower: new_null_array(known.lower.data_type(), len),
            upper: new_null_array(known.upper.data_type(), len),
            null_count: UInt64Array::new_null(len),
            nan_count: known.nan_count.as_ref().map(|_| UInt64Array::new_null(len)),
            exact: known.exact,
        };
        let (no_new, no_old) = (nothing(added), nothing(self.stays.len()));
        let (new, old) = (new.unwrap_or(&no_new), old.unwrap_or(&no_old));
        Ok(Some(ColumnBounds {
            lower: self.behind(&new.lower, &old.lower)?,
            upper: self.behind(&new.upper, &old.upper)?,
            null_count: self.numbers(&new.null_count, &old.null_count)?,
            nan_count: match (&new.nan_count, &old.nan_count) {
                (Some(new), Some(old)) => Some(self.numbers(new, old)?),
                _ => None,
            },
            exact: new.exact && old.exact,
        }))
    }

    fn partition(&self, new: &PartitionBounds, old: &PartitionBounds) -> Result<PartitionBounds> {
        // The value of a file is both.
        let values = self.behind(&new.lower, &old.lower)?;
        let left = old.may_contain_null.iter().zip(self.stays.values().iter()).filter(|(_, stays)| *stays);
        let may_contain_null = new.may_contain_null.iter().chain(left.map(|(null, _)| null)).copied();
        Ok(PartitionBounds {
            lower: values.clone(),
            upper: values,
            may_contain_null: may_contain_null.collect(),
        })
    }
}
