//! `extract` and `date_part` (manual 9.9.1) of every field: exact numbers and floating-point ones.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::error::Result;
use datafusion::logical_expr::Volatility;

use super::calendar::{
    JULIAN_EPOCH, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, Zone, date, day_of_week, day_of_year,
    iso_week,
};
use super::columnar::{Columnar, Columns, INTERVAL, Parsed, TIMESTAMP, is_text, timestamptz, type_name};
use super::function::error;
use super::interval::{Interval, TIME, is_interval};
use super::truncation;

/// Digits of the numbers that `extract` gives.
const PRECISION: u8 = 20;
const MICROS_PER_MINUTE: i64 = 60 * MICROS_PER_SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Julian,
    IsoYear,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Epoch,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

pub const FUNCTIONS: &[Columnar] = &[
    Columnar {
        name: "extract",
        // Of the session's time zone too, which no plan outlives; only of immutable functions preimages count.
        volatility: Volatility::Immutable,
        arguments,
        returns: |types, values| {
            let name = values.first().copied().flatten().and_then(|value| value.try_as_str()).flatten();
            let scale = match (name.and_then(unit), types.get(1)) {
                (Some(Unit::Epoch | Unit::Julian), Some(DataType::Date32)) => 0,
                (unit, _) => unit.map_or(6, scale),
            };
            Ok(DataType::Decimal128(PRECISION, scale))
        },
        eval: extract,
    },
    Columnar {
        name: "date_part",
        volatility: Volatility::Immutable,
        arguments,
        returns: |_, _| Ok(DataType::Float64),
        eval: extract,
    },
];

fn arguments(types: &[DataType]) -> Option<Vec<DataType>> {
    let [unit, value] = types else { return None };
    let value = match value {
        DataType::Timestamp(_, Some(_)) => timestamptz(),
        DataType::Timestamp(_, None) => TIMESTAMP,
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => TIME,
        other if is_interval(other) => INTERVAL,
        // A value without a type is read as the preferred type of these.
        other if is_text(other) => timestamptz(),
        _ => return None,
    };
    is_text(unit).then(|| vec![DataType::Utf8, value])
}

fn unit(name: &str) -> Option<Unit> {
    // `extract('year' FROM …)` comes with its quotes.
    let name = name.trim_matches('\'').to_ascii_lowercase();
    if let Some(unit) = truncation::unit(&name) {
        return Some(of_length(unit));
    }
    Some(match name.as_str() {
        "j" | "jd" | "julian" => Unit::Julian,
        "isoyear" => Unit::IsoYear,
        "dow" => Unit::DayOfWeek,
        "isodow" => Unit::IsoDayOfWeek,
        "doy" => Unit::DayOfYear,
        "epoch" => Unit::Epoch,
        "timezone" => Unit::Timezone,
        "timezone_h" | "timezone_hour" => Unit::TimezoneHour,
        "timezone_m" | "timezone_minute" => Unit::TimezoneMinute,
        _ => return None,
    })
}

/// One that times can also be cut to.
fn of_length(unit: truncation::Unit) -> Unit {
    match unit {
        truncation::Unit::Microsecond => Unit::Microseconds,
        truncation::Unit::Millisecond => Unit::Milliseconds,
        truncation::Unit::Second => Unit::Second,
        truncation::Unit::Minute => Unit::Minute,
        truncation::Unit::Hour => Unit::Hour,
        truncation::Unit::Day => Unit::Day,
        truncation::Unit::Week => Unit::Week,
        truncation::Unit::Month => Unit::Month,
        truncation::Unit::Quarter => Unit::Quarter,
        truncation::Unit::Year => Unit::Year,
        truncation::Unit::Decade => Unit::Decade,
        truncation::Unit::Century => Unit::Century,
        truncation::Unit::Millennium => Unit::Millennium,
    }
}

/// Digits behind the point.
fn scale(unit: Unit) -> i8 {
    match unit {
        Unit::Second | Unit::Epoch => 6,
        Unit::Milliseconds => 3,
        Unit::Julian => 10,
        _ => 0,
    }
}

/// A number, times ten to the power of its unit's scale. `None`: the type has no such unit.
fn of_local(unit: Unit, local: i64, offset: Option<i64>) -> Option<i128> {
    let day = local.div_euclid(MICROS_PER_DAY);
    let (year, month, of_month) = date(day);
    // Years of an era that has no year 0.
    let (called, span) = (if year > 0 { year } else { year - 1 }, |length: i64| {
        if year > 0 { (year + length - 1) / length } else { -((length - year) / length) }
    });
    Some(i128::from(match unit {
        Unit::Day => of_month,
        Unit::Week => iso_week(day).1,
        Unit::Month => month,
        Unit::Quarter => (month - 1) / 3 + 1,
        Unit::Year => called,
        Unit::Decade => year.div_euclid(10),
        Unit::Century => span(100),
        Unit::Millennium => span(1000),
        Unit::IsoYear => {
            let year = iso_week(day).0;
            if year > 0 { year } else { year - 1 }
        }
        Unit::DayOfWeek => day_of_week(day),
        Unit::IsoDayOfWeek => (day + 3).rem_euclid(7) + 1,
        Unit::DayOfYear => day_of_year(day),
        Unit::Julian => {
            let time = i128::from(local.rem_euclid(MICROS_PER_DAY)) * 10_000_000_000;
            let whole = i128::from(day + JULIAN_EPOCH) * 10_000_000_000;
            return Some(whole + (time + i128::from(MICROS_PER_DAY) / 2) / i128::from(MICROS_PER_DAY));
        }
        Unit::Epoch => local.saturating_sub(offset.unwrap_or_default() * MICROS_PER_SECOND),
        Unit::Timezone => offset?,
        Unit::TimezoneHour => offset? / 3600,
        Unit::TimezoneMinute => offset? / 60 % 60,
        time => return of_time(time, local.rem_euclid(MICROS_PER_DAY)),
    }))
}

