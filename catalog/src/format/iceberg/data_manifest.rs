//! One data manifest as columns: its live files, their partition values and their metrics.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt64Array, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use iceberg::spec::{
    DataContentType, DataFile as IcebergDataFile, DataFileFormat, Literal, Manifest, ManifestEntryRef,
    ManifestFile, PrimitiveLiteral, PrimitiveType, Type,
};

use super::literal::to_array;
use super::manifests::{first_row_id, sequence_number};
use super::partition::{BoundSpec, is_untold};
use crate::error::{Error, Result};
use crate::table::statistics::{ColumnBounds, PartitionBounds, StatisticsTable};
use crate::table::{DataFile, FieldId, FileList, PartitionField};

/// A parsed data manifest.
#[derive(Debug)]
pub struct DataManifest {
    pub list: Arc<FileList>,
}

impl DataManifest {
    /// Memory that it takes, roughly.
    pub fn size_bytes(&self) -> usize {
        let stats = &self.list.stats;
        let columns = stats.columns.values().flat_map(|c| [c.lower.as_ref(), c.upper.as_ref()]);
        let partitions = stats.partitions.iter().flat_map(|p| [p.lower.as_ref(), p.upper.as_ref()]);
        let arrays: usize = columns.chain(partitions).map(|a| a.get_array_memory_size()).sum();
        let counts = stats.columns.len().saturating_mul(stats.len).saturating_mul(16);
        let files: usize = self
            .list
            .files
            .iter()
            .map(|f| size_of::<DataFile>() + f.path.capacity() + f.split_offsets.capacity() * 8)
            .sum();
        arrays + counts + files
    }
}

/// Converts the live entries of `manifest`. Fails with `Unsupported` for data files that are not
/// Parquet, `Corrupt` for what the spec forbids.
pub fn convert(file: &ManifestFile, manifest: &Manifest, bound: &BoundSpec) -> Result<DataManifest> {
    let live: Vec<&ManifestEntryRef> = manifest.entries().iter().filter(|e| e.is_alive()).collect();
    let mut next_row_id = file.first_row_id.and_then(|id| i64::try_from(id).ok());
    let mut files = Vec::with_capacity(live.len());
    for entry in &live {
        let data = entry.data_file();
        check_readable(file, data)?;
        let rows = i64::try_from(data.record_count()).unwrap_or(i64::MAX);
        files.push(DataFile {
            path: data.file_path().to_string(),
            size_bytes: data.file_size_in_bytes(),
            record_count: Some(data.record_count()),
            sequence_number: sequence_number(file, entry.status(), entry.sequence_number())?,
            first_row_id: first_row_id(&mut next_row_id, data.first_row_id(), rows),
            deletion_vector: None,
            sort_order_id: data.sort_order_id(),
            split_offsets: data.split_offsets().map(<[i64]>::to_vec).unwrap_or_default(),
        });
    }
    let data: Vec<&IcebergDataFile> = live.iter().map(|e| e.data_file()).collect();
    let partitions = partition_values(file, manifest, bound, &data)?
        .into_iter()
        .zip(&bound.spec.fields)
        .map(|(values, field)| PartitionBounds {
            // What is not known is null too, but does not stand for one.
            may_contain_null: (0..values.len()).map(|i| values.is_null(i) && !is_untold(field)).collect(),
            lower: values.clone(),
            upper: values,
        })
        .collect();
    let stats = StatisticsTable {
        len: files.len(),
        row_counts: data.iter().map(|d| Some(d.record_count())).collect::<UInt64Array>(),
        columns: column_bounds(manifest, &data)?,
        spec: bound.spec.clone(),
        partitions,
    };
    Ok(DataManifest { list: Arc::new(FileList { files, stats, state: None }) })
}

fn check_readable(file: &ManifestFile, data: &IcebergDataFile) -> Result<()> {
    if data.content_type() != DataContentType::Data {
        return Err(Error::corrupt(&file.manifest_path, "a data manifest lists a delete file"));
    }
    if data.key_metadata().is_some() {
        return Err(Error::unsupported(data.file_path(), "encryption"));
    }
    match data.file_format() {
        DataFileFormat::Parquet => Ok(()),
        other => Err(Error::unsupported(data.file_path(), format!("the file format {other}"))),
    }
}

