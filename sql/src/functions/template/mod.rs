//! Data type formatting functions (manual 9.8): `to_char`, `to_date`, `to_timestamp`, `to_number`.
//!
//! Words are the English ones (lc_time C), the point is `.` and the group separator `,`. A template is
//! read once for as long as it stays the same.

pub mod date_fields;
mod date_input;
pub mod date_output;
pub mod date_template;
pub mod digits;
pub mod number_input;
pub mod number_output;
pub mod number_template;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, IntervalMonthDayNanoType,
    TimeUnit, TimestampMicrosecondType,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Volatility;
use datafusion::scalar::ScalarValue;

use self::date_fields::{Moment, moment};
use self::date_output::Parts;
use self::digits::Digits;
use super::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, Zone, days};
use super::columnar::{Columnar, Columns, INTERVAL, Parsed, TIMESTAMP, is_text, timestamptz, with_text};
use super::function::error;

pub const FUNCTIONS: &[Columnar] = &[
    Columnar {
        name: "to_char",
        volatility: Volatility::Stable,
        arguments: to_char_arguments,
        returns: |_, _| Ok(DataType::Utf8),
        eval: to_char,
    },
    Columnar {
        name: "to_date",
        volatility: Volatility::Immutable,
        arguments: two_texts,
        returns: |_, _| Ok(DataType::Date32),
        eval: to_date,
    },
    Columnar {
        name: "to_timestamp",
        volatility: Volatility::Stable,
        arguments: |types| match types {
            [number] if number.is_numeric() || is_text(number) => Some(vec![DataType::Float64]),
            types => two_texts(types),
        },
        returns: |_, _| Ok(timestamptz()),
        eval: to_timestamp,
    },
    Columnar {
        name: "to_number",
        volatility: Volatility::Immutable,
        arguments: two_texts,
        returns: to_number_type,
        eval: to_number,
    },
];

fn two_texts(types: &[DataType]) -> Option<Vec<DataType>> {
    match types {
        [first, second] if is_text(first) => with_text(DataType::Utf8, second),
        _ => None,
    }
}

