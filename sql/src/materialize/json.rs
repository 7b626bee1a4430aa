//! The JSON that properties and summaries hold: written and read member by member.

use crate::error::{Error, Result, SqlState};
use crate::functions::json::syntax::{self, Kind};

/// A string.
pub fn string(text: &str) -> String {
    let mut out = String::new();
    syntax::put_string(text, &mut out);
    out
}

/// An array of values that are JSON already.
pub fn array(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(","))
}

/// An object of values that are JSON already.
pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let members = members.into_iter().map(|(key, value)| format!("{}:{value}", string(key)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// The whole text as one value of this kind. Fails with XX001.
pub fn document(text: &str, kind: Kind) -> Result<&str> {
    let value = syntax::document(text).map_err(|e| corrupt(&e.to_string()))?;
    match syntax::kind(value) == kind {
        true => Ok(value),
        false => Err(corrupt(&format!("{value} is not what was expected"))),
    }
}

pub fn items(array: &str) -> Result<Vec<&str>> {
    syntax::items(document(array, Kind::Array)?).map_err(|e| corrupt(&e.to_string()))
}

/// Members in their order.
pub fn members(object: &str) -> Result<Vec<(String, &str)>> {
    let members = syntax::members(document(object, Kind::Object)?).map_err(|e| corrupt(&e.to_string()))?;
    Ok(members.into_iter().map(|(key, value)| (key.into_owned(), value)).collect())
}

/// The text of a string; `None` for null.
pub fn text(value: &str) -> Result<Option<String>> {
    match syntax::kind(value) {
        Kind::Null => Ok(None),
        Kind::String => Ok(Some(syntax::unquoted(value).map_err(|e| corrupt(&e.to_string()))?.into_owned())),
        _ => Err(corrupt(&format!("{value} is no string"))),
    }
}

/// The text of a member that may be missing.
pub fn member(object: &str, key: &str) -> Result<Option<String>> {
    match syntax::member(object, key).map_err(|e| corrupt(&e.to_string()))? {
        Some(value) => text(value),
        None => Ok(None),
    }
}

fn corrupt(reason: &str) -> Error {
    Error::new(SqlState::DATA_CORRUPTED, "the definition of a materialized view cannot be read")
        .with_detail(reason)
}
