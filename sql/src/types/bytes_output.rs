//! Text of `uuid`, which is bytes to arrow.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

static UUID_OUT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function("uuid_out"));

fn function(name: &'static str) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(BytesOutput {
        name,
        signature: Signature::any(1, Volatility::Immutable),
    }))
}

/// The expression that writes a value of the type as text. `None`: it is no uuid.
pub fn write(value: &Expr, from: &DataType) -> Option<Expr> {
    (*from == DataType::FixedSizeBinary(16)).then(|| UUID_OUT.call(vec![value.clone()]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BytesOutput {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for BytesOutput {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(bytes) = args.args.first() else {
            return Err(DataFusionError::Internal("one argument expected".into()));
        };
        let constant = matches!(bytes, ColumnarValue::Scalar(_));
        let bytes = cast(&bytes.to_array(if constant { 1 } else { args.number_rows })?, &DataType::Binary)?;
        let mut texts = StringBuilder::new();
        let mut text = String::new();
        for value in bytes.as_binary::<i32>() {
            texts.append_option(value.map(|value| {
                text.clear();
                put_uuid(value, &mut text);
                text.as_str()
            }));
        }
        let texts: ArrayRef = Arc::new(texts.finish());
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?)
        } else {
            ColumnarValue::Array(texts)
        })
    }
}

fn put_uuid(bytes: &[u8], text: &mut String) {
    for (position, byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::put_uuid;
    use crate::types::text_input::uuid;

    #[test]
    fn text_is_read_as_the_same_bytes() {
        let mut text = String::new();
        put_uuid(
            &[0xa0, 0xee, 0xbc, 0x99, 0x9c, 0x0b, 0x4e, 0xf8, 0xbb, 0x6d, 0x6b, 0xb9, 0xbd, 0x38, 0x0a, 0x01],
            &mut text,
        );
        assert_eq!(text, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a01");
        assert_eq!(uuid(&text).unwrap()[15], 1);
    }
}
