//! Text to the items of an array, as `array_in` reads it (manual 8.15.6): `{1,2}`, `{"a b",NULL}`.

use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, ListBuilder, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::text_input;
use crate::error::{Error, SqlState};
use crate::pg_catalog::value::parse_array_literal;

static ARRAY_IN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Arc::new(ScalarUDF::new_from_impl(ArrayInput { signature: Signature::any(1, Volatility::Immutable) }))
});

/// The expression that reads a text as an array of items of this type, but for the cast to that type.
pub fn read(text: &Expr, item: &DataType) -> Expr {
    let items = ARRAY_IN.call(vec![text.clone()]);
    text_input::read(&items, item).unwrap_or(items)
}

/// Fails with 22P02 for what is no array, and with 0A000 for one of several dimensions.
fn items(text: &str) -> std::result::Result<Vec<Option<String>>, Error> {
    parse_array_literal(text).ok_or_else(|| match text.trim_start().strip_prefix('{') {
        Some(rest) if rest.trim_start().starts_with('{') => {
            Error::new(SqlState::FEATURE_NOT_SUPPORTED, "an array of several dimensions is not supported")
        }
        _ => Error::new(SqlState::INVALID_TEXT, format!("malformed array literal: \"{text}\"")),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArrayInput {
    signature: Signature,
}

impl ScalarUDFImpl for ArrayInput {
    fn name(&self) -> &str {
        "array_in"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Utf8, true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(text) = args.args.first() else {
            return Err(DataFusionError::Internal("one argument expected".into()));
        };
        let constant = matches!(text, ColumnarValue::Scalar(_));
        let rows = if constant { 1 } else { args.number_rows };
        let texts = cast(&text.to_array(rows)?, &DataType::Utf8)?;
        let mut lists = ListBuilder::new(StringBuilder::new());
        for text in texts.as_string::<i32>() {
            match text {
                Some(text) => lists.append_value(items(text)?),
                None => lists.append_null(),
            }
        }
        let lists = lists.finish();
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&lists, 0)?)
        } else {
            ColumnarValue::Array(Arc::new(lists))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::items;

    #[test]
    fn what_is_an_array() {
        let found = items(" {a, \"b c\",NULL,\"NULL\"} ").unwrap();
        let expected = [Some("a"), Some("b c"), None, Some("NULL")];
        assert_eq!(found, expected.map(|item| item.map(str::to_string)));
        assert!(items("{}").unwrap().is_empty());
        assert_eq!(items("a").unwrap_err().code.0, "22P02");
        assert_eq!(items("{a,{b}").unwrap_err().code.0, "22P02");
        assert_eq!(items("{{1},{2}}").unwrap_err().code.0, "0A000");
    }
}
