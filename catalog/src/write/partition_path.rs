//! Directories of partitioned files: `ts_day=2024-01-05/id_bucket=3`.
//!
//! No reader takes values from these names (both formats keep partition values in their metadata);
//! they are for people, and for tools that list directories. So the two formats' habits are kept:
//! Iceberg's Java writer URL-encodes name and value, Spark's Delta writer escapes as Hive does.

use std::fmt::Write;

use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Timelike};
use datafusion::scalar::ScalarValue;

use crate::table::{PartitionSpec, TableFormat, Transform};

const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The directory of a partition below the table's data location, without slashes at either end;
/// empty for an unpartitioned spec. `values` has one entry per field of `spec`.
pub fn partition_path(format: TableFormat, spec: &PartitionSpec, values: &[ScalarValue]) -> String {
    let mut path = String::new();
    for (field, value) in spec.fields.iter().zip(values) {
        if field.transform == Transform::Void {
            continue;
        }
        if !path.is_empty() {
            path.push('/');
        }
        match format {
            TableFormat::Iceberg => {
                url_encode(&mut path, &field.name);
                path.push('=');
                url_encode(&mut path, &human(&field.transform, value).unwrap_or_else(|| "null".into()));
            }
            TableFormat::Delta => {
                hive_escape(&mut path, &field.name);
                path.push('=');
                let text = delta_text(value).filter(|text| !text.is_empty());
                hive_escape(&mut path, text.as_deref().unwrap_or(HIVE_NULL));
            }
        }
    }
    path
}

/// A partition value as people read it, as Iceberg's `Transform.toHumanString` gives it;
/// `None`: null.
pub fn human(transform: &Transform, value: &ScalarValue) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let number = match value {
        ScalarValue::Int32(Some(v)) | ScalarValue::Date32(Some(v)) => i64::from(*v),
        _ => return Some(plain(value, 'T')),
    };
    Some(match transform {
        Transform::Year => format!("{:04}", 1970 + number),
        Transform::Month => format!("{:04}-{:02}", 1970 + number.div_euclid(12), 1 + number.rem_euclid(12)),
        Transform::Day => date(number),
        Transform::Hour => format!("{}-{:02}", date(number.div_euclid(24)), number.rem_euclid(24)),
        _ => plain(value, 'T'),
    })
}

/// A partition value as the Delta protocol serializes it ("Partition Value Serialization");
/// `None`: null.
fn delta_text(value: &ScalarValue) -> Option<String> {
    (!value.is_null()).then(|| plain(value, ' '))
}

fn plain(value: &ScalarValue, date_time_separator: char) -> String {
    use ScalarValue as S;
    match value {
        S::Date32(Some(days)) => date((*days).into()),
        S::TimestampSecond(Some(v), zone) => timestamp(*v, TimeUnit::Second, zone, date_time_separator),
        S::TimestampMillisecond(Some(v), zone) => {
            timestamp(*v, TimeUnit::Millisecond, zone, date_time_separator)
        }
        S::TimestampMicrosecond(Some(v), zone) => {
            timestamp(*v, TimeUnit::Microsecond, zone, date_time_separator)
        }
        S::TimestampNanosecond(Some(v), zone) => {
            timestamp(*v, TimeUnit::Nanosecond, zone, date_time_separator)
        }
        S::Time64Microsecond(Some(v)) => {
            let seconds = u32::try_from(v.div_euclid(1_000_000)).unwrap_or(u32::MAX);
            let nanos = v.rem_euclid(1_000_000) as u32 * 1_000;
            NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos).map_or_else(|| v.to_string(), clock)
        }
        S::Utf8(Some(v)) | S::LargeUtf8(Some(v)) | S::Utf8View(Some(v)) => v.clone(),
        S::FixedSizeBinary(16, Some(v)) => match uuid::Uuid::from_slice(v) {
            Ok(uuid) => uuid.to_string(),
            Err(_) => base64(v),
        },
        S::Binary(Some(v))
        | S::LargeBinary(Some(v))
        | S::BinaryView(Some(v))
        | S::FixedSizeBinary(_, Some(v)) => base64(v),
        S::Decimal128(Some(_), _, _) => {
            // ScalarValue's own Display names the precision too.
            let array = value.to_array();
            let cast = array.and_then(|a| Ok(arrow::compute::cast(&a, &DataType::Utf8)?));
            match cast.and_then(|a| ScalarValue::try_from_array(&a, 0)) {
                Ok(S::Utf8(Some(text))) => text,
                _ => value.to_string(),
            }
        }
        other => other.to_string(),
    }
}

/// `2024-01-05`; years beyond chrono's range as the day number.
fn date(days: i64) -> String {
    let date = i32::try_from(days + 719_163).ok().and_then(NaiveDate::from_num_days_from_ce_opt);
    match date {
        Some(date) if (0..=9999).contains(&date.year()) => date.format("%Y-%m-%d").to_string(),
        Some(date) => format!("{}-{:02}-{:02}", date.year(), date.month(), date.day()),
        None => days.to_string(),
    }
}

/// `10:12:55.038194`: seconds and fraction only where they are not zero, as Java's ISO format does.
fn clock(time: NaiveTime) -> String {
    let format = match (time.second(), time.nanosecond()) {
        (0, 0) => "%H:%M",
        (_, 0) => "%H:%M:%S",
        (_, n) if n % 1_000_000 == 0 => "%H:%M:%S%.3f",
        (_, n) if n % 1_000 == 0 => "%H:%M:%S%.6f",
        _ => "%H:%M:%S%.9f",
    };
    time.format(format).to_string()
}