fn to_char_arguments(types: &[DataType]) -> Option<Vec<DataType>> {
    let [value, template] = types else { return None };
    let value = match value {
        DataType::Timestamp(_, None) => TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => timestamptz(),
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Interval(_) | DataType::Duration(_) => INTERVAL,
        DataType::Float16 | DataType::Float32 => DataType::Float32,
        DataType::Float64 => DataType::Float64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        integer if integer.is_integer() => DataType::Int64,
        DataType::Decimal128(..) => value.clone(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        // No template has as many digits after the point.
        DataType::Decimal256(_, s) => DataType::Decimal128(38, (*s).min(20)),
        DataType::Null => DataType::Null,
        _ => return None,
    };
    with_text(value, template)
}

/// Writes every row that has a value and a template.
fn write<T>(
    columns: &Columns<'_>,
    parse: fn(&str) -> Result<T>,
    mut row: impl FnMut(&T, usize) -> Result<Option<String>>,
) -> Result<ArrayRef> {
    let values = columns.array(0)?;
    let templates = columns.text(1)?;
    let mut template = Parsed::new(parse)?;
    let mut out = StringBuilder::with_capacity(columns.rows, columns.rows * 16);
    for i in 0..columns.rows {
        if values.is_null(i) || templates.is_null(i) {
            out.append_null();
        } else {
            let template = template.of(templates.value(i))?;
            out.append_option(row(template, i)?);
        }
    }
    Ok(Arc::new(out.finish()))
}

type DateTemplate = Vec<date_template::Node>;

fn date_template(text: &str) -> Result<DateTemplate> {
    Ok(date_template::parse(text))
}

/// Of a template without patterns, dates and times are NULL.
fn dated(template: &DateTemplate, parts: impl FnOnce() -> Parts) -> Result<Option<String>> {
    if template.is_empty() { Ok(None) } else { date_output::format(template, &parts()).map(Some) }
}

fn to_char(columns: &Columns<'_>) -> Result<ArrayRef> {
    let values = columns.array(0)?;
    let zone = Zone::of(columns.options);
    let zoned = |micros: i64| {
        let offset = zone.offset(micros);
        Parts::of_timestamp(micros.saturating_add(offset * MICROS_PER_SECOND), Some(offset))
    };
    match values.data_type() {
        DataType::Timestamp(_, tz) => {
            let has_zone = tz.is_some();
            let values = values.as_primitive::<TimestampMicrosecondType>();
            write(columns, date_template, |template, i| {
                let micros = values.value(i);
                dated(template, || if has_zone { zoned(micros) } else { Parts::of_timestamp(micros, None) })
            })
        }
        DataType::Date32 => {
            let values = values.as_primitive::<Date32Type>();
            write(columns, date_template, |template, i| {
                let local = i64::from(values.value(i)) * MICROS_PER_DAY;
                // A date is written as its midnight in the session's time zone.
                let offset = zone.instant(local).map_or(0, |instant| zone.offset(instant));
                dated(template, || Parts::of_timestamp(local, Some(offset)))
            })
        }
        DataType::Time64(_) => {
            let values = cast(values, &DataType::Int64)?;
            let values = values.as_primitive::<Int64Type>();
            write(columns, date_template, |template, i| {
                dated(template, || Parts::of_interval(0, 0, values.value(i)))
            })
        }
        DataType::Interval(_) => {
            let values = values.as_primitive::<IntervalMonthDayNanoType>();
            write(columns, date_template, |template, i| {
                let value = values.value(i);
                dated(template, || Parts::of_interval(value.months, value.days, value.nanoseconds / 1000))
            })
        }
        _ => number_to_char(columns, values),
    }
}

fn number_to_char(columns: &Columns<'_>, values: &ArrayRef) -> Result<ArrayRef> {
    let parse = number_template::parse;
    match values.data_type() {
        DataType::Int64 => {
            let values = values.as_primitive::<Int64Type>();
            write(columns, parse, |template, i| {
                let digits = Digits::of_decimal(values.value(i).into(), 0);
                number_output::format(template, &digits).map(Some)
            })
        }
        DataType::Decimal128(_, scale) => {
            let (values, scale) = (values.as_primitive::<Decimal128Type>(), *scale);
            write(columns, parse, |template, i| {
                let digits = Digits::of_decimal(values.value(i), scale);
                number_output::format(template, &digits).map(Some)
            })
        }
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>();
            write(columns, parse, |template, i| {
                number_output::format_float(template, values.value(i), 15).map(Some)
            })
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>();
            write(columns, parse, |template, i| {
                number_output::format_float(template, values.value(i).into(), 6).map(Some)
            })
        }
        _ => Ok(arrow::array::new_null_array(&DataType::Utf8, columns.rows)),
    }
}

/// Reads every row that has a text and a template.
fn read_moments<T>(columns: &Columns<'_>, of: impl Fn(Moment, &str) -> Result<T>) -> Result<Vec<Option<T>>> {
    let (texts, templates) = (columns.text(0)?, columns.text(1)?);
    let mut template = Parsed::new(date_template)?;
    let mut out = Vec::with_capacity(columns.rows);
    for i in 0..columns.rows {
        if texts.is_null(i) || templates.is_null(i) {
            out.push(None);
        } else {
            let text = texts.value(i);
            out.push(Some(of(moment(text, template.of(templates.value(i))?)?, text)?));
        }
    }
    Ok(out)
}

fn to_date(columns: &Columns<'_>) -> Result<ArrayRef> {
    let values = read_moments(columns, |moment, text| {
        i32::try_from(moment.days)
            .ok()
            .filter(|_| (days(-4713, 11, 24)..days(5_874_898, 6, 4)).contains(&moment.days))
            .ok_or_else(|| error("22008", format!("date out of range: \"{text}\"")))
    })?;
    Ok(Arc::new(Date32Array::from(values)))
}

