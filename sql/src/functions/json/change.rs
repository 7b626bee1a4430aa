//! Changed documents: `||`, `-`, `#-`, `jsonb_set`, `jsonb_insert`, `…_strip_nulls`, `jsonb_pretty`.

use std::borrow::Cow;

use datafusion::error::Result;

use super::syntax::{Kind, document, items, kind, members, put_string, unquoted};
use super::{Cell, Definition, Returns, Row, jsonb, strict};
use crate::functions::function::error;

pub const FUNCTIONS: &[Definition] = &[
    strict("jsonb_concat", Returns::Jsonb, (2, 2), |row| {
        concat(&row.jsonb(0)?, &row.jsonb(1)?).map(Cell::Text)
    }),
    strict("jsonb_delete", Returns::Jsonb, (2, 2), delete),
    strict("jsonb_delete_path", Returns::Jsonb, (2, 2), |row| change_at_path(row, Change::Delete)),
    strict("jsonb_set", Returns::Jsonb, (3, 4), |row| {
        let create = row.width() < 4 || truth(row, 3)?;
        change_at_path(row, if create { Change::Set } else { Change::Replace })
    }),
    strict("jsonb_insert", Returns::Jsonb, (3, 4), |row| {
        let after = row.width() > 3 && truth(row, 3)?;
        change_at_path(row, if after { Change::InsertAfter } else { Change::InsertBefore })
    }),
    strict("jsonb_strip_nulls", Returns::Jsonb, (1, 1), |row| {
        jsonb::normalise(&stripped(&row.jsonb(0)?)?).map(Cell::Text)
    }),
    strict("json_strip_nulls", Returns::Json, (1, 1), |row| {
        stripped(document(row.text(0)?)?).map(Cell::Text)
    }),
    strict("jsonb_pretty", Returns::Text, (1, 1), |row| jsonb::pretty(&row.jsonb(0)?).map(Cell::Text)),
];

fn truth(row: &Row<'_>, i: usize) -> Result<bool> {
    use arrow::array::AsArray;
    let (array, _, at) = row.argument(i)?;
    let values = array.as_boolean_opt().ok_or_else(|| super::wrong_type(array.data_type()))?;
    Ok(values.value(at))
}

fn concat(left: &str, right: &str) -> Result<String> {
    match (kind(left), kind(right)) {
        (Kind::Object, Kind::Object) => {
            let both = members(left)?.into_iter().chain(members(right)?);
            Ok(jsonb::object(both.collect()))
        }
        _ => {
            let as_items = |value| if kind(value) == Kind::Array { items(value) } else { Ok(vec![value]) };
            let both: Vec<_> = as_items(left)?.into_iter().chain(as_items(right)?).collect();
            Ok(jsonb::array(&both))
        }
    }
}

/// Place in an array of that length; negative: from the end. `None`: there is no such place.
fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let at = if index < 0 { index + length } else { index };
    usize::try_from(at).ok().filter(|_| at < length)
}

