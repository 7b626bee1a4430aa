//! `@> <@ ? ?| ?&` and the order of `jsonb`.

use std::cmp::Ordering;

use datafusion::error::Result;

use super::jsonb::{compare, contains};
use super::syntax::{Kind, items, kind, member, unquoted};
use super::{Cell, Definition, Returns, Row, strict};
use crate::functions::function::error;

pub const FUNCTIONS: &[Definition] = &[
    strict("jsonb_contains", Returns::Boolean, (2, 2), |row| {
        Ok(Cell::Boolean(contains(&row.jsonb(0)?, &row.jsonb(1)?)?))
    }),
    strict("jsonb_contained", Returns::Boolean, (2, 2), |row| {
        Ok(Cell::Boolean(contains(&row.jsonb(1)?, &row.jsonb(0)?)?))
    }),
    strict("jsonb_exists", Returns::Boolean, (2, 2), |row| {
        Ok(Cell::Boolean(exists(&row.jsonb(0)?, row.text(1)?)?))
    }),
    strict("jsonb_exists_any", Returns::Boolean, (2, 2), |row| {
        let document = row.jsonb(0)?;
        Ok(Cell::Boolean(found(row, &document)?.contains(&true)))
    }),
    strict("jsonb_exists_all", Returns::Boolean, (2, 2), |row| {
        let document = row.jsonb(0)?;
        Ok(Cell::Boolean(!found(row, &document)?.contains(&false)))
    }),
    strict("jsonb_cmp", Returns::Integer, (2, 2), |row| {
        Ok(Cell::Integer(match compare(&row.jsonb(0)?, &row.jsonb(1)?)? {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }))
    }),
];

/// Whether a text is a key of an object, an item of an array, or the string itself.
fn exists(document: &str, key: &str) -> Result<bool> {
    match kind(document) {
        Kind::Object => Ok(member(document, key)?.is_some()),
        Kind::Array => {
            for item in items(document)? {
                if kind(item) == Kind::String && unquoted(item)? == key {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Kind::String => Ok(unquoted(document)? == key),
        _ => Ok(false),
    }
}

/// Whether each key exists; those that are NULL do not count.
fn found(row: &Row<'_>, document: &str) -> Result<Vec<bool>> {
    let keys = row.texts(1).ok_or_else(|| error("22P02", "malformed array literal"))?;
    keys.into_iter().flatten().map(|key| exists(document, &key)).collect()
}
