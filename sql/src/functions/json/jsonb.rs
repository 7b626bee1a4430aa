//! The normal form of `jsonb` (manual 8.14): keys by length, then bytewise, the last of equal ones,
//! numbers as `numeric` prints them, one space after `:` and `,`; and its order.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;

use datafusion::error::Result;

use super::syntax::{Kind, document, items, kind, members, put_string, unquoted};
use crate::functions::function::error;

/// Most digits of a `numeric` before the point, and behind it.
const MAX_DIGITS: (i64, i64) = (131_072, 16_383);

/// A text as `jsonb`. Fails with 22P02 where it is no JSON, 22003 and 22P05 for what `jsonb` cannot hold.
pub fn normalise(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    put(document(text)?, &mut out)?;
    Ok(out)
}

/// Appends a valid value in normal form.
fn put(value: &str, out: &mut String) -> Result<()> {
    match kind(value) {
        Kind::Null | Kind::Boolean => out.push_str(value),
        Kind::Number => out.push_str(&number(value)?),
        Kind::String => put_string(&unquoted(value)?, out),
        Kind::Array => {
            out.push('[');
            for (i, item) in items(value)?.into_iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                put(item, out)?;
            }
            out.push(']');
        }
        Kind::Object => {
            let members = members(value)?.into_iter().map(|(key, value)| {
                let mut normal = String::new();
                put(value, &mut normal)?;
                Ok((key, normal))
            });
            put_object(members.collect::<Result<Vec<_>>>()?, out);
        }
    }
    Ok(())
}

/// Appends an object of values in normal form; the last of equal keys counts.
fn put_object<V: AsRef<str>>(members: Vec<(Cow<'_, str>, V)>, out: &mut String) {
    out.push('{');
    for (i, (key, value)) in in_order(members).iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        put_string(key, out);
        out.push_str(": ");
        out.push_str(value.as_ref());
    }
    out.push('}');
}

fn in_order<V>(mut members: Vec<(Cow<'_, str>, V)>) -> Vec<(Cow<'_, str>, V)> {
    members.reverse();
    // Stable: what was last is first of its equals, and stays.
    members.sort_by(|(a, _), (b, _)| (a.len(), a.as_bytes()).cmp(&(b.len(), b.as_bytes())));
    members.dedup_by(|(a, _), (b, _)| a == b);
    members
}

/// An object of values in normal form.
pub fn object<V: AsRef<str>>(members: Vec<(Cow<'_, str>, V)>) -> String {
    let mut out = String::new();
    put_object(members, &mut out);
    out
}

/// An array of values in normal form.
pub fn array(items: &[impl AsRef<str>]) -> String {
    let mut out = String::from("[");
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        out.push_str(item.as_ref());
    }
    out.push(']');
    out
}

/// A number as `numeric` prints it: without exponent, with the digits behind the point that it was
/// written with.
fn number(text: &str) -> Result<String> {
    let too_large = || error("22003", "value overflows numeric format");
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| too_large())?),
        None => (text, 0),
    };
    if exponent.abs() > MAX_DIGITS.0 {
        return Err(too_large());
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).map_err(|_| too_large())? + exponent;
    let length = i64::try_from(digits.len()).map_err(|_| too_large())?;
    let scale = (length - point).max(0);
    if point > MAX_DIGITS.0 || scale > MAX_DIGITS.1 {
        return Err(too_large());
    }
    let digit = |at: i64| {
        usize::try_from(at).ok().and_then(|at| digits.as_bytes().get(at)).map_or('0', |b| char::from(*b))
    };
    let before: String = (0..point).map(digit).skip_while(|c| *c == '0').collect();
    let behind: String = (point..point + scale).map(digit).collect();
    let zero = before.is_empty() && behind.bytes().all(|byte| byte == b'0');
    let mut out = String::new();
    if negative && !zero {
        out.push('-');
    }
    out.push_str(if before.is_empty() { "0" } else { &before });
    if !behind.is_empty() {
        let _ = write!(out, ".{behind}");
    }
    Ok(out)
}

/// Order of two numbers in normal form.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let parts = |text: &'_ str| -> (bool, String, String) {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        (negative, whole.trim_start_matches('0').to_string(), fraction.trim_end_matches('0').to_string())
    };
    let ((a_negative, a_whole, a_fraction), (b_negative, b_whole, b_fraction)) = (parts(a), parts(b));
    let absolute = || (a_whole.len(), &a_whole, &a_fraction).cmp(&(b_whole.len(), &b_whole, &b_fraction));
    match (a_negative, b_negative) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => absolute(),
        (true, true) => absolute().reverse(),
    }
}

fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Null => 0,
        Kind::String => 1,
        Kind::Number => 2,
        Kind::Boolean => 3,
        Kind::Array => 4,
        Kind::Object => 5,
    }
}

