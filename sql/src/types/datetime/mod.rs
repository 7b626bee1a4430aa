//! Dates, times and intervals as Postgres reads them (manual 8.5.1, 8.5.4 and B.1), `DateStyle` ISO, MDY.

pub mod fields;
pub mod interval;

use crate::error::{Error, SqlState};
use crate::functions::calendar::{
    JULIAN_EPOCH, MICROS_PER_DAY, MICROS_PER_SECOND, Zone, days, days_of_month,
};

use fields::{Fields, Offset};

pub type Result<T> = std::result::Result<T, Error>;

/// What a text is read with: the session's time zone and the start of the transaction.
#[derive(Debug)]
pub struct Reader {
    pub zone: Zone,
    /// Microseconds since 1970, UTC.
    pub now: i64,
}

/// The instant or day that a text means, before it is made one of the types.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Moment {
    Epoch,
    /// The start of the transaction.
    Now,
    /// Days from today, at midnight.
    Day(i64),
    Written(Fields),
}

fn invalid(type_name: &str, text: &str) -> Error {
    let message = format!("invalid input syntax for type {type_name}: \"{text}\"");
    Error::new(SqlState::INVALID_DATETIME_FORMAT, message)
}

fn out_of_range(text: &str) -> Error {
    Error::new(SqlState::DATETIME_OVERFLOW, format!("date/time field value out of range: \"{text}\""))
}

fn moment(type_name: &str, text: &str) -> Result<Moment> {
    Ok(match text.trim().to_ascii_lowercase().as_str() {
        "epoch" => Moment::Epoch,
        "now" => Moment::Now,
        "today" => Moment::Day(0),
        "tomorrow" => Moment::Day(1),
        "yesterday" => Moment::Day(-1),
        "infinity" | "+infinity" | "-infinity" | "inf" | "-inf" if type_name != "time" => {
            let message = format!("infinite values of type {type_name} are not supported");
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        _ => Moment::Written(fields::read(text).map_err(|fault| match fault {
            fields::Fault::Syntax => invalid(type_name, text),
            fields::Fault::Range => out_of_range(text),
            fields::Fault::Zone(zone) => Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("time zone \"{}\" not recognized", zone.to_lowercase()),
            ),
        })?),
    })
}

/// The day of a date, checked.
fn day(fields: &Fields, type_name: &str, text: &str) -> Result<i64> {
    if let Some(julian) = fields.julian {
        return Ok(julian - JULIAN_EPOCH);
    }
    let Some((year, month, of_month)) = fields.date else { return Err(invalid(type_name, text)) };
    let year = match (fields.before_christ, year) {
        (_, 0) => return Err(out_of_range(text)),
        (true, year) => 1 - year,
        (false, year) => year,
    };
    if !(1..=12).contains(&month) || of_month < 1 || of_month > days_of_month(year, month) {
        return Err(out_of_range(text));
    }
    Ok(days(year, month, of_month))
}

impl Reader {
    fn today(&self) -> i64 {
        (self.now + self.zone.offset(self.now) * MICROS_PER_SECOND).div_euclid(MICROS_PER_DAY)
    }

    /// Days since 1970. Fails with 22007, 22008 and, for infinity, 0A000.
    pub fn date(&self, text: &str) -> Result<i32> {
        let day = match moment("date", text)? {
            Moment::Epoch => 0,
            Moment::Now => self.today(),
            Moment::Day(days) => self.today() + days,
            Moment::Written(fields) => day(&fields, "date", text)?,
        };
        // Postgres' range.
        let fits = (-2_440_588..2_145_031_949).contains(&day);
        let too_far = || Error::new(SqlState::DATETIME_OVERFLOW, format!("date out of range: \"{text}\""));
        i32::try_from(day).ok().filter(|_| fits).ok_or_else(too_far)
    }

