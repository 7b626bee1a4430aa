//! The point in time that the fields of a text make together (Postgres manual 9.8).

use datafusion::error::{DataFusionError, Result};

use super::date_input::{Fields, invalid, read};
use super::date_template::{Convention, Node};
use crate::error::{Error, SqlState};
use crate::functions::calendar::{
    JULIAN_EPOCH, MICROS_PER_SECOND, date, days, days_of_month, iso_year_start,
};

/// A local date and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Days since 1970-01-01.
    pub days: i64,
    /// Microseconds of the day.
    pub micros: i64,
    /// Seconds east of Greenwich, where the text says so.
    pub offset: Option<i64>,
}

struct Date {
    year: i64,
    month: i64,
    day: i64,
    month_set: bool,
    day_set: bool,
}

impl Date {
    fn of(days: i64) -> Self {
        let (year, month, day) = date(days);
        Self { year, month, day, month_set: true, day_set: true }
    }
}

/// Reads a moment.
pub fn moment(text: &str, template: &[Node]) -> Result<Moment> {
    let fields = read(text, template)?;
    let overflow = || -> DataFusionError {
        Error::new(SqlState("22008"), format!("date/time field value out of range: \"{text}\"")).into()
    };
    let micros = time(&fields)?.ok_or_else(overflow)?;
    let mut parts = Date { year: year(&fields), month: 1, day: 1, month_set: false, day_set: false };
    if fields.julian != 0 {
        parts = Date::of(fields.julian - JULIAN_EPOCH);
    }
    place_week_and_day(&fields, &mut parts)?;
    if parts.month_set && !(1..=12).contains(&parts.month) {
        return Err(overflow());
    }
    if parts.day_set && !(1..=31).contains(&parts.day) {
        return Err(overflow());
    }
    if parts.day > days_of_month(parts.year, parts.month) {
        return Err(overflow());
    }
    let offset = match fields.zone_sign {
        0 => None,
        sign => {
            if !(0..=15).contains(&fields.zone_hours) || !(0..60).contains(&fields.zone_minutes) {
                let message = format!("time zone displacement out of range: \"{text}\"");
                return Err(Error::new(SqlState("22009"), message).into());
            }
            Some(sign * (fields.zone_hours * 3600 + fields.zone_minutes * 60))
        }
    };
    Ok(Moment { days: days(parts.year, parts.month, parts.day), micros, offset })
}

/// Microseconds of the day; `None`: a part is out of range.
fn time(fields: &Fields) -> Result<Option<i64>> {
    let (mut hour, mut minute, mut second) =
        (fields.second_of_day / 3600, fields.second_of_day / 60 % 60, fields.second_of_day % 60);
    if fields.second != 0 {
        second = fields.second;
    }
    if fields.minute != 0 {
        minute = fields.minute;
    }
    if fields.hour != 0 {
        hour = fields.hour;
    }
    if fields.half_days {
        if !(1..=12).contains(&hour) {
            return Err(invalid(
                format!("hour \"{hour}\" is invalid for the 12-hour clock"),
                None,
                Some("Use the 24-hour clock, or give an hour between 1 and 12."),
            ));
        }
        hour = hour % 12 + if fields.afternoon { 12 } else { 0 };
    }
    let fraction = fields.millisecond * 1000 + fields.microsecond;
    let fits = (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..60).contains(&second)
        && (0..MICROS_PER_SECOND).contains(&fraction);
    Ok(fits.then(|| (hour * 3600 + minute * 60 + second) * MICROS_PER_SECOND + fraction))
}

/// The astronomical year; 0, which is 1 BC, when the text names none.
fn year(fields: &Fields) -> i64 {
    let century = if fields.before_christ { -fields.century } else { fields.century };
    if fields.year != 0 {
        if fields.century != 0 && fields.year_digits <= 2 {
            return match (fields.year % 100, century) {
                (0, 0..) => century * 100,
                (0, _) => century * 100 + 1,
                (year, 0..) => year + (century - 1) * 100,
                (year, _) => (century + 1) * 100 - year + 1,
            };
        }
        let year = if fields.before_christ { -fields.year } else { fields.year };
        return if year < 0 { year + 1 } else { year };
    }
    match century {
        0 => 0,
        1.. => (century - 1) * 100 + 1,
        _ => century * 100 + 1,
    }
}

fn place_week_and_day(fields: &Fields, parts: &mut Date) -> Result<()> {
    let iso = fields.convention == Some(Convention::IsoWeek);
    let mut day_of_year = fields.day_of_year;
    if fields.week != 0 && iso {
        let monday = iso_year_start(parts.year) + (fields.week - 1) * 7;
        let day = match fields.weekday {
            0 => 0,
            // Sunday is the first of these and the last of an ISO week.
            1 => 6,
            day => day - 2,
        };
        *parts = Date::of(monday + day);
    } else if fields.week != 0 {
        day_of_year = (fields.week - 1) * 7 + 1;
    }
    let day = if fields.week_of_month != 0 { (fields.week_of_month - 1) * 7 + 1 } else { fields.day };
    if day != 0 {
        parts.day = day;
        parts.day_set = true;
    }
    if fields.month != 0 {
        parts.month = fields.month;
        parts.month_set = true;
    }
    if day_of_year == 0 || (parts.month > 1 && parts.day > 1) {
        return Ok(());
    }
    if parts.year == 0 && !fields.before_christ {
        let message = "cannot calculate day of year without year information";
        return Err(invalid(message.into(), None, None));
    }
    if iso {
        *parts = Date::of(iso_year_start(parts.year) + day_of_year - 1);
        return Ok(());
    }
    let mut before = 0;
    let mut month = 1;
    while month <= 12 && day_of_year > before + days_of_month(parts.year, month) {
        before += days_of_month(parts.year, month);
        month += 1;
    }
    if parts.month <= 1 {
        parts.month = month;
    }
    if parts.day <= 1 {
        parts.day = day_of_year - before;
    }
    (parts.month_set, parts.day_set) = (true, true);
    Ok(())
}