/// Order of two values in normal form.
pub fn compare(a: &str, b: &str) -> Result<Ordering> {
    let (a_kind, b_kind) = (kind(a), kind(b));
    // An empty array is less than anything else, as in Postgres.
    if a_kind != b_kind {
        return Ok(match (a, b) {
            ("[]", _) => Ordering::Less,
            (_, "[]") => Ordering::Greater,
            _ => rank(a_kind).cmp(&rank(b_kind)),
        });
    }
    match a_kind {
        Kind::Null => Ok(Ordering::Equal),
        Kind::Boolean => Ok((a == "true").cmp(&(b == "true"))),
        Kind::Number => Ok(compare_numbers(a, b)),
        Kind::String => Ok(unquoted(a)?.as_bytes().cmp(unquoted(b)?.as_bytes())),
        Kind::Array => {
            let (a, b) = (items(a)?, items(b)?);
            if a.len() != b.len() {
                return Ok(a.len().cmp(&b.len()));
            }
            first_difference(a.into_iter().zip(b).map(|(a, b)| compare(a, b)))
        }
        Kind::Object => {
            let (a, b) = (members(a)?, members(b)?);
            if a.len() != b.len() {
                return Ok(a.len().cmp(&b.len()));
            }
            first_difference(a.into_iter().zip(b).map(|((a_key, a), (b_key, b))| {
                let keys = (a_key.len(), a_key.as_bytes()).cmp(&(b_key.len(), b_key.as_bytes()));
                if keys == Ordering::Equal { compare(a, b) } else { Ok(keys) }
            }))
        }
    }
}

fn first_difference(pairs: impl Iterator<Item = Result<Ordering>>) -> Result<Ordering> {
    for order in pairs {
        match order? {
            Ordering::Equal => {}
            other => return Ok(other),
        }
    }
    Ok(Ordering::Equal)
}

/// `whole @> part` (manual 8.14.3).
pub fn contains(whole: &str, part: &str) -> Result<bool> {
    match (kind(whole), kind(part)) {
        (Kind::Array, Kind::Array) => array_contains(&items(whole)?, &items(part)?),
        // An array contains a primitive value, at the top only.
        (Kind::Array, other) if other != Kind::Object => array_contains(&items(whole)?, &[part]),
        _ => nested_contains(whole, part),
    }
}

fn array_contains(whole: &[&str], part: &[&str]) -> Result<bool> {
    for wanted in part {
        let mut found = false;
        for item in whole {
            if nested_contains(item, wanted)? {
                found = true;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

fn nested_contains(whole: &str, part: &str) -> Result<bool> {
    match (kind(whole), kind(part)) {
        (Kind::Object, Kind::Object) => {
            let whole = members(whole)?;
            for (key, wanted) in members(part)? {
                let value = whole.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
                let contained = match value {
                    Some(value) => nested_contains(value, wanted)?,
                    None => false,
                };
                if !contained {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Kind::Array, Kind::Array) => array_contains(&items(whole)?, &items(part)?),
        (a, b) if a == b => Ok(compare(whole, part)? == Ordering::Equal),
        _ => Ok(false),
    }
}

/// `jsonb_pretty`.
pub fn pretty(value: &str) -> Result<String> {
    let mut out = String::new();
    put_pretty(value, 0, &mut out)?;
    Ok(out)
}

fn put_pretty(value: &str, depth: usize, out: &mut String) -> Result<()> {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.push_str(&"    ".repeat(depth));
    };
    match kind(value) {
        Kind::Array => {
            out.push('[');
            for (i, item) in items(value)?.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                put_pretty(item, depth + 1, out)?;
            }
            line(depth, out);
            out.push(']');
        }
        Kind::Object => {
            out.push('{');
            for (i, (key, item)) in members(value)?.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                put_string(&key, out);
                out.push_str(": ");
                put_pretty(item, depth + 1, out)?;
            }
            line(depth, out);
            out.push('}');
        }
        _ => out.push_str(value),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::{compare, contains, normalise};

    #[test]
    fn normal_form() {
        let normal = |text: &str| normalise(text).unwrap();
        assert_eq!(normal("{\"b\":1, \"aa\":2,\"a\":3,\"b\":4}"), "{\"a\": 3, \"b\": 4, \"aa\": 2}");
        assert_eq!(normal("[1.00,1e2,1.5E-3,-0,0.10e1,-1.50]"), "[1.00, 100, 0.0015, 0, 1.0, -1.50]");
        assert_eq!(normal("\"\\u00e4\\u0001\""), "\"ä\\u0001\"");
        assert!(normalise("1e999999").is_err());
    }

    #[test]
    fn order_and_containment() {
        let order = |a: &str, b: &str| compare(a, b).unwrap();
        assert_eq!(order("1.0", "1"), Ordering::Equal);
        assert_eq!(order("-2", "-10"), Ordering::Greater);
        assert_eq!(order("[1, 2]", "[1, 3]"), Ordering::Less);
        assert_eq!(order("{}", "[1]"), Ordering::Greater);
        assert!(contains("[1, 2, [3]]", "[[3], 1]").unwrap());
        assert!(contains("[1, 2]", "2").unwrap());
        assert!(!contains("[[1]]", "1").unwrap());
        assert!(!contains("{\"a\": [1]}", "{\"a\": 1}").unwrap());
    }
}
