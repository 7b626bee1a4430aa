//! `encode` and `decode` (manual 9.5), `convert_from`, `convert_to`, `get_byte`, `chr`, `to_hex`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int32Array, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Volatility;

use super::columnar::{Columnar, Columns, is_text};
use super::function::error;
use crate::types::text_input::{bytea, hexadecimal};

pub const FUNCTIONS: &[Columnar] = &[
    function(
        "encode",
        |types| bytes_and(types, DataType::Utf8),
        |_, _| Ok(DataType::Utf8),
        |columns| {
            texts(columns, |bytes, format| match format.to_ascii_lowercase().as_str() {
                "hex" => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
                "escape" => Ok(escaped(bytes)),
                "base64" => Ok(base64(bytes)),
                _ => Err(unknown(format)),
            })
        },
    ),
    function(
        "decode",
        |types| matches!(types, [a, b] if is_text(a) && is_text(b)).then(|| vec![DataType::Utf8; 2]),
        |_, _| Ok(DataType::Binary),
        |columns| {
            binaries(columns, |text, format| match format.to_ascii_lowercase().as_str() {
                "hex" => {
                    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
                    if !digits.len().is_multiple_of(2) {
                        return Err(error("22023", "invalid hexadecimal data: odd number of digits"));
                    }
                    hexadecimal(&digits).ok_or_else(|| error("22023", "invalid hexadecimal digit"))
                }
                "escape" => Ok(bytea(text)?),
                "base64" => from_base64(text),
                _ => Err(unknown(format)),
            })
        },
    ),
    function(
        "convert_from",
        |types| bytes_and(types, DataType::Utf8),
        |_, _| Ok(DataType::Utf8),
        |columns| {
            texts(columns, |bytes, encoding| {
                utf8_only(encoding)?;
                let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
                text.map(str::to_string)
                    .ok_or_else(|| error("22021", "invalid byte sequence for encoding \"UTF8\""))
            })
        },
    ),
    function(
        "convert_to",
        |types| matches!(types, [a, b] if is_text(a) && is_text(b)).then(|| vec![DataType::Utf8; 2]),
        |_, _| Ok(DataType::Binary),
        |columns| binaries(columns, |text, encoding| utf8_only(encoding).map(|()| text.as_bytes().to_vec())),
    ),
    function("get_byte", |types| bytes_and(types, DataType::Int32), |_, _| Ok(DataType::Int32), get_byte),
    function(
        "chr",
        |types| matches!(types, [t] if t.is_integer() || is_text(t)).then(|| vec![DataType::Int32]),
        |_, _| Ok(DataType::Utf8),
        chr,
    ),
    function("to_hex", to_hex_of, |_, _| Ok(DataType::Utf8), to_hex),
];

const fn function(
    name: &'static str,
    arguments: fn(&[DataType]) -> Option<Vec<DataType>>,
    returns: fn(&[DataType], &[Option<&datafusion::scalar::ScalarValue>]) -> Result<DataType>,
    eval: fn(&Columns<'_>) -> Result<ArrayRef>,
) -> Columnar {
    Columnar { name, volatility: Volatility::Immutable, arguments, returns, eval }
}

fn bytes_and(types: &[DataType], second: DataType) -> Option<Vec<DataType>> {
    let [bytes, other] = types else { return None };
    let fits = if second == DataType::Utf8 { is_text(other) } else { other.is_integer() || is_text(other) };
    (fits && (bytes.is_binary() || is_text(bytes))).then(|| vec![DataType::Binary, second])
}

fn unknown(format: &str) -> DataFusionError {
    error("22023", format!("unrecognized encoding: \"{format}\""))
}

/// The only encoding of texts here.
fn utf8_only(name: &str) -> Result<()> {
    let name = name.to_ascii_lowercase();
    if matches!(name.as_str(), "utf8" | "utf-8" | "unicode") {
        return Ok(());
    }
    Err(error("0A000", format!("conversion between {name} and UTF8 is not supported")))
}

fn bytes<'a>(columns: &'a Columns<'_>) -> Result<&'a BinaryArray> {
    columns
        .array(0)?
        .as_binary_opt::<i32>()
        .ok_or_else(|| DataFusionError::Internal("an argument is no bytea".into()))
}

fn texts(columns: &Columns<'_>, of: impl Fn(&[u8], &str) -> Result<String>) -> Result<ArrayRef> {
    let (values, names) = (bytes(columns)?, columns.text(1)?);
    let mut out = StringBuilder::new();
    for (value, name) in values.iter().zip(names) {
        out.append_option(value.zip(name).map(|(value, name)| of(value, name)).transpose()?);
    }
    Ok(Arc::new(out.finish()))
}

fn binaries(columns: &Columns<'_>, of: impl Fn(&str, &str) -> Result<Vec<u8>>) -> Result<ArrayRef> {
    let (values, names) = (columns.text(0)?, columns.text(1)?);
    let mut out = BinaryBuilder::new();
    for (value, name) in values.iter().zip(names) {
        out.append_option(value.zip(name).map(|(value, name)| of(value, name)).transpose()?);
    }
    Ok(Arc::new(out.finish()))
}

fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            0 | 128.. => out.push_str(&format!("\\{byte:03o}")),
            byte => out.push(char::from(*byte)),
        }
    }
    out
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 2045: lines of 76 characters.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut column = 0;
    for chunk in bytes.chunks(3) {
        if column == 76 {
            out.push('\n');
            column = 0;
        }
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            let digit = ALPHABET.get(index as usize).copied().unwrap_or(b'=');
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
        column += 4;
    }
    out
}

