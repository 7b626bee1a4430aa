//! From what a writer knows of a file to a manifest entry: partition tuple, metrics by field id,
//! bounds truncated as the metrics mode asks.

use std::collections::HashMap;

use datafusion::scalar::ScalarValue;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Literal, PrimitiveType, Struct,
    TableMetadata, Type,
};

use super::delete_manifest::{FILE_PATH, POS};
use super::literal::{datum, from_scalar, single_value_bytes};
use super::partition::BoundSpec;
use super::properties::{MetricsMode, metrics_modes};
use super::uuid_partitions::as_fixed;
use crate::error::{Error, Result};
use crate::table::data_file::WrittenColumn;
use crate::table::deletes::{NewRowDeletes, StoredDeletes};
use crate::table::deletion_vector::DeletionVectorStorage;
use crate::table::{FieldId, NewDataFile};

/// Makes manifest entries for the files of one commit.
pub struct EntryBuilder {
    modes: HashMap<FieldId, MetricsMode>,
    primitives: HashMap<FieldId, PrimitiveType>,
}

impl EntryBuilder {
    pub fn new(metadata: &TableMetadata) -> Self {
        let schema = metadata.current_schema();
        let primitives = schema.as_struct().fields().iter().filter_map(|f| match f.field_type.as_ref() {
            Type::Primitive(primitive) => Some((f.id, primitive.clone())),
            _ => None,
        });
        Self {
            primitives: primitives.collect(),
            modes: metrics_modes(schema, metadata.default_sort_order(), metadata.properties()),
        }
    }

    /// The manifest entry of `file`, whose spec is `bound`.
    pub fn data_file(&self, file: &NewDataFile, bound: &BoundSpec) -> Result<DataFile> {
        let metrics = self.metrics(&file.columns)?;
        let mut builder = DataFileBuilder::default();
        builder
            .content(DataContentType::Data)
            .file_path(file.path.clone())
            .file_format(DataFileFormat::Parquet)
            .partition(partition_tuple(&file.path, &file.partition, bound)?)
            .partition_spec_id(bound.spec.spec_id)
            .record_count(file.record_count)
            .file_size_in_bytes(file.size_bytes)
            .column_sizes(metrics.column_sizes)
            .value_counts(metrics.value_counts)
            .null_value_counts(metrics.null_counts)
            .nan_value_counts(metrics.nan_counts)
            .lower_bounds(metrics.lower)
            .upper_bounds(metrics.upper)
            .split_offsets((!file.split_offsets.is_empty()).then(|| file.split_offsets.clone()));
        if let Some(order) = file.sort_order_id {
            builder.sort_order_id(order);
        }
        builder.build().map_err(|e| Error::Internal(format!("manifest entry of {}: {e}", file.path)))
    }

    fn metrics(&self, columns: &HashMap<FieldId, WrittenColumn>) -> Result<Metrics> {
        let mut metrics = Metrics::default();
        for (id, column) in columns {
            // A nested column's metrics would be its leaves', which have other ids.
            let Some(primitive) = self.primitives.get(id) else { continue };
            let mode = self.modes.get(id).copied().unwrap_or(MetricsMode::None);
            metrics.column_sizes.insert(*id, column.column_size);
            if mode == MetricsMode::None {
                continue;
            }
            metrics.value_counts.insert(*id, column.value_count);
            metrics.null_counts.insert(*id, column.null_count);
            if let Some(count) = column.nan_count {
                metrics.nan_counts.insert(*id, count);
            }
            let length = match mode {
                MetricsMode::Truncate(length) => length,
                MetricsMode::Full => usize::MAX,
                MetricsMode::Counts | MetricsMode::None => continue,
            };
            if let Some(bound) =
                bound_of(column.lower.as_ref(), primitive, |bytes| lower(primitive, bytes, length))?
            {
                metrics.lower.insert(*id, bound);
            }
            if let Some(bound) =
                bound_of(column.upper.as_ref(), primitive, |bytes| upper(primitive, bytes, length))?
            {
                metrics.upper.insert(*id, bound);
            }
        }
        Ok(metrics)
    }
}

#[derive(Default)]
struct Metrics {
    column_sizes: HashMap<FieldId, u64>,
    value_counts: HashMap<FieldId, u64>,
    null_counts: HashMap<FieldId, u64>,
    nan_counts: HashMap<FieldId, u64>,
    lower: HashMap<FieldId, Datum>,
    upper: HashMap<FieldId, Datum>,
}