/// Partition values of `data`, one array per field of the table's spec, of the field's result type.
/// The manifest has a spec of its own (same id, same field ids) with the types of when it was written;
/// its word is the only one on a field whose source column is in no schema any more.
pub fn partition_values(
    file: &ManifestFile,
    manifest: &Manifest,
    bound: &BoundSpec,
    data: &[&IcebergDataFile],
) -> Result<Vec<ArrayRef>> {
    let corrupt = |reason: String| Error::corrupt(&file.manifest_path, reason);
    let header = manifest.metadata();
    let written_type =
        header.partition_spec().partition_type(header.schema()).map_err(|e| corrupt(e.to_string()))?;
    let mut arrays = Vec::with_capacity(bound.spec.fields.len());
    for field in &bound.spec.fields {
        if is_untold(field) {
            arrays.push(new_null_array(&DataType::Utf8, data.len()));
            continue;
        }
        let written = written_type.fields().iter().enumerate().find(|(_, f)| f.id == field.field_id);
        let Some((position, written)) = written else {
            return Err(corrupt(format!("its partition values lack field {}", field.name)));
        };
        let Type::Primitive(primitive) = written.field_type.as_ref() else {
            return Err(corrupt(format!("partition field {} is not primitive", field.name)));
        };
        let values = data.iter().map(|d| match d.partition().fields().get(position) {
            Some(Some(Literal::Primitive(value))) => Some(value),
            _ => None,
        });
        let values = to_array(primitive, values)?;
        arrays.push(match field.result_type.is_null() {
            true => widest(values).map_err(corrupt)?,
            false => as_result_type(values, field).map_err(corrupt)?,
        });
    }
    Ok(arrays)
}

/// The values in the type that every type of theirs can be promoted to (Iceberg spec, "Schema
/// Evolution"), so that those of manifests from before and after a promotion can be compared.
fn widest(values: ArrayRef) -> Result<ArrayRef, String> {
    let widest = match values.data_type() {
        DataType::Int32 => DataType::Int64,
        DataType::Float32 => DataType::Float64,
        DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
        _ => return Ok(values),
    };
    cast(&values, &widest).map_err(|e| e.to_string())
}

/// The source column may have been promoted since the values were written.
fn as_result_type(values: ArrayRef, field: &PartitionField) -> Result<ArrayRef, String> {
    if *values.data_type() == field.result_type {
        return Ok(values);
    }
    let cast = cast(&values, &field.result_type).map_err(|e| e.to_string())?;
    match cast.null_count() == values.null_count() {
        true => Ok(cast),
        false => Err(format!("values of partition field {} do not fit their type", field.name)),
    }
}

/// Metrics of the top-level primitive columns of the manifest's schema that have any.
fn column_bounds(manifest: &Manifest, data: &[&IcebergDataFile]) -> Result<HashMap<FieldId, ColumnBounds>> {
    let mut columns = HashMap::new();
    for field in manifest.metadata().schema().as_struct().fields() {
        let Type::Primitive(primitive) = field.field_type.as_ref() else { continue };
        let known = |d: &&IcebergDataFile| {
            d.lower_bounds().contains_key(&field.id)
                || d.upper_bounds().contains_key(&field.id)
                || d.null_value_counts().contains_key(&field.id)
        };
        if data.iter().any(known) {
            columns.insert(field.id, bounds_of(field.id, primitive, data)?);
        }
    }
    Ok(columns)
}

fn bounds_of(id: FieldId, primitive: &PrimitiveType, data: &[&IcebergDataFile]) -> Result<ColumnBounds> {
    // A NaN among the bounds is the work of a writer that did not leave NaN out: it bounds nothing.
    let usable = |v: &&PrimitiveLiteral| !v.is_nan();
    let lower = data.iter().map(|d| d.lower_bounds().get(&id).map(|v| v.literal()).filter(usable));
    let upper = data.iter().map(|d| d.upper_bounds().get(&id).map(|v| v.literal()).filter(usable));
    let float = matches!(primitive, PrimitiveType::Float | PrimitiveType::Double);
    let nan_count = || data.iter().map(|d| d.nan_value_counts().get(&id).copied()).collect::<UInt64Array>();
    Ok(ColumnBounds {
        lower: to_array(primitive, lower)?,
        upper: to_array(primitive, upper)?,
        null_count: data.iter().map(|d| d.null_value_counts().get(&id).copied()).collect(),
        nan_count: float.then(nan_count).filter(|counts| counts.null_count() < counts.len()),
        exact: is_exact(primitive),
    })
}

/// Strings and binaries may be truncated, and floats leave out NaN and blur the sign of zero.
fn is_exact(primitive: &PrimitiveType) -> bool {
    !matches!(
        primitive,
        PrimitiveType::String
            | PrimitiveType::Binary
            | PrimitiveType::Fixed(_)
            | PrimitiveType::Float
            | PrimitiveType::Double
    )
}
