//! `date_trunc` and `date_bin` (manual 9.9.2 and 9.9.3).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Date32Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::error::Result;
use datafusion::logical_expr::Volatility;

use super::calendar::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, Zone, date, days};
use super::columnar::{Columnar, Columns, INTERVAL, Parsed, TIMESTAMP, is_text, timestamptz, type_name};
use super::function::error;
use super::interval::{Interval, TIME, is_interval};

pub const FUNCTIONS: &[Columnar] = &[
    Columnar {
        name: "date_trunc",
        // Of the session's time zone too, which no plan outlives; only of immutable functions preimages count.
        volatility: Volatility::Immutable,
        arguments: trunc_arguments,
        returns: |types, _| {
            Ok(match types.get(1) {
                Some(DataType::Interval(_) | DataType::Time64(_)) => INTERVAL,
                Some(DataType::Timestamp(_, None)) => TIMESTAMP,
                _ => timestamptz(),
            })
        },
        eval: date_trunc,
    },
    Columnar {
        name: "date_bin",
        volatility: Volatility::Stable,
        arguments: bin_arguments,
        returns: |types, _| Ok(types.get(1).cloned().unwrap_or(TIMESTAMP)),
        eval: date_bin,
    },
];

/// Units that can be cut to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    Microsecond,
    Millisecond,
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
}

/// The unit of a name. `None`: there is no such unit to cut to.
pub fn unit(name: &str) -> Option<Unit> {
    Some(match name.to_ascii_lowercase().as_str() {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecon" | "microsecond" | "microseconds" => {
            Unit::Microsecond
        }
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecon" | "millisecond" | "milliseconds" => {
            Unit::Millisecond
        }
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "qtr" | "quarter" => Unit::Quarter,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennium" | "millennia" => Unit::Millennium,
        _ => return None,
    })
}

impl Unit {
    /// Length in microseconds; `None`: it has no fixed one.
    fn micros(self) -> Option<i64> {
        Some(match self {
            Self::Microsecond => 1,
            Self::Millisecond => 1000,
            Self::Second => MICROS_PER_SECOND,
            Self::Minute => 60 * MICROS_PER_SECOND,
            Self::Hour => MICROS_PER_HOUR,
            _ => return None,
        })
    }

    /// First microsecond of the unit that a local time is in.
    pub fn floor(self, local: i64) -> i64 {
        if let Some(length) = self.micros() {
            return local - local.rem_euclid(length);
        }
        let day = local.div_euclid(MICROS_PER_DAY);
        let (year, month, _) = date(day);
        // The first century begins with the year 1.
        let first = |length: i64| (year - 1).div_euclid(length) * length + 1;
        let day = match self {
            Self::Week => day - (day + 3).rem_euclid(7),
            Self::Month => days(year, month, 1),
            Self::Quarter => days(year, (month - 1) / 3 * 3 + 1, 1),
            Self::Year => days(year, 1, 1),
            Self::Decade => days(year.div_euclid(10) * 10, 1, 1),
            Self::Century => days(first(100), 1, 1),
            Self::Millennium => days(first(1000), 1, 1),
            _ => day,
        };
        day.saturating_mul(MICROS_PER_DAY)
    }

    /// First microsecond of the next unit, from the first one of a unit.
    pub fn next(self, local: i64) -> i64 {
        if let Some(length) = self.micros() {
            return local.saturating_add(length);
        }
        let day = local.div_euclid(MICROS_PER_DAY);
        let (year, month, of_month) = date(day);
        let day = match self {
            Self::Week => day + 7,
            Self::Month => days(year, month + 1, of_month),
            Self::Quarter => days(year, month + 3, of_month),
            Self::Year => days(year + 1, month, of_month),
            Self::Decade => days(year + 10, month, of_month),
            Self::Century => days(year + 100, month, of_month),
            Self::Millennium => days(year + 1000, month, of_month),
            _ => day + 1,
        };
        day.saturating_mul(MICROS_PER_DAY)
    }

    /// The same of an instant. Parts of a day are cut at the offset that the instant has.
    pub fn floor_instant(self, micros: i64, zone: &Zone) -> Option<i64> {
        let offset = zone.offset(micros) * MICROS_PER_SECOND;
        let local = self.floor(micros.checked_add(offset)?);
        if self < Self::Day { local.checked_sub(offset) } else { zone.instant(local) }
    }

