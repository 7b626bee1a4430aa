//! What is inside of a document: `-> ->> #> #>>`, `json_extract_path`, lengths and types.

use datafusion::error::Result;

use super::syntax::{Kind, document, items, kind, member, unquoted};
use super::{Cell, Definition, MAX_ARGUMENTS, Returns, Row, strict};
use crate::functions::function::error;

pub const FUNCTIONS: &[Definition] = &[
    strict("json", Returns::Json, (1, 1), |row| Ok(Cell::Text(checked(row.text(0)?)?))),
    strict("jsonb", Returns::Jsonb, (1, 1), |row| Ok(Cell::Text(row.jsonb(0)?.into_owned()))),
    strict("json_get", Returns::Json, (2, 2), |row| Ok(get(row)?.into())),
    strict("jsonb_get", Returns::Jsonb, (2, 2), |row| Ok(get(row)?.into())),
    strict("json_get_text", Returns::Text, (2, 2), |row| as_text(get(row)?)),
    strict("json_get_path", Returns::Json, (2, 2), |row| Ok(at_path(row)?.into())),
    strict("jsonb_get_path", Returns::Jsonb, (2, 2), |row| Ok(at_path(row)?.into())),
    strict("json_get_path_text", Returns::Text, (2, 2), |row| as_text(at_path(row)?)),
    strict("json_extract_path", Returns::Json, (1, MAX_ARGUMENTS), |row| Ok(extract(row)?.into())),
    strict("json_extract_path_text", Returns::Text, (1, MAX_ARGUMENTS), |row| as_text(extract(row)?)),
    strict("jsonb_extract_path", Returns::Jsonb, (1, MAX_ARGUMENTS), |row| {
        extract(row)?.map_or(Ok(Cell::Null), |found| super::jsonb::normalise(found).map(Cell::Text))
    }),
    strict("jsonb_extract_path_text", Returns::Text, (1, MAX_ARGUMENTS), |row| as_text(extract(row)?)),
    strict("json_array_length", Returns::Integer, (1, 1), array_length),
    strict("jsonb_array_length", Returns::Integer, (1, 1), array_length),
    strict("json_typeof", Returns::Text, (1, 1), type_of),
    strict("jsonb_typeof", Returns::Text, (1, 1), type_of),
    strict("jsonb_scalar", Returns::Text, (2, 2), scalar),
    // The same text, of a type that its source forgot.
    strict("json_typed", Returns::Json, (1, 1), |row| Ok(Some(row.text(0)?).into())),
    strict("jsonb_typed", Returns::Jsonb, (1, 1), |row| Ok(Some(row.text(0)?).into())),
];

/// `json` keeps the text, also the spaces around.
fn checked(text: &str) -> Result<String> {
    document(text)?;
    Ok(text.to_string())
}

/// Item of an array; negative: from the end.
fn item(array: &str, index: i64) -> Result<Option<&str>> {
    let items = items(array)?;
    let at = if index < 0 { index + i64::try_from(items.len()).unwrap_or(i64::MAX) } else { index };
    Ok(usize::try_from(at).ok().and_then(|at| items.get(at).copied()))
}

fn get<'a>(row: &'a Row<'_>) -> Result<Option<&'a str>> {
    let value = document(row.text(0)?)?;
    match (row.integer(1), kind(value)) {
        (Some(index), Kind::Array) => item(value, index),
        (None, Kind::Object) => member(value, row.text(1)?),
        (None, Kind::Array) => row.text(1).map(|_| None),
        // To Postgres a scalar is an array of one item, in `jsonb` and for this operator alone.
        (Some(0 | -1), kind) if kind != Kind::Object && row.is_jsonb(0) => Ok(Some(value)),
        _ => Ok(None),
    }
}

/// A step of a path: the key of an object, the index of an array.
fn step<'a>(value: &'a str, key: &str) -> Result<Option<&'a str>> {
    match kind(value) {
        Kind::Object => member(value, key),
        Kind::Array => key.trim().parse().map_or(Ok(None), |index| item(value, index)),
        _ => Ok(None),
    }
}

fn at_path<'a>(row: &'a Row<'_>) -> Result<Option<&'a str>> {
    let path = row.texts(1).ok_or_else(|| error("22P02", "malformed array literal"))?;
    let mut value = document(row.text(0)?)?;
    for key in path {
        let Some(key) = key else { return Ok(None) };
        match step(value, &key)? {
            Some(found) => value = found,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

fn extract<'a>(row: &'a Row<'_>) -> Result<Option<&'a str>> {
    let mut value = document(row.text(0)?)?;
    for i in 1..row.width() {
        match step(value, row.text(i)?)? {
            Some(found) => value = found,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

/// A value as text: strings without quotes, SQL's NULL for `null`.
pub fn as_text(value: Option<&str>) -> Result<Cell> {
    Ok(match value {
        None => Cell::Null,
        Some(value) => match kind(value) {
            Kind::Null => Cell::Null,
            Kind::String => Cell::Text(unquoted(value)?.into_owned()),
            _ => Cell::Text(value.to_string()),
        },
    })
}

fn array_length(row: &Row<'_>) -> Result<Cell> {
    let value = document(row.text(0)?)?;
    match kind(value) {
        Kind::Array => Ok(Cell::Integer(i32::try_from(items(value)?.len()).unwrap_or(i32::MAX))),
        Kind::Object => Err(error("22023", "cannot get array length of a non-array")),
        _ => Err(error("22023", "cannot get array length of a scalar")),
    }
}

fn type_of(row: &Row<'_>) -> Result<Cell> {
    Ok(Cell::Text(name(kind(document(row.text(0)?)?)).to_string()))
}

/// What Postgres calls a kind.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Boolean => "boolean",
        Kind::Number => "number",
        Kind::String => "string",
        Kind::Array => "array",
        Kind::Object => "object",
    }
}

/// A `jsonb` that is to be cast to the type named: its number or truth value as text.
fn scalar(row: &Row<'_>) -> Result<Cell> {
    let (value, to) = (document(row.text(0)?)?, row.text(1)?);
    let wanted = if to == "boolean" { Kind::Boolean } else { Kind::Number };
    let found = kind(value);
    if found == wanted {
        return Ok(Some(value).into());
    }
    let found = match found {
        Kind::Array | Kind::Object => format!("{} ", name(found)).trim().to_string(),
        Kind::Number => "numeric".to_string(),
        other => name(other).to_string(),
    };
    Err(error("22023", format!("cannot cast jsonb {found} to type {to}")))
}
