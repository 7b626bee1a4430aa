//! Functions that make texts as long as an argument says: what would not fit is refused before it takes
//! memory, which a batch of rows has no limit of.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::error::Result;
use datafusion::functions::{string, unicode};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::function::error;

/// Most bytes of the texts of a batch: Postgres' limit of one.
const LIMIT: i64 = 1 << 30;
/// Most bytes of a character.
const WIDEST: i64 = 4;

/// `repeat`, `lpad` and `rpad`.
pub fn functions() -> Vec<ScalarUDF> {
    let native = [string::repeat(), unicode::lpad(), unicode::rpad()];
    native.into_iter().map(|native| ScalarUDF::new_from_impl(SizedText { native })).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SizedText {
    native: Arc<ScalarUDF>,
}

impl SizedText {
    /// Bytes of all results, or a little more.
    fn bytes(&self, args: &ScalarFunctionArgs) -> Result<i64> {
        let [text, number, ..] = args.args.as_slice() else { return Ok(0) };
        let text = cast(&text.to_array(args.number_rows)?, &DataType::Utf8)?;
        let number = cast(&number.to_array(args.number_rows)?, &DataType::Int64)?;
        let (text, number) = (text.as_string::<i32>(), number.as_primitive::<Int64Type>());
        let sizes = (0..text.len()).filter(|i| text.is_valid(*i) && number.is_valid(*i)).map(|i| {
            let each = match self.name() {
                "repeat" => i64::from(text.value_length(i)),
                _ => WIDEST,
            };
            number.value(i).max(0).saturating_mul(each)
        });
        Ok(sizes.fold(0, i64::saturating_add))
    }
}

impl ScalarUDFImpl for SizedText {
    fn name(&self) -> &str {
        self.native.name()
    }

    fn signature(&self) -> &Signature {
        self.native.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.native.inner().coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.native.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.native.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if self.bytes(&args)? > LIMIT {
            return Err(error("54000", "requested length too large"));
        }
        self.native.invoke_with_args(args)
    }
}
