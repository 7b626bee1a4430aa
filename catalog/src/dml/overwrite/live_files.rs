//! The live files of a version, with the deletes that apply to them.

use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::Result;
use crate::table::deletes::FileDeletes;
use crate::table::{FileList, LiveFile, PartitionSpec, TableSnapshot};

/// File lists read at the same time.
const CONCURRENT_LISTS: usize = 16;

/// All file lists of a version.
pub(super) async fn lists(snapshot: &TableSnapshot) -> Result<Vec<Arc<FileList>>> {
    let index = snapshot.files.index().await?;
    let numbers: Vec<usize> = index.groups.iter().flat_map(|(_, numbers)| numbers.iter().copied()).collect();
    stream::iter(numbers.into_iter().map(|number| snapshot.files.file_list(number)))
        .buffered(CONCURRENT_LISTS)
        .try_collect()
        .await
}

/// Files of lists, by row number, with what is deleted from them.
pub(super) async fn with_deletes(
    snapshot: &TableSnapshot,
    files: Vec<(Arc<FileList>, usize)>,
) -> Result<Vec<Arc<LiveFile>>> {
    let index = snapshot.files.deletes().await?;
    let mut live = Vec::with_capacity(files.len());
    for (list, row) in files {
        let mut file = LiveFile { list, row, deletes: FileDeletes::default() };
        file.deletes = if index.is_empty() {
            FileDeletes { deletion_vector: file.file()?.deletion_vector.clone(), ..Default::default() }
        } else {
            index.for_file(file.file()?, &(file.spec().spec_id, file.partition()?))
        };
        live.push(Arc::new(file));
    }
    Ok(live)
}

/// Partition values of a file, as types of its spec.
pub(super) fn partition_of(list: &FileList, row: usize) -> Result<Vec<ScalarValue>> {
    let spec: &PartitionSpec = list.spec();
    let mut values = Vec::with_capacity(spec.fields.len());
    for (bounds, field) in list.stats.partitions.iter().zip(&spec.fields) {
        let value = ScalarValue::try_from_array(&bounds.lower, row)?;
        values.push(canonical(field.typed(value)?));
    }
    Ok(values)
}

/// The value by which partitions are compared: there is one NaN.
pub(super) fn canonical(value: ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Float32(Some(v)) if v.is_nan() => ScalarValue::Float32(Some(f32::NAN)),
        ScalarValue::Float64(Some(v)) if v.is_nan() => ScalarValue::Float64(Some(f64::NAN)),
        value => value,
    }
}
