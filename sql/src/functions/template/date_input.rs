//! Text read by a template for dates and times, as `to_date` and `to_timestamp` do.

use datafusion::error::{DataFusionError, Result};

use super::date_output::{DAYS, MONTHS, ROMAN};
use super::date_template::{Convention, Field, Modifiers, Node};
use crate::error::{Error, SqlState};

/// What a text says, field by field; 0: nothing.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub convention: Option<Convention>,
    pub hour: i64,
    pub afternoon: bool,
    pub half_days: bool,
    pub minute: i64,
    pub second: i64,
    pub second_of_day: i64,
    pub millisecond: i64,
    pub microsecond: i64,
    pub weekday: i64,
    pub day: i64,
    pub day_of_year: i64,
    pub month: i64,
    pub year: i64,
    pub year_digits: usize,
    pub before_christ: bool,
    pub week: i64,
    pub week_of_month: i64,
    pub century: i64,
    pub julian: i64,
    pub zone_sign: i64,
    pub zone_hours: i64,
    pub zone_minutes: i64,
}

pub(super) fn invalid(message: String, detail: Option<String>, hint: Option<&str>) -> DataFusionError {
    let mut e = Error::new(SqlState("22007"), message);
    if let Some(detail) = detail {
        e = e.with_detail(detail);
    }
    if let Some(hint) = hint {
        e = e.with_hint(hint);
    }
    e.into()
}

/// The text that is still to be read.
struct Input<'a> {
    rest: &'a str,
    last: Option<char>,
    /// Characters passed over beyond what the template has.
    skipped: i64,
}

