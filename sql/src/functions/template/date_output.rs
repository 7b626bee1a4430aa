//! Dates, times and intervals by a template.

use datafusion::error::Result;

use super::date_template::{Field, Letters, Modifiers, Node};
use crate::functions::calendar::{
    JULIAN_EPOCH, MICROS_PER_DAY, MICROS_PER_SECOND, date, day_of_week, day_of_year, iso_week, iso_year_start,
};
use crate::functions::function::error;

pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// A point in time, or an interval, by its parts.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// Days since 1970-01-01; `None`: an interval.
    days: Option<i64>,
    /// Seconds east of Greenwich.
    offset: i64,
    /// Whether the value knows its zone.
    zoned: bool,
}

impl Parts {
    /// Of a local time in microseconds. `offset`: seconds east of Greenwich, where the zone is known.
    pub fn of_timestamp(local: i64, offset: Option<i64>) -> Self {
        let days = local.div_euclid(MICROS_PER_DAY);
        let time = local.rem_euclid(MICROS_PER_DAY);
        let (year, month, day) = date(days);
        Self {
            year,
            month,
            day,
            days: Some(days),
            offset: offset.unwrap_or_default(),
            zoned: offset.is_some(),
            ..Self::of_time(time)
        }
    }

    /// Of an interval.
    pub fn of_interval(months: i32, days: i32, micros: i64) -> Self {
        let (months, days) = (i64::from(months), i64::from(days));
        Self { year: months / 12, month: months % 12, day: days, ..Self::of_time(micros) }
    }

    fn of_time(micros: i64) -> Self {
        let seconds = micros / MICROS_PER_SECOND;
        Self {
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros: micros % MICROS_PER_SECOND,
            ..Self::default()
        }
    }

    /// The year as it is called: there is no year 0.
    fn shown_year(&self, year: i64) -> i64 {
        if self.days.is_some() && year <= 0 { 1 - year } else { year }
    }

    /// The day, of which an interval has none.
    fn date(&self) -> Result<i64> {
        self.days.ok_or_else(|| error("22007", "invalid format specification for an interval value"))
    }
}

/// Writes a value by a template.
pub fn format(template: &[Node], parts: &Parts) -> Result<String> {
    let mut out = String::with_capacity(template.len() * 3);
    for node in template {
        match node {
            Node::Space(c) | Node::Separator(c) | Node::Other(c) => out.push(*c),
            Node::Pattern { field, letters, modifiers, .. } => {
                if let Some(text) = word(*field, *letters, *modifiers, parts)? {
                    out.push_str(&text);
                } else if let Some(text) = number(*field, modifiers.fill, parts)? {
                    out.push_str(&text);
                    if let Some(letters) = modifiers.ordinal {
                        out.push_str(ordinal(&text, letters));
                    }
                }
            }
        }
    }
    Ok(out)
}

/// The ending of an ordinal number.
pub fn ordinal(number: &str, letters: Letters) -> &'static str {
    let digits = number.as_bytes();
    let teen = matches!(digits, [.., b'1', _]);
    let (upper, lower) = match digits.last() {
        Some(b'1') if !teen => ("ST", "st"),
        Some(b'2') if !teen => ("ND", "nd"),
        Some(b'3') if !teen => ("RD", "rd"),
        _ => ("TH", "th"),
    };
    if letters == Letters::Upper { upper } else { lower }
}

fn in_letters(word: &str, letters: Letters) -> String {
    match letters {
        Letters::Upper => word.to_ascii_uppercase(),
        Letters::Lower => word.to_ascii_lowercase(),
        Letters::Title => word.to_string(),
    }
}

fn word(field: Field, letters: Letters, modifiers: Modifiers, parts: &Parts) -> Result<Option<String>> {
    let padded = |word: &str, width: usize| {
        let width = if modifiers.fill { 0 } else { width };
        format!("{:<width$}", in_letters(word, letters))
    };
    let name = |names: &[&'static str], index: i64| {
        usize::try_from(index).ok().and_then(|i| names.get(i).copied()).unwrap_or_default()
    };
    Ok(Some(match field {
        Field::Meridiem { dots } => {
            let after = parts.hour % 24 >= 12;
            in_letters(["AM", "PM", "A.M.", "P.M."][usize::from(dots) * 2 + usize::from(after)], letters)
        }
        Field::Era { dots } => {
            parts.date()?;
            let before = parts.year <= 0;
            in_letters(["AD", "BC", "A.D.", "B.C."][usize::from(dots) * 2 + usize::from(before)], letters)
        }
        Field::MonthName => {
            parts.date()?;
            padded(name(&MONTHS, parts.month - 1), 9)
        }
        Field::MonthAbbreviation => {
            parts.date()?;
            in_letters(name(&MONTHS, parts.month - 1).get(..3).unwrap_or_default(), letters)
        }
        Field::DayName => padded(name(&DAYS, day_of_week(parts.date()?)), 9),
        Field::DayAbbreviation => {
            let day = name(&DAYS, day_of_week(parts.date()?));
            in_letters(day.get(..3).unwrap_or_default(), letters)
        }
        Field::RomanMonth => {
            if parts.month == 0 && parts.year == 0 {
                return Ok(Some(String::new()));
            }
            // Of an interval's negative months, -1 is December's.
            padded(name(&ROMAN, (parts.month - 1).rem_euclid(12)), 4)
        }
        Field::ZoneName => {
            parts.date()?;
            match (parts.zoned, parts.offset) {
                (false, _) => String::new(),
                (true, 0) => in_letters("UTC", letters),
                (true, _) => offset(parts.offset, 2),
            }
        }
        Field::ZoneOffset => {
            parts.date()?;
            offset(parts.offset, if modifiers.fill { 0 } else { 2 })
        }
        Field::ZoneHours => {
            parts.date()?;
            format!("{}{:02}", sign(parts.offset), parts.offset.abs() / 3600)
        }
        Field::ZoneMinutes => {
            parts.date()?;
            format!("{:02}", parts.offset.abs() % 3600 / 60)
        }
        Field::Exact => String::new(),
        _ => return Ok(None),
    }))
}