    /// Microseconds since midnight. Fails with 22007 and 22008.
    pub fn time(&self, text: &str) -> Result<i64> {
        // Digits alone, which after a date are a time.
        let digits = text.trim();
        if matches!(digits.len(), 4 | 6) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let read = fields::read(&format!("2000-01-01 {digits}"));
            return read.ok().and_then(|fields| fields.time).ok_or_else(|| out_of_range(text));
        }
        match moment("time", text)? {
            Moment::Written(fields) => {
                if fields.date.is_some() || fields.julian.is_some() {
                    day(&fields, "time", text)?;
                }
                fields.time.ok_or_else(|| invalid("time", text))
            }
            Moment::Now => {
                Ok((self.now + self.zone.offset(self.now) * MICROS_PER_SECOND).rem_euclid(MICROS_PER_DAY))
            }
            Moment::Day(_) => Ok(0),
            Moment::Epoch => Err(invalid("time", text)),
        }
    }

    /// Microseconds since 1970 of the clock's reading; a time zone in the text does not count.
    pub fn timestamp(&self, text: &str) -> Result<i64> {
        let (day, time) = match moment("timestamp", text)? {
            Moment::Epoch => (0, 0),
            Moment::Now => return Ok(self.now + self.zone.offset(self.now) * MICROS_PER_SECOND),
            Moment::Day(days) => (self.today() + days, 0),
            Moment::Written(fields) => (day(&fields, "timestamp", text)?, fields.time.unwrap_or_default()),
        };
        combined(day, time, text)
    }

    /// Microseconds since 1970, UTC.
    pub fn timestamptz(&self, text: &str) -> Result<i64> {
        const NAME: &str = "timestamp with time zone";
        let (local, offset) = match moment(NAME, text)? {
            Moment::Epoch => return Ok(0),
            Moment::Now => return Ok(self.now),
            Moment::Day(days) => (combined(self.today() + days, 0, text)?, None),
            Moment::Written(fields) => {
                let local = combined(day(&fields, NAME, text)?, fields.time.unwrap_or_default(), text)?;
                (local, fields.offset)
            }
        };
        let instant = match offset {
            None => self.zone.instant(local),
            Some(Offset::Seconds(seconds)) => local.checked_sub(seconds * MICROS_PER_SECOND),
            Some(Offset::Zone(name)) => Zone::named(&name).and_then(|zone| zone.instant(local)),
        };
        instant.ok_or_else(|| too_far(text))
    }
}

fn too_far(text: &str) -> Error {
    Error::new(SqlState::DATETIME_OVERFLOW, format!("timestamp out of range: \"{text}\""))
}

fn combined(day: i64, time: i64, text: &str) -> Result<i64> {
    day.checked_mul(MICROS_PER_DAY)
        .and_then(|midnight| midnight.checked_add(time))
        .ok_or_else(|| too_far(text))
}

#[cfg(test)]
mod tests {
    use super::Reader;
    use crate::functions::calendar::{MICROS_PER_HOUR, Zone, days};

    fn reader() -> Reader {
        Reader { zone: Zone::named("Europe/Berlin").unwrap(), now: 1_704_110_400_000_000 }
    }

    #[test]
    fn dates() {
        let expected = i32::try_from(days(2024, 1, 5)).unwrap();
        let texts = [
            "2024-01-05",
            "2024-1-5",
            "20240105",
            "Jan 5, 2024",
            "5 January 2024",
            "2024-Jan-05",
            "1/5/2024",
            " 2024-01-05 ",
            "2024-01-05 23:59",
            "2024.005",
            "J2460315",
            "Friday, January 5 2024",
            "240105",
        ];
        for text in texts {
            assert_eq!(reader().date(text).unwrap(), expected, "{text}");
        }
        assert_eq!(reader().date("tomorrow").unwrap() - reader().date("today").unwrap(), 1);
    }

    #[test]
    fn times() {
        let seconds = |text: &str| reader().time(text).unwrap() / 1_000_000;
        assert_eq!(seconds("10:00 PM"), 22 * 3600);
        assert_eq!(seconds("12:30 AM"), 30 * 60);
        assert_eq!(seconds("101112"), 10 * 3600 + 11 * 60 + 12);
        assert_eq!(seconds("2024-01-01 10:11:12"), 10 * 3600 + 11 * 60 + 12);
        assert_eq!(reader().time("251112").unwrap_err().code.0, "22008");
        assert_eq!(reader().time("13:00 PM").unwrap_err().code.0, "22008");
    }

    #[test]
    fn instants() {
        let noon = days(2024, 7, 1) * 24 * MICROS_PER_HOUR + 12 * MICROS_PER_HOUR;
        let read = |text: &str| reader().timestamptz(text).unwrap();
        assert_eq!(read("2024-07-01 12:00Z"), noon);
        assert_eq!(read("2024-07-01 14:00"), noon);
        assert_eq!(read("2024-07-01T12:00:00+00"), noon);
        assert_eq!(read("2024-07-01 07:00:00-0500"), noon);
        assert_eq!(read("2024-07-01 08:00 America/New_York"), noon);
        assert_eq!(read("20240701T120000 UTC"), noon);
        assert_eq!(read("2024-07-01 12:00 PM +00:00"), noon);
        assert_eq!(reader().timestamp("2024-07-01 12:00+05").unwrap(), noon);
    }

    #[test]
    fn what_is_refused() {
        let code = |text: &str| reader().timestamptz(text).unwrap_err().code.0;
        for text in ["", "x", "2024", "2024-01-01 x", "10:00", "2024-01-01 10:00 10:00", "2024-01-01-02-03"] {
            assert_eq!(code(text), "22007", "{text}");
        }
        for text in ["2024-02-30", "2024-13-01", "2024-01-01 25:00", "2024-01-01 10:61", "0000-01-01"] {
            assert_eq!(code(text), "22008", "{text}");
        }
        assert_eq!(code("2024-01-01 10:00 Nowhere/Land"), "22023");
        assert_eq!(code("infinity"), "0A000");
    }
}
