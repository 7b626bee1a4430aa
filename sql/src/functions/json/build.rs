//! Documents of SQL values: `to_json`, `row_to_json`, `json_build_object`, `json_object` and the like.

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use datafusion::error::Result;

use super::syntax::put_string;
use super::value::{Json, key_text};
use super::{Cell, Definition, MAX_ARGUMENTS, Returns, Row, called_on_null, jsonb, strict};
use crate::functions::function::error;

pub const FUNCTIONS: &[Definition] = &[
    strict("to_json", Returns::Json, (1, 1), |row| Ok(one(row, 0)?.into())),
    strict("to_jsonb", Returns::Jsonb, (1, 1), |row| normal(one(row, 0)?)),
    strict("row_to_json", Returns::Json, (1, 2), |row| laid_out(row, is_row, "row")),
    strict("array_to_json", Returns::Json, (1, 2), |row| laid_out(row, is_list, "array")),
    called_on_null("json_build_object", Returns::Json, (0, MAX_ARGUMENTS), |row| Ok(object(row)?.into())),
    called_on_null("jsonb_build_object", Returns::Jsonb, (0, MAX_ARGUMENTS), |row| normal(object(row)?)),
    called_on_null("json_build_array", Returns::Json, (0, MAX_ARGUMENTS), |row| Ok(array(row)?.into())),
    called_on_null("jsonb_build_array", Returns::Jsonb, (0, MAX_ARGUMENTS), |row| normal(array(row)?)),
    strict("json_object", Returns::Json, (1, 2), |row| Ok(of_texts(row)?.into())),
    strict("jsonb_object", Returns::Jsonb, (1, 2), |row| normal(of_texts(row)?)),
];

fn normal(text: String) -> Result<Cell> {
    jsonb::normalise(&text).map(Cell::Text)
}

fn one(row: &Row<'_>, i: usize) -> Result<String> {
    let (array, field, at) = row.argument(i)?;
    let mut out = String::new();
    Json::new(row.options).put(array, field, at, &mut out)?;
    Ok(out)
}

fn is_row(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Struct(_))
}

fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _))
}

/// With a second argument that is true: each item or member of the top on a line of its own.
fn laid_out(row: &Row<'_>, fits: fn(&DataType) -> bool, what: &str) -> Result<Cell> {
    let (array, field, at) = row.argument(0)?;
    if !fits(array.data_type()) {
        return Err(error("42883", format!("the argument is no {what}")));
    }
    let lines = match row.arrays.get(1) {
        Some(flag) => flag.as_boolean_opt().is_some_and(|flag| flag.value(at)),
        None => false,
    };
    let mut out = String::new();
    Json::new(row.options).with_lines(lines).put(array, field, at, &mut out)?;
    Ok(out.into())
}

fn array(row: &Row<'_>) -> Result<String> {
    let items = (0..row.width()).map(|i| one(row, i)).collect::<Result<Vec<_>>>()?;
    Ok(format!("[{}]", items.join(", ")))
}

fn object(row: &Row<'_>) -> Result<String> {
    if !row.width().is_multiple_of(2) {
        return Err(error("22023", "argument list must have even number of elements"));
    }
    let mut members = Vec::with_capacity(row.width() / 2);
    for i in (0..row.width()).step_by(2) {
        if row.is_null(i) {
            return Err(error("22023", format!("argument {}: key must not be null", i + 1)));
        }
        let (array, field, at) = row.argument(i)?;
        let mut member = String::new();
        put_string(&key_text(row.options, array, field, at)?, &mut member);
        member.push_str(" : ");
        member.push_str(&one(row, i + 1)?);
        members.push(member);
    }
    Ok(format!("{{{}}}", members.join(", ")))
}

/// Keys and values of one array of texts, or of two.
fn of_texts(row: &Row<'_>) -> Result<String> {
    let texts = |i: usize| row.texts(i).ok_or_else(|| error("22P02", "malformed array literal"));
    let pairs: Vec<(Option<String>, Option<String>)> = if row.width() == 1 {
        let all = texts(0)?;
        if all.len() % 2 != 0 {
            return Err(error("2202E", "array must have even number of elements"));
        }
        all.chunks(2).map(|pair| (pair.first().cloned().flatten(), pair.get(1).cloned().flatten())).collect()
    } else {
        let (keys, values) = (texts(0)?, texts(1)?);
        if keys.len() != values.len() {
            return Err(error("2202E", "mismatched array dimensions"));
        }
        keys.into_iter().zip(values).collect()
    };
    let mut members = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let key = key.ok_or_else(|| error("22004", "null value not allowed for object key"))?;
        let mut member = String::new();
        put_string(&key, &mut member);
        member.push_str(" : ");
        match value {
            Some(value) => put_string(&value, &mut member),
            None => member.push_str("null"),
        }
        members.push(member);
    }
    Ok(format!("{{{}}}", members.join(", ")))
}