impl<'a> Input<'a> {
    fn pass(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        self.last = Some(c);
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn pass_spaces(&mut self) {
        while self.peek().is_some_and(|c| c.is_ascii_whitespace()) {
            self.pass();
            self.skipped += 1;
        }
    }

    fn take(&mut self, length: usize) {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.last = taken.chars().next_back().or(self.last);
        self.rest = rest;
    }
}

/// Reads a text.
pub(super) fn read(text: &str, template: &[Node]) -> Result<Fields> {
    let mut fields = Fields::default();
    let mut input = Input { rest: text, last: None, skipped: 0 };
    let mut exact = false;
    for (i, node) in template.iter().enumerate() {
        if input.rest.is_empty() {
            break;
        }
        let is_pattern = matches!(node, Node::Pattern { .. });
        let begins_exact = matches!(node, Node::Pattern { field: Field::Exact, .. });
        if !exact && !begins_exact && (is_pattern || i == 0) {
            input.pass_spaces();
        }
        match node {
            Node::Space(_) | Node::Separator(_) if exact => {
                input.pass();
            }
            Node::Space(_) | Node::Separator(_) => {
                input.skipped -= 1;
                if input.peek().is_some_and(|c| c.is_ascii_whitespace() || c.is_ascii_punctuation()) {
                    input.pass();
                    input.skipped += 1;
                }
            }
            Node::Other(_) if !exact && input.skipped > 0 => input.skipped -= 1,
            Node::Other(_) => {
                input.pass();
            }
            Node::Pattern { field: Field::Exact, .. } => exact = true,
            Node::Pattern { field, text, modifiers, .. } => {
                set_convention(&mut fields, *field)?;
                let greedy = modifiers.ordinal.is_some() || stops_number(template.get(i + 1));
                let mut reader = Reader { input: &mut input, name: text, modifiers: *modifiers, greedy };
                reader.read(*field, &mut fields)?;
                if !exact {
                    input.skipped = 0;
                    input.pass_spaces();
                }
            }
        }
    }
    Ok(fields)
}

/// Whether what follows a number ends it, so that it may have any length.
fn stops_number(next: Option<&Node>) -> bool {
    match next {
        None => true,
        Some(Node::Pattern { field, .. }) => !field.is_number(),
        Some(Node::Space(c) | Node::Separator(c) | Node::Other(c)) => !c.is_ascii_digit(),
    }
}

fn set_convention(fields: &mut Fields, field: Field) -> Result<()> {
    let Some(convention) = field.convention() else { return Ok(()) };
    if fields.convention.is_some_and(|set| set != convention) {
        return Err(invalid(
            "invalid combination of date conventions".into(),
            None,
            Some("Do not mix Gregorian and ISO week date conventions in a formatting template."),
        ));
    }
    fields.convention = Some(convention);
    Ok(())
}

/// Reads the text of one pattern.
struct Reader<'a, 'b> {
    input: &'a mut Input<'b>,
    name: &'static str,
    modifiers: Modifiers,
    greedy: bool,
}

impl Reader<'_, '_> {
    fn read(&mut self, field: Field, fields: &mut Fields) -> Result<()> {
        match field {
            Field::Meridiem { dots } => {
                let words: &[&str] = if dots { &["a.m.", "p.m."] } else { &["am", "pm"] };
                fields.afternoon = self.word(words)? == 1;
                fields.half_days = true;
            }
            Field::Era { dots } => {
                let words: &[&str] = if dots { &["a.d.", "b.c."] } else { &["ad", "bc"] };
                fields.before_christ = self.word(words)? == 1;
            }
            Field::MonthName => {
                let month = self.word(&MONTHS)? + 1;
                self.set(&mut fields.month, month)?;
            }
            Field::MonthAbbreviation => {
                let month = self.word(&abbreviations(&MONTHS))? + 1;
                self.set(&mut fields.month, month)?;
            }
            Field::DayName => {
                let day = self.word(&DAYS)? + 1;
                self.set(&mut fields.weekday, day)?;
            }
            Field::DayAbbreviation => {
                let day = self.word(&abbreviations(&DAYS))? + 1;
                self.set(&mut fields.weekday, day)?;
            }
            Field::RomanMonth => {
                // The longest first: I begins II.
                let backwards: Vec<&str> = ROMAN.iter().rev().copied().collect();
                let month = 12 - self.word(&backwards)?;
                self.set(&mut fields.month, month)?;
            }
            Field::ZoneName | Field::ZoneOffset => {
                let message = format!("formatting field \"{}\" is only supported in to_char", self.name);
                return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).into());
            }
            Field::ZoneHours => {
                fields.zone_sign = match self.input.peek() {
                    Some('-') => -1,
                    Some('+' | ' ') => 1,
                    // The sign may have been passed over as a separator.
                    _ if self.input.skipped > 0 && self.input.last == Some('-') => -1,
                    _ => 1,
                };
                if matches!(self.input.peek(), Some('-' | '+' | ' ')) {
                    self.input.pass();
                }
                self.number(2, &mut fields.zone_hours)?;
            }
            Field::ZoneMinutes => {
                if fields.zone_sign == 0 {
                    fields.zone_sign = 1;
                }
                self.number(2, &mut fields.zone_minutes)?;
            }
            Field::Hour12 => {
                fields.half_days = true;
                self.number(2, &mut fields.hour)?;
            }
            _ => return self.read_number(field, fields),
        }
        Ok(())
    }

    fn read_number(&mut self, field: Field, fields: &mut Fields) -> Result<()> {
        let length = self.name.len();
        match field {
            Field::Hour24 => self.number(2, &mut fields.hour).map(drop),
            Field::Minute => self.number(2, &mut fields.minute).map(drop),
            Field::Second => self.number(2, &mut fields.second).map(drop),
            Field::SecondOfDay => self.number(length, &mut fields.second_of_day).map(drop),
            Field::Millisecond => self.fraction(3, &mut fields.millisecond),
            Field::Microsecond => self.fraction(6, &mut fields.microsecond),
            Field::Fraction(digits) => {
                let digits = usize::try_from(digits).unwrap_or(6);
                let mut value = 0;
                let used = self.number(digits, &mut value)?;
                let scale = u32::try_from(6_usize.saturating_sub(used)).unwrap_or_default();
                fields.microsecond = value * 10_i64.pow(scale);
                Ok(())
            }
            Field::Month => self.number(2, &mut fields.month).map(drop),
            Field::Day => self.number(2, &mut fields.day).map(drop),
            Field::DayOfYear | Field::IsoDayOfYear => self.number(3, &mut fields.day_of_year).map(drop),
            Field::DayOfWeek => self.number(1, &mut fields.weekday).map(drop),
            Field::IsoDayOfWeek => {
                let mut day = 0;
                self.number(1, &mut day)?;
                // Sunday is 7 here and 1 there.
                self.set(&mut fields.weekday, if day >= 7 { 1 } else { day + 1 })
            }
            Field::WeekOfYear | Field::IsoWeek => self.number(2, &mut fields.week).map(drop),
            Field::WeekOfMonth => self.number(1, &mut fields.week_of_month).map(drop),
            // Which day of the quarter is meant is unknown.
            Field::Quarter => self.number(1, &mut 0).map(drop),
            Field::Century => self.number(2, &mut fields.century).map(drop),
            Field::JulianDay => self.number(1, &mut fields.julian).map(drop),
            Field::YearWithComma => self.year_with_comma(fields),
            Field::Year(digits) | Field::IsoYear(digits) => {
                let mut year = 0;
                let used = self.number(digits, &mut year)?;
                if digits < 4 && used < 4 {
                    year = nearest_2020(year);
                }
                self.set(&mut fields.year, year)?;
                fields.year_digits = digits;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Digits behind the second's point: the fewer, the more each of them counts.
    fn fraction(&mut self, digits: usize, field: &mut i64) -> Result<()> {
        let mut value = 0;
        let used = self.number(digits, &mut value)?;
        let scale = u32::try_from(digits.saturating_sub(used)).unwrap_or_default();
        self.set(field, value * 10_i64.pow(scale))
    }

    /// Reads an integer; gives how many characters it took.
    fn number(&mut self, length: usize, field: &mut i64) -> Result<usize> {
        let before = self.input.rest.len();
        let trimmed = self.input.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        self.input.take(before - trimmed.len());
        let rest = self.input.rest;
        let hint = Some("If your source string is not fixed-width, try using the \"FM\" modifier.");
        let used = if self.modifiers.fill || self.greedy {
            integer_length(rest)
        } else {
            if rest.len() < length {
                return Err(invalid(
                    format!("source string too short for \"{}\" formatting field", self.name),
                    Some(format!("Field requires {length} characters, but only {} remain.", rest.len())),
                    hint,
                ));
            }
            let end = (length..rest.len()).find(|i| rest.is_char_boundary(*i)).unwrap_or(rest.len());
            let part = rest.get(..end).unwrap_or(rest);
            let used = integer_length(part);
            if used > 0 && used < length {
                return Err(invalid(
                    format!("invalid value \"{part}\" for \"{}\"", self.name),
                    Some(format!("Field requires {length} characters, but only {used} could be parsed.")),
                    hint,
                ));
            }
            used
        };
        let digits = rest.get(..used).unwrap_or_default();
        if used == 0 {
            let end = if self.modifiers.fill || self.greedy { length.min(rest.len()) } else { length };
            let shown = rest.get(..end).unwrap_or(rest);
            return Err(invalid(
                format!("invalid value \"{shown}\" for \"{}\"", self.name),
                Some("Value must be an integer.".into()),
                None,
            ));
        }
        let value = digits.parse::<i32>().map_err(|_| {
            let message = format!("value for \"{}\" in source string is out of range", self.name);
            DataFusionError::from(Error::new(SqlState("22008"), message))
        })?;
        self.input.take(used);
        self.set(field, i64::from(value))?;
        if self.modifiers.ordinal.is_some() {
            self.input.pass();
            self.input.pass();
        }
        Ok(before - self.input.rest.len() - if self.modifiers.ordinal.is_some() { 2 } else { 0 })
    }

    fn year_with_comma(&mut self, fields: &mut Fields) -> Result<()> {
        let malformed = || invalid("invalid input string for \"Y,YYY\"".into(), None, None);
        let rest = self.input.rest;
        let (thousands, after) = rest.split_once(',').ok_or_else(malformed)?;
        let used = after.bytes().take(3).take_while(u8::is_ascii_digit).count();
        let thousands: i64 = thousands.trim().parse::<i32>().map_err(|_| malformed())?.into();
        let units: i64 = after.get(..used).unwrap_or_default().parse().map_err(|_| malformed())?;
        self.set(&mut fields.year, thousands * 1000 + units)?;
        fields.year_digits = 4;
        self.input.take(rest.len() - after.len() + used);
        Ok(())
    }

    /// Which of these words comes next, in letters of any case.
    fn word(&mut self, words: &[&str]) -> Result<i64> {
        let rest = self.input.rest;
        let begins =
            |word: &&str| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        match words.iter().position(begins) {
            Some(index) => {
                self.input.take(words.get(index).map_or(0, |word| word.len()));
                Ok(i64::try_from(index).unwrap_or_default())
            }
            None => {
                let shown = rest.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
                Err(invalid(
                    format!("invalid value \"{shown}\" for \"{}\"", self.name),
                    Some("The given value did not match any of the allowed values for this field.".into()),
                    None,
                ))
            }
        }
    }

    fn set(&self, field: &mut i64, value: i64) -> Result<()> {
        if *field != 0 && *field != value {
            return Err(invalid(
                format!("conflicting values for \"{}\" field in formatting string", self.name),
                Some("This value contradicts a previous setting for the same field type.".into()),
                None,
            ));
        }
        *field = value;
        Ok(())
    }
}

fn abbreviations(names: &[&'static str]) -> Vec<&'static str> {
    names.iter().map(|name| name.get(..3).unwrap_or_default()).collect()
}

/// How many bytes of the beginning are an integer.
fn integer_length(text: &str) -> usize {
    let sign = usize::from(text.starts_with(['-', '+']));
    let digits = text.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
    if digits == 0 { 0 } else { sign + digits }
}

/// A year of fewer than four digits, as the one nearest to 2020.
fn nearest_2020(year: i64) -> i64 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}
