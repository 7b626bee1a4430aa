//! Text to the types that arrow cannot read as Postgres writes them: `uuid` and `bytea`.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, FixedSizeBinaryBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, SqlState};

static UUID_IN: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| function("uuid_in", DataType::FixedSizeBinary(16)));
static BYTEA_IN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function("byteain", DataType::Binary));

fn function(name: &'static str, result: DataType) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(TextInput { name, result, signature }))
}

/// The expression that reads `text` as the type, if arrow's own cast would not do.
pub fn read(text: &Expr, to: &DataType) -> Option<Expr> {
    match to {
        DataType::FixedSizeBinary(16) => Some(UUID_IN.call(vec![text.clone()])),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            Some(BYTEA_IN.call(vec![text.clone()]))
        }
        _ => None,
    }
}

/// The 16 bytes of a uuid as Postgres reads it: 32 digits, hyphens after any four, braces around.
pub fn uuid(text: &str) -> std::result::Result<[u8; 16], Error> {
    let invalid =
        || Error::new(SqlState::INVALID_TEXT, format!("invalid input syntax for type uuid: \"{text}\""));
    let inner = text.trim();
    let inner = match inner.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(invalid)?,
        None => inner,
    };
    let digits: Vec<u8> = inner.bytes().filter(|byte| *byte != b'-').collect();
    let bytes = hexadecimal(&digits).ok_or_else(invalid)?;
    bytes.try_into().map_err(|_| invalid())
}

/// The bytes of a bytea (Postgres manual 8.4): `\x` and hexadecimal digits, or the escape format.
pub fn bytea(text: &str) -> std::result::Result<Vec<u8>, Error> {
    let invalid = || Error::new(SqlState::INVALID_TEXT, "invalid input syntax for type bytea");
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        return hexadecimal(&digits)
            .ok_or_else(|| Error::new(SqlState::INVALID_PARAMETER_VALUE, "invalid hexadecimal data"));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return Ok(bytes),
            [b'\\', b'\\', tail @ ..] => {
                bytes.push(b'\\');
                rest = tail;
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = tail;
            }
            [b'\\', ..] => return Err(invalid()),
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(nibble(*high)? * 16 + nibble(*low)?),
        _ => None,
    });
    pairs.collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextInput {
    name: &'static str,
    result: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for TextInput {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(text) = args.args.first() else {
            return Err(DataFusionError::Internal("one argument expected".into()));
        };
        let text = cast(&text.clone().into_array(args.number_rows)?, &DataType::Utf8)?;
        let values = text.as_string::<i32>();
        let result: ArrayRef = if self.result == DataType::Binary {
            let mut builder = BinaryBuilder::with_capacity(values.len(), 0);
            for value in values {
                builder.append_option(value.map(bytea).transpose()?);
            }
            Arc::new(builder.finish())
        } else {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(values.len(), 16);
            for value in values {
                match value {
                    Some(value) => builder.append_value(uuid(value)?)?,
                    None => builder.append_null(),
                }
            }
            Arc::new(builder.finish())
        };
        Ok(ColumnarValue::Array(result))
    }
}

#[cfg(test)]
mod tests {
    use super::{bytea, uuid};

    #[test]
    fn forms_of_uuids() {
        let expected = uuid("a0eebc999c0b4ef8bb6d6bb9bd380a11").unwrap();
        assert_eq!(uuid("{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}").unwrap(), expected);
        assert!(uuid("a0eebc99").is_err());
        assert!(uuid("x0eebc999c0b4ef8bb6d6bb9bd380a11").is_err());
    }

    #[test]
    fn forms_of_bytea() {
        assert_eq!(bytea("\\x00fF 10").unwrap(), [0, 255, 16]);
        assert_eq!(bytea("a\\\\b\\001").unwrap(), b"a\\b\x01");
        assert!(bytea("\\x0").is_err());
        assert!(bytea("\\xzz").is_err());
        assert!(bytea("\\9").is_err());
    }
}
