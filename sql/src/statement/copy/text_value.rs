//! Columns of text to columns of the table's types, as Postgres' input functions read them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast, cast_with_options, concat};
use arrow::datatypes::DataType;
use arrow::util::display::FormatOptions;

use super::super::not_supported;
use super::super::parameters;
use crate::error::{Error, Result, SqlState};
use crate::planner::Parameter;
use crate::types::text_input;

const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// Where a value came from, for the error.
pub struct Origin<'a> {
    pub table: &'a str,
    pub column: &'a str,
    /// Line of each value.
    pub lines: &'a [u64],
}

/// Converts a column. The error names line and column.
pub fn convert(values: &StringArray, target: &DataType, origin: &Origin<'_>) -> Result<ArrayRef> {
    if let Ok(array) = whole(values, target) {
        return Ok(array);
    }
    // Something does not fit: value by value, to find it and to allow for white space around numbers.
    let mut parts: Vec<ArrayRef> = Vec::with_capacity(values.len());
    for (i, value) in values.iter().enumerate() {
        let part = match value {
            None => new_null_array(target, 1),
            Some(text) => single(text, target).map_err(|e| located(e, text, origin, i))?,
        };
        parts.push(part);
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    concat(&parts).map_err(|e| Error::from(&e))
}

fn single(text: &str, target: &DataType) -> Result<ArrayRef> {
    let text = match target {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => text,
        _ => text.trim(),
    };
    whole(&StringArray::from(vec![text]), target)
}

fn located(error: Error, text: &str, origin: &Origin<'_>, index: usize) -> Error {
    let line = origin.lines.get(index).copied().unwrap_or_default();
    let shown: String = text.chars().take(100).collect();
    error.with_detail(format!("COPY {}, line {line}, column {}: \"{shown}\"", origin.table, origin.column))
}

fn whole(values: &StringArray, target: &DataType) -> Result<ArrayRef> {
    match target {
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => {
            let mut builder = BinaryBuilder::new();
            for value in values {
                builder.append_option(value.map(text_input::bytea).transpose()?);
            }
            cast(&builder.finish(), target).map_err(|e| Error::from(&e))
        }
        DataType::FixedSizeBinary(16) => {
            let bytes = values
                .iter()
                .map(|value| value.map(text_input::uuid).transpose())
                .collect::<Result<Vec<_>, _>>()?;
            let array =
                arrow::array::FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes.into_iter(), 16)
                    .map_err(|e| Error::from(&e))?;
            Ok(Arc::new(array))
        }
        DataType::List(_) => {
            let parameter =
                Parameter { pg_type: postgres_types::Type::TEXT_ARRAY, data_type: target.clone() };
            let parts = values
                .iter()
                .map(|value| match value {
                    None => Ok(new_null_array(target, 1)),
                    Some(text) => {
                        let scalar = datafusion::scalar::ScalarValue::Utf8(Some(text.to_string()));
                        let list = parameters::convert(&parameter, &scalar)?;
                        let array = list.to_array().map_err(|e| Error::from(&e))?;
                        cast(&array, target).map_err(|e| Error::from(&e))
                    }
                })
                .collect::<Result<Vec<_>>>()?;
            if parts.is_empty() {
                return Ok(new_null_array(target, 0));
            }
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            concat(&parts).map_err(|e| Error::from(&e))
        }
        DataType::Struct(_) | DataType::Map(_, _) => {
            Err(not_supported("COPY into a column of a nested type"))
        }
        _ => {
            let array = cast_with_options(values, target, &STRICT).map_err(|e| Error::from(&e))?;
            if array.null_count() > values.null_count() {
                // Some casts give NULL for what they cannot read, even when asked not to.
                return Err(Error::new(
                    SqlState::INVALID_TEXT,
                    format!("invalid input syntax for type {target}"),
                ));
            }
            Ok(array)
        }
    }
}

/// A column to its table's type. Fails where a value does not fit.
pub fn cast_exactly(column: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    if column.data_type() == target {
        return Ok(column.clone());
    }
    cast_with_options(column, target, &STRICT).map_err(|e| Error::from(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_line_and_column() {
        let values = StringArray::from(vec![Some("1"), None, Some("x")]);
        let origin = Origin { table: "t", column: "a", lines: &[1, 2, 3] };
        let e = convert(&values, &DataType::Int32, &origin).unwrap_err();
        assert_eq!(e.message, "invalid input syntax for type integer: \"x\"");
        assert_eq!(e.detail.as_deref(), Some("COPY t, line 3, column a: \"x\""));
        let values = StringArray::from(vec![" 1 ", "2"]);
        assert_eq!(convert(&values, &DataType::Int32, &origin).unwrap().len(), 2);
    }
}
