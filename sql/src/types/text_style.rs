//! How settings have values written: `bytea_output` and `extra_float_digits`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use arrow::error::ArrowError;

use crate::session::settings::Settings;

/// What a session's settings say of bytes and floating point numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextStyle {
    /// `\000` for what is no printable ASCII character, instead of hexadecimal digits.
    escapes: bool,
    /// Digits less than 15 or 6. `None`: as few as tell a number from all others.
    fewer_digits: Option<u8>,
}

impl TextStyle {
    pub fn of(settings: &Settings) -> Self {
        let extra = settings.integer("extra_float_digits");
        Self {
            escapes: settings.get("bytea_output") == Some("escape"),
            fewer_digits: u8::try_from(-extra).ok(),
        }
    }

    /// The values as texts, if this style writes them otherwise than the default does; items of lists too.
    pub fn texts(&self, array: &ArrayRef) -> Result<Option<ArrayRef>, ArrowError> {
        if *self == Self::default() {
            return Ok(None);
        }
        let texts: StringArray = match (array.data_type(), self.fewer_digits) {
            (DataType::Float64, Some(fewer)) => {
                let digits = usize::from(15_u8.saturating_sub(fewer).max(1));
                let values = array.as_primitive::<Float64Type>().iter();
                values.map(|value| value.map(|value| rounded(value, digits))).collect()
            }
            (DataType::Float32, Some(fewer)) => {
                let digits = usize::from(6_u8.saturating_sub(fewer).max(1));
                let values = array.as_primitive::<Float32Type>().iter();
                values.map(|value| value.map(|value| rounded(value.into(), digits))).collect()
            }
            (bytes, _) if self.escapes && is_bytea(bytes) => return self.bytes(array).map(Some),
            (DataType::List(item), _) => return self.list::<i32>(array, item),
            (DataType::LargeList(item), _) => return self.list::<i64>(array, item),
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(texts)))
    }

    /// Bytes as texts.
    pub fn bytes(&self, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let write = if self.escapes { escaped } else { hexadecimal };
        let bytes = cast(array, &DataType::LargeBinary)?;
        let texts: StringArray = bytes.as_binary::<i64>().iter().map(|value| value.map(write)).collect();
        Ok(Arc::new(texts))
    }

    fn list<O: OffsetSizeTrait>(
        &self,
        array: &ArrayRef,
        item: &FieldRef,
    ) -> Result<Option<ArrayRef>, ArrowError> {
        let list = array.as_list::<O>();
        let Some(items) = self.texts(list.values())? else { return Ok(None) };
        let field = Arc::new(Field::new(item.name(), items.data_type().clone(), true));
        let list =
            GenericListArray::<O>::try_new(field, list.offsets().clone(), items, list.nulls().cloned())?;
        Ok(Some(Arc::new(list)))
    }
}

/// Whether values of the type are `bytea`.
pub fn is_bytea(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        // Of 16 bytes it is a uuid.
        DataType::FixedSizeBinary(size) => *size != 16,
        _ => false,
    }
}

/// A number of so many significant digits, as `%.*g` of C writes it.
fn rounded(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_string();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let power: i32 = exponent.parse().unwrap_or(0);
    let wide = i32::try_from(digits).unwrap_or(i32::MAX);
    if power < -4 || power >= wide {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), power.abs());
    }
    let places = usize::try_from(wide - 1 - power).unwrap_or(0);
    without_zeros(&format!("{value:.places$}")).to_string()
}

fn without_zeros(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        text.extend([byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]));
    }
    text
}

/// Printable ASCII characters as they are, a backslash twice, other bytes as three octal digits (manual 8.4.2).
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            0x20..=0x7e => text.push(char::from(*byte)),
            other => text.push_str(&format!("\\{other:03o}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_as_c_writes_them() {
        for (value, digits, text) in [
            (0.1 + 0.2, 15, "0.3"),
            (1.0 / 3.0, 15, "0.333333333333333"),
            (1e15, 15, "1e+15"),
            (123_456_789_012_345.0, 15, "123456789012345"),
            (1e-5, 15, "1e-05"),
            (0.000_123, 15, "0.000123"),
            (-0.0, 15, "-0"),
            (9.999_999, 6, "10"),
            (1.5e300, 6, "1.5e+300"),
            (7.0, 1, "7"),
            (75.0, 1, "8e+01"),
        ] {
            assert_eq!(rounded(value, digits), text);
        }
    }

    #[test]
    fn bytes_are_escaped() {
        assert_eq!(hexadecimal(b"a\xff"), "\\x61ff");
        assert_eq!(escaped(b"a\\b\x00\xff~"), "a\\\\b\\000\\377~");
    }
}
