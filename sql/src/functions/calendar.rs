//! Dates and times as people write them, over the whole range of arrow's timestamps, and the time
//! zone of the session.
//!
//! Years are astronomical: 0 is 1 BC. Days count from 1970-01-01, microseconds from its midnight.

use arrow::array::timezone::Tz;
use chrono::{DateTime, Offset, TimeZone};
use datafusion::common::config::ConfigOptions;

pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_HOUR: i64 = 3_600 * MICROS_PER_SECOND;
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Julian day of 1970-01-01.
pub const JULIAN_EPOCH: i64 = 2_440_588;

/// The day of a date of the proleptic Gregorian calendar. Months and days beyond their range count on.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year + (month - 1).div_euclid(12);
    let month = (month - 1).rem_euclid(12) + 1;
    // Years begin in March here, so that the leap day is their last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * m + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day.
pub fn date(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let m = (5 * of_year + 2) / 153;
    let day = of_year - (153 * m + 2) / 5 + 1;
    let (month, carry) = if m < 10 { (m + 3, 0) } else { (m - 9, 1) };
    (year + era * 400 + carry, month, day)
}

pub fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

/// Days of a month (1 to 12) of a year.
pub fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Day of the week: Sunday is 0.
pub fn day_of_week(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// Day of the year, from 1.
pub fn day_of_year(day: i64) -> i64 {
    day - days(date(day).0, 1, 1) + 1
}

/// Monday of the first week of an ISO year: that with 4 January in it.
pub fn iso_year_start(year: i64) -> i64 {
    let fourth = days(year, 1, 4);
    fourth - (fourth + 3).rem_euclid(7)
}

/// ISO 8601 year and week.
pub fn iso_week(day: i64) -> (i64, i64) {
    let year = date(day).0;
    let year = if day >= iso_year_start(year + 1) {
        year + 1
    } else if day < iso_year_start(year) {
        year - 1
    } else {
        year
    };
    (year, (day - iso_year_start(year)) / 7 + 1)
}

/// A time zone, such as the session's.
#[derive(Debug, Clone)]
pub struct Zone {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Seconds east of Greenwich, the whole year.
    Fixed(i64),
    Named(String, Tz),
}

impl Zone {
    /// What `TimeZone` is set to.
    pub fn of(options: &ConfigOptions) -> Self {
        Self::of_arrow(options.execution.time_zone.as_deref().unwrap_or("+00:00"))
    }

    /// The zone of an arrow type, which writes offsets as ISO does; UTC for what is none.
    pub fn of_arrow(name: &str) -> Self {
        if name.starts_with(['+', '-']) {
            // The other way round than POSIX.
            return Self::fixed(posix(name).map_or(0, |seconds| -seconds));
        }
        Self::named(name).unwrap_or(Self::fixed(0))
    }

    /// As an arrow type has it.
    pub fn arrow_name(&self) -> String {
        match &self.kind {
            Kind::Fixed(seconds) => {
                let sign = if *seconds < 0 { '-' } else { '+' };
                let minutes = seconds.abs() / 60;
                format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
            Kind::Named(name, _) => name.clone(),
        }
    }

    /// Always so many seconds east of Greenwich.
    pub fn fixed(seconds: i64) -> Self {
        Self { kind: Kind::Fixed(seconds) }
    }

    /// The zone of a name, or of an offset as POSIX writes it: `UTC+3` and `+3` are west of Greenwich.
    /// `None`: there is no such zone.
    pub fn named(name: &str) -> Option<Self> {
        if matches!(name.to_ascii_lowercase().as_str(), "utc" | "etc/utc" | "gmt" | "z" | "zulu") {
            return Some(Self::fixed(0));
        }
        if let Some(known) = iana(name) {
            let zone = known.parse().ok()?;
            return Some(Self { kind: Kind::Named(known, zone) });
        }
        posix(name).map(Self::fixed)
    }

    /// Whether its clocks always show UTC.
    pub fn is_utc(&self) -> bool {
        matches!(self.kind, Kind::Fixed(0))
    }

    /// Seconds east of Greenwich at an instant (microseconds in UTC).
    pub fn offset(&self, micros: i64) -> i64 {
        let zone = match &self.kind {
            Kind::Fixed(seconds) => return *seconds,
            Kind::Named(_, zone) => zone,
        };
        let Some(instant) = DateTime::from_timestamp_micros(micros) else { return 0 };
        i64::from(zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc())
    }

    /// The instant at which the zone's clocks show a time. In the gap of a clock set forward, the
    /// offset before it counts; of two instants, the one in standard time, as Postgres takes them.
    pub fn instant(&self, local: i64) -> Option<i64> {
        let before = self.offset(local.checked_sub(MICROS_PER_DAY)?);
        let after = self.offset(local.checked_add(MICROS_PER_DAY)?);
        let first = local.checked_sub(before * MICROS_PER_SECOND)?;
        if before == after {
            return Some(first);
        }
        let second = local.checked_sub(after * MICROS_PER_SECOND)?;
        let (first_fits, second_fits) = (self.offset(first) == before, self.offset(second) == after);
        Some(if second_fits && (!first_fits || after < before) { second } else { first })
    }
}

/// The name in its own spelling. `None`: there is no such zone.
pub fn iana(name: &str) -> Option<String> {
    let known = |name: &str| name.contains(|c: char| c.is_ascii_alphabetic()) && name.parse::<Tz>().is_ok();
    if known(name) {
        return Some(name.to_string());
    }
    // `america/new_york`, `europe/isle_of_man`, `est5edt`.
    let small = ["of", "es", "au"];
    let capital = |word: &str| match word.chars().next() {
        Some(first) if !small.contains(&word) => {
            format!("{}{}", first.to_ascii_uppercase(), word.get(first.len_utf8()..).unwrap_or_default())
        }
        _ => word.to_string(),
    };
    let lower = name.to_ascii_lowercase();
    let words = |part: &str| {
        let words = part.split('_').map(|word| word.split('-').map(capital).collect::<Vec<_>>().join("-"));
        words.collect::<Vec<_>>().join("_")
    };
    let title = lower.split('/').map(words).collect::<Vec<_>>().join("/");
    [title, name.to_ascii_uppercase()].into_iter().find(|candidate| known(candidate))
}

/// Seconds east of Greenwich of a POSIX zone without summer time: a name (or none, or one in `<…>`) and the
/// hours west of Greenwich.
fn posix(text: &str) -> Option<i64> {
    let rest = match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => text.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    let name = text.len() - rest.len();
    let (sign, digits) = match rest.split_at_checked(1)? {
        ("-", digits) => (1, digits),
        ("+", digits) => (-1, digits),
        _ if name >= 3 => (-1, rest),
        _ => return None,
    };
    let mut parts = digits.split(':');
    let mut part = |limit: i64| match parts.next() {
        None => Some(0),
        Some(part) => part.parse::<u8>().ok().map(i64::from).filter(|value| *value <= limit),
    };
    let hours = digits.bytes().next().filter(u8::is_ascii_digit).and_then(|_| part(24))?;
    let seconds = hours * 3600 + part(59)? * 60 + part(59)?;
    parts.next().is_none().then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::{Zone, date, day_of_year, days, iso_week};

    #[test]
    fn days_and_dates() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 3, 1), 11_017);
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(-719_529), (-1, 12, 31));
        assert_eq!(day_of_year(days(2024, 12, 31)), 366);
        // ISO 8601: 2021-01-03 is the last day of week 53 of 2020.
        assert_eq!(iso_week(days(2021, 1, 3)), (2020, 53));
        assert_eq!(iso_week(days(2024, 12, 30)), (2025, 1));
    }

    #[test]
    fn local_times() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let at = |day: i64, hour: i64| (day * 24 + hour) * super::MICROS_PER_HOUR;
        assert_eq!(zone.instant(at(days(2024, 7, 1), 12)), Some(at(days(2024, 7, 1), 10)));
        // Skipped: 02:30 counts as standard time; twice: the later one.
        let skipped = at(days(2024, 3, 31), 2) + super::MICROS_PER_HOUR / 2;
        assert_eq!(zone.instant(skipped), Some(skipped - super::MICROS_PER_HOUR));
        let twice = at(days(2024, 10, 27), 2);
        assert_eq!(zone.instant(twice), Some(twice - super::MICROS_PER_HOUR));
    }
}