    /// `None`: the unit is none of intervals.
    fn floor_interval(self, value: Interval) -> Option<Interval> {
        let months = |months: i64| Interval { months: value.months / months * months, days: 0, micros: 0 };
        Some(match self {
            Self::Week => return None,
            Self::Day => Interval { micros: 0, ..value },
            Self::Month => months(1),
            Self::Quarter => months(3),
            Self::Year => months(12),
            Self::Decade => months(120),
            Self::Century => months(1_200),
            Self::Millennium => months(12_000),
            part => {
                let length = part.micros()?;
                Interval { micros: value.micros / length * length, ..value }
            }
        })
    }
}

fn trunc_arguments(types: &[DataType]) -> Option<Vec<DataType>> {
    let (unit, value, zone) = match types {
        [unit, value] => (unit, value, None),
        [unit, value, zone] if is_text(zone) => (unit, value, Some(DataType::Utf8)),
        _ => return None,
    };
    let value = match value {
        DataType::Timestamp(_, Some(_)) => timestamptz(),
        DataType::Timestamp(_, None) if zone.is_none() => TIMESTAMP,
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) if zone.is_none() => TIME,
        other if is_interval(other) && zone.is_none() => INTERVAL,
        DataType::Timestamp(_, None) => TIMESTAMP,
        other if is_text(other) => timestamptz(),
        _ => return None,
    };
    is_text(unit).then(|| [vec![DataType::Utf8, value], zone.into_iter().collect()].concat())
}

fn named_zone(name: &str) -> Result<Zone> {
    Zone::named(name).ok_or_else(|| error("22023", format!("time zone \"{name}\" not recognized")))
}

/// The unit of a name, or the error that there is none for the type.
fn known_unit(name: &str, of: &DataType) -> Result<Unit> {
    unit(name).ok_or_else(|| {
        let message = format!("unit \"{}\" not recognized for type {}", name.to_lowercase(), type_name(of));
        error("22023", message)
    })
}

fn date_trunc(columns: &Columns<'_>) -> Result<ArrayRef> {
    let (names, given) = (columns.text(0)?, columns.array(1)?);
    let null = |i: usize| columns.arrays.iter().any(|array| array.is_null(i));
    let mut parsed = Parsed::new(|name| Ok(unit(name)))?;
    let mut unit_of = |i: usize| -> Result<Unit> {
        let name = names.value(i);
        match parsed.of(name)? {
            Some(unit) => Ok(*unit),
            None => known_unit(name, columns.result),
        }
    };
    let out_of_range = || error("22008", "timestamp out of range");
    if *columns.result == INTERVAL {
        let intervals = given.as_primitive_opt::<IntervalMonthDayNanoType>();
        let times = given.as_primitive_opt::<Time64MicrosecondType>();
        let value = |i: usize| match (intervals, times) {
            (Some(values), _) => values.value(i).into(),
            (None, Some(values)) => Interval { micros: values.value(i), ..Interval::ZERO },
            (None, None) => Interval::ZERO,
        };
        let cut = |i: usize| {
            if null(i) {
                return Ok(None);
            }
            let floor = unit_of(i)?.floor_interval(value(i)).ok_or_else(|| {
                error("0A000", format!("unit \"{}\" not supported for type interval", names.value(i)))
            })?;
            floor.to_arrow().map(Some)
        };
        let cut = (0..columns.rows).map(cut).collect::<Result<Vec<_>>>()?;
        return Ok(Arc::new(IntervalMonthDayNanoArray::from(cut)));
    }
    let session = Zone::of(columns.options);
    let mut zone = Parsed::new(|name| if name.is_empty() { Ok(None) } else { named_zone(name).map(Some) })?;
    let with_zone = *columns.result != TIMESTAMP;
    let cut = |i: usize| {
        if null(i) {
            return Ok(None);
        }
        let unit = unit_of(i)?;
        let name = if columns.arrays.len() > 2 { columns.text(2)?.value(i) } else { "" };
        let zone = zone.of(name)?.as_ref().unwrap_or(&session);
        let micros = match given.data_type() {
            DataType::Date32 => {
                let midnight = i64::from(given.as_primitive::<Date32Type>().value(i)) * MICROS_PER_DAY;
                session.instant(midnight).ok_or_else(out_of_range)?
            }
            DataType::Timestamp(TimeUnit::Microsecond, None) if with_zone => {
                let local = given.as_primitive::<TimestampMicrosecondType>().value(i);
                session.instant(local).ok_or_else(out_of_range)?
            }
            _ => given.as_primitive::<TimestampMicrosecondType>().value(i),
        };
        if with_zone {
            unit.floor_instant(micros, zone).ok_or_else(out_of_range).map(Some)
        } else {
            Ok(Some(unit.floor(micros)))
        }
    };
    let cut = (0..columns.rows).map(cut).collect::<Result<Vec<_>>>()?;
    let cut = TimestampMicrosecondArray::from(cut);
    Ok(if with_zone { Arc::new(cut.with_timezone("+00:00")) } else { Arc::new(cut) })
}

