//! The fields of a date and time as people write them (manual B.1).

use crate::functions::calendar::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, Zone};

/// East of Greenwich.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offset {
    Seconds(i64),
    Zone(String),
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Year, month and day, not checked.
    pub date: Option<(i64, i64, i64)>,
    pub julian: Option<i64>,
    pub before_christ: bool,
    /// Microseconds since midnight; up to 24:00:00.
    pub time: Option<i64>,
    pub offset: Option<Offset>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Syntax,
    Range,
    Zone(String),
}

type Result<T> = std::result::Result<T, Fault>;

/// Reads all fields of a text.
pub fn read(text: &str) -> Result<Fields> {
    let mut reading = Reading { rest: text.trim(), ..Reading::default() };
    if reading.rest.is_empty() {
        return Err(Fault::Syntax);
    }
    while !reading.rest.is_empty() {
        reading.field()?;
    }
    reading.finish()
}

#[derive(Debug, Default)]
struct Reading<'a> {
    rest: &'a str,
    fields: Fields,
    /// Name of a month.
    month: Option<i64>,
    /// Numbers around it.
    numbers: Vec<&'a str>,
    /// `Some(true)`: PM.
    afternoon: Option<bool>,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const LONG_MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const LONG_DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
/// Abbreviations of time zones and their hours.
const ZONES: &[(&str, i64)] = &[
    ("z", 0),
    ("zulu", 0),
    ("utc", 0),
    ("ut", 0),
    ("gmt", 0),
    ("uct", 0),
    ("wet", 0),
    ("bst", 1),
    ("met", 1),
    ("mest", 2),
    ("hst", -10),
    ("cet", 1),
    ("west", 1),
    ("cest", 2),
    ("eet", 2),
    ("eest", 3),
    ("msk", 3),
    ("jst", 9),
    ("kst", 9),
    ("est", -5),
    ("edt", -4),
    ("cst", -6),
    ("cdt", -5),
    ("mst", -7),
    ("mdt", -6),
    ("pst", -8),
    ("pdt", -7),
];

/// Seconds east of Greenwich of a zone's abbreviation.
pub fn abbreviated_zone(name: &str) -> Option<i64> {
    let known = ZONES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, hours)| hours * 3600)
}

/// Position of a name in a list, by its first three letters or in full.
fn position(word: &str, short: &[&str], long: &[&str]) -> Option<i64> {
    let found =
        short.iter().position(|name| *name == word).or_else(|| long.iter().position(|name| *name == word));
    found
        .or_else(|| (word == "sept").then_some(8).filter(|_| long.len() == 12))
        .and_then(|at| i64::try_from(at).ok())
}

fn number(digits: &str) -> Result<i64> {
    digits.parse().map_err(|_| Fault::Range)
}

/// A year of two digits is one of 1970 to 2069.
fn year(digits: &str) -> Result<i64> {
    let value = number(digits)?;
    Ok(match (digits.len(), value) {
        (..=2, 0..70) => value + 2000,
        (..=2, _) => value + 1900,
        _ => value,
    })
}

impl<'a> Reading<'a> {
    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c: char| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn next_is(&self, wanted: impl Fn(char) -> bool) -> bool {
        self.rest.chars().next().is_some_and(wanted)
    }

