//! JSON creation functions (manual 9.16, table 9.47).

use datafusion::error::Result;

use super::function::{Call, Definition, error};
use super::string::{MAX_ARGUMENTS, shown};
use crate::pg_catalog::value::Value;

pub const FUNCTIONS: &[Definition] = &[
    Definition::called_on_null("json_build_object", "json", (0, MAX_ARGUMENTS), build_object),
    Definition::called_on_null("jsonb_build_object", "jsonb", (0, MAX_ARGUMENTS), build_object),
    Definition::called_on_null("json_build_array", "json", (0, MAX_ARGUMENTS), build_array),
    Definition::called_on_null("jsonb_build_array", "jsonb", (0, MAX_ARGUMENTS), build_array),
];

/// A JSON string (RFC 8259, section 7).
fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            c if u32::from(c) < 0x20 => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

fn json(value: &Value) -> String {
    match value {
        Value::Null => "null".to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Float(f) if f.is_finite() => f.to_string(),
        Value::List(items) => array(items),
        other => quoted(&shown(other).unwrap_or_default()),
    }
}

fn array(items: &[Value]) -> String {
    format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", "))
}

fn build_array(_: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    Ok(array(arguments).into())
}

fn build_object(_: &Call<'_>, arguments: &[Value]) -> Result<Value> {
    let mut members = Vec::with_capacity(arguments.len() / 2);
    for pair in arguments.chunks(2) {
        let [key, value] = pair else {
            return Err(error("22023", "argument list must have even number of elements"));
        };
        let key = shown(key).ok_or_else(|| error("22023", "argument 1: key must not be null"))?;
        members.push(format!("{} : {}", quoted(&key), json(value)));
    }
    Ok(format!("{{{}}}", members.join(", ")).into())
}
