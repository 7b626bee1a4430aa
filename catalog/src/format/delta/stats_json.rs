//! Statistics of files, written (Delta protocol, "Per-file Statistics"): JSON text by physical
//! column name.
//!
//! The text is put together here, not by a JSON value: decimals keep all their digits.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, FieldRef};
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Timelike};
use datafusion::scalar::ScalarValue;

use super::properties::IndexedColumns;
use super::schema::physical_name;
use crate::table::data_file::{NewDataFile, WrittenColumn};
use crate::table::schema::{FieldId, TableSchema};

/// Characters of a string bound.
const STRING_PREFIX_CHARS: usize = 32;
/// Members that are not by column.
const ROWS: &str = "numRecords";
const TIGHT: &str = "tightBounds";
/// Where looking for a place to cut an upper bound stops.
const MAX_STRING_PREFIX_CHARS: usize = 64;

/// The `stats` of a new file. Partition columns (`partition_ids`) have none; `required` are physical
/// names of columns that have them whatever `indexed` says.
pub(super) fn of_file(
    file: &NewDataFile,
    schema: &TableSchema,
    partition_ids: &[FieldId],
    indexed: &IndexedColumns,
    required: &[String],
) -> String {
    let (mut lower, mut upper, mut nulls) = (Vec::new(), Vec::new(), Vec::new());
    let mut position = 0;
    for (field, id) in schema.arrow.fields().iter().zip(&schema.field_ids) {
        if partition_ids.contains(id) {
            continue;
        }
        let is_indexed = match indexed {
            IndexedColumns::First(count) => position < *count,
            IndexedColumns::Named(names) => names.iter().any(|name| name == field.name()),
        } || required.iter().any(|name| name == physical_name(field));
        position += leaf_count(field);
        let Some(column) = file.columns.get(id).filter(|_| is_indexed && !field.data_type().is_nested())
        else {
            continue;
        };
        let key = quote(physical_name(field));
        nulls.push(format!("{key}:{}", column.null_count));
        let (low, high) = bounds(column);
        lower.extend(low.map(|low| format!("{key}:{low}")));
        upper.extend(high.map(|high| format!("{key}:{high}")));
    }
    format!(
        "{{\"numRecords\":{},\"minValues\":{{{}}},\"maxValues\":{{{}}},\"nullCount\":{{{}}},\"tightBounds\":true}}",
        file.record_count,
        lower.join(","),
        upper.join(","),
        nulls.join(",")
    )
}

/// `stats` of a file that rows are deleted from: its bounds and counts are those of the file with
/// the deleted rows, and say so. `rows` are those of the file, which must be known from here on.
/// `None`: `stats` is not a JSON object.
///
/// Everything but the two members stays letter by letter: numbers keep all their digits.
pub(super) fn of_marked_file(stats: Option<&str>, rows: u64) -> Option<String> {
    let mut members = vec![format!("\"{ROWS}\":{rows}")];
    for (key, text) in members_of(stats.unwrap_or("{}"))? {
        if key != ROWS && key != TIGHT {
            members.push(text.to_string());
        }
    }
    members.push(format!("\"{TIGHT}\":false"));
    Some(format!("{{{}}}", members.join(",")))
}

/// Key and text (with the key) of each member of a JSON object; `None` if it is none.
fn members_of(object: &str) -> Option<Vec<(String, &str)>> {
    serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(object).ok()?;
    let inner = object.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut members, mut start, mut depth, mut in_string, mut escaped) = (Vec::new(), 0, 0u32, false, false);
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                members.push(inner.get(start..at)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    members.push(inner.get(start..)?);
    let members = members.into_iter().map(str::trim).filter(|member| !member.is_empty());
    members.map(|member| Some((key_of(member)?, member))).collect()
}

/// The key that `"key": value` begins with.
fn key_of(member: &str) -> Option<String> {
    serde_json::Deserializer::from_str(member).into_iter::<String>().next()?.ok()
}

fn leaf_count(field: &FieldRef) -> usize {
    match field.data_type() {
        DataType::Struct(fields) => fields.iter().map(leaf_count).sum(),
        _ => 1,
    }
}

