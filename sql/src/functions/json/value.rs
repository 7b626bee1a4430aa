//! SQL values as JSON, as `to_json` writes them: numbers and booleans bare, documents as they are, arrays
//! and rows nested, everything else as a string of its text.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::util::display::array_value_to_string;
use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;

use super::syntax::put_string;
use crate::functions::calendar::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, Zone, date};
use crate::functions::columnar::{TIMESTAMP, timestamptz};
use crate::functions::interval::Interval;
use crate::types::PG_TYPE;

/// Writes values.
#[derive(Debug)]
pub struct Json {
    zone: Zone,
    lines: bool,
}

impl Json {
    pub fn new(options: &ConfigOptions) -> Self {
        Self { zone: Zone::of(options), lines: false }
    }

    /// Items and members of the outermost value on lines of their own.
    #[must_use]
    pub fn with_lines(mut self, lines: bool) -> Self {
        self.lines = lines;
        self
    }

    pub fn put(&self, array: &ArrayRef, field: &Field, at: usize, out: &mut String) -> Result<()> {
        let separator = if self.lines { ",\n " } else { "," };
        self.put_value(array, field, at, separator, out)
    }

    fn put_value(
        &self,
        array: &ArrayRef,
        field: &Field,
        at: usize,
        separator: &str,
        out: &mut String,
    ) -> Result<()> {
        if array.is_null(at) || array.data_type().is_null() {
            out.push_str("null");
            return Ok(());
        }
        let nested = |array: &ArrayRef, field: &Field, at: usize, out: &mut String| {
            self.put_value(array, field, at, ",", out)
        };
        match array.data_type() {
            DataType::Boolean => out.push_str(if array.as_boolean().value(at) { "true" } else { "false" }),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => out.push_str(&float(array, at)?),
            number if number.is_numeric() => out.push_str(&array_value_to_string(array, at)?),
            text if text.is_string() && is_document(field) => {
                out.push_str(&array_value_to_string(array, at)?)
            }
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                let list = cast(&array.slice(at, 1), &DataType::List(item.clone()))?;
                let items = list.as_list::<i32>().value(0);
                out.push('[');
                for i in 0..items.len() {
                    if i > 0 {
                        out.push_str(separator);
                    }
                    nested(&items, item, i, out)?;
                }
                out.push(']');
            }
            DataType::Struct(fields) => {
                out.push('{');
                for (i, (member, column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                    if i > 0 {
                        out.push_str(separator);
                    }
                    put_string(member.name(), out);
                    out.push(':');
                    nested(column, member, at, out)?;
                }
                out.push('}');
            }
            DataType::Map(_, _) => {
                let entries = array.as_map().value(at);
                let (keys, values) = (entries.column(0), entries.column(1));
                let value_field = Field::new("value", values.data_type().clone(), true);
                out.push('{');
                for i in 0..entries.len() {
                    if i > 0 {
                        out.push_str(separator);
                    }
                    put_string(&array_value_to_string(keys, i)?, out);
                    out.push(':');
                    nested(values, &value_field, i, out)?;
                }
                out.push('}');
            }
            DataType::Dictionary(_, value) => {
                nested(&cast(&array.slice(at, 1), value)?, field, 0, out)?;
            }
            _ => put_string(&self.text(array, at, 'T')?, out),
        }
        Ok(())
    }

    /// The text of a value that is not nested.
    pub fn text(&self, array: &ArrayRef, at: usize, between: char) -> Result<String> {
        let one = array.slice(at, 1);
        Ok(match array.data_type() {
            DataType::Date32 | DataType::Date64 => {
                let day = cast(&cast(&one, &DataType::Date32)?, &DataType::Int32)?;
                day_text(i64::from(day.as_primitive::<arrow::datatypes::Int32Type>().value(0)))
            }
            DataType::Timestamp(_, None) => {
                let micros = cast(&one, &TIMESTAMP)?.as_primitive::<TimestampMicrosecondType>().value(0);
                timestamp_text(micros, between)
            }
            DataType::Timestamp(_, Some(_)) => {
                let micros = cast(&one, &timestamptz())?.as_primitive::<TimestampMicrosecondType>().value(0);
                let offset = self.zone.offset(micros);
                let mut text = timestamp_text(micros + offset * MICROS_PER_SECOND, between);
                let minutes = offset.abs() / 60;
                let sign = if offset < 0 { '-' } else { '+' };
                let _ = write!(text, "{sign}{:02}", minutes / 60);
                // JSON always has the minutes.
                if between == 'T' || minutes % 60 != 0 {
                    let _ = write!(text, ":{:02}", minutes % 60);
                }
                text
            }
            DataType::Time32(_) | DataType::Time64(_) => {
                let time = cast(&one, &DataType::Time64(TimeUnit::Microsecond))?;
                time_text(time.as_primitive::<Time64MicrosecondType>().value(0))
            }
            DataType::Interval(_) | DataType::Duration(_) => {
                let value = cast(&one, &crate::functions::columnar::INTERVAL)?;
                Interval::from(value.as_primitive::<IntervalMonthDayNanoType>().value(0)).to_string()
            }
            DataType::FixedSizeBinary(16) => {
                let hex = hexadecimal(one.as_fixed_size_binary().value(0));
                let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
                parts.map(|range| hex.get(range).unwrap_or_default()).join("-")
            }
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => {
                let bytes = cast(&one, &DataType::Binary)?;
                format!("\\x{}", hexadecimal(bytes.as_binary::<i32>().value(0)))
            }
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                float(array, at)?.trim_matches('"').to_string()
            }
            _ => array_value_to_string(array, at)?,
        })
    }
}

