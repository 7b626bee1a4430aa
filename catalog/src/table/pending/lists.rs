//! File lists that no metadata holds: of files just written, and of a version's files but some.

use std::any::Any;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array, new_null_array};
use arrow::compute::{cast, filter};
use arrow::datatypes::{DataType, UInt64Type};
use datafusion::error::DataFusionError;
use datafusion::scalar::ScalarValue;

use super::files::UNCOMMITTED;
use crate::error::{Error, Result};
use crate::table::LiveFile;
use crate::table::data_file::{DataFile, FileList, NewDataFile, ROW_IDS_TO_COME, WrittenColumn};
use crate::table::deletion_vector::DeletionVectorRef;
use crate::table::schema::FieldId;
use crate::table::snapshot::TableSnapshot;
use crate::table::statistics::{ColumnBounds, PartitionBounds, StatisticsTable};

/// New files as lists, one per partition spec.
pub fn of_new_files(table: &TableSnapshot, added: &[NewDataFile]) -> Result<Vec<Arc<FileList>>> {
    let mut by_spec: BTreeMap<i32, Vec<&NewDataFile>> = BTreeMap::new();
    for file in added {
        by_spec.entry(file.spec.spec_id).or_default().push(file);
    }
    by_spec.into_values().map(|files| list_of(table, &files).map(Arc::new)).collect()
}

fn list_of(table: &TableSnapshot, added: &[&NewDataFile]) -> Result<FileList> {
    let Some(first) = added.first() else { return Err(Error::Internal("a list without files".into())) };
    let spec = first.spec.clone();
    let mut partitions = Vec::with_capacity(spec.fields.len());
    for (i, field) in spec.fields.iter().enumerate() {
        let values = added.iter().map(|file| file.partition.get(i));
        let values = array_of(&field.result_type, values)?;
        partitions.push(PartitionBounds {
            may_contain_null: (0..values.len()).map(|i| values.is_null(i)).collect(),
            lower: values.clone(),
            upper: values,
        });
    }
    let mut columns = HashMap::new();
    for (field, id) in table.schema.arrow.fields().iter().zip(&table.schema.field_ids) {
        if !field.data_type().is_nested() && added.iter().any(|file| file.columns.contains_key(id)) {
            columns.insert(*id, bounds_of(field.data_type(), *id, added)?);
        }
    }
    let files: Vec<DataFile> = added.iter().map(|file| data_file(table, file)).collect();
    let stats = StatisticsTable {
        len: files.len(),
        row_counts: added.iter().map(|file| Some(file.record_count)).collect(),
        columns,
        spec,
        partitions,
    };
    Ok(FileList { files, stats, state: None })
}

fn data_file(table: &TableSnapshot, file: &NewDataFile) -> DataFile {
    DataFile {
        path: file.path.clone(),
        size_bytes: file.size_bytes,
        record_count: Some(file.record_count),
        sequence_number: UNCOMMITTED,
        // Given out by the commit.
        first_row_id: table.row_lineage.as_ref().map(|_| ROW_IDS_TO_COME),
        deletion_vector: None,
        sort_order_id: file.sort_order_id,
        split_offsets: file.split_offsets.clone(),
    }
}

fn bounds_of(data_type: &DataType, id: FieldId, files: &[&NewDataFile]) -> Result<ColumnBounds> {
    let of_file = |file: &&NewDataFile| file.columns.get(&id).cloned();
    let written: Vec<Option<WrittenColumn>> = files.iter().map(of_file).collect();
    let bound = |pick: fn(&WrittenColumn) -> Option<&ScalarValue>| {
        array_of(data_type, written.iter().map(|column| column.as_ref().and_then(pick)))
    };
    let nan_count: UInt64Array = written.iter().map(|column| column.as_ref()?.nan_count).collect();
    Ok(ColumnBounds {
        lower: bound(|column| column.lower.as_ref())?,
        upper: bound(|column| column.upper.as_ref())?,
        null_count: written.iter().map(|column| Some(column.as_ref()?.null_count)).collect(),
        nan_count: data_type.is_floating().then_some(nan_count),
        exact: is_exact(data_type),
    })
}

/// Strings and binaries may be shortened, and floats leave out NaN and blur the sign of zero.
fn is_exact(data_type: &DataType) -> bool {
    !data_type.is_floating()
        && !data_type.is_string()
        && !data_type.is_binary()
        && !matches!(data_type, DataType::FixedSizeBinary(_))
}