fn of_time(unit: Unit, micros: i64) -> Option<i128> {
    Some(i128::from(match unit {
        // Both are micros, by their scales.
        Unit::Microseconds | Unit::Milliseconds | Unit::Second => micros % MICROS_PER_MINUTE,
        Unit::Minute => micros % MICROS_PER_HOUR / MICROS_PER_MINUTE,
        Unit::Hour => micros / MICROS_PER_HOUR,
        Unit::Epoch => micros,
        _ => return None,
    }))
}

fn of_interval(unit: Unit, value: Interval) -> Option<i128> {
    let (years, months) = (value.months / 12, value.months % 12);
    Some(i128::from(match unit {
        Unit::Day => value.days,
        Unit::Month => months,
        Unit::Quarter => months / 3 + 1,
        Unit::Year => years,
        Unit::Decade => years / 10,
        Unit::Century => years / 100,
        Unit::Millennium => years / 1000,
        Unit::Epoch => {
            // A year counts 365.25 days here and a month 30.
            let quarter_days = i128::from(years) * 1461 + i128::from(months * 30 + value.days) * 4;
            return Some(quarter_days * i128::from(MICROS_PER_DAY / 4) + i128::from(value.micros));
        }
        time => return of_time(time, value.micros),
    }))
}

fn extract(columns: &Columns<'_>) -> Result<ArrayRef> {
    let (names, given) = (columns.text(0)?, columns.array(1)?);
    let values = if given.data_type() == &DataType::Date32 { &cast(given, &TIMESTAMP)? } else { given };
    // A date has no time of day, to `extract`; `date_part` takes its midnight.
    let exact = matches!(columns.result, DataType::Decimal128(..));
    let without_time = exact && given.data_type() == &DataType::Date32;
    let zone = Zone::of(columns.options);
    let value = |unit: Unit, i: usize| match values.data_type() {
        DataType::Interval(_) => {
            of_interval(unit, values.as_primitive::<IntervalMonthDayNanoType>().value(i).into())
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            of_time(unit, values.as_primitive::<Time64MicrosecondType>().value(i))
        }
        DataType::Timestamp(_, Some(_)) => {
            let micros = values.as_primitive::<TimestampMicrosecondType>().value(i);
            let offset = zone.offset(micros);
            of_local(unit, micros.saturating_add(offset * MICROS_PER_SECOND), Some(offset))
        }
        _ => of_local(unit, values.as_primitive::<TimestampMicrosecondType>().value(i), None),
    };
    let mut parsed = Parsed::new(|name| Ok(unit(name)))?;
    let mut numbers = Vec::with_capacity(columns.rows);
    for i in 0..columns.rows {
        if names.is_null(i) || values.is_null(i) {
            numbers.push(None);
            continue;
        }
        let name = names.value(i);
        let about = || format!("for type {}", type_name(given.data_type()));
        let unit = (*parsed.of(name)?).ok_or_else(|| {
            error("22023", format!("unit \"{}\" not recognized {}", name.to_lowercase(), about()))
        })?;
        let is_time = of_time(unit, 0).is_some() && unit != Unit::Epoch;
        let number = value(unit, i).filter(|_| !(without_time && is_time)).ok_or_else(|| {
            error("0A000", format!("unit \"{}\" not supported {}", name.to_lowercase(), about()))
        })?;
        numbers.push(Some((number, scale(unit))));
    }
    Ok(match *columns.result {
        DataType::Decimal128(precision, wanted) => {
            let rescaled = |(number, scale): (i128, i8)| {
                let power = |by: i8| 10_i128.pow(u32::try_from(by).unwrap_or_default());
                if wanted >= scale { number * power(wanted - scale) } else { number / power(scale - wanted) }
            };
            let numbers = numbers.into_iter().map(|number| number.map(rescaled));
            Arc::new(numbers.collect::<Decimal128Array>().with_precision_and_scale(precision, wanted)?)
        }
        _ => {
            let numbers = numbers
                .into_iter()
                .map(|number| number.map(|(number, scale)| number as f64 / 10_f64.powi(i32::from(scale))));
            Arc::new(numbers.collect::<Float64Array>())
        }
    })
}
