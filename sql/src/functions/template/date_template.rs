//! Template patterns for dates and times (manual 9.8, table 9.27) and their modifiers (9.28).

/// In which letters a word is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    Upper,
    Lower,
    Title,
}

/// What a pattern stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Meridiem {
        dots: bool,
    },
    Era {
        dots: bool,
    },
    MonthName,
    MonthAbbreviation,
    DayName,
    DayAbbreviation,
    RomanMonth,
    ZoneName,
    ZoneHours,
    ZoneMinutes,
    ZoneOffset,
    Hour12,
    Hour24,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    /// FF1 to FF6.
    Fraction(u32),
    SecondOfDay,
    Month,
    Day,
    DayOfYear,
    IsoDayOfYear,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Quarter,
    Century,
    JulianDay,
    YearWithComma,
    /// Y to YYYY: as many of its last digits.
    Year(usize),
    IsoYear(usize),
    Exact,
}

/// Which calendar a pattern belongs to; a template may not mix them when reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    Gregorian,
    IsoWeek,
}

/// TH or th behind a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modifiers {
    /// FM: no padding; when reading, as many digits as there are.
    pub fill: bool,
    pub ordinal: Option<Letters>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Pattern {
        field: Field,
        letters: Letters,
        text: &'static str,
        modifiers: Modifiers,
    },
    Space(char),
    /// Printable ASCII that is neither letter nor digit.
    Separator(char),
    Other(char),
}

/// Patterns whose upper and lower case mean the same.
const PLAIN: &[(&str, Field)] = &[
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("MI", Field::Minute),
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("SS", Field::Second),
    ("MS", Field::Millisecond),
    ("US", Field::Microsecond),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("FX", Field::Exact),
    ("TZH", Field::ZoneHours),
    ("TZM", Field::ZoneMinutes),
    ("TZ", Field::ZoneName),
    ("OF", Field::ZoneOffset),
    ("MM", Field::Month),
    ("DDD", Field::DayOfYear),
    ("DD", Field::Day),
    ("D", Field::DayOfWeek),
    ("IDDD", Field::IsoDayOfYear),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("I", Field::IsoYear(1)),
    ("WW", Field::WeekOfYear),
    ("W", Field::WeekOfMonth),
    ("Q", Field::Quarter),
    ("CC", Field::Century),
    ("J", Field::JulianDay),
    ("Y,YYY", Field::YearWithComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
    ("RM", Field::RomanMonth),
    ("A.M.", Field::Meridiem { dots: true }),
    ("P.M.", Field::Meridiem { dots: true }),
    ("AM", Field::Meridiem { dots: false }),
    ("PM", Field::Meridiem { dots: false }),
    ("A.D.", Field::Era { dots: true }),
    ("B.C.", Field::Era { dots: true }),
    ("AD", Field::Era { dots: false }),
    ("BC", Field::Era { dots: false }),
    ("MONTH", Field::MonthName),
    ("MON", Field::MonthAbbreviation),
    ("DAY", Field::DayName),
    ("DY", Field::DayAbbreviation),
];

/// Patterns with a capital.
const TITLES: &[(&str, Field)] = &[
    ("Month", Field::MonthName),
    ("Mon", Field::MonthAbbreviation),
    ("Day", Field::DayName),
    ("Dy", Field::DayAbbreviation),
];

impl Field {
    /// Whether its text begins with a digit, so that a number before it must not take more than its own.
    pub fn is_number(self) -> bool {
        !matches!(
            self,
            Self::Meridiem { .. }
                | Self::Era { .. }
                | Self::MonthName
                | Self::MonthAbbreviation
                | Self::DayName
                | Self::DayAbbreviation
                | Self::RomanMonth
                | Self::ZoneName
                | Self::ZoneHours
                | Self::ZoneOffset
                | Self::Fraction(_)
                | Self::Exact
        )
    }

    pub fn convention(self) -> Option<Convention> {
        match self {
            Self::IsoDayOfYear | Self::IsoDayOfWeek | Self::IsoWeek | Self::IsoYear(_) => {
                Some(Convention::IsoWeek)
            }
            Self::MonthName
            | Self::MonthAbbreviation
            | Self::RomanMonth
            | Self::Month
            | Self::Day
            | Self::DayOfYear
            | Self::DayOfWeek
            | Self::WeekOfMonth
            | Self::WeekOfYear
            | Self::YearWithComma
            | Self::Year(_) => Some(Convention::Gregorian),
            _ => None,
        }
    }
}

/// Reads a template.
pub fn parse(template: &str) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let mut fill = false;
        // TM asks for the locale's names, which here are the English ones.
        for (prefix, fills) in [("FM", true), ("fm", true), ("TM", false), ("tm", false)] {
            if let Some(after) = rest.strip_prefix(prefix) {
                rest = after;
                fill = fills;
                break;
            }
        }
        if let Some((field, letters, text)) = pattern(rest) {
            rest = rest.get(text.len()..).unwrap_or_default();
            let ordinal = if let Some(after) = rest.strip_prefix("TH") {
                rest = after;
                Some(Letters::Upper)
            } else if let Some(after) = rest.strip_prefix("th") {
                rest = after;
                Some(Letters::Lower)
            } else {
                None
            };
            nodes.push(Node::Pattern { field, letters, text, modifiers: Modifiers { fill, ordinal } });
        } else if let Some(after) = rest.strip_prefix('"') {
            rest = quoted(after, |c| nodes.push(Node::Other(c)));
        } else {
            // Outside of quotes a backslash is special only before a quote.
            let text = if rest.starts_with("\\\"") { rest.get(1..).unwrap_or_default() } else { rest };
            let mut chars = text.chars();
            match chars.next() {
                Some(c) if c.is_ascii_punctuation() => nodes.push(Node::Separator(c)),
                Some(c) if c.is_ascii_whitespace() => nodes.push(Node::Space(c)),
                Some(c) => nodes.push(Node::Other(c)),
                None => {}
            }
            rest = chars.as_str();
        }
    }
    nodes
}

/// Reads text up to the closing quote; gives what follows it.
pub fn quoted(text: &str, mut each: impl FnMut(char)) -> &str {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some(escaped) => each(escaped),
                None => each(c),
            },
            c => each(c),
        }
    }
    chars.as_str()
}

fn pattern(text: &str) -> Option<(Field, Letters, &'static str)> {
    let mut found: Option<(Field, Letters, &'static str)> = None;
    let mut consider = |candidate: (Field, Letters, &'static str)| {
        if found.is_none_or(|(_, _, longest)| candidate.2.len() > longest.len()) {
            found = Some(candidate);
        }
    };
    for (name, field) in PLAIN {
        if text.starts_with(name) {
            consider((*field, Letters::Upper, name));
        } else if text.get(..name.len()).is_some_and(|start| start == name.to_ascii_lowercase()) {
            consider((*field, Letters::Lower, name));
        }
    }
    for (name, field) in TITLES {
        if text.starts_with(name) {
            consider((*field, Letters::Title, name));
        }
    }
    found
}
