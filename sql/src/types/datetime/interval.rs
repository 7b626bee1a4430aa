//! Intervals as Postgres reads them (manual 8.5.4): `1 day 02:00`, `1-2`, `P1DT2H`, `@ 1 hour ago`.

use super::{Result, invalid};
use crate::error::{Error, SqlState};
use crate::functions::calendar::{MICROS_PER_DAY, MICROS_PER_HOUR};
use crate::functions::interval::Interval;
use crate::functions::truncation::{self, Unit};

/// Reads an interval. Fails with 22007 and 22015.
pub fn read(text: &str) -> Result<Interval> {
    let mut sum = Sum::default();
    let trimmed = text.trim();
    let found = match trimmed.strip_prefix(['P', 'p']) {
        Some(rest) => iso(rest, &mut sum),
        None => postgres(trimmed, &mut sum),
    };
    found.ok_or_else(|| invalid("interval", text))?;
    sum.interval().ok_or_else(|| {
        Error::new(SqlState("22015"), format!("interval field value out of range: \"{text}\""))
    })
}

/// A unit that intervals are made of: there are no quarters.
fn unit(name: &str) -> Option<Unit> {
    truncation::unit(name).filter(|unit| *unit != Unit::Quarter)
}

/// What is added up; wide enough not to overflow before the end.
#[derive(Debug, Default)]
struct Sum {
    months: f64,
    days: f64,
    micros: f64,
    empty: bool,
}

impl Sum {
    /// Fractions go into the next smaller unit: of a month into days of 30, of a day into time.
    fn add(&mut self, value: f64, unit: Unit) {
        match unit {
            Unit::Microsecond => self.micros += value,
            Unit::Millisecond => self.micros += value * 1e3,
            Unit::Second => self.micros += value * 1e6,
            Unit::Minute => self.micros += value * 60e6,
            Unit::Hour => self.micros += value * MICROS_PER_HOUR as f64,
            Unit::Day => self.add_days(value),
            Unit::Week => self.add_days(value * 7.0),
            Unit::Month => {
                self.months += value.trunc();
                self.add_days(value.fract() * 30.0);
            }
            Unit::Quarter => self.months += (value * 3.0).round(),
            Unit::Year => self.months += (value * 12.0).round(),
            Unit::Decade => self.months += (value * 120.0).round(),
            Unit::Century => self.months += (value * 1_200.0).round(),
            Unit::Millennium => self.months += (value * 12_000.0).round(),
        }
    }

    fn add_days(&mut self, days: f64) {
        self.days += days.trunc();
        self.micros += (days.fract() * MICROS_PER_DAY as f64).round();
    }

    fn negate(&mut self) {
        (self.months, self.days, self.micros) = (-self.months, -self.days, -self.micros);
    }

    fn interval(&self) -> Option<Interval> {
        let micros = self.micros.round();
        let fits = self.months.abs() < 2_147_483_648.0 && self.days.abs() < 2_147_483_648.0;
        // Nanoseconds in 64 bits.
        (fits && micros.abs() < 9.2e15).then_some(Interval {
            months: self.months as i64,
            days: self.days as i64,
            micros: micros as i64,
        })
    }
}

fn split(text: &str, fits: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c: char| !fits(c)).unwrap_or(text.len()))
}

/// `[+-]hh:mm[:ss[.fff]]`, and what of it are minutes and seconds only.
fn time(text: &str) -> Option<f64> {
    let mut micros = 0.0;
    let parts: Vec<&str> = text.split(':').collect();
    let (Some(hours), Some(minutes)) = (parts.first(), parts.get(1)) else { return None };
    let hours: f64 = if hours.is_empty() { return None } else { hours.parse().ok()? };
    // `mm:ss.fff`.
    if parts.len() == 2 && minutes.contains('.') {
        return Some(hours * 60e6 + minutes.parse::<f64>().ok()? * 1e6);
    }
    let minutes: f64 = if minutes.contains('.') { return None } else { minutes.parse().ok()? };
    let seconds: f64 = match parts.as_slice() {
        [_, _] => 0.0,
        [_, _, seconds] => seconds.parse().ok()?,
        _ => return None,
    };
    if minutes >= 60.0 || seconds > 60.0 {
        return None;
    }
    micros += hours * MICROS_PER_HOUR as f64 + minutes * 60e6 + (seconds * 1e6).round();
    Some(micros)
}

fn postgres(text: &str, sum: &mut Sum) -> Option<()> {
    sum.empty = true;
    let mut rest = text.strip_prefix('@').unwrap_or(text);
    let mut ago = false;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', ',']);
        if rest.is_empty() {
            break;
        }
        if ago {
            return None;
        }
        let (word, after) = split(rest, |c| c.is_ascii_alphabetic());
        if !word.is_empty() {
            ago = word.eq_ignore_ascii_case("ago") && !sum.empty;
            if !ago {
                return None;
            }
            rest = after;
            continue;
        }
        rest = one(rest, sum)?;
        sum.empty = false;
    }
    if sum.empty {
        return None;
    }
    if ago {
        sum.negate();
    }
    Some(())
}

