//! Rows of a batch by the partition they belong to.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray, StructArray, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::error::DataFusionError;
use datafusion::scalar::ScalarValue;

use crate::error::{Error, Result};
use crate::table::schema::FIELD_ID;
use crate::table::{FieldId, PartitionSpec, TableFormat, TableSnapshot, Transform, transform};

/// Identifies a partition within one statement: equal for equal partition values.
pub type PartitionKey = Box<[u8]>;

/// Rows of one partition.
#[derive(Debug)]
pub struct PartitionRows {
    pub key: PartitionKey,
    pub rows: RecordBatch,
    /// Partition values of the whole batch, and a row of `rows` in it.
    values: Arc<Vec<ArrayRef>>,
    row: usize,
}

impl PartitionRows {
    /// Partition values, one per field of the spec.
    pub fn values(&self) -> Result<Vec<ScalarValue>> {
        let values = self.values.iter().map(|v| ScalarValue::try_from_array(v, self.row));
        Ok(values.collect::<Result<_, DataFusionError>>()?)
    }
}

/// Splits batches of one table by its current partition spec.
#[derive(Debug)]
pub struct Partitioner {
    fields: Vec<SourceField>,
    /// `None`: the table is not partitioned.
    converter: Option<RowConverter>,
    table: String,
}

#[derive(Debug)]
struct SourceField {
    /// Where the source column is: index of the column, then of the child inside each struct.
    path: Vec<usize>,
    transform: Transform,
    result_type: DataType,
    /// Delta cannot tell an empty string from a null.
    empty_is_null: bool,
    /// Name of the column, if it may not be null.
    required: Option<String>,
}

impl Partitioner {
    /// Fails with `Unsupported` for a transform that we do not know, `Corrupt` where a source column
    /// is missing.
    pub fn new(snapshot: &TableSnapshot, table: &str) -> Result<Self> {
        let spec: &PartitionSpec = &snapshot.default_spec;
        let schema = &snapshot.schema;
        let mut fields = Vec::with_capacity(spec.fields.len());
        for field in &spec.fields {
            let found = source_path(&schema.arrow, &schema.field_ids, field.source_id);
            let (path, source) = match found {
                Some(found) => found,
                // A dropped column may stay behind in a void field.
                None if field.transform == Transform::Void => (vec![], Field::new("", DataType::Null, true)),
                None => {
                    let reason = format!("partition field \"{}\" has no source column", field.name);
                    return Err(Error::corrupt(&snapshot.location, reason));
                }
            };
            transform::result_type(&field.transform, source.data_type())?;
            fields.push(SourceField {
                path,
                transform: field.transform.clone(),
                result_type: field.result_type.clone(),
                empty_is_null: snapshot.format == TableFormat::Delta,
                required: (!source.is_nullable()).then(|| source.name().clone()),
            });
        }
        let converter = if spec.is_unpartitioned() {
            None
        } else {
            let types = fields.iter().map(|f| SortField::new(f.result_type.clone())).collect();
            Some(RowConverter::new(types).map_err(|e| Error::unsupported(table, e))?)
        };
        Ok(Self { fields, converter, table: table.to_string() })
    }

    /// Of a partition of these values.
    pub fn key(&self, values: &[ScalarValue]) -> Result<PartitionKey> {
        let Some(converter) = &self.converter else { return Ok(Box::default()) };
        let typed = self.fields.iter().zip(values).map(|(field, value)| {
            let value = value.cast_to(&field.result_type)?;
            value.to_array()
        });
        let rows = converter.convert_columns(&typed.collect::<Result<Vec<_>, DataFusionError>>()?);
        Ok(rows.map_err(internal)?.row(0).data().into())
    }

