//! Date/time functions (manual 9.9) that DataFusion lacks: `make_…`, `isfinite`, the clock.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type};
use datafusion::error::Result;
use datafusion::logical_expr::Volatility;

use super::calendar::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, Zone, days, days_of_month};
use super::columnar::{Columnar, Columns, TIMESTAMP, is_text, timestamptz};
use super::function::{Definition, error};
use super::interval::{TIME, is_interval};
use crate::pg_catalog::value::Value;

pub const FUNCTIONS: &[Columnar] = &[
    Columnar {
        name: "make_date",
        volatility: Volatility::Immutable,
        arguments: |types| numbers(types, 3),
        returns: |_, _| Ok(DataType::Date32),
        eval: make_date,
    },
    Columnar {
        name: "make_time",
        volatility: Volatility::Immutable,
        arguments: |types| {
            (types.len() == 3).then(|| vec![DataType::Int32, DataType::Int32, DataType::Float64])
        },
        returns: |_, _| Ok(TIME),
        eval: make_time,
    },
    Columnar {
        name: "make_timestamp",
        volatility: Volatility::Immutable,
        arguments: |types| numbers(types, 6),
        returns: |_, _| Ok(TIMESTAMP),
        eval: make_timestamp,
    },
    Columnar {
        name: "make_timestamptz",
        volatility: Volatility::Stable,
        arguments: |types| match types.split_at_checked(6)? {
            (types, []) => numbers(types, 6),
            (types, [zone]) if is_text(zone) => {
                numbers(types, 6).map(|wanted| [wanted, vec![DataType::Utf8]].concat())
            }
            _ => None,
        },
        returns: |_, _| Ok(timestamptz()),
        eval: make_timestamptz,
    },
    Columnar {
        name: "isfinite",
        volatility: Volatility::Immutable,
        arguments: |types| match types {
            [t] if is_interval(t) || matches!(t, DataType::Date32 | DataType::Timestamp(..)) => {
                Some(types.to_vec())
            }
            _ => None,
        },
        returns: |_, _| Ok(DataType::Boolean),
        eval: |columns| {
            let values = columns.array(0)?;
            // Arrow has no infinity.
            let finite = (0..values.len()).map(|i| (!values.is_null(i)).then_some(true));
            Ok(Arc::new(finite.collect::<BooleanArray>()))
        },
    },
];

pub const CLOCK: &[Definition] = &[
    Definition::strict("statement_timestamp", "timestamptz", (0, 0), |call, _| {
        Ok(call.info()?.statement_start.into())
    }),
    Definition::strict("clock_timestamp", "timestamptz", (0, 0), |call, _| {
        let engine = call.info()?.engine.clone();
        let now = engine.map(|engine| engine.clock().now());
        Ok(now.map(Value::from).unwrap_or(Value::Null))
    })
    .volatile(),
    Definition::strict("timeofday", "text", (0, 0), |call, _| {
        let engine = call.info()?.engine.clone();
        let now = engine.map(|engine| engine.clock().now());
        Ok(now.map(|now| now.format("%a %b %d %H:%M:%S%.6f %Y UTC").to_string()).into())
    })
    .volatile(),
];

/// Integers, and for six arguments seconds with a fraction.
fn numbers(types: &[DataType], count: usize) -> Option<Vec<DataType>> {
    let known = types.len() == count && types.iter().all(|t| t.is_numeric() || is_text(t));
    let mut wanted = vec![DataType::Int32; count];
    if let (6, Some(seconds)) = (count, wanted.last_mut()) {
        *seconds = DataType::Float64;
    }
    known.then_some(wanted)
}

/// The first integers of row `i`; `None`: some argument is NULL.
fn row<const N: usize>(columns: &Columns<'_>, i: usize) -> Option<[i64; N]> {
    if columns.arrays.iter().any(|array| array.is_null(i)) {
        return None;
    }
    let mut values = [0; N];
    for (value, array) in values.iter_mut().zip(&columns.arrays) {
        *value = i64::from(array.as_primitive::<Int32Type>().value(i));
    }
    Some(values)
}

