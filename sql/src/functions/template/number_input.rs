//! Text read by a template for numbers, as `to_number` does.

use datafusion::error::Result;

use super::number_template::{Node, NumberTemplate, Pattern, SignPlace};
use crate::functions::function::error;

/// A number that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub negative: bool,
    /// Digits, without a point.
    pub digits: String,
    /// How many of the digits stand behind the point.
    pub scale: usize,
}

/// Reads a text. Fails with 22P02 when there is no number in it.
pub fn read(text: &str, template: &NumberTemplate) -> Result<Read> {
    if template.exponent {
        return Err(error("0A000", "\"EEEE\" not supported for input"));
    }
    if template.roman {
        return Err(error("0A000", "\"RN\" not supported for input"));
    }
    let chars: Vec<char> = text.chars().collect();
    let mut reader = Reader {
        chars: &chars,
        at: 0,
        template,
        sign: None,
        whole: 0,
        fraction: None,
        digits: String::new(),
    };
    for node in &template.nodes {
        if reader.at >= chars.len() {
            break;
        }
        match node {
            Node::Text(_) => reader.at += 1,
            Node::Pattern(pattern) => reader.pattern(*pattern),
        }
    }
    if reader.digits.is_empty() {
        return Err(error("22P02", "invalid input syntax for type numeric: \" \""));
    }
    Ok(Read {
        negative: reader.sign == Some('-'),
        scale: reader.fraction.unwrap_or_default() + template.shift,
        digits: reader.digits,
    })
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
    template: &'a NumberTemplate,
    sign: Option<char>,
    whole: usize,
    /// Digits read behind the point; `None`: before it.
    fraction: Option<usize>,
    digits: String,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn pattern(&mut self, pattern: Pattern) {
        match pattern {
            Pattern::Nine | Pattern::Zero | Pattern::Point => self.digit(pattern),
            Pattern::Comma | Pattern::Group if self.peek() == Some(',') => self.at += 1,
            Pattern::Currency => self.pass_others(1),
            Pattern::Ordinal(_) => self.pass_others(2),
            Pattern::Minus => self.sign("-"),
            Pattern::Plus => self.sign("+"),
            Pattern::AnySign => self.sign("+-"),
            _ => {}
        }
    }

    fn sign(&mut self, signs: &str) {
        match self.peek() {
            Some(c) if signs.contains(c) => {
                self.sign = Some(c);
                self.at += 1;
            }
            _ => self.pass_others(1),
        }
    }

    /// Passes over characters that cannot be part of a number.
    fn pass_others(&mut self, count: usize) {
        for _ in 0..count {
            match self.peek() {
                Some(c) if !"0123456789.,+-".contains(c) => self.at += 1,
                _ => break,
            }
        }
    }

    fn digit(&mut self, pattern: Pattern) {
        if self.peek() == Some(' ') {
            self.at += 1;
        }
        let count = self.whole + self.fraction.unwrap_or_default();
        if self.sign.is_none() && count == 0 && pattern != Pattern::Point {
            let brackets = self.template.brackets && self.template.sign != Some(SignPlace::Before);
            match self.peek() {
                Some(c @ ('-' | '+'))
                    if self.template.sign != Some(SignPlace::After) || !self.template.point =>
                {
                    self.sign = Some(c);
                    self.at += 1;
                }
                Some('<') if brackets => {
                    self.sign = Some('-');
                    self.at += 1;
                }
                _ => {}
            }
        }
        let Some(c) = self.peek() else { return };
        let mut is_read = false;
        if c.is_ascii_digit() {
            match &mut self.fraction {
                Some(fraction) if *fraction == self.template.fraction => return,
                Some(fraction) => *fraction += 1,
                None => self.whole += 1,
            }
            self.digits.push(c);
            is_read = true;
        } else if self.template.point && self.fraction.is_none() && c == '.' {
            self.fraction = Some(0);
            is_read = true;
        }
        let count = self.whole + self.fraction.unwrap_or_default();
        if self.sign.is_none() && count > 0 {
            let next = self.chars.get(self.at + 1).copied();
            if self.template.sign.is_some() && is_read {
                // S belongs to the digit before it.
                if let Some(c @ ('-' | '+')) = next {
                    self.sign = Some(c);
                    self.at += 1;
                }
            } else if !is_read && self.template.sign.is_none() && !self.template.plus && !self.template.minus
            {
                self.sign = Some(c).filter(|c| matches!(c, '-' | '+'));
            }
        }
        self.at += 1;
    }
}
