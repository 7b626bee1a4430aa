//! `interval`: text in the four styles (manual 8.5.5), and binary.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, TimeUnit,
};
use auric_sql::{Error, Result, SqlState};
use bytes::{Buf, BufMut};

use super::datetime::put_fraction;
use super::number::primitive;
use super::{Encoder, Nothing, ValueEncoder};

/// An interval as Postgres keeps it.
#[derive(Debug, Clone, Copy)]
pub(in crate::pgwire) struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
}

/// The setting `IntervalStyle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pgwire) enum IntervalStyle {
    Postgres,
    PostgresVerbose,
    SqlStandard,
    Iso8601,
}

impl IntervalStyle {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "postgres_verbose" => Self::PostgresVerbose,
            "sql_standard" => Self::SqlStandard,
            "iso_8601" => Self::Iso8601,
            _ => Self::Postgres,
        }
    }
}

/// Text of a column of intervals.
pub(super) fn text(array: &ArrayRef, style: IntervalStyle) -> Encoder {
    let plain = match array.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => year_month(array, true),
        DataType::Interval(IntervalUnit::DayTime) => day_time(array, true),
        DataType::Interval(IntervalUnit::MonthDayNano) => month_day_nano(array, true),
        DataType::Duration(_) => duration(array, true),
        _ => Box::new(Nothing),
    };
    Box::new(Styled { binary: plain, style })
}

/// Writes what the binary form says.
struct Styled {
    binary: Encoder,
    style: IntervalStyle,
}

impl ValueEncoder for Styled {
    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let mut value = Vec::with_capacity(16);
        self.binary.put(row, &mut value)?;
        let mut value = value.as_slice();
        if value.remaining() < 16 {
            return Ok(());
        }
        let (micros, days, months) = (value.get_i64(), value.get_i32(), value.get_i32());
        let interval = Interval { months, days, micros };
        match self.style {
            IntervalStyle::Postgres => put_text(interval, out),
            IntervalStyle::PostgresVerbose => put_verbose(interval, out),
            IntervalStyle::SqlStandard => put_standard(interval, out),
            IntervalStyle::Iso8601 => put_iso(interval, out),
        }
        Ok(())
    }
}

pub(super) fn year_month(array: &ArrayRef, binary: bool) -> Encoder {
    primitive::<IntervalYearMonthType, _>(array, move |months, out| {
        put(Interval { months, days: 0, micros: 0 }, binary, out);
        Ok(())
    })
}

pub(super) fn day_time(array: &ArrayRef, binary: bool) -> Encoder {
    primitive::<IntervalDayTimeType, _>(array, move |value, out| {
        let micros = i64::from(value.milliseconds) * 1000;
        put(Interval { months: 0, days: value.days, micros }, binary, out);
        Ok(())
    })
}

pub(super) fn month_day_nano(array: &ArrayRef, binary: bool) -> Encoder {
    primitive::<IntervalMonthDayNanoType, _>(array, move |value, out| {
        let micros = value.nanoseconds / 1000;
        put(Interval { months: value.months, days: value.days, micros }, binary, out);
        Ok(())
    })
}

pub(super) fn duration(array: &ArrayRef, binary: bool) -> Encoder {
    let put = move |micros: Option<i64>, out: &mut Vec<u8>| -> Result<()> {
        let micros = micros.ok_or_else(|| Error::new(SqlState("22008"), "interval out of range"))?;
        put(Interval { months: 0, days: 0, micros }, binary, out);
        Ok(())
    };
    match array.data_type() {
        DataType::Duration(TimeUnit::Second) => {
            primitive::<DurationSecondType, _>(array, move |v, out| put(v.checked_mul(1_000_000), out))
        }
        DataType::Duration(TimeUnit::Millisecond) => {
            primitive::<DurationMillisecondType, _>(array, move |v, out| put(v.checked_mul(1000), out))
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            primitive::<DurationMicrosecondType, _>(array, move |v, out| put(Some(v), out))
        }
        DataType::Duration(TimeUnit::Nanosecond) => {
            primitive::<DurationNanosecondType, _>(array, move |v, out| put(Some(v / 1000), out))
        }
        _ => Box::new(Nothing),
    }
}

fn put(interval: Interval, binary: bool, out: &mut Vec<u8>) {
    if binary {
        out.put_i64(interval.micros);
        out.put_i32(interval.days);
        out.put_i32(interval.months);
    } else {
        put_text(interval, out);
    }
}

/// `1 year 2 mons -3 days +04:05:06.7` (`EncodeInterval` in Postgres' sources).
pub(in crate::pgwire) fn put_text(interval: Interval, out: &mut Vec<u8>) {
    let start = out.len();
    let mut after_negative = false;
    let parts = [(interval.months / 12, "year"), (interval.months % 12, "mon"), (interval.days, "day")];
    for (value, unit) in parts {
        if value == 0 {
            continue;
        }
        if out.len() > start {
            out.put_u8(b' ');
        }
        if after_negative && value > 0 {
            out.put_u8(b'+');
        }
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        out.put_u8(b' ');
        out.extend_from_slice(unit.as_bytes());
        if value != 1 {
            out.put_u8(b's');
        }
        after_negative = value < 0;
    }
    if interval.micros == 0 && out.len() > start {
        return;
    }
    if out.len() > start {
        out.put_u8(b' ');
    }
    match interval.micros {
        ..0 => out.put_u8(b'-'),
        _ if after_negative => out.put_u8(b'+'),
        _ => {}
    }
    let micros = interval.micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    for (value, separator) in [(seconds / 3600, true), (seconds / 60 % 60, true), (seconds % 60, false)] {
        if value < 10 {
            out.put_u8(b'0');
        }
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        if separator {
            out.put_u8(b':');
        }
    }
    put_fraction((micros % 1_000_000) as u32, out);
}

