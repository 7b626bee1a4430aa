//! Partition values of files: strings in the log (Delta protocol, "Partition Value Serialization"),
//! typed columns for us.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, MapArray};
use arrow::datatypes::DataType;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use datafusion::scalar::ScalarValue;

use super::stats_json;
use crate::error::{Error, Result};
use crate::table::statistics::PartitionBounds;

/// Collects the values of one partition column.
pub(super) struct PartitionReader {
    physical_name: String,
    data_type: DataType,
    values: Vec<ScalarValue>,
    /// Tables have far fewer partitions than files.
    parsed: HashMap<String, ScalarValue>,
}

impl PartitionReader {
    pub fn new(physical_name: &str, data_type: DataType) -> Self {
        Self {
            physical_name: physical_name.to_string(),
            data_type,
            values: Vec::new(),
            parsed: HashMap::new(),
        }
    }

    /// Adds a batch of files by their `partitionValues`.
    pub fn append(&mut self, root: &str, maps: &MapArray) -> Result<()> {
        let odd = || Error::Internal(format!("unexpected partition values in the log of {root}"));
        let keys = maps.keys().as_string_opt::<i32>().ok_or_else(odd)?;
        let values = maps.values().as_string_opt::<i32>().ok_or_else(odd)?;
        let offsets = maps.value_offsets();
        for row in 0..maps.len() {
            let entries = offsets[row] as usize..offsets[row + 1] as usize;
            let entry =
                entries.into_iter().find(|e| maps.is_valid(row) && keys.value(*e) == self.physical_name);
            let text = entry.filter(|e| values.is_valid(*e)).map(|e| values.value(e));
            let value = self.parse(root, text)?;
            self.values.push(value);
        }
        Ok(())
    }

    /// An absent, null or empty value is null, whatever the type.
    fn parse(&mut self, root: &str, text: Option<&str>) -> Result<ScalarValue> {
        let text = text.unwrap_or_default();
        if let Some(value) = self.parsed.get(text) {
            return Ok(value.clone());
        }
        let value = match text {
            "" => ScalarValue::try_from(&self.data_type).ok(),
            text => parse(text, &self.data_type),
        };
        let value = value.ok_or_else(|| {
            let (name, data_type) = (&self.physical_name, &self.data_type);
            Error::corrupt(root, format!("\"{text}\" of partition column \"{name}\" is no {data_type}"))
        })?;
        self.parsed.insert(text.to_string(), value.clone());
        Ok(value)
    }

    pub fn finish(self) -> Result<PartitionBounds> {
        let may_contain_null = self.values.iter().map(ScalarValue::is_null).collect();
        let values = match self.values.is_empty() {
            true => arrow::array::new_empty_array(&self.data_type),
            false => ScalarValue::iter_to_array(self.values)?,
        };
        Ok(PartitionBounds { lower: values.clone(), upper: values, may_contain_null })
    }
}

/// A value from its text; `None` if it is none of the type.
fn parse(text: &str, data_type: &DataType) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Utf8View => ScalarValue::Utf8View(Some(text.to_string())),
        DataType::BinaryView => ScalarValue::BinaryView(Some(text.as_bytes().to_vec())),
        DataType::Boolean if text.eq_ignore_ascii_case("true") => ScalarValue::Boolean(Some(true)),
        DataType::Boolean if text.eq_ignore_ascii_case("false") => ScalarValue::Boolean(Some(false)),
        DataType::Int8 => ScalarValue::Int8(Some(text.parse().ok()?)),
        DataType::Int16 => ScalarValue::Int16(Some(text.parse().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(text.parse().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(text.parse().ok()?)),
        DataType::Float32 => ScalarValue::Float32(Some(text.parse().ok()?)),
        DataType::Float64 => ScalarValue::Float64(Some(text.parse().ok()?)),
        DataType::Date32 => {
            let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            ScalarValue::Date32(Some(
                date.signed_duration_since(NaiveDate::default()).num_days().try_into().ok()?,
            ))
        }
        DataType::Decimal128(precision, scale) => {
            ScalarValue::Decimal128(Some(parse_decimal(text, *precision, *scale)?), *precision, *scale)
        }
        DataType::Timestamp(_, zone) => {
            let us = parse_timestamp(text, zone.is_some())?;
            ScalarValue::TimestampMicrosecond(Some(us), zone.clone())
        }
        _ => return None,
    })
}

/// `2024-01-15 12:30:45.123456`, or with a zone also `2024-01-15T12:30:45.123456Z`. Without an
/// offset it is UTC.
fn parse_timestamp(text: &str, zoned: bool) -> Option<i64> {
    let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f"));
    match naive {
        Ok(time) => Some(time.and_utc().timestamp_micros()),
        Err(_) if zoned => Some(DateTime::parse_from_str(text, "%+").ok()?.timestamp_micros()),
        Err(_) => None,
    }
}