    /// The rows of a batch (all columns of the table, in order) by partition; rows keep their order.
    pub fn split(&self, batch: RecordBatch) -> Result<Vec<PartitionRows>> {
        if batch.num_rows() == 0 {
            return Ok(vec![]);
        }
        let values = self.fields.iter().map(|f| f.values(&batch, &self.table)).collect::<Result<Vec<_>>>()?;
        let values = Arc::new(values);
        let Some(converter) = &self.converter else {
            return Ok(vec![PartitionRows { key: Box::default(), rows: batch, values, row: 0 }]);
        };
        let rows = converter.convert_columns(&values).map_err(internal)?;
        // Runs of rows of one partition: clustered input costs a comparison per row and no copy.
        let mut runs: Vec<(usize, usize)> = vec![];
        for row in 0..rows.num_rows() {
            match runs.last_mut() {
                Some((start, end)) if rows.row(*start) == rows.row(row) => *end = row + 1,
                _ => runs.push((row, row + 1)),
            }
        }
        let mut groups: Vec<Vec<(usize, usize)>> = vec![];
        let mut number: HashMap<&[u8], usize> = HashMap::new();
        for run in runs {
            let at = *number.entry(rows.row(run.0).data()).or_insert(groups.len());
            match groups.get_mut(at) {
                Some(group) => group.push(run),
                None => groups.push(vec![run]),
            }
        }
        let mut split = Vec::with_capacity(groups.len());
        for group in groups {
            let Some((start, end)) = group.first().copied() else { continue };
            let piece = if group.len() == 1 {
                batch.slice(start, end - start)
            } else {
                let indices: UInt32Array = group.iter().flat_map(|(s, e)| (*s as u32)..(*e as u32)).collect();
                take_record_batch(&batch, &indices).map_err(internal)?
            };
            let key = rows.row(start).data().into();
            split.push(PartitionRows { key, rows: piece, values: values.clone(), row: start });
        }
        Ok(split)
    }
}

impl SourceField {
    fn values(&self, batch: &RecordBatch, table: &str) -> Result<ArrayRef> {
        let mut source = match self.path.split_first() {
            None => return Ok(arrow::array::new_null_array(&self.result_type, batch.num_rows())),
            Some((column, path)) => {
                let column = batch.columns().get(*column);
                let column = column.ok_or_else(|| Error::Internal("partition column is missing".into()))?;
                descend(column, path)?
            }
        };
        if self.empty_is_null {
            source = null_if_empty(source)?;
            if let Some(column) = self.required.as_ref().filter(|_| source.null_count() > 0) {
                return Err(Error::NotNullViolation { table: table.to_string(), column: column.clone() });
            }
        }
        let values = transform::apply(&self.transform, &source)?;
        if *values.data_type() == self.result_type {
            return Ok(values);
        }
        cast(&values, &self.result_type).map_err(internal)
    }
}

fn internal(e: arrow::error::ArrowError) -> Error {
    Error::Internal(e.to_string())
}

/// A field inside structs, null where any of its parents is.
fn descend(column: &ArrayRef, path: &[usize]) -> Result<ArrayRef> {
    let Some((child, rest)) = path.split_first() else { return Ok(column.clone()) };
    let parent: &StructArray = column
        .as_struct_opt()
        .ok_or_else(|| Error::Internal("partition source is not in a struct".into()))?;
    let values = parent.columns().get(*child);
    let values = values.ok_or_else(|| Error::Internal("partition source is missing".into()))?;
    let values = match parent.nulls() {
        Some(nulls) if nulls.null_count() > 0 => {
            let is_null = arrow::array::BooleanArray::new(!nulls.inner(), None);
            arrow::compute::nullif(values, &is_null).map_err(internal)?
        }
        _ => values.clone(),
    };
    descend(&values, rest)
}

fn null_if_empty(values: ArrayRef) -> Result<ArrayRef> {
    if !matches!(values.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        return Ok(values);
    }
    let views = cast(&values, &DataType::Utf8View).map_err(internal)?;
    let views = views.as_string_view();
    if !views.iter().any(|v| v == Some("")) {
        return Ok(values);
    }
    Ok(Arc::new(views.iter().map(|v| v.filter(|v| !v.is_empty())).collect::<StringViewArray>()))
}

/// Where the column with this id is in a table's schema: a top-level column, or a field in structs
/// (by the ids in the fields' metadata).
pub fn source_path(schema: &Schema, ids: &[FieldId], id: FieldId) -> Option<(Vec<usize>, Field)> {
    fn find(fields: &Fields, id: FieldId) -> Option<(Vec<usize>, Field)> {
        for (i, field) in fields.iter().enumerate() {
            let own = field.metadata().get(FIELD_ID).and_then(|own| own.parse::<FieldId>().ok());
            if own == Some(id) {
                return Some((vec![i], field.as_ref().clone()));
            }
            if let DataType::Struct(children) = field.data_type()
                && let Some((mut path, mut found)) = find(children, id)
            {
                path.insert(0, i);
                found = found.with_nullable(true);
                return Some((path, found));
            }
        }
        None
    }
    match ids.iter().position(|own| *own == id) {
        Some(i) => Some((vec![i], schema.fields().get(i)?.as_ref().clone())),
        None => find(schema.fields(), id),
    }
}
