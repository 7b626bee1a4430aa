//! Functions of values of any type: `pg_typeof` (manual 9.26), `num_nulls` and `num_nonnulls` (9.2).

use std::iter::repeat_n;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, StringArray};
use arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::Volatility;

use super::columnar::{Columnar, Columns, field_type_name};

pub const FUNCTIONS: &[Columnar] = &[
    Columnar {
        name: "pg_typeof",
        volatility: Volatility::Stable,
        arguments: |types| (types.len() == 1).then(|| types.to_vec()),
        returns: |_, _| Ok(DataType::Utf8),
        eval: |columns| {
            let name = match columns.fields.first() {
                Some(field) if !field.data_type().is_null() => field_type_name(field),
                _ => "unknown".to_string(),
            };
            Ok(Arc::new(StringArray::from_iter_values(repeat_n(name, columns.rows))))
        },
    },
    Columnar {
        name: "num_nulls",
        volatility: Volatility::Immutable,
        arguments: |types| (!types.is_empty()).then(|| types.to_vec()),
        returns: |_, _| Ok(DataType::Int32),
        eval: |columns| count(columns, true),
    },
    Columnar {
        name: "num_nonnulls",
        volatility: Volatility::Immutable,
        arguments: |types| (!types.is_empty()).then(|| types.to_vec()),
        returns: |_, _| Ok(DataType::Int32),
        eval: |columns| count(columns, false),
    },
];

/// How many arguments of each row are NULL, or are not.
fn count(columns: &Columns<'_>, null: bool) -> Result<ArrayRef> {
    let nulls: Vec<_> = columns.arrays.iter().map(|array| array.logical_nulls()).collect();
    let of_row = |i: usize| {
        let is_null =
            |nulls: &Option<arrow::buffer::NullBuffer>| nulls.as_ref().is_some_and(|n| n.is_null(i));
        i32::try_from(nulls.iter().filter(|nulls| is_null(nulls) == null).count()).unwrap_or(i32::MAX)
    };
    Ok(Arc::new((0..columns.rows).map(of_row).collect::<Int32Array>()))
}