/// The key that a value makes.
pub fn key_text(options: &ConfigOptions, array: &ArrayRef, field: &Field, at: usize) -> Result<String> {
    let data_type = array.data_type();
    if data_type.is_nested() || is_document(field) {
        let message = "key value must be scalar, not array, composite, or json";
        return Err(crate::functions::function::error("22023", message));
    }
    if data_type.is_numeric() || matches!(data_type, DataType::Boolean) {
        return Ok(array_value_to_string(array, at)?);
    }
    Json::new(options).text(array, at, ' ')
}

fn is_document(field: &Field) -> bool {
    matches!(field.metadata().get(PG_TYPE).map(String::as_str), Some("json" | "jsonb"))
}

/// Shortest digits, whole numbers without a point; what is no JSON number as a string.
fn float(array: &ArrayRef, at: usize) -> Result<String> {
    let value = cast(&array.slice(at, 1), &DataType::Float64)?.as_primitive::<Float64Type>().value(0);
    if value.is_nan() {
        return Ok("\"NaN\"".to_string());
    }
    if value.is_infinite() {
        return Ok(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }.to_string());
    }
    let (digits, precision) = match array.data_type() {
        DataType::Float32 => (format!("{:e}", array.as_primitive::<Float32Type>().value(at)), 6),
        _ => (format!("{value:e}"), 15),
    };
    Ok(plain_or_exponent(&digits, precision))
}

/// Shortest digits (`-1.5e-7`) as Postgres writes them: with an exponent from so many digits on.
fn plain_or_exponent(digits: &str, precision: i32) -> String {
    let (mantissa, exponent) = digits.split_once('e').unwrap_or((digits, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..precision).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    let point = usize::try_from(exponent + 1).unwrap_or_default();
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or_default());
        return format!("{sign}0.{zeros}{digits}");
    }
    match digits.split_at_checked(point) {
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{digits:0<point$}"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn day_text(day: i64) -> String {
    let (year, month, of_month) = date(day);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    format!("{year:04}-{month:02}-{of_month:02}{era}")
}

fn time_text(micros: i64) -> String {
    let (hours, rest) = (micros / MICROS_PER_HOUR, micros % MICROS_PER_HOUR);
    let (minutes, rest) = (rest / (60 * MICROS_PER_SECOND), rest % (60 * MICROS_PER_SECOND));
    let (seconds, fraction) = (rest / MICROS_PER_SECOND, rest % MICROS_PER_SECOND);
    let mut text = format!("{hours:02}:{minutes:02}:{seconds:02}");
    if fraction > 0 {
        text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
    }
    text
}

fn timestamp_text(micros: i64, between: char) -> String {
    let day = day_text(micros.div_euclid(MICROS_PER_DAY));
    let time = time_text(micros.rem_euclid(MICROS_PER_DAY));
    match day.strip_suffix(" BC") {
        Some(day) => format!("{day}{between}{time} BC"),
        None => format!("{day}{between}{time}"),
    }
}

#[cfg(test)]
mod tests {
    use super::plain_or_exponent;

    #[test]
    fn floats_as_postgres_writes_them() {
        for (value, expected) in [
            (1.5, "1.5"),
            (-0.0001, "-0.0001"),
            (0.00001, "1e-05"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e20, "1e+20"),
            (100.0, "100"),
            (-2.5e-7, "-2.5e-07"),
        ] {
            assert_eq!(plain_or_exponent(&format!("{value:e}"), 15), expected);
        }
        assert_eq!(plain_or_exponent(&format!("{:e}", 1_234_567_f32), 6), "1.234567e+06");
    }
}