/// Years, months, days, hours, minutes, and the rest in microseconds: all of the sign of what they are of.
fn fields(Interval { months, days, micros }: Interval) -> ([i64; 5], i64) {
    let seconds = micros / 1_000_000;
    let whole =
        [i64::from(months / 12), i64::from(months % 12), i64::from(days), seconds / 3600, seconds / 60 % 60];
    (whole, micros % 60_000_000)
}

fn put_number(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn put_two_digits(value: i64, out: &mut Vec<u8>) {
    if value < 10 {
        out.put_u8(b'0');
    }
    put_number(value, out);
}

/// Seconds with their fraction, without sign.
fn put_seconds(micros: i64, out: &mut Vec<u8>) {
    put_number((micros / 1_000_000).abs(), out);
    put_fraction((micros % 1_000_000).unsigned_abs() as u32, out);
}

/// `P1Y2M-3DT4H5M6.7S`.
fn put_iso(interval: Interval, out: &mut Vec<u8>) {
    let (whole, micros) = fields(interval);
    if whole == [0; 5] && micros == 0 {
        out.extend_from_slice(b"PT0S");
        return;
    }
    out.put_u8(b'P');
    for (i, (value, unit)) in whole.into_iter().zip(*b"YMDHM").enumerate() {
        if i == 3 && interval.micros != 0 {
            out.put_u8(b'T');
        }
        if value != 0 {
            put_number(value, out);
            out.put_u8(unit);
        }
    }
    if micros != 0 {
        if micros < 0 {
            out.put_u8(b'-');
        }
        put_seconds(micros, out);
        out.put_u8(b'S');
    }
}

/// `@ 1 year 2 mons 3 days 4 hours 5 mins 6.7 secs ago`: the sign is that of the first field.
fn put_verbose(interval: Interval, out: &mut Vec<u8>) {
    let (whole, micros) = fields(interval);
    out.put_u8(b'@');
    let mut before = None;
    for (value, unit) in whole.into_iter().zip(["year", "mon", "day", "hour", "min"]) {
        if value == 0 {
            continue;
        }
        let value = if *before.get_or_insert(value < 0) { -value } else { value };
        out.put_u8(b' ');
        put_number(value, out);
        out.put_u8(b' ');
        out.extend_from_slice(unit.as_bytes());
        if value != 1 {
            out.put_u8(b's');
        }
    }
    if micros != 0 {
        out.put_u8(b' ');
        if *before.get_or_insert(micros < 0) != (micros < 0) {
            out.put_u8(b'-');
        }
        put_seconds(micros, out);
        out.extend_from_slice(if micros.abs() == 1_000_000 { b" sec" } else { b" secs" });
    }
    match before {
        None => out.extend_from_slice(b" 0"),
        Some(true) => out.extend_from_slice(b" ago"),
        Some(false) => {}
    }
}

/// `1-2` or `3 4:05:06.7`, the sign before it; `+1-2 -3 +4:05:06.7` for what SQL has no interval for.
fn put_standard(interval: Interval, out: &mut Vec<u8>) {
    let ([years, months, days, hours, minutes], micros) = fields(interval);
    let signs = [i64::from(interval.months), days, interval.micros];
    let (negative, positive) = (signs.iter().any(|v| *v < 0), signs.iter().any(|v| *v > 0));
    let mixed = (negative && positive) || (interval.months != 0 && (days != 0 || interval.micros != 0));
    let sign = |negative: bool| if negative { b'-' } else { b'+' };
    let year_month = |out: &mut Vec<u8>| {
        put_number(years.abs(), out);
        out.put_u8(b'-');
        put_number(months.abs(), out);
    };
    let time = |out: &mut Vec<u8>| {
        put_number(hours.abs(), out);
        out.put_u8(b':');
        put_two_digits(minutes.abs(), out);
        out.put_u8(b':');
        if micros.abs() < 10_000_000 {
            out.put_u8(b'0');
        }
        put_seconds(micros, out);
    };
    if !negative && !positive {
        out.put_u8(b'0');
    } else if mixed {
        out.put_u8(sign(interval.months < 0));
        year_month(out);
        out.extend_from_slice(&[b' ', sign(days < 0)]);
        put_number(days.abs(), out);
        out.extend_from_slice(&[b' ', sign(interval.micros < 0)]);
        time(out);
    } else {
        if negative {
            out.put_u8(b'-');
        }
        if interval.months != 0 {
            return year_month(out);
        }
        if days != 0 {
            put_number(days.abs(), out);
            out.put_u8(b' ');
        }
        time(out);
    }
}
