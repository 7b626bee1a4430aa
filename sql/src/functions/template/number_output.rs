//! Numbers by a template.

use datafusion::error::Result;

use super::date_output::ordinal;
use super::date_template::Letters;
use super::digits::Digits;
use super::number_template::{Node, NumberTemplate, Pattern, SignPlace};

/// Writes an exact number.
pub fn format(template: &NumberTemplate, value: &Digits) -> Result<String> {
    if template.exponent {
        return Ok(value.scientific(template.fraction));
    }
    if template.roman {
        let (negative, digits) = value.rounded(0);
        return Ok(Writer::of_roman(template, negative, &digits).write());
    }
    let (negative, digits) = value.clone().shifted(template.shift).rounded(template.fraction);
    Ok(written(template, template.fraction, negative, digits))
}

/// Writes a floating-point number that has this many reliable digits.
pub fn format_float(template: &NumberTemplate, value: f64, precision: usize) -> Result<String> {
    if template.exponent {
        if !value.is_finite() {
            let mut shown = " ".to_string() + &"#".repeat(template.integer);
            shown.push('.');
            shown.push_str(&"#".repeat(template.fraction));
            return Ok(shown);
        }
        return Ok(scientific(value, template.fraction));
    }
    if template.roman {
        let rounded = value.round_ties_even().abs();
        return Ok(Writer::of_roman(template, value < 0.0, &format!("{rounded:.0}")).write());
    }
    let exponent = i32::try_from(template.shift).unwrap_or(i32::MAX);
    let value = if template.shift > 0 { value * 10_f64.powi(exponent) } else { value };
    let whole = shown(value.abs(), 0).len();
    let fraction = template.fraction.min(precision.saturating_sub(whole));
    Ok(written(template, fraction, value.is_sign_negative() && !value.is_nan(), shown(value.abs(), fraction)))
}

fn shown(value: f64, fraction: usize) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        "Infinity".into()
    } else {
        format!("{value:.fraction$}")
    }
}

fn scientific(value: f64, fraction: usize) -> String {
    let shown = format!("{value:.fraction$e}");
    let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let sign = if mantissa.starts_with('-') { "" } else { " " };
    let (exponent_sign, exponent) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{sign}{mantissa}e{exponent_sign}{exponent:0>2}")
}

/// `fraction`: digits that are shown behind the point.
fn written(template: &NumberTemplate, fraction: usize, negative: bool, digits: String) -> String {
    let integer = template.integer + template.shift;
    let whole = digits.split('.').next().unwrap_or_default().len();
    let digits =
        if whole > integer { format!("{}.{}", "#".repeat(integer), "#".repeat(fraction)) } else { digits };
    Writer::new(template, integer, fraction, negative, digits.into_bytes()).write()
}

/// Walks through a template; positions count the digits that it asks for.
struct Writer<'a> {
    template: &'a NumberTemplate,
    fraction: usize,
    negative: bool,
    number: Vec<u8>,
    /// The next of `number` to write.
    next: usize,
    /// The last of `number` that is not a zero to leave out.
    last_relevant: Option<usize>,
    /// Positions before the first digit.
    spaces: usize,
    positions: usize,
    position: usize,
    /// Whether a digit was written.
    begun: bool,
    sign_written: bool,
    brackets: bool,
    sign_place: Option<SignPlace>,
    out: String,
}

impl<'a> Writer<'a> {
    fn new(
        template: &'a NumberTemplate,
        integer: usize,
        fraction: usize,
        negative: bool,
        number: Vec<u8>,
    ) -> Self {
        let whole = number.iter().take_while(|c| **c != b'.').count();
        let spaces = integer.saturating_sub(whole);
        let separate = template.plus || template.minus;
        let sign_written =
            if separate { template.minus } else { !negative && template.fill && template.sign.is_none() };
        let at_end = template.sign == Some(SignPlace::Before) && integer == template.digits_before_sign;
        let mut writer = Self {
            template,
            fraction,
            negative,
            next: 0,
            last_relevant: None,
            spaces,
            positions: (fraction + integer).saturating_sub(1),
            position: 0,
            begun: false,
            sign_written,
            brackets: template.brackets && (negative || !template.fill),
            sign_place: if at_end && !separate { Some(SignPlace::After) } else { template.sign },
            out: String::new(),
            number,
        };
        if template.fill && template.point {
            writer.last_relevant = writer.find_last_relevant();
        }
        if !sign_written && spaces == 0 {
            writer.positions += 1;
        }
        writer
    }

    fn of_roman(template: &'a NumberTemplate, negative: bool, digits: &str) -> Self {
        let number = match digits.parse::<u32>() {
            Ok(number @ 1..=3999) if !negative => roman(number),
            _ => "#".repeat(15),
        };
        let mut writer = Self::new(template, 0, 0, false, number.into_bytes());
        writer.sign_written = true;
        writer
    }