/// Values as one array of `data_type`; what is missing or of another type is null.
fn array_of<'a>(
    data_type: &DataType,
    values: impl Iterator<Item = Option<&'a ScalarValue>>,
) -> Result<ArrayRef> {
    let null = ScalarValue::try_new_null(data_type)?;
    let typed = |value: &ScalarValue| match value.data_type() == *data_type {
        true => value.clone(),
        false => value.cast_to(data_type).unwrap_or_else(|_| null.clone()),
    };
    let values: Vec<ScalarValue> = values.map(|value| value.map_or_else(|| null.clone(), typed)).collect();
    let array = ScalarValue::iter_to_array(values)?;
    // Types may differ in the names of what is nested in them.
    Ok(if array.data_type() == data_type {
        array
    } else {
        cast(&array, data_type).map_err(DataFusionError::from)?
    })
}

/// Summary of a list that says nothing: it is in memory, and its files are pruned one by one.
pub fn unknown_summary(list: &FileList) -> Result<StatisticsTable> {
    let unknown = |bounds: &PartitionBounds| {
        let null = new_null_array(bounds.lower.data_type(), 1);
        PartitionBounds { lower: null.clone(), upper: null, may_contain_null: vec![true] }
    };
    Ok(StatisticsTable {
        len: 1,
        row_counts: UInt64Array::from(vec![None::<u64>]),
        columns: HashMap::new(),
        spec: list.spec().clone(),
        partitions: list.stats.partitions.iter().map(unknown).collect(),
    })
}

/// Where the files of a changed list are in the list that the version has.
struct Origin {
    list: Arc<FileList>,
    rows: Vec<usize>,
}

/// The file as the version lists it, where it comes from a list that [`changed`] made.
pub fn of_base(file: &Arc<LiveFile>) -> Arc<LiveFile> {
    let origin = file.list.state.clone().and_then(|state| state.downcast::<Origin>().ok());
    match origin.and_then(|origin| Some((origin.list.clone(), *origin.rows.get(file.row)?))) {
        Some((list, row)) => Arc::new(LiveFile { list, row, deletes: file.deletes.clone() }),
        None => file.clone(),
    }
}

/// A list without the files in `removed` and with `vectors` in the place of its files' own. `None`: it
/// holds none of them.
pub fn changed(
    list: &Arc<FileList>,
    removed: &HashSet<String>,
    vectors: &HashMap<String, DeletionVectorRef>,
) -> Result<Option<FileList>> {
    let touched = |file: &DataFile| removed.contains(&file.path) || vectors.contains_key(&file.path);
    if !list.files.iter().any(touched) {
        return Ok(None);
    }
    let keep: BooleanArray = list.files.iter().map(|file| Some(!removed.contains(&file.path))).collect();
    let mut files = Vec::with_capacity(keep.true_count());
    let mut rows = Vec::with_capacity(keep.true_count());
    for (row, file) in list.files.iter().enumerate().filter(|(_, file)| !removed.contains(&file.path)) {
        rows.push(row);
        let mut file = file.clone();
        if let Some(vector) = vectors.get(&file.path) {
            file.deletion_vector = Some(vector.clone());
        }
        files.push(file);
    }
    let origin: Arc<dyn Any + Send + Sync> = Arc::new(Origin { list: list.clone(), rows });
    Ok(Some(FileList { stats: kept(&list.stats, &keep)?, files, state: Some(origin) }))
}

fn kept(stats: &StatisticsTable, keep: &BooleanArray) -> Result<StatisticsTable> {
    let mut columns = HashMap::with_capacity(stats.columns.len());
    for (id, bounds) in &stats.columns {
        columns.insert(
            *id,
            ColumnBounds {
                lower: filtered(&bounds.lower, keep)?,
                upper: filtered(&bounds.upper, keep)?,
                null_count: kept_counts(&bounds.null_count, keep)?,
                nan_count: bounds.nan_count.as_ref().map(|counts| kept_counts(counts, keep)).transpose()?,
                exact: bounds.exact,
            },
        );
    }
    let mut partitions = Vec::with_capacity(stats.partitions.len());
    for bounds in &stats.partitions {
        let nulls = bounds.may_contain_null.iter().zip(keep.values().iter());
        partitions.push(PartitionBounds {
            lower: filtered(&bounds.lower, keep)?,
            upper: filtered(&bounds.upper, keep)?,
            may_contain_null: nulls.filter(|(_, keep)| *keep).map(|(null, _)| *null).collect(),
        });
    }
    Ok(StatisticsTable {
        len: keep.true_count(),
        row_counts: kept_counts(&stats.row_counts, keep)?,
        columns,
        spec: stats.spec.clone(),
        partitions,
    })
}

fn kept_counts(counts: &UInt64Array, keep: &BooleanArray) -> Result<UInt64Array> {
    Ok(filtered(counts, keep)?.as_primitive::<UInt64Type>().clone())
}

fn filtered(values: &dyn Array, keep: &BooleanArray) -> Result<ArrayRef> {
    filter(values, keep).map_err(|e| DataFusionError::from(e).into())
}
