//! Cron expressions in a time zone.
//!
//! Five fields, read by the crate `croner` as Vixie cron reads them. Where the clock jumps ahead, a fixed
//! time that does not exist comes right after the gap; where it is set back, a fixed time comes once and a
//! pattern with `*` or a step at both passes.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// A cron expression that means something.
#[derive(Debug, Clone)]
pub struct ZonedCron {
    cron: Cron,
    zone: Tz,
}

/// Fields of an expression: minute, hour, day of the month, month, day of the week.
const FIELDS: usize = 5;

impl ZonedCron {
    /// Fails with a sentence that says why.
    pub fn parse(expression: &str, zone: Option<&str>) -> Result<Self, String> {
        let zone = zone.map_or(Ok(Tz::UTC), |name| {
            self::zone(name).ok_or_else(|| format!("The time zone \"{name}\" is not known."))
        })?;
        let fields = expression.split_whitespace().count();
        if fields != FIELDS {
            return Err(format!("It has {fields} fields, not five."));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|e| format!("{e}."))?;
        let found = Self { cron, zone };
        match found.next(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(found),
            None => Err("No day of the calendar is like that.".to_string()),
        }
    }

    /// The first time after another.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let found = self.cron.find_next_occurrence(&after.with_timezone(&self.zone), false).ok()?;
        Some(found.with_timezone(&Utc))
    }

    /// The last time at or before another.
    pub fn last(&self, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let found = self.cron.find_previous_occurrence(&until.with_timezone(&self.zone), true).ok()?;
        Some(found.with_timezone(&Utc))
    }
}

/// A time zone of the tz database, in any letter case.
pub fn zone(name: &str) -> Option<Tz> {
    let known = |zone: &&Tz| zone.name().eq_ignore_ascii_case(name);
    name.parse().ok().or_else(|| chrono_tz::TZ_VARIANTS.iter().find(known).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
    }

    /// All times in a range, each found from the one before, and again from behind.
    fn all(expression: &str, zone: &str, from: &str, until: &str) -> Vec<String> {
        let cron = ZonedCron::parse(expression, Some(zone)).unwrap();
        let (from, until) = (utc(from), utc(until));
        let mut times = Vec::new();
        let mut at = from;
        while let Some(next) = cron.next(at).filter(|next| *next < until) {
            assert!(next > at);
            times.push(next);
            at = next;
        }
        for time in &times {
            assert_eq!(cron.last(*time), Some(*time), "{expression}");
            let later = *time + chrono::TimeDelta::seconds(59);
            assert_eq!(cron.last(later), Some(*time), "{expression}");
        }
        times.iter().map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)).collect()
    }

    #[test]
    fn the_hour_that_does_not_exist() {
        // 2026-03-29, Paris: 02:00 CET is 03:00 CEST. 02:30 comes right after the gap, at 03:00 = 01:00 UTC.
        let days = all("30 2 * * *", "Europe/Paris", "2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z");
        assert_eq!(days, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        // What comes each half hour has none in it.
        let halves = all("*/30 * * * *", "Europe/Paris", "2026-03-28T23:59:00Z", "2026-03-29T02:01:00Z");
        assert_eq!(
            halves,
            [
                "2026-03-29T00:00:00Z",
                "2026-03-29T00:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-29T01:30:00Z",
                "2026-03-29T02:00:00Z"
            ]
        );
    }

    #[test]
    fn the_hour_that_comes_twice() {
        // 2026-10-25, Paris: 03:00 CEST is 02:00 CET again; 02:30 is 00:30 UTC and 01:30 UTC.
        let days = all("30 2 * * *", "Europe/Paris", "2026-10-24T00:00:00Z", "2026-10-27T00:00:00Z");
        assert_eq!(days, ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        let hours = all("30 * * * *", "Europe/Paris", "2026-10-24T23:59:00Z", "2026-10-25T03:00:00Z");
        assert_eq!(hours, ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]);
    }

    #[test]
    fn a_year_has_each_of_its_days() {
        for zone in ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "UTC"] {
            let days = all("30 2 * * *", zone, "2026-01-01T12:00:00Z", "2027-01-01T12:00:00Z");
            assert_eq!(days.len(), 365, "{zone}");
            let hours = all("5 * * * *", zone, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
            // Half an hour is set ahead and back on Lord Howe.
            assert!((8759..=8761).contains(&hours.len()), "{zone}: {}", hours.len());
        }
        let leap = all("0 0 29 2 *", "UTC", "2024-01-01T00:00:00Z", "2033-01-01T00:00:00Z");
        assert_eq!(leap, ["2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
        let weekdays = all("0 9 * * 1-5", "Europe/Paris", "2026-06-01T00:00:00Z", "2026-06-15T00:00:00Z");
        assert_eq!(weekdays.len(), 10);
    }

    #[test]
    fn expressions_without_a_meaning_are_refused() {
        for good in ["* * * * *", "0,30 8-18/2 1 */3 mon-fri", "59 23 31 12 7", "0 0 * jan,jul sun"] {
            assert!(ZonedCron::parse(good, None).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "* * * * 8",
            "0 0 30 2 *",
            "@daily",
        ] {
            assert!(ZonedCron::parse(wrong, None).is_err(), "{wrong}");
        }
        assert!(ZonedCron::parse("* * * * *", Some("Mars/Olympus")).is_err());
        assert_eq!(zone("europe/paris"), Some(Tz::Europe__Paris));
    }
}