/// Both bounds as JSON; each `None` where there is none that readers would take right.
fn bounds(column: &WrittenColumn) -> (Option<String>, Option<String>) {
    let (lower, upper) = (column.lower.as_ref(), column.upper.as_ref());
    // Readers that order NaN last would skip a file by bounds that leave it out.
    let floating = lower.or(upper).is_some_and(|bound| bound.data_type().is_floating());
    if floating && column.nan_count != Some(0) {
        return (None, None);
    }
    (lower.and_then(|bound| json(bound, End::Lower)), upper.and_then(|bound| json(bound, End::Upper)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Lower,
    Upper,
}

fn json(value: &ScalarValue, end: End) -> Option<String> {
    use ScalarValue::*;
    match value {
        Int8(Some(v)) => Some(v.to_string()),
        Int16(Some(v)) => Some(v.to_string()),
        Int32(Some(v)) => Some(v.to_string()),
        Int64(Some(v)) => Some(v.to_string()),
        UInt8(Some(v)) => Some(v.to_string()),
        UInt16(Some(v)) => Some(v.to_string()),
        UInt32(Some(v)) => Some(v.to_string()),
        UInt64(Some(v)) => Some(v.to_string()),
        Float32(Some(v)) if v.is_finite() => serde_json::to_string(v).ok(),
        Float64(Some(v)) if v.is_finite() => serde_json::to_string(v).ok(),
        Decimal128(Some(v), _, scale) => decimal(*v, *scale),
        Utf8(Some(v)) | LargeUtf8(Some(v)) | Utf8View(Some(v)) => string(v, end).map(|v| quote(&v)),
        Date32(Some(days)) => date(*days).map(|d| quote(&d)),
        TimestampMicrosecond(Some(us), zone) => timestamp(*us, zone.is_some()).map(|t| quote(&t)),
        TimestampNanosecond(Some(ns), zone) => {
            timestamp(ns.div_euclid(1000), zone.is_some()).map(|t| quote(&t))
        }
        Dictionary(_, value) => json(value, end),
        // Binary, boolean and nested columns have no bounds in Delta.
        _ => None,
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A number with all its digits.
pub(super) fn decimal(unscaled: i128, scale: i8) -> Option<String> {
    let scale = usize::try_from(scale).ok()?;
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    Some(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// `YYYY-MM-DD`; none for years that do not have four digits.
pub(super) fn date(days: i32) -> Option<String> {
    let date = NaiveDate::from_ymd_opt(1970, 1, 1)?.checked_add_signed(TimeDelta::days(days.into()))?;
    (0..=9999).contains(&date.year()).then(|| date.format("%Y-%m-%d").to_string())
}

/// Cut down to milliseconds, as the protocol asks for both bounds: readers widen the upper one.
fn timestamp(us: i64, zoned: bool) -> Option<String> {
    let time = DateTime::from_timestamp_micros(us)?.naive_utc();
    let time = time.with_nanosecond(time.nanosecond() / 1_000_000 * 1_000_000)?;
    let zone = if zoned { "Z" } else { "" };
    (0..=9999).contains(&time.year()).then(|| format!("{}{zone}", time.format("%Y-%m-%dT%H:%M:%S%.3f")))
}

/// A prefix that is not above (lower) or not below (upper) every string it was cut from.
fn string(value: &str, end: End) -> Option<String> {
    let Some((cut, _)) = value.char_indices().nth(STRING_PREFIX_CHARS) else {
        return Some(value.to_string());
    };
    if end == End::Lower {
        return Some(value[..cut].to_string());
    }
    // The tie-breaker takes the place of the first character cut off, and must sort behind it.
    let cuts = value.char_indices().take(MAX_STRING_PREFIX_CHARS + 1).skip(STRING_PREFIX_CHARS);
    for (cut, first_cut_off) in cuts {
        let tie_breaker = match first_cut_off {
            c if c < '\u{7F}' => '\u{7F}',
            c if c < char::MAX => char::MAX,
            _ => continue,
        };
        return Some(format!("{}{tie_breaker}", &value[..cut]));
    }
    (value.chars().count() <= MAX_STRING_PREFIX_CHARS).then(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_cut_on_the_safe_side() {
        assert_eq!(string("short", End::Upper).unwrap(), "short");
        let long = "a".repeat(40);
        assert_eq!(string(&long, End::Lower).unwrap(), "a".repeat(32));
        assert_eq!(string(&long, End::Upper).unwrap(), format!("{}\u{7F}", "a".repeat(32)));
        let accents = "é".repeat(40);
        assert_eq!(string(&accents, End::Upper).unwrap(), format!("{}\u{10FFFF}", "é".repeat(32)));
        let highest = "\u{10FFFF}".repeat(70);
        assert_eq!(string(&highest, End::Upper), None);
        for value in [long, accents, format!("{}\u{7F}zz", "b".repeat(32))] {
            assert!(string(&value, End::Upper).unwrap() > value);
            assert!(string(&value, End::Lower).unwrap() <= value);
        }
    }

    #[test]
    fn marked_files_keep_their_statistics() {
        let stats = r#" {"minValues":{"d":0.12345678901234567890,"s":"a,}\\\"{"},"tightBounds" : true , "numRecords":9,"x":[1,2],"nullCount":{}} "#;
        assert_eq!(
            of_marked_file(Some(stats), 9).unwrap(),
            r#"{"numRecords":9,"minValues":{"d":0.12345678901234567890,"s":"a,}\\\"{"},"x":[1,2],"nullCount":{},"tightBounds":false}"#
        );
        assert_eq!(of_marked_file(None, 3).unwrap(), r#"{"numRecords":3,"tightBounds":false}"#);
        assert_eq!(of_marked_file(Some("{}"), 3), of_marked_file(None, 3));
        for bad in ["", "[]", "{\"a\":}", "{}{}", "null", "{\"a\":1,}"] {
            assert_eq!(of_marked_file(Some(bad), 1), None, "{bad}");
        }
    }

    #[test]
    fn numbers_and_times_keep_what_they_can() {
        assert_eq!(decimal(-5, 2).unwrap(), "-0.05");
        assert_eq!(decimal(99_999_999_999_999_999_999, 0).unwrap(), "99999999999999999999");
        assert_eq!(date(-1).unwrap(), "1969-12-31");
        assert_eq!(date(i32::MAX), None);
        assert_eq!(timestamp(1_577_840_523_456_789, true).unwrap(), "2020-01-01T01:02:03.456Z");
        assert_eq!(timestamp(-1, false).unwrap(), "1969-12-31T23:59:59.999");
    }
}
