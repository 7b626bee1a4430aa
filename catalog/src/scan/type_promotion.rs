//! Which types of a data file's column can stand for which type of the table's column, and the
//! conversion of whole columns, nested ones included.
//!
//! Allowed is what a format's schema evolution allows (Iceberg spec, "Schema Evolution"; Delta type
//! widening) plus different representations of the same type. Everything else is a corrupt file.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, LargeListArray, ListArray, MapArray, StructArray,
    new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use datafusion::scalar::ScalarValue;

use super::column_adapter::Defaults;
use super::column_resolution::field_id;

/// Fails on a value that the target cannot hold, instead of making it null.
pub(super) const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: FormatOptions::new() };

/// Whether a column of type `file` holds values of type `table`.
pub(super) fn is_readable_as(file: &DataType, table: &DataType) -> bool {
    use DataType::*;
    match (file, table) {
        (a, b) if a == b => true,
        (Null, _) => true,
        (Dictionary(_, value), table) => is_readable_as(value, table),
        (Struct(file), Struct(table)) => table.iter().all(|t| {
            file.iter()
                .find(|f| f.name() == t.name())
                .is_none_or(|f| is_readable_as(f.data_type(), t.data_type()))
        }),
        (List(f) | LargeList(f) | FixedSizeList(f, _), List(t) | LargeList(t) | FixedSizeList(t, _)) => {
            is_readable_as(f.data_type(), t.data_type())
        }
        (Map(f, _), Map(t, _)) => match (f.data_type(), t.data_type()) {
            (Struct(f), Struct(t)) if f.len() == 2 && t.len() == 2 => {
                f.iter().zip(t).all(|(f, t)| is_readable_as(f.data_type(), t.data_type()))
            }
            _ => false,
        },
        (f, Int8 | Int16 | Int32 | Int64) => f.is_integer(),
        (Float16, Float32 | Float64) | (Float32, Float64) => true,
        (Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32, Float64) => true,
        (f, Decimal128(_, scale) | Decimal256(_, scale)) => match f {
            Decimal32(_, s) | Decimal64(_, s) | Decimal128(_, s) | Decimal256(_, s) => s <= scale,
            f => f.is_integer(),
        },
        (f, Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView) => {
            is_text_or_bytes(f) || (matches!(f, FixedSizeBinary(_)) && !is_text(table))
        }
        (f, FixedSizeBinary(_)) => matches!(f, Binary | LargeBinary | BinaryView),
        (Date64 | Int32, Date32) => true,
        (Date32, Timestamp(_, None)) => true,
        (Timestamp(_, _), Timestamp(_, _)) => true,
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => true,
        _ => false,
    }
}

fn is_text(t: &DataType) -> bool {
    matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_text_or_bytes(t: &DataType) -> bool {
    is_text(t) || matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// `array` as a column of type `target`: structs by name, fields that the file lacks by their default,
/// values promoted. Fails when a value does not fit.
pub(super) fn promote(
    array: &ArrayRef,
    target: &DataType,
    defaults: &Defaults,
) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == target {
        return Ok(array.clone());
    }
    match (array.data_type(), target) {
        (DataType::Struct(_), DataType::Struct(fields)) => {
            Ok(Arc::new(promote_struct(array.as_struct(), fields, defaults)?))
        }
        (DataType::List(_), DataType::List(element)) => {
            let list = array.as_list::<i32>();
            let values = promote(list.values(), element.data_type(), defaults)?;
            Ok(Arc::new(ListArray::try_new(
                element.clone(),
                list.offsets().clone(),
                values,
                list.nulls().cloned(),
            )?))
        }
        (DataType::LargeList(_), DataType::LargeList(element)) => {
            let list = array.as_list::<i64>();
            let values = promote(list.values(), element.data_type(), defaults)?;
            let nulls = list.nulls().cloned();
            Ok(Arc::new(LargeListArray::try_new(element.clone(), list.offsets().clone(), values, nulls)?))
        }
        (DataType::FixedSizeList(_, n), DataType::FixedSizeList(element, m)) if n == m => {
            let list = array.as_fixed_size_list();
            let values = promote(list.values(), element.data_type(), defaults)?;
            Ok(Arc::new(FixedSizeListArray::try_new(element.clone(), *n, values, list.nulls().cloned())?))
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => {
            promote_map(array.as_map(), entries, *sorted, defaults)
        }
        _ => cast_with_options(array, target, &STRICT),
    }
}

fn promote_struct(
    array: &StructArray,
    fields: &Fields,
    defaults: &Defaults,
) -> Result<StructArray, ArrowError> {
    let children = fields.iter().map(|field| match array.column_by_name(field.name()) {
        Some(child) => promote(child, field.data_type(), defaults),
        None => missing(field, array.len(), defaults),
    });
    let children = children.collect::<Result<Vec<_>, _>>()?;
    if children.is_empty() {
        return Ok(StructArray::new_empty_fields(array.len(), array.nulls().cloned()));
    }
    StructArray::try_new(fields.clone(), children, array.nulls().cloned())
}

/// A column that the file lacks.
fn missing(field: &Field, rows: usize, defaults: &Defaults) -> Result<ArrayRef, ArrowError> {
    match default_of(field, defaults) {
        Some(value) => value.to_array_of_size(rows).map_err(|e| ArrowError::ExternalError(Box::new(e))),
        None => Ok(new_null_array(field.data_type(), rows)),
    }
}

/// The initial default of a field, in the field's type.
pub(super) fn default_of(field: &Field, defaults: &Defaults) -> Option<ScalarValue> {
    let value = defaults.get(&field_id(field)?)?;
    value.cast_to(field.data_type()).ok()
}

fn promote_map(
    map: &MapArray,
    entries: &FieldRef,
    sorted: bool,
    defaults: &Defaults,
) -> Result<ArrayRef, ArrowError> {
    let DataType::Struct(parts) = entries.data_type() else {
        return Err(ArrowError::SchemaError("a map without entries".into()));
    };
    let [key, value] = parts.as_ref() else {
        return Err(ArrowError::SchemaError("a map's entries are not a key and a value".into()));
    };
    // By position: files name the parts as they like.
    let columns = vec![
        promote(map.keys(), key.data_type(), defaults)?,
        promote(map.values(), value.data_type(), defaults)?,
    ];
    let promoted = StructArray::try_new(parts.clone(), columns, None)?;
    Ok(Arc::new(MapArray::try_new(
        entries.clone(),
        map.offsets().clone(),
        promoted,
        map.nulls().cloned(),
        sorted,
    )?))
}