fn delete(row: &Row<'_>) -> Result<Cell> {
    let document = row.jsonb(0)?;
    let of = kind(&document);
    if !matches!(of, Kind::Array | Kind::Object) {
        return Err(error("22023", "cannot delete from scalar"));
    }
    if let Some(index) = row.integer(1) {
        if of == Kind::Object {
            return Err(error("22023", "cannot delete from object using integer index"));
        }
        let mut items = items(&document)?;
        if let Some(at) = place(index, items.len()) {
            items.remove(at);
        }
        return Ok(jsonb::array(&items).into());
    }
    let keys = match row.text(1) {
        Ok(key) => vec![key.to_string()],
        Err(e) => row.texts(1).ok_or(e)?.into_iter().flatten().collect(),
    };
    if of == Kind::Object {
        let mut members = members(&document)?;
        members.retain(|(name, _)| !keys.iter().any(|key| key == name));
        return Ok(jsonb::object(members).into());
    }
    let mut kept = Vec::new();
    for item in items(&document)? {
        let deleted = kind(item) == Kind::String && {
            let text = unquoted(item)?;
            keys.iter().any(|key| *key == text)
        };
        if !deleted {
            kept.push(item);
        }
    }
    Ok(jsonb::array(&kept).into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Replaces or creates.
    Set,
    Replace,
    InsertBefore,
    InsertAfter,
    Delete,
}

fn change_at_path(row: &Row<'_>, change: Change) -> Result<Cell> {
    let document = row.jsonb(0)?;
    let path = row.texts(1).ok_or_else(|| error("22P02", "malformed array literal"))?;
    let new = if row.width() > 2 { row.jsonb(2)? } else { Cow::Borrowed("null") };
    if !matches!(kind(&document), Kind::Array | Kind::Object) {
        let what = if change == Change::Delete { "delete path in scalar" } else { "set path in scalar" };
        return Err(error("22023", format!("cannot {what}")));
    }
    let path: Vec<String> = match path.iter().position(Option::is_none) {
        Some(i) => return Err(error("22004", format!("path element at position {} is null", i + 1))),
        None => path.into_iter().flatten().collect(),
    };
    Ok(changed(&document, &path, 1, &new, change)?.into())
}

/// A value in which what the path leads to is changed. `depth`: of the first key of the path.
fn changed(value: &str, path: &[String], depth: usize, new: &str, change: Change) -> Result<String> {
    let Some((key, rest)) = path.split_first() else { return Ok(value.to_string()) };
    match kind(value) {
        Kind::Object => in_object(value, key, rest, depth, new, change),
        Kind::Array => in_array(value, key, rest, depth, new, change),
        _ => Ok(value.to_string()),
    }
}

fn in_object(
    value: &str,
    key: &str,
    rest: &[String],
    depth: usize,
    new: &str,
    change: Change,
) -> Result<String> {
    let mut members: Vec<(Cow<'_, str>, Cow<'_, str>)> =
        members(value)?.into_iter().map(|(name, value)| (name, Cow::Borrowed(value))).collect();
    match members.iter().position(|(name, _)| name == key) {
        Some(at) if !rest.is_empty() => {
            if let Some((_, member)) = members.get_mut(at) {
                *member = Cow::Owned(changed(member, rest, depth + 1, new, change)?);
            }
        }
        Some(at) => match change {
            Change::Delete => {
                members.remove(at);
            }
            Change::Set | Change::Replace => {
                if let Some((_, member)) = members.get_mut(at) {
                    *member = Cow::Borrowed(new);
                }
            }
            Change::InsertBefore | Change::InsertAfter => {
                return Err(error("22023", "cannot replace existing key"));
            }
        },
        None if rest.is_empty() && !matches!(change, Change::Delete | Change::Replace) => {
            members.push((Cow::Borrowed(key), Cow::Borrowed(new)));
        }
        None => {}
    }
    Ok(jsonb::object(members))
}

fn in_array(
    value: &str,
    key: &str,
    rest: &[String],
    depth: usize,
    new: &str,
    change: Change,
) -> Result<String> {
    let mut items: Vec<Cow<'_, str>> = items(value)?.into_iter().map(Cow::Borrowed).collect();
    let index: i64 = key.parse().map_err(|_| {
        error("22P02", format!("path element at position {depth} is not an integer: \"{key}\""))
    })?;
    match place(index, items.len()) {
        Some(at) if !rest.is_empty() => {
            if let Some(item) = items.get_mut(at) {
                *item = Cow::Owned(changed(item, rest, depth + 1, new, change)?);
            }
        }
        Some(at) => match change {
            Change::Delete => {
                items.remove(at);
            }
            Change::Set | Change::Replace => {
                if let Some(item) = items.get_mut(at) {
                    *item = Cow::Borrowed(new);
                }
            }
            Change::InsertBefore => items.insert(at, Cow::Borrowed(new)),
            Change::InsertAfter => items.insert(at + 1, Cow::Borrowed(new)),
        },
        // Beyond the ends: as first or last item.
        None if rest.is_empty() && !matches!(change, Change::Delete | Change::Replace) => {
            items.insert(if index < 0 { 0 } else { items.len() }, Cow::Borrowed(new));
        }
        None => {}
    }
    Ok(jsonb::array(&items))
}

/// Without members that are null, at every depth.
fn stripped(value: &str) -> Result<String> {
    match kind(value) {
        Kind::Array => {
            let items = items(value)?.into_iter().map(stripped).collect::<Result<Vec<_>>>()?;
            Ok(format!("[{}]", items.join(",")))
        }
        Kind::Object => {
            let mut kept = Vec::new();
            for (key, member) in members(value)? {
                if kind(member) != Kind::Null {
                    let mut out = String::new();
                    put_string(&key, &mut out);
                    out.push(':');
                    out.push_str(&stripped(member)?);
                    kept.push(out);
                }
            }
            Ok(format!("{{{}}}", kept.join(",")))
        }
        _ => Ok(value.to_string()),
    }
}
