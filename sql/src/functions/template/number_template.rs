//! Template patterns for numbers (manual 9.8, table 9.29).

use datafusion::error::Result;

use super::date_template::{Letters, quoted};
use crate::functions::function::error;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    Comma,
    /// `.` and `D`.
    Point,
    Zero,
    Nine,
    Blank,
    Exponent,
    Fill,
    Group,
    Currency,
    Minus,
    Plus,
    Brackets,
    Roman(Letters),
    AnySign,
    Sign,
    Ordinal(Letters),
    Shift,
    /// C and SP, which do nothing.
    Ignored,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Pattern(Pattern),
    Text(char),
}

/// Where `S` puts the sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignPlace {
    Before,
    After,
}

/// A template, and what its patterns ask for together.
#[derive(Debug, Clone, Default)]
pub struct NumberTemplate {
    pub nodes: Vec<Node>,
    /// Digits before the point.
    pub integer: usize,
    /// Digits behind it.
    pub fraction: usize,
    /// Digits behind V.
    pub shift: usize,
    /// Digits before the first 0.
    pub first_zero: Option<usize>,
    /// Digits up to the last 0, and with it.
    pub last_zero: usize,
    pub sign: Option<SignPlace>,
    /// Digits before S.
    pub digits_before_sign: usize,
    pub point: bool,
    pub fill: bool,
    pub minus: bool,
    pub plus: bool,
    pub brackets: bool,
    pub roman: bool,
    pub exponent: bool,
    shifts: bool,
    blank: bool,
}

const PATTERNS: &[(&str, Pattern)] = &[
    (",", Pattern::Comma),
    (".", Pattern::Point),
    ("0", Pattern::Zero),
    ("9", Pattern::Nine),
    ("B", Pattern::Blank),
    ("C", Pattern::Ignored),
    ("D", Pattern::Point),
    ("EEEE", Pattern::Exponent),
    ("FM", Pattern::Fill),
    ("G", Pattern::Group),
    ("L", Pattern::Currency),
    ("MI", Pattern::Minus),
    ("PL", Pattern::Plus),
    ("PR", Pattern::Brackets),
    ("RN", Pattern::Roman(Letters::Upper)),
    ("SG", Pattern::AnySign),
    ("SP", Pattern::Ignored),
    ("S", Pattern::Sign),
    ("TH", Pattern::Ordinal(Letters::Upper)),
    ("V", Pattern::Shift),
];

/// Reads a template. Fails with 42601 when its patterns do not go together.
pub fn parse(template: &str) -> Result<NumberTemplate> {
    let mut result = NumberTemplate::default();
    let mut rest = template;
    while !rest.is_empty() {
        if let Some((length, pattern)) = pattern(rest) {
            rest = rest.get(length..).unwrap_or_default();
            result.add(pattern).map_err(|message| error("42601", message))?;
            result.nodes.push(Node::Pattern(pattern));
        } else if let Some(after) = rest.strip_prefix('"') {
            rest = quoted(after, |c| result.nodes.push(Node::Text(c)));
        } else {
            let text = if rest.starts_with("\\\"") { rest.get(1..).unwrap_or_default() } else { rest };
            let mut chars = text.chars();
            result.nodes.extend(chars.next().map(Node::Text));
            rest = chars.as_str();
        }
    }
    Ok(result)
}

fn pattern(text: &str) -> Option<(usize, Pattern)> {
    for (name, pattern) in PATTERNS {
        if text.starts_with(name) {
            return Some((name.len(), *pattern));
        }
        if text.get(..name.len()).is_some_and(|start| start == name.to_ascii_lowercase()) {
            let pattern = match pattern {
                Pattern::Roman(_) => Pattern::Roman(Letters::Lower),
                Pattern::Ordinal(_) => Pattern::Ordinal(Letters::Lower),
                other => *other,
            };
            return Some((name.len(), pattern));
        }
    }
    None
}

impl NumberTemplate {
    fn add(&mut self, pattern: Pattern) -> std::result::Result<(), &'static str> {
        if self.exponent && pattern != Pattern::Exponent {
            return Err("\"EEEE\" must be the last pattern used");
        }
        match pattern {
            Pattern::Nine | Pattern::Zero => self.add_digit(pattern),
            Pattern::Blank => {
                self.blank |= self.integer == 0 && self.fraction == 0 && self.first_zero.is_none();
                Ok(())
            }
            Pattern::Point if self.point => Err("multiple decimal points"),
            Pattern::Point if self.shifts => Err("cannot use \"V\" and decimal point together"),
            Pattern::Point => set(&mut self.point),
            Pattern::Fill => set(&mut self.fill),
            Pattern::Sign if self.sign.is_some() => Err("cannot use \"S\" twice"),
            Pattern::Sign if self.plus || self.minus || self.brackets => {
                Err("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together")
            }
            Pattern::Sign => {
                self.sign = Some(if self.point { SignPlace::After } else { SignPlace::Before });
                self.digits_before_sign = self.integer;
                Ok(())
            }
            Pattern::Minus if self.sign.is_some() => Err("cannot use \"S\" and \"MI\" together"),
            Pattern::Minus => set(&mut self.minus),
            Pattern::Plus if self.sign.is_some() => Err("cannot use \"S\" and \"PL\" together"),
            Pattern::Plus => set(&mut self.plus),
            Pattern::AnySign if self.sign.is_some() => Err("cannot use \"S\" and \"SG\" together"),
            Pattern::AnySign => {
                self.minus = true;
                set(&mut self.plus)
            }
            Pattern::Brackets if self.sign.is_some() || self.plus || self.minus => {
                Err("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together")
            }
            Pattern::Brackets => set(&mut self.brackets),
            Pattern::Roman(_) => set(&mut self.roman),
            Pattern::Shift if self.point => Err("cannot use \"V\" and decimal point together"),
            Pattern::Shift => set(&mut self.shifts),
            Pattern::Exponent => self.add_exponent(),
            Pattern::Comma | Pattern::Group | Pattern::Currency | Pattern::Ordinal(_) | Pattern::Ignored => {
                Ok(())
            }
        }
    }

    fn add_digit(&mut self, pattern: Pattern) -> std::result::Result<(), &'static str> {
        let zero = pattern == Pattern::Zero;
        if self.brackets {
            let message =
                if zero { "\"0\" must be ahead of \"PR\"" } else { "\"9\" must be ahead of \"PR\"" };
            return Err(message);
        }
        if self.shifts && !zero {
            self.shift += 1;
            return Ok(());
        }
        if zero && self.first_zero.is_none() && !self.point {
            self.first_zero = Some(self.integer);
        }
        if self.point {
            self.fraction += 1;
        } else {
            self.integer += 1;
        }
        if zero {
            self.last_zero = self.integer + self.fraction;
        }
        Ok(())
    }

    fn add_exponent(&mut self) -> std::result::Result<(), &'static str> {
        if self.exponent {
            return Err("cannot use \"EEEE\" twice");
        }
        let others = self.blank
            || self.fill
            || self.sign.is_some()
            || self.brackets
            || self.minus
            || self.plus
            || self.roman
            || self.shifts;
        if others {
            return Err("\"EEEE\" is incompatible with other formats");
        }
        set(&mut self.exponent)
    }
}

fn set(flag: &mut bool) -> std::result::Result<(), &'static str> {
    *flag = true;
    Ok(())
}
