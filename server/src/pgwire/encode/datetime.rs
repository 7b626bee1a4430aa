//! `date`, `time`, `timestamp` and `timestamptz` (in the zone of the array's type), as ISO text and in binary.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use auric_sql::types::text_output::zone_offset;
use auric_sql::{Error, Result, SqlState, Zone};
use bytes::{BufMut, BytesMut};

use super::number::primitive;
use super::{Encoder, Nothing};

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Days from 1970-01-01 to 2000-01-01, where Postgres' binary dates begin.
pub(in crate::pgwire) const POSTGRES_EPOCH_DAYS: i64 = 10_957;
pub(in crate::pgwire) const POSTGRES_EPOCH_MICROS: i64 = POSTGRES_EPOCH_DAYS * MICROS_PER_DAY;

fn out_of_range(what: &str) -> Error {
    Error::new(SqlState("22008"), format!("{what} out of range"))
}

pub(super) fn date(array: &ArrayRef, binary: bool) -> Encoder {
    if *array.data_type() == DataType::Date64 {
        return primitive::<Date64Type, _>(array, move |millis, out| {
            put_date(millis.div_euclid(86_400_000), binary, out)
        });
    }
    primitive::<Date32Type, _>(array, move |days, out| put_date(i64::from(days), binary, out))
}

fn put_date(days: i64, binary: bool, out: &mut BytesMut) -> Result<()> {
    if binary {
        out.put_i32(i32::try_from(days - POSTGRES_EPOCH_DAYS).map_err(|_| out_of_range("date"))?);
        return Ok(());
    }
    let (year, month, day) = civil(days);
    put_ymd(year, month, day, out);
    put_era(year, out);
    Ok(())
}

/// `None`: no such unit.
pub(super) fn time(array: &ArrayRef, binary: bool) -> Option<Encoder> {
    let put = move |micros: i64, out: &mut BytesMut| {
        if binary {
            out.put_i64(micros)
        } else {
            put_time(micros, out)
        }
        Ok(())
    };
    Some(match array.data_type() {
        DataType::Time32(TimeUnit::Second) => {
            primitive::<Time32SecondType, _>(array, move |v, out| put(i64::from(v) * MICROS_PER_SECOND, out))
        }
        DataType::Time32(TimeUnit::Millisecond) => {
            primitive::<Time32MillisecondType, _>(array, move |v, out| put(i64::from(v) * 1000, out))
        }
        DataType::Time64(TimeUnit::Microsecond) => primitive::<Time64MicrosecondType, _>(array, put),
        DataType::Time64(TimeUnit::Nanosecond) => {
            primitive::<Time64NanosecondType, _>(array, move |v, out| put(v.div_euclid(1000), out))
        }
        _ => return None,
    })
}

pub(super) fn timestamp(array: &ArrayRef, zone: Option<&str>, binary: bool) -> Encoder {
    let zone = zone.map(Zone::of_arrow);
    let put = move |micros: Option<i64>, out: &mut BytesMut| {
        put_timestamp(micros.ok_or_else(|| out_of_range("timestamp"))?, zone.as_ref(), binary, out)
    };
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            primitive::<TimestampSecondType, _>(array, move |v, out| {
                put(v.checked_mul(MICROS_PER_SECOND), out)
            })
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            primitive::<TimestampMillisecondType, _>(array, move |v, out| put(v.checked_mul(1000), out))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitive::<TimestampMicrosecondType, _>(array, move |v, out| put(Some(v), out))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            primitive::<TimestampNanosecondType, _>(array, move |v, out| put(Some(v.div_euclid(1000)), out))
        }
        _ => Box::new(Nothing),
    }
}

fn put_timestamp(micros: i64, zone: Option<&Zone>, binary: bool, out: &mut BytesMut) -> Result<()> {
    if binary {
        out.put_i64(micros.checked_sub(POSTGRES_EPOCH_MICROS).ok_or_else(|| out_of_range("timestamp"))?);
        return Ok(());
    }
    let offset = zone.map(|zone| zone.offset(micros));
    let micros = micros.saturating_add(offset.unwrap_or(0) * MICROS_PER_SECOND);
    let (year, month, day) = civil(micros.div_euclid(MICROS_PER_DAY));
    put_ymd(year, month, day, out);
    out.put_u8(b' ');
    put_time(micros.rem_euclid(MICROS_PER_DAY), out);
    match offset {
        None => {}
        Some(0) => out.extend_from_slice(b"+00"),
        Some(offset) => out.extend_from_slice(zone_offset(offset).as_bytes()),
    }
    put_era(year, out);
    Ok(())
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar (year 0 is
/// 1 BC).
fn civil(days: i64) -> (i64, u8, u8) {
    // Count from 0000-03-01, so that the leap day is the last of its year; an era has 400 years.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u8, day as u8)
}

fn two(n: u8) -> [u8; 2] {
    [b'0' + n / 10 % 10, b'0' + n % 10]
}

fn put_ymd(year: i64, month: u8, day: u8, out: &mut BytesMut) {
    let shown = if year > 0 { year } else { 1 - year };
    if shown > 9999 {
        out.extend_from_slice(itoa::Buffer::new().format(shown).as_bytes());
    } else {
        out.extend_from_slice(&two((shown / 100) as u8));
        out.extend_from_slice(&two((shown % 100) as u8));
    }
    let ([m, n], [d, e]) = (two(month), two(day));
    out.extend_from_slice(&[b'-', m, n, b'-', d, e]);
}

fn put_era(year: i64, out: &mut BytesMut) {
    if year <= 0 {
        out.extend_from_slice(b" BC");
    }
}

/// `hh:mm:ss` with the fraction that there is.
fn put_time(micros: i64, out: &mut BytesMut) {
    let seconds = micros / MICROS_PER_SECOND;
    let ([h, i], [m, n], [s, t]) =
        (two((seconds / 3600) as u8), two((seconds / 60 % 60) as u8), two((seconds % 60) as u8));
    out.extend_from_slice(&[h, i, b':', m, n, b':', s, t]);
    put_fraction((micros % MICROS_PER_SECOND) as u32, out);
}

/// A point and microseconds without trailing zeros, or nothing.
pub(super) fn put_fraction(micros: u32, out: &mut BytesMut) {
    if micros == 0 {
        return;
    }
    let mut digits = [b'.', 0, 0, 0, 0, 0, 0];
    let mut rest = micros;
    for digit in digits[1..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let zeros = digits.iter().rev().take_while(|d| **d == b'0').count();
    out.extend_from_slice(&digits[..7 - zeros]);
}