fn date([year, month, day]: [i64; 3]) -> Result<i64> {
    // Negative years are BC, and there is no year 0.
    let astronomical = if year < 0 { year + 1 } else { year };
    let fits = year != 0
        && (1..=12).contains(&month)
        && day >= 1
        && day <= days_of_month(astronomical, month)
        && (-4713..=5_874_897).contains(&astronomical);
    if !fits {
        let message = format!("date field value out of range: {year}-{month:02}-{day:02}");
        return Err(error("22008", message));
    }
    Ok(days(astronomical, month, day))
}

fn time(hour: i64, minute: i64, second: f64) -> Result<i64> {
    let micros = (second * 1e6).round_ties_even();
    let whole = (0..24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60e6).contains(&micros);
    let midnight = hour == 24 && minute == 0 && micros == 0.0;
    if !whole && !midnight {
        let shown = format!("{second:02}");
        let message = format!("time field value out of range: {hour}:{minute:02}:{shown:0>2}");
        return Err(error("22008", message));
    }
    Ok(hour * MICROS_PER_HOUR + minute * 60 * MICROS_PER_SECOND + micros as i64)
}

fn make_date(columns: &Columns<'_>) -> Result<ArrayRef> {
    let day = |i| {
        let Some(parts) = row::<3>(columns, i) else { return Ok(None) };
        let out_of_range = |_| error("22008", "date out of range");
        date(parts).and_then(|day| i32::try_from(day).map_err(out_of_range)).map(Some)
    };
    Ok(Arc::new(Date32Array::from((0..columns.rows).map(day).collect::<Result<Vec<_>>>()?)))
}

fn seconds(columns: &Columns<'_>, k: usize, i: usize) -> Result<f64> {
    Ok(columns.array(k)?.as_primitive::<Float64Type>().value(i))
}

fn make_time(columns: &Columns<'_>) -> Result<ArrayRef> {
    let of_row = |i| match row::<2>(columns, i) {
        Some([hour, minute]) => time(hour, minute, seconds(columns, 2, i)?).map(Some),
        None => Ok(None),
    };
    let values = (0..columns.rows).map(of_row).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Time64MicrosecondArray::from(values)))
}

fn local(columns: &Columns<'_>, i: usize) -> Result<Option<i64>> {
    let Some([year, month, day, hour, minute]) = row::<5>(columns, i) else {
        return Ok(None);
    };
    let time = time(hour, minute, seconds(columns, 5, i)?)?;
    let midnight = date([year, month, day])?.checked_mul(MICROS_PER_DAY);
    let value = midnight.and_then(|midnight| midnight.checked_add(time));
    value.map(Some).ok_or_else(|| error("22008", "timestamp out of range"))
}

fn make_timestamp(columns: &Columns<'_>) -> Result<ArrayRef> {
    let values = (0..columns.rows).map(|i| local(columns, i)).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(TimestampMicrosecondArray::from(values)))
}

fn make_timestamptz(columns: &Columns<'_>) -> Result<ArrayRef> {
    let session = Zone::of(columns.options);
    let instant = |i| {
        let Some(local) = local(columns, i)? else { return Ok(None) };
        let out_of_range = || error("22008", "timestamp out of range");
        if columns.arrays.len() < 7 {
            return session.instant(local).ok_or_else(out_of_range).map(Some);
        }
        let name = columns.text(6)?.value(i);
        let zone = Zone::named(name)
            .ok_or_else(|| error("22023", format!("time zone \"{name}\" not recognized")))?;
        zone.instant(local).ok_or_else(out_of_range).map(Some)
    };
    let values = (0..columns.rows).map(instant).collect::<Result<Vec<_>>>()?;
    let values = TimestampMicrosecondArray::from(values);
    Ok(Arc::new(values.with_timezone("+00:00")))
}