/// Plain digits; more fraction digits than the scale only if they are zeros.
fn parse_decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
    {
        return None;
    }
    let (kept, lost) = fraction.split_at(fraction.len().min(scale));
    if lost.bytes().any(|b| b != b'0') {
        return None;
    }
    let unscaled: i128 = format!("{whole}{kept:0<scale$}").parse().ok()?;
    let limit = 10i128.checked_pow(precision.into())?;
    (unscaled < limit).then_some(if negative { -unscaled } else { unscaled })
}

/// A value as the log holds it: `Ok(None)` is null, which an empty string or binary becomes too.
pub(super) fn to_text(table: &str, column: &str, value: &ScalarValue) -> Result<Option<String>> {
    use ScalarValue::*;
    if value.is_null() {
        return Ok(None);
    }
    let text = match value {
        Utf8(Some(v)) | LargeUtf8(Some(v)) | Utf8View(Some(v)) => Some(v.clone()),
        Binary(Some(v)) | LargeBinary(Some(v)) | BinaryView(Some(v)) => String::from_utf8(v.clone()).ok(),
        Boolean(Some(v)) => Some(v.to_string()),
        Int8(Some(v)) => Some(v.to_string()),
        Int16(Some(v)) => Some(v.to_string()),
        Int32(Some(v)) => Some(v.to_string()),
        Int64(Some(v)) => Some(v.to_string()),
        Float32(Some(v)) => Some(float(f64::from(*v), v.to_string())),
        Float64(Some(v)) => Some(float(*v, v.to_string())),
        Decimal128(Some(v), _, scale) => stats_json::decimal(*v, *scale),
        Date32(Some(days)) => stats_json::date(*days),
        TimestampMicrosecond(Some(us), zone) => timestamp(*us, zone.is_some()),
        Dictionary(_, value) => return to_text(table, column, value),
        _ => None,
    };
    match text {
        Some(text) => Ok(Some(text).filter(|t| !t.is_empty())),
        None => Err(Error::unsupported(
            format!("partition column \"{column}\" of Delta table \"{table}\""),
            format!("a value that Delta's log cannot hold ({value})"),
        )),
    }
}

/// Java's names for what is not finite.
fn float(value: f64, text: String) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        text
    }
}

fn timestamp(us: i64, zoned: bool) -> Option<String> {
    let time = DateTime::from_timestamp_micros(us)?.naive_utc();
    let format = if zoned { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%d %H:%M:%S%.6f" };
    Some(time.format(format).to_string())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn values_survive_the_log() {
        let utc = Some("+00:00".into());
        let values = [
            ScalarValue::Utf8View(Some("é%/=#?:".into())),
            ScalarValue::Int64(Some(i64::MIN)),
            ScalarValue::Boolean(Some(true)),
            ScalarValue::Float64(Some(f64::NEG_INFINITY)),
            ScalarValue::Float32(Some(0.1)),
            ScalarValue::Date32(Some(-719_162)),
            ScalarValue::Decimal128(Some(-150), 5, 2),
            ScalarValue::Decimal128(Some(7), 38, 10),
            ScalarValue::TimestampMicrosecond(Some(-1), utc),
            ScalarValue::TimestampMicrosecond(Some(1_577_840_523_456_789), None),
        ];
        for value in values {
            let text = to_text("t", "c", &value).unwrap().unwrap();
            assert_eq!(parse(&text, &value.data_type()), Some(value), "{text}");
        }
        assert_eq!(to_text("t", "c", &ScalarValue::Utf8View(Some("".into()))).unwrap(), None);
        assert!(to_text("t", "c", &ScalarValue::BinaryView(Some(vec![255]))).is_err());
    }

    #[test]
    fn garbage_is_no_value() {
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        for (text, data_type) in [
            ("x", DataType::Int32),
            ("300", DataType::Int8),
            ("yes", DataType::Boolean),
            ("2020-13-01", DataType::Date32),
            ("1.234", DataType::Decimal128(5, 2)),
            ("123456", DataType::Decimal128(5, 0)),
            ("-", DataType::Decimal128(5, 0)),
            ("99999999999999999999999999999999999999999999", DataType::Decimal128(38, 0)),
            ("yesterday", zoned.clone()),
            ("2020-01-01T00:00:00Z", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ] {
            assert_eq!(parse(text, &data_type), None, "{text}");
        }
        assert!(parse("2020-01-01 00:00:00", &zoned).is_some());
        assert!(parse("2020-01-01T00:00:00+02:00", &zoned).is_some());
    }
}