fn timestamp(value: i64, unit: TimeUnit, zone: &Option<std::sync::Arc<str>>, separator: char) -> String {
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let Some(at) = DateTime::from_timestamp(value.div_euclid(per_second), nanos as u32) else {
        return value.to_string();
    };
    let days = value.div_euclid(per_second * 86_400);
    // Delta writes seconds always and never an offset: zoned values are in UTC.
    let (time, offset) = if separator == 'T' {
        (clock(at.time()), if zone.is_some() { "+00:00" } else { "" })
    } else if at.nanosecond() == 0 {
        (at.format("%H:%M:%S").to_string(), "")
    } else {
        (at.format("%H:%M:%S%.6f").to_string(), "")
    };
    format!("{}{separator}{time}{offset}", date(days))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let sextet = (word >> (18 - 6 * i)) & 63;
            out.push(if i <= chunk.len() { ALPHABET[sextet as usize] as char } else { '=' });
        }
    }
    out
}

/// `application/x-www-form-urlencoded`, as Java's `URLEncoder` does it.
fn url_encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(byte.into()),
            b' ' => out.push('+'),
            _ => percent(out, byte),
        }
    }
}

/// Percent-encodes what Hive does not allow in directory names.
fn hive_escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\u{1}'..='\u{1f}' | '\u{7f}' => percent(out, c as u8),
            '"' | '#' | '%' | '\'' | '*' | '/' | ':' | '=' | '?' | '\\' | '{' | '[' | ']' | '^' => {
                percent(out, c as u8);
            }
            c => out.push(c),
        }
    }
}

fn percent(out: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "%{byte:02X}");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::table::PartitionField;

    fn path(format: TableFormat, transform: Transform, name: &str, value: ScalarValue) -> String {
        let result_type = value.data_type();
        let field =
            PartitionField { source_id: 1, field_id: 1000, name: name.into(), transform, result_type };
        partition_path(format, &PartitionSpec { spec_id: 0, fields: vec![field] }, &[value])
    }

    #[test]
    fn iceberg_names() {
        use ScalarValue as S;
        let of = |transform, value| path(TableFormat::Iceberg, transform, "p", value);
        assert_eq!(of(Transform::Day, S::Date32(Some(17_501))), "p=2017-12-01");
        assert_eq!(of(Transform::Year, S::Int32(Some(-1))), "p=1969");
        assert_eq!(of(Transform::Month, S::Int32(Some(575))), "p=2017-12");
        assert_eq!(of(Transform::Month, S::Int32(Some(-1))), "p=1969-12");
        assert_eq!(of(Transform::Hour, S::Int32(Some(420_034))), "p=2017-12-01-10");
        assert_eq!(of(Transform::Bucket(16), S::Int32(Some(3))), "p=3");
        assert_eq!(of(Transform::Identity, S::Utf8View(None)), "p=null");
        assert_eq!(of(Transform::Identity, S::Utf8(Some("a b/ü".into()))), "p=a+b%2F%C3%BC");
        let micros =
            |zone: Option<&str>| S::TimestampMicrosecond(Some(1_512_123_175_038_194), zone.map(Arc::from));
        assert_eq!(of(Transform::Identity, micros(None)), "p=2017-12-01T10%3A12%3A55.038194");
        assert_eq!(
            of(Transform::Identity, micros(Some("UTC"))),
            "p=2017-12-01T10%3A12%3A55.038194%2B00%3A00"
        );
        assert_eq!(of(Transform::Identity, S::Decimal128(Some(-1234), 9, 2)), "p=-12.34");
        assert_eq!(of(Transform::Identity, S::BinaryView(Some(vec![1, 2, 3, 4]))), "p=AQIDBA%3D%3D");
        assert_eq!(of(Transform::Identity, S::Boolean(Some(true))), "p=true");
    }

    #[test]
    fn delta_names() {
        use ScalarValue as S;
        let of = |name, value| path(TableFormat::Delta, Transform::Identity, name, value);
        assert_eq!(of("a=b", S::Utf8View(Some("x y:z".into()))), "a%3Db=x y%3Az");
        assert_eq!(of("p", S::Utf8View(None)), "p=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(of("p", S::Utf8View(Some(String::new()))), "p=__HIVE_DEFAULT_PARTITION__");
        assert_eq!(
            of("p", S::TimestampMicrosecond(Some(-1), Some("UTC".into()))),
            "p=1969-12-31 23%3A59%3A59.999999"
        );
        assert_eq!(of("p", S::TimestampMicrosecond(Some(0), None)), "p=1970-01-01 00%3A00%3A00");
    }

    #[test]
    fn several_fields_and_void() {
        let field = |name: &str, transform| PartitionField {
            source_id: 1,
            field_id: 1000,
            name: name.into(),
            transform,
            result_type: DataType::Int32,
        };
        let fields = vec![
            field("a", Transform::Identity),
            field("b", Transform::Void),
            field("c", Transform::Bucket(4)),
        ];
        let values = [ScalarValue::Int32(Some(1)), ScalarValue::Int32(None), ScalarValue::Int32(Some(2))];
        assert_eq!(
            partition_path(TableFormat::Iceberg, &PartitionSpec { spec_id: 1, fields }, &values),
            "a=1/c=2"
        );
    }
}