    fn find_last_relevant(&self) -> Option<usize> {
        let point = self.number.iter().position(|c| *c == b'.')?;
        let digit = self.number.iter().rposition(|c| *c != b'0').unwrap_or_default().max(point);
        // Digits that the template writes as 0 are shown, as far as there are any.
        let zeros = self.template.last_zero;
        if zeros > self.spaces {
            let last = self.number.len().saturating_sub(1).min(zeros - self.spaces);
            return Some(digit.max(last));
        }
        Some(digit)
    }

    fn write(mut self) -> String {
        for node in &self.template.nodes {
            match node {
                Node::Text(c) => self.out.push(*c),
                Node::Pattern(pattern) => self.pattern(*pattern),
            }
        }
        self.out
    }

    fn pattern(&mut self, pattern: Pattern) {
        let fill = self.template.fill;
        match pattern {
            Pattern::Nine | Pattern::Zero | Pattern::Point if !self.template.roman => self.digit(pattern),
            Pattern::Comma | Pattern::Group if self.begun => self.out.push(','),
            Pattern::Comma | Pattern::Group if !fill => self.out.push(' '),
            Pattern::Currency => self.out.push(' '),
            Pattern::Roman(letters) if self.template.roman => {
                let number = String::from_utf8_lossy(&self.number).into_owned();
                let number = if letters == Letters::Lower { number.to_ascii_lowercase() } else { number };
                let width = if fill { 0 } else { 15 };
                self.out.push_str(&format!("{number:>width$}"));
            }
            Pattern::Ordinal(letters) => {
                let digits = !self.template.roman && self.number.first() != Some(&b'#');
                if digits && !self.negative && !self.template.point {
                    let number = String::from_utf8_lossy(&self.number).into_owned();
                    self.out.push_str(ordinal(&number, letters));
                }
            }
            Pattern::Minus if self.template.roman => {}
            Pattern::Minus if self.negative => self.out.push('-'),
            Pattern::Plus if !self.negative => self.out.push('+'),
            Pattern::Minus | Pattern::Plus if !fill => self.out.push(' '),
            Pattern::AnySign => self.out.push(if self.negative { '-' } else { '+' }),
            _ => {}
        }
    }

    /// Whether a 0 before the point is to be left out.
    fn skips_zero(&self) -> bool {
        self.template.first_zero.is_none()
            && self.next == 0
            && self.number.first() == Some(&b'0')
            && self.fraction != 0
    }

    fn ends_with_point(&self) -> bool {
        self.last_relevant.is_some_and(|last| self.number.get(last) == Some(&b'.'))
    }

    fn digit(&mut self, pattern: Pattern) {
        let zero = self.template.first_zero;
        let reached = self.position >= self.spaces || zero == Some(self.position);
        if !self.sign_written && reached && (!self.skips_zero() || self.ends_with_point()) {
            self.sign_before();
        }
        let fill = self.template.fill;
        if self.position < self.spaces {
            if zero.is_some_and(|zero| zero <= self.position) {
                self.out.push('0');
                self.begun = true;
            } else if !fill {
                self.out.push(' ');
            }
        } else {
            self.next_of_number(pattern);
        }
        let mut end = self.positions + usize::from(self.spaces > 0) + usize::from(self.template.point);
        if self.last_relevant == Some(self.next) {
            end = self.position;
        }
        if self.position + 1 == end {
            self.sign_after();
        }
        self.position += 1;
    }

    fn next_of_number(&mut self, pattern: Pattern) {
        let fill = self.template.fill;
        let Some(c) = self.number.get(self.next).copied() else {
            return;
        };
        if c == b'.' {
            if !self.ends_with_point() || fill {
                self.out.push('.');
            }
        } else if self.last_relevant.is_some_and(|last| self.next > last) && pattern != Pattern::Zero {
            // A zero to leave out.
        } else if self.skips_zero() {
            if !fill {
                self.out.push(' ');
            } else if self.ends_with_point() {
                self.out.push('0');
            }
        } else {
            self.out.push(char::from(c));
            self.begun = true;
        }
        self.next += 1;
    }

    fn sign_before(&mut self) {
        if self.template.sign.is_some() {
            if self.sign_place == Some(SignPlace::Before) {
                self.out.push(if self.negative { '-' } else { '+' });
                self.sign_written = true;
            }
        } else if self.brackets {
            self.out.push(if self.negative { '<' } else { ' ' });
            self.sign_written = true;
        } else {
            if self.negative {
                self.out.push('-');
            } else if !self.template.fill {
                self.out.push(' ');
            }
            self.sign_written = true;
        }
    }

    fn sign_after(&mut self) {
        if self.sign_written && self.brackets {
            self.out.push(if self.negative { '>' } else { ' ' });
        } else if self.template.sign.is_some() && self.sign_place == Some(SignPlace::After) {
            self.out.push(if self.negative { '-' } else { '+' });
        }
    }
}

fn roman(number: u32) -> String {
    const NUMERALS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let mut rest = number;
    let mut result = String::new();
    for (value, numeral) in NUMERALS {
        while rest >= value {
            result.push_str(numeral);
            rest -= value;
        }
    }
    result
}
