//! Intervals (manual 8.5.4 and 9.9): their arithmetic, `age`, `justify_…`, `make_interval`.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, IntervalMonthDayNanoArray, Time64MicrosecondArray,
};
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Volatility;

use super::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, Zone, date, days_of_month};
use super::columnar::{Columnar, Columns, INTERVAL, TIMESTAMP, is_text, timestamptz};
use super::function::error;
use crate::session::carried::Carried;
use crate::session::info::SessionInfo;

/// Time of day, as the functions here see it.
pub const TIME: DataType = DataType::Time64(TimeUnit::Microsecond);

/// An interval in Postgres' units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub months: i64,
    pub days: i64,
    pub micros: i64,
}

impl From<IntervalMonthDayNano> for Interval {
    fn from(value: IntervalMonthDayNano) -> Self {
        Self { months: value.months.into(), days: value.days.into(), micros: value.nanoseconds / 1000 }
    }
}

/// `1 year 2 mons -3 days +04:05:06.7` (IntervalStyle postgres).
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut empty, mut negative) = (true, false);
        for (value, unit) in [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")] {
            if value != 0 {
                let space = if empty { "" } else { " " };
                let sign = if negative && value > 0 { "+" } else { "" };
                let plural = if value == 1 { "" } else { "s" };
                write!(f, "{space}{sign}{value} {unit}{plural}")?;
                (empty, negative) = (false, value < 0);
            }
        }
        if self.micros == 0 && !empty {
            return Ok(());
        }
        let space = if empty { "" } else { " " };
        let sign = if self.micros < 0 {
            "-"
        } else if negative {
            "+"
        } else {
            ""
        };
        let micros = self.micros.unsigned_abs();
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        write!(f, "{space}{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if fraction > 0 {
            write!(f, ".{}", format!("{fraction:06}").trim_end_matches('0'))?;
        }
        Ok(())
    }
}

fn out_of_range() -> DataFusionError {
    error("22008", "interval out of range")
}

impl Interval {
    pub const ZERO: Self = Self { months: 0, days: 0, micros: 0 };

    /// Microseconds by which intervals are compared: a month counts 30 days, a day 24 hours.
    pub fn span(&self) -> i128 {
        i128::from(self.months * 30 + self.days) * i128::from(MICROS_PER_DAY) + i128::from(self.micros)
    }

    /// The sum, part by part.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            months: self.months.saturating_add(other.months),
            days: self.days.saturating_add(other.days),
            micros: self.micros.saturating_add(other.micros),
        }
    }

    #[must_use]
    pub fn negated(self) -> Self {
        Self { months: -self.months, days: -self.days, micros: -self.micros }
    }

    /// Fails with 22008 for what is out of range.
    pub fn times(self, by: f64) -> Result<Self> {
        self.scaled(|x| x * by)
    }

    /// Fails with 22012 for 0, 22008 for what is out of range.
    pub fn divided_by(self, by: f64) -> Result<Self> {
        if by == 0.0 {
            return Err(error("22012", "division by zero"));
        }
        self.scaled(|x| x / by)
    }

    /// Fails with 22008 for what is out of range.
    pub fn to_arrow(self) -> Result<IntervalMonthDayNano> {
        Ok(IntervalMonthDayNano::new(
            i32::try_from(self.months).map_err(|_| out_of_range())?,
            i32::try_from(self.days).map_err(|_| out_of_range())?,
            self.micros.checked_mul(1000).ok_or_else(out_of_range)?,
        ))
    }

    /// The parts of a month become days, those of a day time.
    fn scaled(self, times: impl Fn(f64) -> f64) -> Result<Self> {
        let to_micro = |x: f64| (x * 1e6).round_ties_even() / 1e6;
        let fits = |x: f64, limit: f64| if x.abs() < limit { Ok(x) } else { Err(out_of_range()) };
        let months = fits(times(self.months as f64), 2_147_483_648.0)?;
        let days = fits(times(self.days as f64), 2_147_483_648.0)?;
        let of_months = to_micro((months - months.trunc()) * 30.0);
        let mut seconds = to_micro((days - days.trunc() + of_months - of_months.trunc()) * 86_400.0);
        let mut whole_days = days.trunc() + of_months.trunc();
        if seconds.abs() >= 86_400.0 {
            whole_days += (seconds / 86_400.0).trunc();
            seconds -= (seconds / 86_400.0).trunc() * 86_400.0;
        }
        let micros = (times(self.micros as f64) + seconds * 1e6).round_ties_even();
        fits(micros, 9.2e15 * 1000.0)?;
        Ok(Self { months: months.trunc() as i64, days: whole_days as i64, micros: micros as i64 })
    }

    fn justified_hours(mut self) -> Self {
        self.days += self.micros / MICROS_PER_DAY;
        self.micros %= MICROS_PER_DAY;
        self.same_sign_of_time()
    }

    fn same_sign_of_time(mut self) -> Self {
        if self.days > 0 && self.micros < 0 {
            self.micros += MICROS_PER_DAY;
            self.days -= 1;
        } else if self.days < 0 && self.micros > 0 {
            self.micros -= MICROS_PER_DAY;
            self.days += 1;
        }
        self
    }

    fn justified_days(mut self) -> Self {
        self.months += self.days / 30;
        self.days %= 30;
        if self.months > 0 && self.days < 0 {
            self.days += 30;
            self.months -= 1;
        } else if self.months < 0 && self.days > 0 {
            self.days -= 30;
            self.months += 1;
        }
        self
    }

    fn justified(mut self) -> Self {
        self.days += self.micros / MICROS_PER_DAY;
        self.micros %= MICROS_PER_DAY;
        self.months += self.days / 30;
        self.days %= 30;
        if self.months > 0 && (self.days < 0 || (self.days == 0 && self.micros < 0)) {
            self.days += 30;
            self.months -= 1;
        } else if self.months < 0 && (self.days > 0 || (self.days == 0 && self.micros > 0)) {
            self.days -= 30;
            self.months += 1;
        }
        self.same_sign_of_time()
    }

    /// From the earlier of two local times to the later, in years, months, days and time; negative
    /// when `later` is the earlier one.
    pub fn age(later: i64, earlier: i64) -> Self {
        if later < earlier {
            let age = Self::between(later, earlier);
            return Self { months: -age.months, days: -age.days, micros: -age.micros };
        }
        Self::between(earlier, later)
    }

    /// A month that is not whole has as many days as the month of the earlier time.
    fn between(from: i64, to: i64) -> Self {
        let (from_year, from_month, from_day) = date(from.div_euclid(MICROS_PER_DAY));
        let (to_year, to_month, to_day) = date(to.div_euclid(MICROS_PER_DAY));
        let mut micros = to.rem_euclid(MICROS_PER_DAY) - from.rem_euclid(MICROS_PER_DAY);
        let mut days = to_day - from_day;
        let mut months = (to_year - from_year) * 12 + to_month - from_month;
        if micros < 0 {
            micros += MICROS_PER_DAY;
            days -= 1;
        }
        while days < 0 {
            days += days_of_month(from_year, from_month);
            months -= 1;
        }
        Self { months, days, micros }
    }
}

