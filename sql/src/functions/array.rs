//! Array functions (manual 9.19) and set-returning ones (9.25) that DataFusion lacks.
//!
//! Set-returning functions give arrays here; the planner unnests them where a statement calls them
//! in its select list ([`analyzer`](crate::analyzer)).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::function::{Call, Definition};
use crate::pg_catalog::value::Value;

pub const FUNCTIONS: &[Definition] = &[
    Definition::strict("array_upper", "int4", (2, 2), |call, arguments| {
        Ok(bounds(call, arguments).map(|(_, upper)| upper).into())
    }),
    Definition::strict("array_lower", "int4", (2, 2), |call, arguments| {
        Ok(bounds(call, arguments).map(|(lower, _)| lower).into())
    }),
    Definition::strict("array_dims", "text", (1, 1), |_, arguments| {
        let sizes = arguments.first().map(sizes).unwrap_or_default();
        let dims: String = sizes.into_iter().map(|size| format!("[1:{size}]")).collect();
        Ok(if dims.is_empty() { Value::Null } else { dims.into() })
    }),
    Definition::strict("generate_subscripts", "_int4", (2, 3), generate_subscripts),
];

/// Lengths of all dimensions; none: the array is empty.
fn sizes(array: &Value) -> Vec<usize> {
    match array.as_list() {
        Some([]) | None => Vec::new(),
        Some(items) => {
            let inner = items.first().map(sizes).unwrap_or_default();
            [vec![items.len()], inner].concat()
        }
    }
}

/// Lower and upper bound of a dimension; `None`: the array has no such dimension. `int2vector` and `oidvector`
/// count from 0.
fn bounds(call: &Call<'_>, arguments: &[Value]) -> Option<(i64, i64)> {
    let mut array = arguments.first()?;
    let dimension = arguments.get(1)?.as_int()?;
    for _ in 1..dimension {
        array = array.as_list()?.first()?;
    }
    let length = i64::try_from(array.as_list()?.len()).ok()?;
    let lower = if matches!(call.type_name(0), Some("int2vector" | "oidvector")) { 0 } else { 1 };
    (dimension >= 1 && length > 0).then_some((lower, lower + length - 1))
}

fn generate_subscripts(call: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let Some((lower, upper)) = bounds(call, arguments) else { return Ok(Value::List(Vec::new())) };
    let mut subscripts: Vec<i64> = (lower..=upper).collect();
    if arguments.get(2).and_then(Value::as_bool) == Some(true) {
        subscripts.reverse();
    }
    Ok(subscripts.into())
}

/// `ARRAY(SELECT …)` is an aggregate that is NULL over no rows where Postgres gives an empty array:
/// this function makes the difference.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ArrayOrEmpty {
    signature: Signature,
}

impl Default for ArrayOrEmpty {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ArrayOrEmpty {
    fn name(&self) -> &str {
        "array_or_empty"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types
            .first()
            .cloned()
            .ok_or_else(|| DataFusionError::Internal("array_or_empty needs an argument".into()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(argument) = args.args.first() else {
            return Err(DataFusionError::Internal("array_or_empty needs an argument".into()));
        };
        let array = argument.to_array(args.number_rows)?;
        let Some(list) = array.as_list_opt::<i32>().filter(|list| list.null_count() > 0) else {
            return Ok(ColumnarValue::Array(array));
        };
        let DataType::List(item) = list.data_type() else {
            return Ok(ColumnarValue::Array(array));
        };
        let lengths = (0..list.len()).map(|i| if list.is_null(i) { 0 } else { list.value_length(i) });
        let lengths: Vec<usize> = lengths.map(|length| usize::try_from(length).unwrap_or_default()).collect();
        let parts: Vec<ArrayRef> =
            (0..list.len()).filter(|i| !list.is_null(*i)).map(|i| list.value(i)).collect();
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        let values =
            if parts.is_empty() { arrow::array::new_empty_array(item.data_type()) } else { concat(&parts)? };
        Ok(ColumnarValue::Array(Arc::new(ListArray::try_new(
            item.clone(),
            OffsetBuffer::from_lengths(lengths),
            values,
            None,
        )?)))
    }
}

/// `information_schema._pg_expandarray(array)`: the elements `x` with their subscripts `n`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ExpandArray {
    signature: Signature,
}

impl Default for ExpandArray {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

fn expanded(item: &DataType) -> Fields {
    Fields::from(vec![Field::new("x", item.clone(), true), Field::new("n", DataType::Int64, true)])
}

impl ScalarUDFImpl for ExpandArray {
    fn name(&self) -> &str {
        "_pg_expandarray"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(DataType::List(item)) => {
                let fields = expanded(item.data_type());
                Ok(DataType::List(Arc::new(Field::new_list_field(DataType::Struct(fields), true))))
            }
            _ => Err(super::function::error("42883", "_pg_expandarray needs an array")),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let Some(argument) = args.args.first() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(args.return_type())?));
        };
        let array = argument.to_array(rows)?;
        let DataType::List(result_item) = args.return_type().clone() else {
            return Err(DataFusionError::Internal("_pg_expandarray gives an array".into()));
        };
        let list = array
            .as_list_opt::<i32>()
            .ok_or_else(|| DataFusionError::Internal("_pg_expandarray needs an array".into()))?;
        let DataType::Struct(fields) = result_item.data_type() else {
            return Err(DataFusionError::Internal("_pg_expandarray gives rows".into()));
        };
        let mut subscripts = Vec::new();
        for i in 0..list.len() {
            subscripts.extend(1..=i64::from(list.value_length(i)));
        }
        let (first, last) = match (list.value_offsets().first(), list.value_offsets().last()) {
            (Some(first), Some(last)) => (*first, *last),
            _ => (0, 0),
        };
        let start = usize::try_from(first).unwrap_or_default();
        let length = usize::try_from(last - first).unwrap_or_default();
        let values = list.values().slice(start, length);
        let item_type = fields.first().map_or(DataType::Null, |f| f.data_type().clone());
        let elements = cast(&values, &item_type)?;
        let numbers: ArrayRef = Arc::new(Int64Array::from(subscripts));
        let items = StructArray::try_new(fields.clone(), vec![elements, numbers], None)?;
        let lengths = (0..list.len()).map(|i| usize::try_from(list.value_length(i)).unwrap_or_default());
        Ok(ColumnarValue::Array(Arc::new(ListArray::try_new(
            result_item,
            OffsetBuffer::from_lengths(lengths),
            Arc::new(items),
            list.nulls().cloned(),
        )?)))
    }
}
