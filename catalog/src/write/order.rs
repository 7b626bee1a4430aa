//! The order of rows that a table asks for, as expressions over a plan's columns.

use std::hash::Hash;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_plan::expressions::Column;

use super::partition::source_path;
use crate::error::{Error, Result};
use crate::table::{FieldId, TableSnapshot, Transform, transform};

/// What rows are to be sorted by before they are written: the partition, then the table's sort
/// order. `None` for a table without a sort order. `input` has the table's columns in order, from
/// its column `first` on.
pub fn write_order(snapshot: &TableSnapshot, input: &Schema, first: usize) -> Result<Option<LexOrdering>> {
    if snapshot.sort_order.fields.is_empty() {
        return Ok(None);
    }
    let mut keys = vec![];
    for field in snapshot.default_spec.fields.iter().filter(|f| f.transform != Transform::Void) {
        let options = SortOptions { descending: false, nulls_first: true };
        keys.push(key(snapshot, input, first, field.source_id, &field.transform, options)?);
    }
    for field in &snapshot.sort_order.fields {
        let options = SortOptions { descending: field.descending, nulls_first: field.nulls_first };
        keys.push(key(snapshot, input, first, field.source_id, &field.transform, options)?);
    }
    Ok(LexOrdering::new(keys))
}

fn key(
    snapshot: &TableSnapshot,
    input: &Schema,
    first: usize,
    source: FieldId,
    transform: &Transform,
    options: SortOptions,
) -> Result<PhysicalSortExpr> {
    let schema = &snapshot.schema;
    let (path, _) = source_path(&schema.arrow, &schema.field_ids, source).ok_or_else(|| {
        Error::corrupt(&snapshot.location, format!("sort order names no column: id {source}"))
    })?;
    let [index] = path.as_slice() else {
        return Err(Error::unsupported(&snapshot.location, "a sort order over a nested field"));
    };
    let index = first + index;
    let field = input.fields().get(index);
    let field = field.ok_or_else(|| Error::Internal("fewer columns to write than the table has".into()))?;
    let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), index));
    if *transform == Transform::Identity {
        return Ok(PhysicalSortExpr { expr: column, options });
    }
    let result = transform::result_type(transform, field.data_type())?;
    let function = Arc::new(ScalarUDF::from(TransformFunction::new(transform.clone())));
    let expr = ScalarFunctionExpr::new(
        &transform.to_string(),
        function,
        vec![column],
        Arc::new(Field::new(transform.to_string(), result, true)),
        Arc::new(ConfigOptions::default()),
    );
    Ok(PhysicalSortExpr { expr: Arc::new(expr), options })
}

/// A partition transform as a scalar function of one argument.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct TransformFunction {
    name: String,
    transform: Transform,
    signature: Signature,
}

impl TransformFunction {
    pub fn new(transform: Transform) -> Self {
        Self { name: transform.to_string(), transform, signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TransformFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        let source = arguments.first().unwrap_or(&DataType::Null);
        Ok(transform::result_type(&self.transform, source)?)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let source = arrays.first();
        let source = source.ok_or_else(|| Error::Internal(format!("{} without argument", self.name)))?;
        Ok(ColumnarValue::Array(transform::apply(&self.transform, source)?))
    }
}
