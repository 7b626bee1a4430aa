//! The slots of a schedule: the times at which it says that something is to be run. They follow from the
//! schedule alone, so that all servers see the same ones.

use chrono::{DateTime, TimeDelta, Utc};

use super::super::schedule::Span;
use super::cron::ZonedCron;

/// A schedule with slots.
#[derive(Debug, Clone)]
pub enum Slots {
    Every(Span),
    Cron(Box<ZonedCron>),
}

/// Monday 1970-01-05, which spans are counted from: days begin at midnight, weeks on Monday, in UTC.
const ORIGIN: i64 = 4 * 86_400;

impl Slots {
    /// The first slot after a time.
    pub fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Every(span) => {
                let begun = self.last(after)?;
                begun.checked_add_signed(TimeDelta::seconds(length(*span)))
            }
            Self::Cron(cron) => cron.next(after),
        }
    }

    /// The last slot at or before a time.
    pub fn last(&self, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Every(span) => {
                let length = length(*span);
                let since = until.timestamp().checked_sub(ORIGIN)?;
                DateTime::from_timestamp(ORIGIN + since.div_euclid(length) * length, 0)
            }
            Self::Cron(cron) => cron.last(until),
        }
    }

    /// The slot to be run now: the last of those that came since a time. All that were missed before it
    /// are made up for by it.
    pub fn due(&self, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.last(now).filter(|slot| *slot > since)
    }
}

/// Seconds, at least one.
fn length(span: Span) -> i64 {
    i64::try_from(span.seconds()).unwrap_or(i64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(text: &str) -> Slots {
        Slots::Every(Span::parse(text).unwrap())
    }

    fn utc(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
    }

    #[test]
    fn spans_are_counted_from_midnight_and_monday() {
        let now = utc("2026-11-21T21:47:10.5Z");
        assert_eq!(every("10 minutes").last(now), Some(utc("2026-11-21T21:40:00Z")));
        assert_eq!(every("10 minutes").next(now), Some(utc("2026-11-21T21:50:00Z")));
        assert_eq!(every("1 day").last(now), Some(utc("2026-11-21T00:00:00Z")));
        assert_eq!(every("1 week").last(now), Some(utc("2026-11-16T00:00:00Z")));
        assert_eq!(every("1 second").next(now), Some(utc("2026-11-21T21:47:11Z")));
        // A slot is not after itself.
        assert_eq!(every("1 hour").next(utc("2026-01-01T01:00:00Z")), Some(utc("2026-01-01T02:00:00Z")));
    }

    #[test]
    fn what_was_missed_is_one_slot() {
        let hourly = every("1 hour");
        let since = utc("2026-01-01T00:00:00Z");
        assert_eq!(hourly.due(since, utc("2026-01-01T00:59:59Z")), None);
        assert_eq!(hourly.due(since, utc("2026-01-01T01:00:00Z")), Some(utc("2026-01-01T01:00:00Z")));
        assert_eq!(hourly.due(since, utc("2026-01-09T07:30:00Z")), Some(utc("2026-01-09T07:00:00Z")));
        // The clock was set back: nothing is run twice.
        assert_eq!(hourly.due(since, utc("2025-12-31T23:30:00Z")), None);
    }
}
