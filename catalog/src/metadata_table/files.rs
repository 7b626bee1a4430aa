//! `t$files`: the data files of a version.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int32Array, Int64Array, Int64Builder, MapBuilder, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::scalar::ScalarValue;

use super::{batch, map_names, map_type, schema_of, text_map_builder};
use crate::error::{Error, Result};
use crate::registry::Table;
use crate::scan::{deleted_row_counts, live_files};
use crate::table::statistics::ColumnBounds;
use crate::table::{FieldId, FileList, LiveFile, TableFormat, TableSnapshot, Transform};
use crate::write::partition_path::human;

/// Position of `deleted_rows`, which position delete files must be read for.
const DELETED_ROWS: usize = 6;

pub(super) fn schema() -> SchemaRef {
    schema_of(vec![
        Field::new("file_path", DataType::Utf8, false),
        Field::new("file_format", DataType::Utf8, false),
        Field::new("spec_id", DataType::Int32, false),
        Field::new("partition", DataType::Utf8, true),
        Field::new("record_count", DataType::Int64, true),
        Field::new("file_size_in_bytes", DataType::Int64, false),
        Field::new("deleted_rows", DataType::Int64, true),
        Field::new("data_sequence_number", DataType::Int64, true),
        Field::new("first_row_id", DataType::Int64, true),
        Field::new("sort_order_id", DataType::Int32, true),
        Field::new("null_value_counts", map_type(DataType::Int64), false),
        Field::new("lower_bounds", map_type(DataType::Utf8), false),
        Field::new("upper_bounds", map_type(DataType::Utf8), false),
    ])
}

/// One batch for each file list. `wants`: the columns that are looked at.
pub(super) async fn rows(table: &Table, wants: impl Fn(usize) -> bool) -> Result<Vec<RecordBatch>> {
    let files = live_files(&table.snapshot).await?;
    let deleted = match wants(DELETED_ROWS) {
        true => deleted_row_counts(table.catalog.storage(), &files).await?,
        false => vec![None; files.len()],
    };
    let mut batches = Vec::new();
    let mut rest = files.as_slice();
    let mut deleted = deleted.as_slice();
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|file| Arc::ptr_eq(&file.list, &first.list)).count();
        let (of_list, others) = rest.split_at(length);
        let (counts, other_counts) = deleted.split_at(length.min(deleted.len()));
        batches.push(of_files(&table.snapshot, &first.list, of_list, counts)?);
        (rest, deleted) = (others, other_counts);
    }
    Ok(batches)
}

fn of_files(
    snapshot: &TableSnapshot,
    list: &FileList,
    files: &[LiveFile],
    deleted: &[Option<u64>],
) -> Result<RecordBatch> {
    let mut data = Vec::with_capacity(files.len());
    let mut partitions = Vec::with_capacity(files.len());
    for file in files {
        data.push(file.file()?);
        partitions.push(partition_text(file)?);
    }
    let sequence = |n: i64| (snapshot.format == TableFormat::Iceberg).then_some(n);
    let columns: Vec<(&str, &ColumnBounds)> = columns_of(snapshot, list);
    let (null_counts, lower, upper) = bounds(&columns, files)?;
    batch(
        schema(),
        vec![
            Arc::new(StringArray::from_iter_values(data.iter().map(|f| f.path.as_str()))),
            Arc::new(StringArray::from_iter_values(data.iter().map(|_| "parquet"))),
            Arc::new(Int32Array::from_iter_values(files.iter().map(|f| f.spec().spec_id))),
            Arc::new(StringArray::from(partitions)),
            longs(data.iter().map(|f| f.record_count)),
            longs(data.iter().map(|f| Some(f.size_bytes))),
            longs(deleted.iter().copied()),
            Arc::new(data.iter().map(|f| sequence(f.sequence_number)).collect::<Int64Array>()),
            Arc::new(data.iter().map(|f| f.first_row_id).collect::<Int64Array>()),
            Arc::new(data.iter().map(|f| f.sort_order_id).collect::<Int32Array>()),
            null_counts,
            lower,
            upper,
        ],
    )
}

pub(super) fn longs(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(values.map(|v| v.and_then(|v| i64::try_from(v).ok())).collect::<Int64Array>())
}

/// `day=2024-01-05/region=eu`, nothing escaped. `None`: not partitioned.
pub(super) fn partition_text(file: &LiveFile) -> Result<Option<String>> {
    let spec = file.spec();
    if spec.is_unpartitioned() {
        return Ok(None);
    }
    let values = file.partition()?;
    let fields = spec.fields.iter().zip(&values).filter(|(field, _)| field.transform != Transform::Void);
    let text = fields.map(|(field, value)| {
        let value = human(&field.transform, value).unwrap_or_else(|| "null".into());
        format!("{}={value}", field.name)
    });
    Ok(Some(text.collect::<Vec<_>>().join("/")))
}

/// Columns of the table that the list knows something of, in the table's order.
fn columns_of<'a>(snapshot: &'a TableSnapshot, list: &'a FileList) -> Vec<(&'a str, &'a ColumnBounds)> {
    let known = |id: &FieldId| list.stats.columns.get(id);
    let columns = snapshot.schema.arrow.fields().iter().zip(&snapshot.schema.field_ids);
    columns.filter_map(|(field, id)| Some((field.name().as_str(), known(id)?))).collect()
}

/// Null counts, lower and upper bounds, as far as they are known, by name.
fn bounds(columns: &[(&str, &ColumnBounds)], files: &[LiveFile]) -> Result<(ArrayRef, ArrayRef, ArrayRef)> {
    let mut counts = MapBuilder::new(Some(map_names()), StringBuilder::new(), Int64Builder::new());
    let (mut lower, mut upper) = (text_map_builder(), text_map_builder());
    let failed = |e| Error::Internal(format!("bounds of a file: {e}"));
    for file in files {
        for (name, bounds) in columns {
            let nulls = &bounds.null_count;
            if file.row < nulls.len() && nulls.is_valid(file.row) {
                counts.keys().append_value(name);
                counts.values().append_value(i64::try_from(nulls.value(file.row)).unwrap_or(i64::MAX));
            }
            for (values, builder) in [(&bounds.lower, &mut lower), (&bounds.upper, &mut upper)] {
                if file.row < values.len() && values.is_valid(file.row) {
                    let value = ScalarValue::try_from_array(values, file.row)?;
                    builder.keys().append_value(name);
                    builder.values().append_option(human(&Transform::Identity, &value));
                }
            }
        }
        counts.append(true).map_err(failed)?;
        lower.append(true).map_err(failed)?;
        upper.append(true).map_err(failed)?;
    }
    Ok((Arc::new(counts.finish()), Arc::new(lower.finish()), Arc::new(upper.finish())))
}