fn sign(offset: i64) -> char {
    if offset < 0 { '-' } else { '+' }
}

fn offset(offset: i64, width: usize) -> String {
    let (hours, minutes) = (offset.abs() / 3600, offset.abs() % 3600 / 60);
    let sign = sign(offset);
    if minutes == 0 {
        format!("{sign}{hours:0width$}")
    } else {
        format!("{sign}{hours:0width$}:{minutes:02}")
    }
}

fn number(field: Field, fill: bool, parts: &Parts) -> Result<Option<String>> {
    // The sign stands before the digits that the width asks for.
    let padded = |value: i64, width: usize| {
        let width = if fill { 0 } else { width + usize::from(value < 0) };
        format!("{value:0width$}")
    };
    // Of days, the sign counts.
    let padded_with_sign = |value: i64, width: usize| {
        let width = if fill { 0 } else { width };
        format!("{value:0width$}")
    };
    Ok(Some(match field {
        Field::Hour12 => padded(if parts.hour % 12 == 0 { 12 } else { parts.hour % 12 }, 2),
        Field::Hour24 => padded(parts.hour, 2),
        Field::Minute => padded(parts.minute, 2),
        Field::Second => padded(parts.second, 2),
        Field::Millisecond => format!("{:03}", parts.micros / 1000),
        Field::Microsecond => format!("{:06}", parts.micros),
        Field::Fraction(digits) => {
            let width = usize::try_from(digits).unwrap_or_default();
            format!("{:0width$}", parts.micros / 10_i64.pow(6_u32.saturating_sub(digits)))
        }
        Field::SecondOfDay => (parts.hour * 3600 + parts.minute * 60 + parts.second).to_string(),
        Field::Month => padded(parts.month, 2),
        Field::Day => padded_with_sign(parts.day, 2),
        Field::DayOfYear => padded_with_sign(year_day(parts), 3),
        Field::IsoDayOfYear => {
            let day = parts.date()?;
            padded(day - iso_year_start(iso_week(day).0) + 1, 3)
        }
        Field::DayOfWeek => (day_of_week(parts.date()?) + 1).to_string(),
        Field::IsoDayOfWeek => match day_of_week(parts.date()?) {
            0 => "7".to_string(),
            day => day.to_string(),
        },
        Field::WeekOfMonth => ((parts.day - 1) / 7 + 1).to_string(),
        Field::WeekOfYear => padded_with_sign((year_day(parts) - 1) / 7 + 1, 2),
        Field::IsoWeek => padded(iso_week(parts.date()?).1, 2),
        Field::Quarter if parts.month == 0 => return Ok(None),
        Field::Quarter => ((parts.month - 1) / 3 + 1).to_string(),
        Field::Century => {
            let century = match (parts.days, parts.year) {
                (None, year) => year / 100,
                (_, year) if year > 0 => (year - 1) / 100 + 1,
                (_, year) => year / 100 - 1,
            };
            padded(century, 2)
        }
        Field::JulianDay => (parts.days.unwrap_or_else(|| interval_day(parts)) + JULIAN_EPOCH).to_string(),
        Field::YearWithComma => {
            let year = parts.shown_year(parts.year);
            format!("{},{:03}", year / 1000, year % 1000)
        }
        Field::Year(4) => padded(parts.shown_year(parts.year), 4),
        Field::Year(digits) => last_digits(parts.shown_year(parts.year), digits, fill),
        Field::IsoYear(4) => padded(parts.shown_year(iso_week(parts.date()?).0), 4),
        Field::IsoYear(digits) => last_digits(parts.shown_year(iso_week(parts.date()?).0), digits, fill),
        _ => return Ok(None),
    }))
}

fn last_digits(year: i64, digits: usize, fill: bool) -> String {
    let value = year % 10_i64.pow(u32::try_from(digits).unwrap_or_default());
    let width = if fill { 0 } else { digits + usize::from(value < 0) };
    format!("{value:0width$}")
}

/// Day of the year; an interval's months have 30 days.
fn year_day(parts: &Parts) -> i64 {
    parts.days.map_or_else(|| (parts.year * 12 + parts.month) * 30 + parts.day, day_of_year)
}

/// An interval read as a date.
fn interval_day(parts: &Parts) -> i64 {
    crate::functions::calendar::days(parts.year, parts.month, parts.day)
}