const fn one(name: &'static str, eval: fn(&Columns<'_>) -> Result<ArrayRef>) -> Columnar {
    Columnar {
        name,
        volatility: Volatility::Immutable,
        arguments: |types| matches!(types, [t] if is_interval(t) || is_text(t)).then(|| vec![INTERVAL]),
        returns: |_, _| Ok(INTERVAL),
        eval,
    }
}

const fn by_number(name: &'static str, eval: fn(&Columns<'_>) -> Result<ArrayRef>) -> Columnar {
    Columnar {
        name,
        volatility: Volatility::Immutable,
        arguments: |_| Some(vec![INTERVAL, DataType::Float64]),
        returns: |_, _| Ok(INTERVAL),
        eval,
    }
}

const fn of_time(name: &'static str, eval: fn(&Columns<'_>) -> Result<ArrayRef>) -> Columnar {
    Columnar {
        name,
        volatility: Volatility::Immutable,
        arguments: |_| Some(vec![TIME, INTERVAL]),
        returns: |_, _| Ok(TIME),
        eval,
    }
}

pub const FUNCTIONS: &[Columnar] = &[
    one("justify_hours", |columns| each(columns, |value| Ok(value.justified_hours()))),
    one("justify_days", |columns| each(columns, |value| Ok(value.justified_days()))),
    one("justify_interval", |columns| each(columns, |value| Ok(value.justified()))),
    one("interval_um", |columns| each(columns, |value| Ok(value.negated()))),
    by_number("interval_mul", |columns| scale(columns, Interval::times)),
    by_number("interval_div", |columns| scale(columns, Interval::divided_by)),
    of_time("time_pl_interval", |columns| move_time(columns, 1)),
    of_time("time_mi_interval", |columns| move_time(columns, -1)),
    Columnar {
        name: "age",
        volatility: Volatility::Stable,
        arguments: age_arguments,
        returns: |_, _| Ok(INTERVAL),
        eval: age,
    },
    Columnar {
        name: "interval_span",
        volatility: Volatility::Immutable,
        arguments: |types| matches!(types, [t] if is_interval(t)).then(|| vec![INTERVAL]),
        returns: |_, _| Ok(DataType::Decimal128(38, 0)),
        eval: |columns| {
            let spans =
                intervals(columns, 0)?.iter().map(|value| value.map(|value| Interval::from(value).span()));
            Ok(Arc::new(spans.collect::<Decimal128Array>().with_precision_and_scale(38, 0)?))
        },
    },
    Columnar {
        name: "make_interval",
        volatility: Volatility::Immutable,
        arguments: |types| {
            let mut wanted = vec![DataType::Int32; types.len().min(6)];
            if types.len() == 7 {
                wanted.push(DataType::Float64);
            }
            (wanted.len() == types.len()).then_some(wanted)
        },
        returns: |_, _| Ok(INTERVAL),
        eval: make_interval,
    },
];

