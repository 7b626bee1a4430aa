//! Set-returning functions (manual 9.25): they give arrays, of which the planner makes rows.

use datafusion::error::Result;

use super::access::as_text;
use super::syntax::{Kind, document, items, kind, members};
use super::{Cell, Definition, Returns, Row, jsonb, strict};
use crate::functions::function::error;

pub const FUNCTIONS: &[Definition] = &[
    strict("json_array_elements", Returns::Texts, (1, 1), |row| elements(row, as_is)),
    strict("jsonb_array_elements", Returns::Texts, (1, 1), |row| elements(row, normal)),
    strict("json_array_elements_text", Returns::Texts, (1, 1), |row| elements(row, text)),
    strict("jsonb_array_elements_text", Returns::Texts, (1, 1), |row| elements(row, normal_text)),
    strict("json_object_keys", Returns::Texts, (1, 1), |row| keys(row, "json_object_keys")),
    strict("jsonb_object_keys", Returns::Texts, (1, 1), |row| jsonb_keys(row, "jsonb_object_keys")),
    strict("json_each_keys", Returns::Texts, (1, 1), |row| keys(row, "json_each")),
    strict("jsonb_each_keys", Returns::Texts, (1, 1), |row| jsonb_keys(row, "jsonb_each")),
    strict("json_each_values", Returns::Texts, (1, 1), |row| values(row, as_is)),
    strict("jsonb_each_values", Returns::Texts, (1, 1), |row| jsonb_values(row, as_is)),
    strict("json_each_texts", Returns::Texts, (1, 1), |row| values(row, text)),
    strict("jsonb_each_texts", Returns::Texts, (1, 1), |row| jsonb_values(row, text)),
];

type Each = fn(&str) -> Result<Option<String>>;

fn as_is(value: &str) -> Result<Option<String>> {
    Ok(Some(value.to_string()))
}

fn normal(value: &str) -> Result<Option<String>> {
    jsonb::normalise(value).map(Some)
}

fn text(value: &str) -> Result<Option<String>> {
    Ok(match as_text(Some(value))? {
        Cell::Text(text) => Some(text),
        _ => None,
    })
}

fn normal_text(value: &str) -> Result<Option<String>> {
    text(&jsonb::normalise(value)?)
}

fn elements(row: &Row<'_>, each: Each) -> Result<Cell> {
    let value = document(row.text(0)?)?;
    match kind(value) {
        Kind::Array => Ok(Cell::Texts(items(value)?.into_iter().map(each).collect::<Result<_>>()?)),
        Kind::Object => Err(error("22023", "cannot extract elements from an object")),
        _ => Err(error("22023", "cannot extract elements from a scalar")),
    }
}

fn object<'a>(value: &'a str, function: &str) -> Result<&'a str> {
    let value = document(value)?;
    match kind(value) {
        Kind::Object => Ok(value),
        Kind::Array => Err(error("22023", format!("cannot call {function} on an array"))),
        _ => Err(error("22023", format!("cannot call {function} on a scalar"))),
    }
}

fn key_list(value: &str) -> Result<Cell> {
    let keys = members(value)?.into_iter().map(|(key, _)| Some(key.into_owned()));
    Ok(Cell::Texts(keys.collect()))
}

fn keys(row: &Row<'_>, function: &str) -> Result<Cell> {
    key_list(object(row.text(0)?, function)?)
}

fn jsonb_keys(row: &Row<'_>, function: &str) -> Result<Cell> {
    key_list(object(&row.jsonb(0)?, function)?)
}

fn value_list(value: &str, each: Each) -> Result<Cell> {
    let values = members(value)?.into_iter().map(|(_, value)| each(value));
    Ok(Cell::Texts(values.collect::<Result<_>>()?))
}

fn values(row: &Row<'_>, each: Each) -> Result<Cell> {
    value_list(object(row.text(0)?, "json_each")?, each)
}

fn jsonb_values(row: &Row<'_>, each: Each) -> Result<Cell> {
    value_list(object(&row.jsonb(0)?, "jsonb_each")?, each)
}
