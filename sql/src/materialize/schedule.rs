//! When a materialized view is to be refreshed, as its definition says. Nothing here looks at a clock.

use std::fmt;

use super::json;
use super::scheduler::cron::{self, ZonedCron};
use crate::error::{Error, Result, SqlState};

/// Longest span: a year, in seconds.
const MAX_SECONDS: u64 = 366 * 86_400;

/// Units of time in a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
}

impl Unit {
    /// Singular or plural, in any letter case.
    pub fn parse(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        Some(match word.strip_suffix('s').unwrap_or(&word) {
            "second" => Self::Second,
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            _ => return None,
        })
    }

    fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Second => "SECOND",
            Self::Minute => "MINUTE",
            Self::Hour => "HOUR",
            Self::Day => "DAY",
            Self::Week => "WEEK",
        }
    }
}

/// A length of time as it was written. Days have 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    count: u64,
    unit: Unit,
}

impl Span {
    /// `None`: no time at all, or more than a year.
    pub fn new(count: u64, unit: Unit) -> Option<Self> {
        let seconds = count.checked_mul(unit.seconds())?;
        (1..=MAX_SECONDS).contains(&seconds).then_some(Self { count, unit })
    }

    /// `10 minutes`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (count, unit, None) = (words.next()?, words.next()?, words.next()) else { return None };
        Self::new(count.parse().ok()?, Unit::parse(unit)?)
    }

    pub fn seconds(self) -> u64 {
        self.count * self.unit.seconds()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.count == 1 { "" } else { "S" };
        write!(f, "{} {}{plural}", self.count, self.unit.name())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    Every(Span),
    /// Five fields: minute, hour, day of the month, month, day of the week.
    Cron {
        expression: String,
        /// `None`: UTC.
        time_zone: Option<String>,
    },
    /// When a table that it is built from has changed.
    OnUpdate {
        at_most_every: Option<Span>,
    },
    /// As often as it takes to be no older than this.
    TargetLag(Span),
}

/// As in SQL.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match self {
            Self::Every(span) => write!(f, "SCHEDULE EVERY {span}"),
            Self::Cron { expression, time_zone } => {
                write!(f, "SCHEDULE CRON {}", quoted(expression))?;
                match time_zone {
                    Some(zone) => write!(f, " AT TIME ZONE {}", quoted(zone)),
                    None => Ok(()),
                }
            }
            Self::OnUpdate { at_most_every: None } => f.write_str("TRIGGER ON UPDATE"),
            Self::OnUpdate { at_most_every: Some(span) } => {
                write!(f, "TRIGGER ON UPDATE AT MOST EVERY {span}")
            }
            Self::TargetLag(span) => write!(f, "TARGET LAG {span}"),
        }
    }
}

impl Schedule {
    /// Fails with 22023 for a cron expression or a time zone that means nothing.
    pub fn check(&self) -> Result<()> {
        let Self::Cron { expression, time_zone } = self else { return Ok(()) };
        if let Some(zone) = time_zone.as_ref().filter(|zone| cron::zone(zone).is_none()) {
            let message = format!("time zone \"{zone}\" not recognized");
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
        ZonedCron::parse(expression, time_zone.as_deref()).map(|_| ()).map_err(|reason| {
            let message = format!("invalid cron expression \"{expression}\"");
            Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
                .with_detail(reason)
                .with_hint("Give minute, hour, day of the month, month and day of the week: '0 2 * * *'.")
        })
    }

    /// The value of the table's property.
    pub fn to_json(&self) -> String {
        let span = |span: &Span| json::string(&span.to_string());
        match self {
            Self::Every(every) => json::object([("every", span(every))]),
            Self::Cron { expression, time_zone } => {
                let zone = time_zone.as_ref().map(|zone| ("time-zone", json::string(zone)));
                json::object([("cron", json::string(expression))].into_iter().chain(zone))
            }
            Self::OnUpdate { at_most_every } => {
                let every = at_most_every.as_ref().map(|every| ("at-most-every", span(every)));
                json::object([("on", json::string("update"))].into_iter().chain(every))
            }
            Self::TargetLag(lag) => json::object([("target-lag", span(lag))]),
        }
    }

    /// Fails with XX001.
    pub fn from_json(text: &str) -> Result<Self> {
        let corrupt = || {
            let message = format!("the schedule of a materialized view cannot be read: {text}");
            Error::new(SqlState::DATA_CORRUPTED, message)
        };
        json::members(text)?;
        let span = |key: &str| match json::member(text, key)? {
            Some(value) => Span::parse(&value).map(Some).ok_or_else(corrupt),
            None => Ok(None),
        };
        if let Some(every) = span("every")? {
            return Ok(Self::Every(every));
        }
        if let Some(lag) = span("target-lag")? {
            return Ok(Self::TargetLag(lag));
        }
        if let Some(expression) = json::member(text, "cron")? {
            return Ok(Self::Cron { expression, time_zone: json::member(text, "time-zone")? });
        }
        match json::member(text, "on")?.as_deref() {
            Some("update") => Ok(Self::OnUpdate { at_most_every: span("at-most-every")? }),
            _ => Err(corrupt()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_read_back_as_they_were_written() {
        let all = [
            Schedule::Every(Span::parse("10 minutes").unwrap()),
            Schedule::Cron { expression: "0 2 * * 1-5".into(), time_zone: Some("Europe/Paris".into()) },
            Schedule::Cron { expression: "*/5 * * jan,jul sun".into(), time_zone: None },
            Schedule::OnUpdate { at_most_every: None },
            Schedule::OnUpdate { at_most_every: Span::parse("1 Hour") },
            Schedule::TargetLag(Span::parse("2 days").unwrap()),
        ];
        for schedule in all {
            schedule.check().unwrap();
            assert_eq!(Schedule::from_json(&schedule.to_json()).unwrap(), schedule);
        }
        assert_eq!(Schedule::Every(Span::new(1, Unit::Day).unwrap()).to_string(), "SCHEDULE EVERY 1 DAY");
        for wrong in ["", "0 minutes", "-1 days", "1", "1 month", "1 day 2 hours", "9999999999999999999 days"]
        {
            assert_eq!(Span::parse(wrong), None, "{wrong}");
        }
        for wrong in ["{}", "[]", "{\"every\":\"x\"}", "{\"on\":\"delete\"}", "x"] {
            assert_eq!(Schedule::from_json(wrong).unwrap_err().code, SqlState::DATA_CORRUPTED, "{wrong}");
        }
    }

    #[test]
    fn cron_expressions_without_a_meaning_are_refused() {
        let wrong = Schedule::Cron { expression: "60 * * * *".into(), time_zone: None };
        assert_eq!(wrong.check().unwrap_err().code, SqlState::INVALID_PARAMETER_VALUE);
        let zone = Schedule::Cron { expression: "* * * * *".into(), time_zone: Some("Mars/Olympus".into()) };
        assert_eq!(zone.check().unwrap_err().code, SqlState::INVALID_PARAMETER_VALUE);
    }
}
