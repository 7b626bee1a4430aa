//! `interval`: text in style `postgres`, and binary.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    IntervalDayTimeType, IntervalMonthDayNanoType, IntervalYearMonthType, TimeUnit,
};
use auric_sql::{Error, Result, SqlState};
use bytes::BufMut;

use super::datetime::put_fraction;
use super::number::primitive;
use super::{Encoder, Nothing};

/// An interval as Postgres keeps it.
#[derive(Debug, Clone, Copy)]
pub(in crate::pgwire) struct Interval {
    pub months: i32,
    pub days: i32,
    pub micros: i64,
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