fn from_base64(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count, mut padding) = (0_u32, 0, 0);
    for c in text.chars().filter(|c| !c.is_ascii_whitespace()) {
        let digit = ALPHABET.iter().position(|known| char::from(*known) == c);
        let value = match digit {
            Some(value) if padding == 0 => u32::try_from(value).unwrap_or_default(),
            None if c == '=' && count >= 2 => {
                padding += 1;
                0
            }
            None if c == '=' => {
                return Err(error("22023", "unexpected \"=\" while decoding base64 sequence"));
            }
            _ => {
                let message = format!("invalid symbol \"{c}\" found while decoding base64 sequence");
                return Err(error("22023", message));
            }
        };
        bits = bits << 6 | value;
        count += 1;
        if count == 4 {
            let [_, a, b, c] = bits.to_be_bytes();
            out.extend([a, b, c].into_iter().take(3 - padding));
            (bits, count) = (0, 0);
        }
    }
    if count != 0 {
        return Err(error("22023", "invalid base64 end sequence"));
    }
    Ok(out)
}

fn get_byte(columns: &Columns<'_>) -> Result<ArrayRef> {
    let places = columns.array(1)?.as_primitive::<Int32Type>();
    let values = bytes(columns)?.iter().zip(places).map(|(bytes, place)| {
        let (Some(bytes), Some(place)) = (bytes, place) else { return Ok(None) };
        let byte = usize::try_from(place).ok().and_then(|place| bytes.get(place));
        let last = bytes.len().saturating_sub(1);
        let message = || error("2202E", format!("index {place} out of valid range, 0..{last}"));
        byte.map(|byte| Some(i32::from(*byte))).ok_or_else(message)
    });
    Ok(Arc::new(values.collect::<Result<Int32Array>>()?))
}

/// `integer`, or `bigint` for what does not fit.
fn to_hex_of(types: &[DataType]) -> Option<Vec<DataType>> {
    use DataType::{Int8, Int16, Int32, Int64, Null, UInt8, UInt16};
    let [argument] = types else { return None };
    Some(vec![match argument {
        Int8 | Int16 | Int32 | UInt8 | UInt16 | Null => Int32,
        other if other.is_integer() || is_text(other) => Int64,
        _ => return None,
    }])
}

/// Of a negative number, its two's complement in as many bits as its type has.
fn to_hex(columns: &Columns<'_>) -> Result<ArrayRef> {
    let values = columns.array(0)?;
    let texts: StringArray = match values.as_primitive_opt::<Int32Type>() {
        Some(values) => values.iter().map(|value| value.map(|value| format!("{value:x}"))).collect(),
        None => {
            let values = values.as_primitive::<Int64Type>();
            values.iter().map(|value| value.map(|value| format!("{value:x}"))).collect()
        }
    };
    Ok(Arc::new(texts))
}

fn chr(columns: &Columns<'_>) -> Result<ArrayRef> {
    let codes = columns.array(0)?.as_primitive::<Int32Type>();
    let texts = codes.iter().map(|code| match code {
        None => Ok(None),
        Some(0) => Err(error("54000", "null character not permitted")),
        Some(code) => u32::try_from(code)
            .ok()
            .and_then(char::from_u32)
            .map(|c| Some(c.to_string()))
            .ok_or_else(|| error("54000", format!("requested character too large for encoding: {code}"))),
    });
    Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
}

#[cfg(test)]
mod tests {
    use super::{base64, escaped, from_base64};

    #[test]
    fn rfc_4648_examples() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
            assert_eq!(from_base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(base64(&[0; 60]).lines().map(str::len).collect::<Vec<_>>(), [76, 4]);
        assert!(from_base64("Zg=").is_err() && from_base64("Z!==").is_err());
        assert_eq!(escaped(b"a\0\\\xff"), "a\\000\\\\\\377");
    }
}
