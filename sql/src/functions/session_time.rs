//! What depends on the session's time zone: `AT TIME ZONE`, casts between times with and without zone,
//! arithmetic of `timestamptz`.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, IntervalMonthDayNanoArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ScalarUDF, Volatility};

use super::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, Zone, date, days, days_of_month};
use super::columnar::{Columnar, ColumnarFunction, Columns, INTERVAL, TIMESTAMP, is_text, timestamptz};
use super::function::error;
use super::interval::is_interval;
use crate::types::datetime::fields::abbreviated_zone;

/// The function that users call.
pub const FUNCTIONS: &[Columnar] = &[Columnar {
    name: "timezone",
    volatility: Volatility::Immutable,
    arguments: |types| match types {
        [zone, time] if is_text(zone) || is_interval(zone) => {
            let zone = if is_interval(zone) { INTERVAL } else { DataType::Utf8 };
            match time {
                DataType::Timestamp(_, None) => Some(vec![zone, TIMESTAMP]),
                DataType::Timestamp(_, Some(_)) | DataType::Date32 => Some(vec![zone, timestamptz()]),
                other if is_text(other) => Some(vec![zone, timestamptz()]),
                _ => None,
            }
        }
        _ => None,
    },
    returns: |types, _| {
        Ok(match types {
            [_, DataType::Timestamp(_, None)] => timestamptz(),
            _ => TIMESTAMP,
        })
    },
    eval: at_time_zone,
}];

const fn internal(
    name: &'static str,
    arguments: fn(&[DataType]) -> Option<Vec<DataType>>,
    returns: fn(&[DataType], &[Option<&datafusion::scalar::ScalarValue>]) -> Result<DataType>,
    eval: fn(&Columns<'_>) -> Result<ArrayRef>,
) -> Columnar {
    Columnar { name, volatility: Volatility::Stable, arguments, returns, eval }
}

/// The functions behind casts and operators.
static INTERNAL: &[Columnar] = &[
    internal("timestamptz_to_timestamp", |_| Some(vec![timestamptz()]), |_, _| Ok(TIMESTAMP), local_time),
    internal("timestamp_to_timestamptz", |_| Some(vec![TIMESTAMP]), |_, _| Ok(timestamptz()), instant),
    internal("timestamp_mi", two_times, |_, _| Ok(INTERVAL), difference),
    internal(
        "timestamptz_pl_interval",
        |_| Some(vec![timestamptz(), INTERVAL]),
        |_, _| Ok(timestamptz()),
        |columns| moved(columns, 1),
    ),
    internal(
        "timestamptz_mi_interval",
        |_| Some(vec![timestamptz(), INTERVAL]),
        |_, _| Ok(timestamptz()),
        |columns| moved(columns, -1),
    ),
    internal("date_ceiling", |_| Some(vec![TIMESTAMP]), |_, _| Ok(DataType::Date32), ceiling),
    internal("date_floor", |_| Some(vec![TIMESTAMP]), |_, _| Ok(DataType::Date32), floor),
];

static UDFS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    INTERNAL
        .iter()
        .map(|columnar| Arc::new(ScalarUDF::new_from_impl(ColumnarFunction::new(columnar))))
        .collect()
});

/// A call of a function behind a cast or an operator. `None`: there is no such function.
pub fn call(name: &str, arguments: Vec<Expr>) -> Option<Expr> {
    let function = UDFS.iter().find(|function| function.name() == name)?;
    Some(function.call(arguments))
}

fn two_times(types: &[DataType]) -> Option<Vec<DataType>> {
    let zoned = types.iter().any(|t| matches!(t, DataType::Timestamp(_, Some(_))));
    Some(vec![if zoned { timestamptz() } else { TIMESTAMP }; 2])
}

fn times<'a>(columns: &'a Columns<'_>, i: usize) -> Result<&'a TimestampMicrosecondArray> {
    columns
        .array(i)?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| datafusion::error::DataFusionError::Internal("a time expected".into()))
}

fn out_of_range() -> datafusion::error::DataFusionError {
    error("22008", "timestamp out of range")
}

fn zoned(values: TimestampMicrosecondArray) -> ArrayRef {
    Arc::new(values.with_timezone("+00:00"))
}

fn to_local(zone: &Zone, micros: i64) -> i64 {
    micros.saturating_add(zone.offset(micros) * MICROS_PER_SECOND)
}

fn local_time(columns: &Columns<'_>) -> Result<ArrayRef> {
    let zone = Zone::of(columns.options);
    let local = times(columns, 0)?.iter().map(|value| value.map(|micros| to_local(&zone, micros)));
    Ok(Arc::new(local.collect::<TimestampMicrosecondArray>()))
}

fn instant(columns: &Columns<'_>) -> Result<ArrayRef> {
    let zone = Zone::of(columns.options);
    let instants = times(columns, 0)?
        .iter()
        .map(|value| value.map(|local| zone.instant(local).ok_or_else(out_of_range)).transpose());
    Ok(zoned(instants.collect::<Result<_>>()?))
}

