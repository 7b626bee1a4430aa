//! What a finished file says about its columns.
//!
//! Bounds come from the footer, which has them anyway. Floating point columns are looked at here:
//! footers do not count NaN, and widen a zero bound to both signs.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type, Schema};
use datafusion::scalar::ScalarValue;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::ParquetMetaData;

use super::file_schema::{FileSchema, is_lineage};
use crate::error::{Error, Result};
use crate::table::FieldId;
use crate::table::data_file::WrittenColumn;

/// Counts of one stored column, kept while its file is written.
#[derive(Debug, Clone, Default)]
pub struct ColumnCounts {
    nulls: u64,
    floats: Option<Floats>,
}

#[derive(Debug, Clone)]
struct Floats {
    nan: u64,
    /// Null while there is no number yet.
    lower: ScalarValue,
    upper: ScalarValue,
}

impl ColumnCounts {
    pub fn add_nulls(&mut self, nulls: u64) {
        self.nulls += nulls;
    }

    pub fn update(&mut self, values: &ArrayRef) {
        self.nulls += values.null_count() as u64;
        match values.data_type() {
            DataType::Float16 => self.update_floats::<Float16Type>(values, |v| v.is_nan()),
            DataType::Float32 => self.update_floats::<Float32Type>(values, |v| v.is_nan()),
            DataType::Float64 => self.update_floats::<Float64Type>(values, |v| v.is_nan()),
            _ => {}
        }
    }

    fn update_floats<T: ArrowPrimitiveType>(
        &mut self,
        values: &ArrayRef,
        is_nan: impl Fn(T::Native) -> bool,
    ) {
        let null = || ScalarValue::try_new_null(values.data_type()).unwrap_or(ScalarValue::Null);
        let floats = self.floats.get_or_insert_with(|| Floats { nan: 0, lower: null(), upper: null() });
        let (mut least, mut most): (Option<T::Native>, Option<T::Native>) = (None, None);
        let array = values.as_primitive::<T>();
        let mut see = |v: T::Native| {
            if is_nan(v) {
                floats.nan += 1;
                return;
            }
            if least.is_none_or(|l| v < l) {
                least = Some(v);
            }
            if most.is_none_or(|m| v > m) {
                most = Some(v);
            }
        };
        if array.null_count() == 0 {
            array.values().iter().for_each(|v| see(*v));
        } else {
            array.iter().flatten().for_each(see);
        }
        let scalar = |v: Option<T::Native>| ScalarValue::new_primitive::<T>(v, values.data_type()).ok();
        floats.lower = narrower(&floats.lower, scalar(least), std::cmp::Ordering::Less);
        floats.upper = narrower(&floats.upper, scalar(most), std::cmp::Ordering::Greater);
    }
}

/// `found`, where it is beyond `bound`.
fn narrower(bound: &ScalarValue, found: Option<ScalarValue>, beyond: std::cmp::Ordering) -> ScalarValue {
    match found {
        Some(found) if !found.is_null() => {
            let replace = bound.is_null() || found.partial_cmp(bound) == Some(beyond);
            if replace { found } else { bound.clone() }
        }
        _ => bound.clone(),
    }
}

/// Columns of a finished file by field id. `counts` has one entry per stored column.
pub fn written_columns(
    schema: &FileSchema,
    counts: &[ColumnCounts],
    metadata: &ParquetMetaData,
) -> Result<HashMap<FieldId, WrittenColumn>> {
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    let sizes = column_sizes(schema, metadata);
    let mut columns = HashMap::with_capacity(schema.field_ids.len());
    for (i, (field, id)) in schema.arrow.fields().iter().zip(&schema.field_ids).enumerate() {
        if is_lineage(*id) {
            continue;
        }
        let counts = counts.get(i).cloned().unwrap_or_default();
        let (lower, upper, nan_count) = match counts.floats {
            Some(floats) => (known(floats.lower), known(floats.upper), Some(floats.nan)),
            None if field.data_type().is_nested() => (None, None, None),
            None => {
                let (lower, upper) = footer_bounds(field.name(), &schema.arrow, metadata)?;
                (lower, upper, None)
            }
        };
        let column_size = sizes.get(i).copied().unwrap_or(0);
        let column = WrittenColumn {
            lower,
            upper,
            value_count: rows,
            null_count: counts.nulls,
            nan_count,
            column_size,
        };
        columns.insert(*id, column);
    }
    Ok(columns)
}

fn known(value: ScalarValue) -> Option<ScalarValue> {
    (!value.is_null()).then_some(value)
}

/// Smallest and largest value over all row groups; none, if a row group with values has no bound.
fn footer_bounds(
    column: &str,
    schema: &Schema,
    metadata: &ParquetMetaData,
) -> Result<(Option<ScalarValue>, Option<ScalarValue>)> {
    let parquet = |e: parquet::errors::ParquetError| Error::Internal(e.to_string());
    let converter = StatisticsConverter::try_new(column, schema, metadata.file_metadata().schema_descr());
    let converter = converter.map_err(parquet)?;
    let groups = metadata.row_groups();
    let nulls = converter.row_group_null_counts(groups).map_err(parquet)?;
    let all_null = |group: usize| {
        let rows = groups.get(group).and_then(|g| u64::try_from(g.num_rows()).ok());
        nulls.is_valid(group) && Some(nulls.value(group)) == rows
    };
    let fold = |bounds: ArrayRef, beyond| -> Result<Option<ScalarValue>> {
        let mut best = ScalarValue::try_new_null(bounds.data_type())?;
        for group in 0..bounds.len() {
            if bounds.is_null(group) {
                if all_null(group) {
                    continue;
                }
                return Ok(None);
            }
            best = narrower(&best, Some(ScalarValue::try_from_array(&bounds, group)?), beyond);
        }
        Ok(known(best))
    };
    let lower = fold(converter.row_group_mins(groups).map_err(parquet)?, std::cmp::Ordering::Less)?;
    let upper = fold(converter.row_group_maxes(groups).map_err(parquet)?, std::cmp::Ordering::Greater)?;
    Ok((lower, upper))
}

/// Compressed bytes of each stored column, nested ones included.
fn column_sizes(schema: &FileSchema, metadata: &ParquetMetaData) -> Vec<u64> {
    let descriptor = metadata.file_metadata().schema_descr();
    let mut sizes = vec![0; schema.arrow.fields().len()];
    for group in metadata.row_groups() {
        for (leaf, chunk) in group.columns().iter().enumerate() {
            if let Some(size) = sizes.get_mut(descriptor.get_column_root_idx(leaf)) {
                *size += u64::try_from(chunk.compressed_size()).unwrap_or(0);
            }
        }
    }
    sizes
}
