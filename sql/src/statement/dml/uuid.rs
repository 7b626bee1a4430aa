//! Text to uuid, for which arrow has no cast.

use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, FixedSizeBinaryBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{Error, SqlState};

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Arc::new(ScalarUDF::new_from_impl(UuidIn { signature: Signature::any(1, Volatility::Immutable) }))
});

/// The expression that reads a uuid.
pub fn parse(text: Expr) -> Expr {
    FUNCTION.call(vec![text])
}

/// The 16 bytes of a uuid as Postgres reads it: 32 digits, hyphens after any four, braces around.
pub fn bytes(text: &str) -> std::result::Result<[u8; 16], Error> {
    let invalid =
        || Error::new(SqlState::INVALID_TEXT, format!("invalid input syntax for type uuid: \"{text}\""));
    let inner = text.trim();
    let inner = match inner.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(invalid)?,
        None => inner,
    };
    let digits: Vec<u8> = inner.bytes().filter(|byte| *byte != b'-').collect();
    if digits.len() != 32 {
        return Err(invalid());
    }
    let mut result = [0; 16];
    for (slot, pair) in result.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| invalid())?;
        if !pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        *slot = u8::from_str_radix(pair, 16).map_err(|_| invalid())?;
    }
    Ok(result)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct UuidIn {
    signature: Signature,
}

impl ScalarUDFImpl for UuidIn {
    fn name(&self) -> &str {
        "uuid_in"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::FixedSizeBinary(16))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(text) = args.args.first() else {
            return Err(DataFusionError::Internal("one argument expected".into()));
        };
        let text = cast(&text.clone().into_array(args.number_rows)?, &DataType::Utf8)?;
        let mut builder = FixedSizeBinaryBuilder::with_capacity(text.len(), 16);
        for value in text.as_string::<i32>() {
            match value {
                Some(value) => builder.append_value(bytes(value)?)?,
                None => builder.append_null(),
            }
        }
        Ok(ColumnarValue::Array(Arc::new(builder.finish())))
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn forms_of_uuids() {
        let expected = bytes("a0eebc999c0b4ef8bb6d6bb9bd380a11").unwrap();
        assert_eq!(bytes("{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}").unwrap(), expected);
        assert!(bytes("a0eebc99").is_err());
        assert!(bytes("x0eebc999c0b4ef8bb6d6bb9bd380a11").is_err());
    }
}