/// The manifest entry of new row deletes, whose data file is of the spec `bound`.
pub fn delete_entry(new: &NewRowDeletes, bound: &BoundSpec) -> Result<DataFile> {
    let path = new.file.path();
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::PositionDeletes)
        .partition(partition_tuple(path, &new.file.partition()?, bound)?)
        .partition_spec_id(bound.spec.spec_id)
        .referenced_data_file(Some(path.to_string()));
    match &new.stored {
        StoredDeletes::Vector { vector, file_bytes } => {
            let DeletionVectorStorage::File { path: file, offset, length } = &vector.storage else {
                return Err(Error::Internal(format!("the deletion vector of {path} is in no file")));
            };
            let signed =
                |n: &u64| i64::try_from(*n).map_err(|_| Error::Internal(format!("{file} has no byte {n}")));
            builder
                .file_path(file.clone())
                .file_format(DataFileFormat::Puffin)
                .record_count(vector.cardinality)
                .file_size_in_bytes(*file_bytes)
                .content_offset(Some(signed(offset)?))
                .content_size_in_bytes(Some(signed(length)?));
        }
        StoredDeletes::Positions { path: file, size_bytes } => {
            // Readers older than `referenced_data_file` know by equal bounds that it is for one file.
            let bounds = HashMap::from([(FILE_PATH, Datum::string(path))]);
            let counts = |n: u64| HashMap::from([(FILE_PATH, n), (POS, n)]);
            builder
                .file_path(file.clone())
                .file_format(DataFileFormat::Parquet)
                .record_count(new.newly_deleted)
                .file_size_in_bytes(*size_bytes)
                .value_counts(counts(new.newly_deleted))
                .null_value_counts(counts(0))
                .lower_bounds(bounds.clone())
                .upper_bounds(bounds);
        }
    }
    builder.build().map_err(|e| Error::Internal(format!("manifest entry of the deletes of {path}: {e}")))
}

fn partition_tuple(path: &str, partition: &[ScalarValue], bound: &BoundSpec) -> Result<Struct> {
    if partition.len() != bound.types.len() {
        return Err(Error::Internal(format!("{path} has a partition of another spec")));
    }
    let values = partition.iter().zip(&bound.types).map(|(value, primitive)| match primitive {
        Some(primitive) => Ok(from_scalar(primitive, value)?.map(Literal::Primitive).map(as_fixed)),
        None => Ok(None),
    });
    Ok(Struct::from_iter(values.collect::<Result<Vec<_>>>()?))
}

fn bound_of(
    value: Option<&ScalarValue>,
    primitive: &PrimitiveType,
    truncate: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>,
) -> Result<Option<Datum>> {
    let Some(value) = value else { return Ok(None) };
    let Some(bytes) = single_value_bytes(primitive, value)?.and_then(truncate) else { return Ok(None) };
    Ok(Some(datum(primitive, &bytes)?).filter(|bound| !bound.is_nan()))
}

/// A prefix is never greater than the whole.
fn lower(primitive: &PrimitiveType, mut bytes: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    if matches!(primitive, PrimitiveType::String) {
        let text = String::from_utf8(bytes).ok()?;
        return Some(text.chars().take(length).collect::<String>().into_bytes());
    }
    // A fixed value must keep its length, so only binaries are cut.
    if matches!(primitive, PrimitiveType::Binary) {
        bytes.truncate(length);
    }
    Some(bytes)
}

/// The smallest value of at most `length` units that is not less than the whole; `None` if there is none.
fn upper(primitive: &PrimitiveType, bytes: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    if matches!(primitive, PrimitiveType::String) {
        let text = String::from_utf8(bytes).ok()?;
        if text.chars().nth(length).is_none() {
            return Some(text.into_bytes());
        }
        return increment_text(text.chars().take(length).collect()).map(String::into_bytes);
    }
    if !matches!(primitive, PrimitiveType::Binary) || bytes.len() <= length {
        return Some(bytes);
    }
    increment_bytes(bytes.into_iter().take(length).collect())
}

fn increment_text(mut prefix: Vec<char>) -> Option<String> {
    while let Some(last) = prefix.pop() {
        // Code points between the surrogates do not exist in UTF-8.
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            _ => u32::from(last).checked_add(1).and_then(char::from_u32),
        };
        if let Some(next) = next {
            prefix.push(next);
            return Some(prefix.into_iter().collect());
        }
    }
    None
}

fn increment_bytes(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            return Some(prefix);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str, length: usize) -> (String, Option<String>) {
        let primitive = PrimitiveType::String;
        let utf8 = |b: Vec<u8>| String::from_utf8(b).unwrap();
        let bytes = value.as_bytes().to_vec();
        (utf8(lower(&primitive, bytes.clone(), length).unwrap()), upper(&primitive, bytes, length).map(utf8))
    }

    #[test]
    fn strings_are_cut_by_code_points() {
        assert_eq!(text("short", 16), ("short".into(), Some("short".into())));
        assert_eq!(text("exactly sixteen!", 16).1.unwrap(), "exactly sixteen!");
        assert_eq!(text("abcdef", 3), ("abc".into(), Some("abd".into())));
        assert_eq!(text("žluťoučký", 4), ("žluť".into(), Some("žlu\u{166}".into())));
        assert_eq!(text("ab\u{d7ff}x", 3).1.unwrap(), "ab\u{e000}");
        assert_eq!(text("a\u{10ffff}\u{10ffff}x", 3).1.unwrap(), "b");
        assert_eq!(text("\u{10ffff}\u{10ffff}x", 2).1, None);
    }

    #[test]
    fn binaries_are_cut_by_bytes() {
        let primitive = PrimitiveType::Binary;
        assert_eq!(lower(&primitive, vec![1, 2, 3], 2), Some(vec![1, 2]));
        assert_eq!(upper(&primitive, vec![1, 2, 3], 2), Some(vec![1, 3]));
        assert_eq!(upper(&primitive, vec![1, 255, 3], 2), Some(vec![2]));
        assert_eq!(upper(&primitive, vec![255, 255, 3], 2), None);
        assert_eq!(upper(&primitive, vec![255, 255], 2), Some(vec![255, 255]));
        assert_eq!(upper(&PrimitiveType::Int, vec![1, 2, 3, 4], 2), Some(vec![1, 2, 3, 4]));
    }
}