fn to_timestamp(columns: &Columns<'_>) -> Result<ArrayRef> {
    let array = if columns.arrays.len() == 1 {
        let seconds = columns.array(0)?;
        let seconds = seconds
            .as_primitive_opt::<Float64Type>()
            .ok_or_else(|| DataFusionError::Internal("a number of seconds expected".into()))?;
        let values = seconds.iter().map(|value| value.map(instant_of_seconds).transpose());
        TimestampMicrosecondArray::from(values.collect::<Result<Vec<_>>>()?)
    } else {
        let zone = Zone::of(columns.options);
        let out_of_range = || error("22008", "timestamp out of range");
        let values = read_moments(columns, |moment, _| {
            let local = moment
                .days
                .checked_mul(MICROS_PER_DAY)
                .and_then(|day| day.checked_add(moment.micros))
                .ok_or_else(out_of_range)?;
            match moment.offset {
                Some(offset) => local.checked_sub(offset * MICROS_PER_SECOND),
                None => zone.instant(local),
            }
            .ok_or_else(out_of_range)
        })?;
        TimestampMicrosecondArray::from(values)
    };
    Ok(Arc::new(array.with_timezone("+00:00")))
}

fn instant_of_seconds(seconds: f64) -> Result<i64> {
    if seconds.is_nan() {
        return Err(error("22008", "timestamp cannot be NaN"));
    }
    let out_of_range = || error("22008", format!("timestamp out of range: \"{seconds}\""));
    if seconds.is_infinite() {
        return Err(error("0A000", "infinite timestamps are not supported"));
    }
    let micros = (seconds * 1e6).round_ties_even();
    // Up to year 294276, the last one that arrow and Postgres both have.
    if micros.abs() >= 9.2e18 { Err(out_of_range()) } else { Ok(micros as i64) }
}

/// Arrow's numbers have one scale: that of the template, or 10 where every row has its own.
fn to_number_type(_: &[DataType], values: &[Option<&ScalarValue>]) -> Result<DataType> {
    let scale = match values.get(1) {
        Some(Some(template)) => match template.try_as_str() {
            Some(Some(template)) => {
                let template = number_template::parse(template)?;
                i8::try_from(template.fraction + template.shift).unwrap_or(38).min(38)
            }
            _ => 0,
        },
        _ => 10,
    };
    Ok(DataType::Decimal128(38, scale))
}

fn to_number(columns: &Columns<'_>) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = *columns.result else {
        return Err(DataFusionError::Internal("to_number gives a number".into()));
    };
    let (texts, templates) = (columns.text(0)?, columns.text(1)?);
    let mut template = Parsed::new(number_template::parse)?;
    let mut out = Vec::with_capacity(columns.rows);
    for i in 0..columns.rows {
        // A template without patterns reads nothing.
        if texts.is_null(i) || templates.is_null(i) || templates.value(i).is_empty() {
            out.push(None);
            continue;
        }
        let read = number_input::read(texts.value(i), template.of(templates.value(i))?)?;
        let overflow = || error("22003", "numeric field overflow");
        let value: i128 = read.digits.parse().map_err(|_| overflow())?;
        let places = i64::from(scale) - i64::try_from(read.scale).unwrap_or(i64::MAX);
        let scaled = if places >= 0 {
            let power = u32::try_from(places).ok().and_then(|places| 10_i128.checked_pow(places));
            power.and_then(|power| value.checked_mul(power)).ok_or_else(overflow)?
        } else {
            let power = u32::try_from(-places).ok().and_then(|places| 10_i128.checked_pow(places));
            power.map_or(0, |power| (value + power / 2) / power)
        };
        if scaled >= 10_i128.pow(38) {
            return Err(overflow());
        }
        out.push(Some(if read.negative { -scaled } else { scaled }));
    }
    Ok(Arc::new(Decimal128Array::from(out).with_precision_and_scale(precision, scale)?))
}