/// Days and time, never months, as `timestamp_mi` of Postgres.
fn difference(columns: &Columns<'_>) -> Result<ArrayRef> {
    let pairs = times(columns, 0)?.iter().zip(times(columns, 1)?);
    let intervals = pairs.map(|pair| match pair {
        (Some(later), Some(earlier)) => {
            let micros = later.checked_sub(earlier).ok_or_else(|| error("22008", "interval out of range"))?;
            let days = i32::try_from(micros / MICROS_PER_DAY)
                .map_err(|_| error("22008", "interval out of range"))?;
            Ok(Some(IntervalMonthDayNano::new(0, days, micros % MICROS_PER_DAY * 1000)))
        }
        _ => Ok(None),
    });
    Ok(Arc::new(intervals.collect::<Result<IntervalMonthDayNanoArray>>()?))
}

/// Months and days are those of the session's zone, hours are hours.
fn moved(columns: &Columns<'_>, sign: i64) -> Result<ArrayRef> {
    let zone = Zone::of(columns.options);
    let intervals = columns.array(1)?.as_primitive::<IntervalMonthDayNanoType>();
    let pairs = times(columns, 0)?.iter().zip(intervals);
    let values = pairs.map(|pair| match pair {
        (Some(time), Some(by)) => one_moved(&zone, time, by, sign).ok_or_else(out_of_range).map(Some),
        _ => Ok(None),
    });
    Ok(zoned(values.collect::<Result<_>>()?))
}

fn one_moved(zone: &Zone, time: i64, by: IntervalMonthDayNano, sign: i64) -> Option<i64> {
    let mut time = time;
    if by.months != 0 || by.days != 0 {
        let local = to_local(zone, time);
        let (mut day, of_day) = (local.div_euclid(MICROS_PER_DAY), local.rem_euclid(MICROS_PER_DAY));
        if by.months != 0 {
            let (year, month, of_month) = date(day);
            let months =
                year.checked_mul(12)?.checked_add(month - 1)?.checked_add(sign * i64::from(by.months))?;
            let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
            day = days(year, month, of_month.min(days_of_month(year, month)));
        }
        day = day.checked_add(sign * i64::from(by.days))?;
        time = zone.instant(day.checked_mul(MICROS_PER_DAY)?.checked_add(of_day)?)?;
    }
    time.checked_add(sign * (by.nanoseconds / 1000))
}

/// The first day that does not begin before a time.
fn ceiling(columns: &Columns<'_>) -> Result<ArrayRef> {
    days_of(columns, |micros| {
        micros.div_euclid(MICROS_PER_DAY) + i64::from(micros.rem_euclid(MICROS_PER_DAY) > 0)
    })
}

/// The last day that does not begin after a time.
fn floor(columns: &Columns<'_>) -> Result<ArrayRef> {
    days_of(columns, |micros| micros.div_euclid(MICROS_PER_DAY))
}

fn days_of(columns: &Columns<'_>, of: fn(i64) -> i64) -> Result<ArrayRef> {
    let day = |micros| i32::try_from(of(micros)).map_err(|_| error("22008", "date out of range"));
    let days = times(columns, 0)?.iter().map(|value| value.map(day).transpose());
    Ok(Arc::new(days.collect::<Result<Date32Array>>()?))
}

/// What a zone of an `AT TIME ZONE` is: a name or an interval.
fn zone_of(columns: &Columns<'_>, row: usize) -> Result<Zone> {
    if let Some(intervals) = columns.array(0)?.as_primitive_opt::<IntervalMonthDayNanoType>() {
        let interval = intervals.value(row);
        if interval.months != 0 || interval.days != 0 {
            return Err(error("22023", "interval time zone must not include months or days"));
        }
        return Ok(Zone::fixed(interval.nanoseconds / 1_000_000_000));
    }
    let name = columns.text(0)?.value(row);
    // An abbreviation has no summer time, though a zone of that name may have one.
    if let Some(seconds) = abbreviated_zone(name) {
        return Ok(Zone::fixed(seconds));
    }
    Zone::named(name).ok_or_else(|| error("22023", format!("time zone \"{name}\" not recognized")))
}

fn at_time_zone(columns: &Columns<'_>) -> Result<ArrayRef> {
    let values = times(columns, 1)?;
    let zones = columns.array(0)?;
    let to_instant = values.timezone().is_none();
    let mut known: Option<(ArrayRef, Zone)> = None;
    let mut result = Vec::with_capacity(values.len());
    for row in 0..values.len() {
        if values.is_null(row) || zones.is_null(row) {
            result.push(None);
            continue;
        }
        let this = zones.slice(row, 1);
        if known.as_ref().is_none_or(|(last, _)| last.as_ref() != this.as_ref()) {
            known = Some((this, zone_of(columns, row)?));
        }
        let Some((_, zone)) = &known else { continue };
        let value = values.value(row);
        result.push(Some(if to_instant {
            zone.instant(value).ok_or_else(out_of_range)?
        } else {
            to_local(zone, value)
        }));
    }
    let result = TimestampMicrosecondArray::from(result);
    Ok(if to_instant { zoned(result) } else { Arc::new(result) })
}
