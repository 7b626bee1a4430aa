//! Numbers as their decimal digits.

/// A number as sign and digits: what stands before the point and behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digits {
    pub negative: bool,
    /// `unscaled` without leading zeros beyond the one before the point.
    unscaled: String,
    /// How many of the digits stand behind the point.
    scale: usize,
}

impl Digits {
    /// Of a decimal `value / 10^scale`.
    pub fn of_decimal(value: i128, scale: i8) -> Self {
        let mut unscaled = value.unsigned_abs().to_string();
        let scale = match usize::try_from(scale) {
            Ok(scale) => scale,
            Err(_) => {
                if value != 0 {
                    unscaled.push_str(&"0".repeat(usize::from(scale.unsigned_abs())));
                }
                0
            }
        };
        Self { negative: value < 0, unscaled, scale }
    }

    /// Times a power of ten.
    pub fn shifted(mut self, places: usize) -> Self {
        if places > self.scale {
            self.unscaled.push_str(&"0".repeat(places - self.scale));
        }
        self.scale = self.scale.saturating_sub(places);
        self
    }

    /// Rounded half away from zero: sign, and digits with a point if there are any behind it.
    pub fn rounded(&self, fraction: usize) -> (bool, String) {
        let width = self.scale + 1;
        let mut digits = format!("{:0>width$}", self.unscaled);
        let mut scale = self.scale;
        if scale > fraction {
            let up = digits.as_bytes().get(digits.len() - (scale - fraction)).is_some_and(|d| *d >= b'5');
            digits.truncate(digits.len() - (scale - fraction));
            if up {
                digits = incremented(&digits);
            }
            scale = fraction;
        } else {
            digits.push_str(&"0".repeat(fraction - scale));
            scale = fraction;
        }
        let (whole, part) = digits.split_at(digits.len() - scale);
        let trimmed = whole.trim_start_matches('0');
        let whole = if trimmed.is_empty() { "0" } else { trimmed };
        let negative = self.negative && digits.bytes().any(|d| d != b'0');
        (negative, if part.is_empty() { whole.to_string() } else { format!("{whole}.{part}") })
    }

    /// In scientific notation with so many digits behind the point; a space stands for the plus.
    pub fn scientific(&self, fraction: usize) -> String {
        let significant = self.unscaled.trim_start_matches('0');
        if significant.is_empty() {
            let zeros = "0".repeat(fraction);
            return if fraction == 0 { " 0e+00".to_string() } else { format!(" 0.{zeros}e+00") };
        }
        let digits = i64::try_from(significant.len()).unwrap_or_default();
        let mut exponent = digits - 1 - i64::try_from(self.scale).unwrap_or_default();
        let mantissa =
            Self { negative: self.negative, unscaled: significant.to_string(), scale: significant.len() - 1 };
        let (negative, mut shown) = mantissa.rounded(fraction);
        if shown.starts_with("10") {
            exponent += 1;
            shown = if fraction == 0 { "1".to_string() } else { format!("1.{}", "0".repeat(fraction)) };
        }
        let sign = if negative { '-' } else { ' ' };
        format!("{sign}{shown}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    }
}

fn incremented(digits: &str) -> String {
    let kept = digits.trim_end_matches('9');
    let nines = digits.len() - kept.len();
    let mut result = match kept.as_bytes().split_last() {
        None => "1".to_string(),
        Some((last, head)) => {
            let mut result: String = head.iter().map(|d| char::from(*d)).collect();
            result.push(char::from(last + 1));
            result
        }
    };
    result.push_str(&"0".repeat(nines));
    result
}

#[cfg(test)]
mod tests {
    use super::Digits;

    #[test]
    fn rounding() {
        let rounded = |value, scale, fraction| Digits::of_decimal(value, scale).rounded(fraction);
        assert_eq!(rounded(-12_345, 3, 2), (true, "12.35".into()));
        assert_eq!(rounded(9_999, 2, 1), (false, "100.0".into()));
        assert_eq!(rounded(5, 1, 0), (false, "1".into()));
        assert_eq!(rounded(-4, 1, 0), (false, "0".into()));
        assert_eq!(rounded(7, -2, 1), (false, "700.0".into()));
        assert_eq!(Digits::of_decimal(9_996, 1).scientific(2), " 1.00e+03");
        assert_eq!(Digits::of_decimal(-12, 5).scientific(1), "-1.2e-04");
    }
}
