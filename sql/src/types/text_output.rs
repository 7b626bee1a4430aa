//! Values as text, as Postgres' output functions write them: times (`DateStyle` ISO), intervals
//! (`IntervalStyle` postgres), floating point numbers (`extra_float_digits` 1).

use std::fmt::Write;

use crate::functions::calendar::{MICROS_PER_DAY, MICROS_PER_SECOND, date};

/// A local time in microseconds since 1970; `offset`: of its zone, seconds east of Greenwich.
pub fn timestamp(local: i64, offset: Option<i64>) -> String {
    let (year, month, day) = date(local.div_euclid(MICROS_PER_DAY));
    let shown = if year > 0 { year } else { 1 - year };
    let mut text = format!("{shown:04}-{month:02}-{day:02} ");
    time_of_day(local.rem_euclid(MICROS_PER_DAY), &mut text);
    if let Some(offset) = offset {
        text.push_str(&zone_offset(offset));
    }
    if year <= 0 {
        text.push_str(" BC");
    }
    text
}

/// `+01`, `-03:30`, `+00:53:28`.
pub fn zone_offset(seconds: i64) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let size = seconds.unsigned_abs();
    let mut text = format!("{sign}{:02}", size / 3600);
    if size % 3600 != 0 {
        let _ = write!(text, ":{:02}", size / 60 % 60);
    }
    if size % 60 != 0 {
        let _ = write!(text, ":{:02}", size % 60);
    }
    text
}

fn time_of_day(micros: i64, text: &mut String) {
    let seconds = micros / MICROS_PER_SECOND;
    let _ = write!(text, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    fraction((micros % MICROS_PER_SECOND).unsigned_abs(), text);
}

/// A point and microseconds without trailing zeros, or nothing.
fn fraction(micros: u64, text: &mut String) {
    if micros > 0 {
        let digits = format!("{micros:06}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
}

/// `1 year 2 mons -3 days +04:05:06.7`.
pub fn interval(months: i64, days: i64, micros: i64) -> String {
    let mut text = String::new();
    let mut after_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        if after_negative && value > 0 {
            text.push('+');
        }
        let plural = if value == 1 { "" } else { "s" };
        let _ = write!(text, "{value} {unit}{plural}");
        after_negative = value < 0;
    }
    if micros == 0 && !text.is_empty() {
        return text;
    }
    if !text.is_empty() {
        text.push(' ');
    }
    match micros {
        ..0 => text.push('-'),
        _ if after_negative => text.push('+'),
        _ => {}
    }
    let size = micros.unsigned_abs();
    let seconds = size / 1_000_000;
    let _ = write!(text, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    fraction(size % 1_000_000, &mut text);
    text
}

/// [`float`] of 32 bits, whose shortest digits are fewer.
pub fn float4(value: f32, shortest: &str) -> String {
    shown(value.into(), shortest, 6)
}

/// The shortest digits that are read as the same number; `shortest`: these as `{:e}` writes them.
pub fn float(value: f64, shortest: &str) -> String {
    shown(value, shortest, 15)
}

/// From `digits` digits before the point on, and below 0.0001, with an exponent.
fn shown(value: f64, shortest: &str, digits: i32) -> String {
    let most = digits;
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    // `shortest` is `d.ddde±x`.
    let (sign, rest) = shortest.strip_prefix('-').map_or(("", shortest), |rest| ("-", rest));
    let (mantissa, exponent) = rest.split_once('e').unwrap_or((rest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    if !(-4..most).contains(&exponent) {
        let (first, others) = digits.split_at(1);
        let point = if others.is_empty() { "" } else { "." };
        let sign_of = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{others}e{sign_of}{:02}", exponent.unsigned_abs());
    }
    let whole = exponent + 1;
    match usize::try_from(whole) {
        Ok(0) | Err(_) => format!("{sign}0.{}{digits}", "0".repeat(whole.unsigned_abs() as usize)),
        Ok(whole) if whole >= digits.len() => format!("{sign}{digits}{}", "0".repeat(whole - digits.len())),
        Ok(whole) => {
            let (before, after) = digits.split_at(whole);
            format!("{sign}{before}.{after}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_times() {
        assert_eq!(timestamp(0, Some(0)), "1970-01-01 00:00:00+00");
        assert_eq!(timestamp(1_500_000, None), "1970-01-01 00:00:01.5");
        assert_eq!([zone_offset(-12_600), zone_offset(3_208)], ["-03:30", "+00:53:28"]);
    }

    #[test]
    fn intervals() {
        assert_eq!(interval(14, -3, 14_706_700_000), "1 year 2 mons -3 days +04:05:06.7");
        assert_eq!(interval(0, 0, 0), "00:00:00");
        assert_eq!(interval(0, 2, 7_200_000_000), "2 days 02:00:00");
        assert_eq!(interval(0, 0, -1), "-00:00:00.000001");
    }

    #[test]
    fn floats() {
        let shown = |value: f64| float(value, &format!("{value:e}"));
        assert_eq!([shown(1.0), shown(0.1), shown(1e15), shown(1e-5)], ["1", "0.1", "1e+15", "1e-05"]);
        assert_eq!([shown(123456.75), shown(-0.00012), shown(0.0)], ["123456.75", "-0.00012", "0"]);
        assert_eq!([shown(1.5e300), shown(f64::NAN)], ["1.5e+300", "NaN"]);
        assert_eq!([shown(100_000_000_000_000.0), shown(-0.0)], ["100000000000000", "-0"]);
    }
}
