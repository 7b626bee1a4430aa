//! String functions (manual 9.4) that DataFusion lacks and clients' catalog queries use.

use datafusion::error::Result;
use datafusion::logical_expr::Volatility;

use super::function::{Call, Definition, error, text};
use super::object_identifier::split_name;
use crate::parser::reserved;
use crate::pg_catalog::value::Value;

pub const FUNCTIONS: &[Definition] = &[
    immutable(Definition::strict("quote_ident", "text", (1, 1), |_, arguments| {
        Ok(quote_ident(text(arguments, 0)).into())
    })),
    immutable(Definition::strict("parse_ident", "_text", (1, 2), |_, arguments| {
        let name = text(arguments, 0);
        let malformed = || error("22023", format!("string is not a valid identifier: \"{name}\""));
        Ok(split_name(name).ok_or_else(malformed)?.into())
    })),
    immutable(Definition::strict("quote_literal", "text", (1, 1), |_, arguments| {
        Ok(arguments.first().map(quote_literal).into())
    })),
    immutable(Definition::called_on_null("quote_nullable", "text", (1, 1), |_, arguments| {
        Ok(match arguments.first() {
            Some(Value::Null) | None => "NULL".into(),
            Some(value) => quote_literal(value).into(),
        })
    })),
    immutable(Definition::strict("like_escape", "text", (2, 2), like_escape)),
    immutable(Definition::strict("pg_encoding_to_char", "name", (1, 1), |_, arguments| {
        let number = arguments.first().and_then(Value::as_int);
        Ok(if number == Some(6) { "UTF8".into() } else { "".into() })
    })),
    immutable(Definition::strict("pg_char_to_encoding", "int4", (1, 1), |_, arguments| {
        let name = text(arguments, 0).to_ascii_lowercase();
        Ok(if matches!(name.as_str(), "utf8" | "utf-8" | "unicode") { 6.into() } else { (-1).into() })
    })),
    Definition::strict("pg_client_encoding", "name", (0, 0), |_, _| Ok("UTF8".into())),
];

const fn immutable(mut definition: Definition) -> Definition {
    definition.volatility = Volatility::Immutable;
    definition
}

/// An identifier as it must be written in SQL.
pub fn quote_ident(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    let safe = name.chars().next().is_some_and(plain)
        && name.chars().all(|c| plain(c) || c.is_ascii_digit() || c == '$')
        && reserved::category(name).is_none_or(|category| category == "U");
    if safe { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn quote_literal(value: &Value) -> String {
    let text = match value {
        Value::Text(text) => text.clone(),
        Value::Int(n) => n.to_string(),
        Value::Float(f) => f.to_string(),
        Value::Bool(b) => b.to_string(),
        other => format!("{other:?}"),
    };
    quote_text(&text)
}

/// A text as a literal.
pub fn quote_text(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A LIKE pattern with the given escape character as one whose escape character is the backslash
/// (empty: none).
fn like_escape(_: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let mut escapes = text(arguments, 1).chars();
    let escape = escapes.next();
    if escapes.next().is_some() {
        return Err(error("22019", "invalid escape string"));
    }
    let mut pattern = String::new();
    let mut chars = text(arguments, 0).chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let escaped = chars
                .next()
                .ok_or_else(|| error("22025", "LIKE pattern must not end with escape character"))?;
            pattern.push('\\');
            pattern.push(escaped);
        } else if c == '\\' {
            pattern.push_str("\\\\");
        } else {
            pattern.push(c);
        }
    }
    Ok(pattern.into())
}
