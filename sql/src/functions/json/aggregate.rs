//! What `json_agg` and `json_object_agg` do after `array_agg`, of which the planner makes them
//! ([`crate::analyzer`]), so that ORDER BY, DISTINCT, FILTER and OVER are those of `array_agg`.

use arrow::array::{Array, AsArray};
use datafusion::error::{DataFusionError, Result};

use super::syntax::put_string;
use super::value::{Json, key_text};
use super::{Cell, Definition, Returns, Row, called_on_null, jsonb, strict};
use crate::functions::function::error;

pub const FUNCTIONS: &[Definition] = &[
    called_on_null("json_agg_item", Returns::Text, (1, 1), |row| item(row).map(Cell::Text)),
    strict("json_agg_final", Returns::Json, (1, 1), |row| Ok(array(row)?.into())),
    strict("jsonb_agg_final", Returns::Jsonb, (1, 1), |row| jsonb::normalise(&array(row)?).map(Cell::Text)),
    called_on_null("json_object_agg_item", Returns::Text, (2, 2), |row| member(row).map(Cell::Text)),
    strict("json_object_agg_final", Returns::Json, (1, 1), |row| Ok(object(row)?.into())),
    strict("jsonb_object_agg_final", Returns::Jsonb, (1, 1), |row| {
        jsonb::normalise(&object(row)?).map(Cell::Text)
    }),
];

fn put(row: &Row<'_>, i: usize, out: &mut String) -> Result<()> {
    let (array, field, at) = row.argument(i)?;
    Json::new(row.options).put(array, field, at, out)
}

/// Rows and arrays stand on lines of their own.
const LINE: &str = "\n ";

fn item(row: &Row<'_>) -> Result<String> {
    let (array, _, _) = row.argument(0)?;
    let mut out = if array.data_type().is_nested() { LINE.to_string() } else { String::new() };
    put(row, 0, &mut out)?;
    Ok(out)
}

fn member(row: &Row<'_>) -> Result<String> {
    if row.is_null(0) {
        return Err(error("22004", "field name must not be null"));
    }
    let (array, field, at) = row.argument(0)?;
    let mut out = String::new();
    put_string(&key_text(row.options, array, field, at)?, &mut out);
    out.push_str(" : ");
    put(row, 1, &mut out)?;
    Ok(out)
}

fn joined(row: &Row<'_>) -> Result<String> {
    let (array, _, at) = row.argument(0)?;
    let internal = || DataFusionError::Internal("an array of texts expected".into());
    let list = array.as_list_opt::<i32>().ok_or_else(internal)?.value(at);
    let items = arrow::compute::cast(&list, &arrow::datatypes::DataType::Utf8)?;
    let items: Vec<_> = items.as_string_opt::<i32>().ok_or_else(internal)?.iter().flatten().collect();
    Ok(items.join(", "))
}

fn array(row: &Row<'_>) -> Result<String> {
    let items = joined(row)?;
    Ok(format!("[{}]", items.strip_prefix(LINE).unwrap_or(&items)))
}

fn object(row: &Row<'_>) -> Result<String> {
    Ok(format!("{{ {} }}", joined(row)?))
}