pub fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

fn intervals<'a>(columns: &'a Columns<'_>, i: usize) -> Result<&'a IntervalMonthDayNanoArray> {
    columns
        .array(i)?
        .as_primitive_opt::<IntervalMonthDayNanoType>()
        .ok_or_else(|| DataFusionError::Internal("an interval expected".into()))
}

fn collect(values: impl Iterator<Item = Option<Result<Interval>>>) -> Result<ArrayRef> {
    let values = values
        .map(|value| value.map(|value| value.and_then(Interval::to_arrow)).transpose())
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(IntervalMonthDayNanoArray::from(values)))
}

fn each(columns: &Columns<'_>, of: fn(Interval) -> Result<Interval>) -> Result<ArrayRef> {
    collect(intervals(columns, 0)?.iter().map(|value| value.map(|value| of(value.into()))))
}

fn scale(columns: &Columns<'_>, of: fn(Interval, f64) -> Result<Interval>) -> Result<ArrayRef> {
    let factors = columns.array(1)?.as_primitive::<Float64Type>();
    let pairs = intervals(columns, 0)?.iter().zip(factors);
    collect(pairs.map(|(value, by)| Some(of(value?.into(), by?))))
}

/// Time of day wraps around at midnight; days and months of the interval do not count.
fn move_time(columns: &Columns<'_>, sign: i64) -> Result<ArrayRef> {
    let times = columns.array(0)?.as_primitive::<Time64MicrosecondType>();
    let pairs = times.iter().zip(intervals(columns, 1)?);
    let moved = pairs.map(|(time, by)| {
        let by = Interval::from(by?).micros % MICROS_PER_DAY;
        Some((time? + sign * by).rem_euclid(MICROS_PER_DAY))
    });
    Ok(Arc::new(moved.collect::<Time64MicrosecondArray>()))
}

fn age_arguments(types: &[DataType]) -> Option<Vec<DataType>> {
    let zoned = types.iter().any(|t| matches!(t, DataType::Timestamp(_, Some(_))));
    let known = types.iter().all(|t| matches!(t, DataType::Timestamp(..) | DataType::Date32) || is_text(t));
    // A date alone is no timestamp without time zone, to Postgres.
    let dates = types.iter().all(|t| matches!(t, DataType::Date32));
    let wanted = if zoned || dates { timestamptz() } else { TIMESTAMP };
    (known && matches!(types.len(), 1 | 2)).then(|| vec![wanted; types.len()])
}

fn age(columns: &Columns<'_>) -> Result<ArrayRef> {
    let zone = Zone::of(columns.options);
    let zoned = matches!(columns.array(0)?.data_type(), DataType::Timestamp(_, Some(_)));
    let local = |micros: i64| {
        if zoned { micros.saturating_add(zone.offset(micros) * MICROS_PER_SECOND) } else { micros }
    };
    let first = columns.array(0)?.as_primitive::<TimestampMicrosecondType>();
    if columns.arrays.len() == 1 {
        let info = SessionInfo::of(columns.options)
            .ok_or_else(|| DataFusionError::Internal("age was called outside of a session".into()))?;
        let now = info.transaction_start.timestamp_micros();
        let now = now + zone.offset(now) * MICROS_PER_SECOND;
        let today = now - now.rem_euclid(MICROS_PER_DAY);
        return collect(first.iter().map(|value| Some(Ok(Interval::age(today, local(value?))))));
    }
    let second = columns.array(1)?.as_primitive::<TimestampMicrosecondType>();
    collect(first.iter().zip(second).map(|(a, b)| Some(Ok(Interval::age(local(a?), local(b?))))))
}

fn make_interval(columns: &Columns<'_>) -> Result<ArrayRef> {
    let numbers: Vec<_> =
        columns.arrays.iter().take(6).map(|array| array.as_primitive::<Int32Type>()).collect();
    let seconds = columns.arrays.get(6).map(|array| array.as_primitive::<Float64Type>());
    let row = |i: usize| {
        if columns.arrays.iter().any(|array| array.is_null(i)) {
            return None;
        }
        let part = |k: usize| numbers.get(k).map_or(0, |array| i64::from(array.value(i)));
        let seconds = seconds.map_or(0.0, |array| array.value(i));
        let micros = (seconds * 1e6).round_ties_even();
        if !micros.is_finite() || micros.abs() >= 9e18 {
            return Some(Err(out_of_range()));
        }
        Some(Ok(Interval {
            months: part(0) * 12 + part(1),
            days: part(2) * 7 + part(3),
            micros: ((part(4) * 60 + part(5)) * 60 * MICROS_PER_SECOND).saturating_add(micros as i64),
        }))
    };
    collect((0..columns.rows).map(row))
}