fn bin_arguments(types: &[DataType]) -> Option<Vec<DataType>> {
    let [stride, value, origin] = types else { return None };
    let known = |t: &DataType| matches!(t, DataType::Timestamp(..) | DataType::Date32) || is_text(t);
    if !(is_interval(stride) || is_text(stride)) || !known(value) || !known(origin) {
        return None;
    }
    let local = |t: &DataType| matches!(t, DataType::Timestamp(_, None));
    let zoned = |t: &DataType| matches!(t, DataType::Timestamp(_, Some(_)));
    let both = if (local(value) || local(origin)) && !zoned(value) && !zoned(origin) {
        TIMESTAMP
    } else {
        timestamptz()
    };
    Some(vec![INTERVAL, both.clone(), both])
}

fn date_bin(columns: &Columns<'_>) -> Result<ArrayRef> {
    let strides = columns.array(0)?.as_primitive::<IntervalMonthDayNanoType>();
    let values = columns.array(1)?.as_primitive::<TimestampMicrosecondType>();
    let origins = columns.array(2)?.as_primitive::<TimestampMicrosecondType>();
    let bin = |i: usize| {
        if strides.is_null(i) || values.is_null(i) || origins.is_null(i) {
            return Ok(None);
        }
        let stride = Interval::from(strides.value(i));
        if stride.months != 0 {
            let message = "timestamps cannot be binned into intervals containing months or years";
            return Err(error("0A000", message));
        }
        let length = stride.days.saturating_mul(MICROS_PER_DAY).saturating_add(stride.micros);
        if length <= 0 {
            return Err(error("22008", "stride must be greater than zero"));
        }
        let (value, origin) = (values.value(i), origins.value(i));
        let since = value.checked_sub(origin).ok_or_else(|| error("22008", "interval out of range"))?;
        Ok(Some(value - since.rem_euclid(length)))
    };
    let bins = (0..columns.rows).map(bin).collect::<Result<Vec<_>>>()?;
    let bins = TimestampMicrosecondArray::from(bins);
    let zoned = matches!(columns.result, DataType::Timestamp(_, Some(_)));
    Ok(if zoned { Arc::new(bins.with_timezone("+00:00")) } else { Arc::new(bins) })
}

#[cfg(test)]
mod tests {
    use super::{MICROS_PER_DAY, Unit, Zone, days};

    #[test]
    fn floors() {
        let at = |year, month, day| days(year, month, day) * MICROS_PER_DAY;
        let noon = at(2024, 5, 16) + MICROS_PER_DAY / 2;
        for (unit, expected, next) in [
            (Unit::Day, at(2024, 5, 16), at(2024, 5, 17)),
            (Unit::Week, at(2024, 5, 13), at(2024, 5, 20)),
            (Unit::Month, at(2024, 5, 1), at(2024, 6, 1)),
            (Unit::Quarter, at(2024, 4, 1), at(2024, 7, 1)),
            (Unit::Decade, at(2020, 1, 1), at(2030, 1, 1)),
            (Unit::Century, at(2001, 1, 1), at(2101, 1, 1)),
            (Unit::Millennium, at(2001, 1, 1), at(3001, 1, 1)),
        ] {
            assert_eq!(unit.floor(noon), expected, "{unit:?}");
            assert_eq!(unit.next(expected), next, "{unit:?}");
        }
        // 00:30 on 1 June in Berlin is still May in UTC.
        let berlin = Zone::named("Europe/Berlin").unwrap();
        let late = at(2024, 5, 31) + 22 * super::MICROS_PER_HOUR + super::MICROS_PER_HOUR / 2;
        let expected = at(2024, 5, 31) + 22 * super::MICROS_PER_HOUR;
        assert_eq!(Unit::Month.floor_instant(late, &berlin), Some(expected));
    }
}