    fn skip(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    fn has_date(&self) -> bool {
        self.fields.date.is_some() || self.fields.julian.is_some()
    }

    fn field(&mut self) -> Result<()> {
        match self.rest.chars().next() {
            Some(c) if c.is_ascii_whitespace() || c == ',' => {
                self.skip();
                Ok(())
            }
            Some(c) if c.is_ascii_digit() => self.starts_with_digit(),
            Some(c) if c.is_ascii_alphabetic() => self.word(),
            Some('+' | '-') if self.fields.time.is_some() || self.has_date() => self.offset(),
            _ => Err(Fault::Syntax),
        }
    }

    fn starts_with_digit(&mut self) -> Result<()> {
        let digits = self.take(|c| c.is_ascii_digit());
        let separator = self.rest.chars().next();
        let after = self.rest.chars().nth(1).unwrap_or(' ');
        match separator {
            Some(':') => self.time(digits),
            Some(c @ ('-' | '/' | '.'))
                if !self.has_date() && self.month.is_none() && after.is_ascii_alphanumeric() =>
            {
                self.skip();
                self.date(digits, c)
            }
            _ => self.bare(digits),
        }
    }

    /// Numbers that only their length tells apart.
    fn bare(&mut self, digits: &'a str) -> Result<()> {
        let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
        if self.month.is_some() || (!self.has_date() && digits.len() <= 2) {
            self.numbers.push(digits);
            return Ok(());
        }
        if !self.has_date() {
            self.fields.date = Some(match digits.len() {
                8 => (number(part(0, 4))?, number(part(4, 6))?, number(part(6, 8))?),
                6 => (year(part(0, 2))?, number(part(2, 4))?, number(part(4, 6))?),
                _ if self.next_is(|c| c.is_ascii_whitespace()) && digits.len() == 4 => {
                    self.numbers.push(digits);
                    return Ok(());
                }
                _ => return Err(Fault::Syntax),
            });
            return Ok(());
        }
        match digits.len() {
            4 | 6 if self.fields.time.is_none() => {
                let seconds = if digits.len() == 6 { part(4, 6) } else { "0" };
                self.set_time(part(0, 2), part(2, 4), seconds)
            }
            _ => Err(Fault::Syntax),
        }
    }

    /// `2024-01-05`, `2024-Jan-05`, `05-Jan-2024`, `1/5/2024`, `2024-005`.
    fn date(&mut self, first: &'a str, separator: char) -> Result<()> {
        let second = self.take(|c| c.is_ascii_alphanumeric());
        let third = if self.next_is(|c| c == separator) {
            self.skip();
            self.take(|c| c.is_ascii_digit())
        } else {
            ""
        };
        if third.is_empty() {
            // A day of the year.
            let of_year = second.len() == 3 && first.len() == 4 && second.bytes().all(|b| b.is_ascii_digit());
            if !of_year {
                return Err(Fault::Syntax);
            }
            let first_of_year = crate::functions::calendar::days(number(first)?, 1, 1);
            let (year, month, day) = crate::functions::calendar::date(first_of_year + number(second)? - 1);
            self.fields.date = Some((year, month, day));
            return Ok(());
        }
        if self.next_is(|c| c == separator) {
            return Err(Fault::Syntax);
        }
        let date = if second.bytes().all(|byte| byte.is_ascii_digit()) {
            if first.len() > 2 {
                (number(first)?, number(second)?, number(third)?)
            } else {
                (year(third)?, number(first)?, number(second)?)
            }
        } else {
            let month =
                position(&second.to_ascii_lowercase(), &MONTHS, &LONG_MONTHS).ok_or(Fault::Syntax)? + 1;
            if first.len() > 2 {
                (number(first)?, month, number(third)?)
            } else {
                (year(third)?, month, number(first)?)
            }
        };
        self.fields.date = Some(date);
        Ok(())
    }

    fn time(&mut self, hours: &'a str) -> Result<()> {
        self.skip();
        let minutes = self.take(|c| c.is_ascii_digit());
        let seconds = if self.next_is(|c| c == ':') {
            self.skip();
            self.take(|c| c.is_ascii_digit() || c == '.')
        } else {
            "0"
        };
        if minutes.is_empty() || seconds.is_empty() {
            return Err(Fault::Syntax);
        }
        self.set_time(hours, minutes, seconds)
    }

    fn set_time(&mut self, hours: &str, minutes: &str, seconds: &str) -> Result<()> {
        if self.fields.time.is_some() {
            return Err(Fault::Syntax);
        }
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        let micros = micros(seconds)?;
        let whole = hours < 24 && minutes < 60 && micros <= 60 * MICROS_PER_SECOND;
        let time =
            hours.saturating_mul(MICROS_PER_HOUR) + minutes.saturating_mul(60 * MICROS_PER_SECOND) + micros;
        if !whole && time != MICROS_PER_DAY {
            return Err(Fault::Range);
        }
        self.fields.time = Some(time);
        Ok(())
    }

    fn offset(&mut self) -> Result<()> {
        let negative = self.next_is(|c| c == '-');
        self.skip();
        let digits = self.take(|c| c.is_ascii_digit() || c == ':');
        if digits.is_empty()
            || self.fields.offset.is_some()
            || self.fields.time.is_none() && !digits.contains(':') && digits.len() > 2
        {
            return Err(Fault::Syntax);
        }
        let parts: Vec<&str> = if digits.contains(':') {
            digits.split(':').collect()
        } else {
            match digits.len() {
                1 | 2 => vec![digits],
                4 => vec![digits.get(..2).unwrap_or_default(), digits.get(2..).unwrap_or_default()],
                6 => [0..2, 2..4, 4..6].map(|range| digits.get(range).unwrap_or_default()).to_vec(),
                _ => return Err(Fault::Syntax),
            }
        };
        let mut seconds = 0;
        for (part, unit) in parts.iter().zip([3600, 60, 1]) {
            seconds += number(part)? * unit;
        }
        if parts.len() > 3 || seconds >= 16 * 3600 {
            return Err(Fault::Range);
        }
        self.fields.offset = Some(Offset::Seconds(if negative { -seconds } else { seconds }));
        Ok(())
    }

    fn word(&mut self) -> Result<()> {
        let start = self.rest;
        let word = self.take(|c| c.is_ascii_alphabetic()).to_ascii_lowercase();
        match word.as_str() {
            "t" if self.has_date() && self.next_is(|c| c.is_ascii_digit()) => return Ok(()),
            "j" | "jd" | "julian" if !self.has_date() && self.next_is(|c| c.is_ascii_digit()) => {
                let digits = self.take(|c| c.is_ascii_digit());
                self.fields.julian = Some(number(digits)?);
                return Ok(());
            }
            "am" | "pm" if self.fields.time.is_some() && self.afternoon.is_none() => {
                self.afternoon = Some(word == "pm");
                return Ok(());
            }
            "bc" | "ad" => {
                self.fields.before_christ = word == "bc";
                return Ok(());
            }
            "at" | "on" => return Ok(()),
            _ => {}
        }
        let zone_like = self.next_is(|c| c == '/' || c == '_');
        if !zone_like
            && let Some(month) = position(&word, &MONTHS, &LONG_MONTHS).filter(|_| self.month.is_none())
        {
            self.month = Some(month + 1);
            return Ok(());
        }
        if !zone_like && position(&word, &DAYS, &LONG_DAYS).is_some() {
            return Ok(());
        }
        if self.fields.offset.is_some() || !(self.has_date() || self.fields.time.is_some()) {
            return Err(Fault::Syntax);
        }
        if !zone_like && let Some(seconds) = abbreviated_zone(&word) {
            self.fields.offset = Some(Offset::Seconds(seconds));
            return Ok(());
        }
        self.rest = start;
        let name = self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+'));
        if Zone::named(name).is_none() {
            return Err(if name.contains('/') { Fault::Zone(name.to_string()) } else { Fault::Syntax });
        }
        self.fields.offset = Some(Offset::Zone(name.to_string()));
        Ok(())
    }

    fn finish(mut self) -> Result<Fields> {
        match (self.month, self.numbers.as_slice()) {
            (None, []) => {}
            (Some(month), [first, second]) if !self.has_date() => {
                let date = if first.len() > 2 {
                    (number(first)?, month, number(second)?)
                } else {
                    (year(second)?, month, number(first)?)
                };
                self.fields.date = Some(date);
            }
            _ => return Err(Fault::Syntax),
        }
        if let (Some(afternoon), Some(time)) = (self.afternoon, self.fields.time) {
            let hour = time / MICROS_PER_HOUR;
            if !(1..=12).contains(&hour) && (hour != 0 || afternoon) {
                return Err(Fault::Range);
            }
            let shift = match (afternoon, hour) {
                (true, ..12) => 12,
                (false, 12) => -12,
                _ => 0,
            };
            self.fields.time = Some(time + shift * MICROS_PER_HOUR);
        }
        Ok(self.fields)
    }
}

/// Seconds with a fraction, in microseconds, rounded.
fn micros(seconds: &str) -> Result<i64> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    if fraction.contains('.') || whole.is_empty() {
        return Err(Fault::Syntax);
    }
    let fraction: f64 = format!("0.{fraction}0").parse().map_err(|_| Fault::Syntax)?;
    Ok(number(whole)?.saturating_mul(MICROS_PER_SECOND) + (fraction * 1e6).round_ties_even() as i64)
}