/// A number with its unit, a time, or years and months; gives what is left.
fn one<'a>(text: &'a str, sum: &mut Sum) -> Option<&'a str> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, rest) = split(unsigned, |c| c.is_ascii_digit() || c == '.' || c == ':');
    if digits.is_empty() {
        return None;
    }
    if digits.contains(':') {
        sum.micros += sign * time(digits)?;
        return Some(rest);
    }
    if let Some(months) =
        rest.strip_prefix('-').filter(|after| after.starts_with(|c: char| c.is_ascii_digit()))
    {
        let (months, rest) = split(months, |c| c.is_ascii_digit());
        let (years, months): (f64, f64) = (digits.parse().ok()?, months.parse().ok()?);
        if months >= 12.0 || digits.contains('.') {
            return None;
        }
        sum.months += sign * (years * 12.0 + months);
        return Some(rest);
    }
    let value: f64 = digits.parse().ok()?;
    let after = rest.trim_start();
    let (word, tail) = split(after, |c| c.is_ascii_alphabetic());
    if word.is_empty() || word.eq_ignore_ascii_case("ago") {
        // Days before a time, else seconds.
        let (next, _) = split(after.trim_start_matches(['+', '-']), |c| c.is_ascii_digit() || c == ':');
        if !after.is_empty() && !next.contains(':') && word.is_empty() {
            return None;
        }
        sum.add(sign * value, if next.contains(':') { Unit::Day } else { Unit::Second });
        return Some(after);
    }
    sum.add(sign * value, unit(&word.to_ascii_lowercase())?);
    Some(tail)
}

/// ISO 8601: `1Y2M3DT4H5M6S`, `1W`, and `0001-02-03T04:05:06`.
fn iso(text: &str, sum: &mut Sum) -> Option<()> {
    if text.is_empty() {
        return None;
    }
    let (date, clock) = match text.split_once(['T', 't']) {
        Some((date, clock)) => (date, Some(clock)),
        None => (text, None),
    };
    if date.contains('-') && !date.contains(|c: char| c.is_ascii_alphabetic()) && !date.starts_with('-') {
        let parts: Vec<f64> = date.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        for (value, unit) in parts.iter().zip([Unit::Year, Unit::Month, Unit::Day]) {
            sum.add(*value, unit);
        }
    } else {
        designated(date, sum, |designator| {
            Some(match designator {
                'Y' | 'y' => Unit::Year,
                'M' | 'm' => Unit::Month,
                'W' | 'w' => Unit::Week,
                'D' | 'd' => Unit::Day,
                _ => return None,
            })
        })?;
    }
    match clock {
        None => Some(()),
        Some("") => None,
        Some(clock) if clock.contains(':') => {
            sum.micros += time(clock)?;
            Some(())
        }
        Some(clock) => designated(clock, sum, |designator| {
            Some(match designator {
                'H' | 'h' => Unit::Hour,
                'M' | 'm' => Unit::Minute,
                'S' | 's' => Unit::Second,
                _ => return None,
            })
        }),
    }
}

fn designated(mut text: &str, sum: &mut Sum, unit: impl Fn(char) -> Option<Unit>) -> Option<()> {
    while !text.is_empty() {
        let (number, rest) = split(text, |c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+'));
        let designator = rest.chars().next()?;
        sum.add(number.parse().ok()?, unit(designator)?);
        text = rest.get(designator.len_utf8()..)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn forms() {
        let shown = |text: &str| read(text).map(|interval| interval.to_string()).unwrap();
        for (text, expected) in [
            ("1 day 02:00:00", "1 day 02:00:00"),
            ("1-2", "1 year 2 mons"),
            ("P1DT2H", "1 day 02:00:00"),
            ("-1 day +02:00", "-1 days +02:00:00"),
            ("@ 1 hour ago", "-01:00:00"),
            ("1y 2mon 3d 4h 5m 6s", "1 year 2 mons 3 days 04:05:06"),
            ("3 4:05:06", "3 days 04:05:06"),
            ("1-2 3 4:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("P0001-02-03T04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("P1W", "7 days"),
            ("1.5 months", "1 mon 15 days"),
            ("0.5 day", "12:00:00"),
            ("10", "00:00:10"),
            ("1 millennium", "1000 years"),
            ("100 us", "00:00:00.0001"),
            ("1 mon -1 day", "1 mon -1 days"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for text in ["", "foo", "1 foo", "-P1D", "1 day ago 2 days", "P", "1 2", "1:2:3:4", "ago"] {
            assert_eq!(read(text).unwrap_err().code.0, "22007", "{text}");
        }
        assert_eq!(read("99999999999 years").unwrap_err().code.0, "22015");
    }
}
