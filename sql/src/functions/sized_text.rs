//! Functions that make texts as long as an argument says: what would not fit is refused before it takes
//! memory, which a batch of rows has no limit of.

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::Result;
use datafusion::functions::{string, unicode};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::function::error;
use super::guarded::{Guard, guarded};

/// Most bytes of the texts of a batch: Postgres' limit of one.
const LIMIT: i64 = 1 << 30;
/// Most bytes of a character.
const WIDEST: i64 = 4;

/// `repeat`, `lpad` and `rpad`.
pub fn functions() -> Vec<ScalarUDF> {
    guarded::<SizedText>([string::repeat(), unicode::lpad(), unicode::rpad()])
}

#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct SizedText;

/// Bytes of all results, or a little more.
fn bytes(function: &str, args: &ScalarFunctionArgs) -> Result<i64> {
    let [text, number, ..] = args.args.as_slice() else { return Ok(0) };
    let text = cast(&text.to_array(args.number_rows)?, &DataType::Utf8)?;
    let number = cast(&number.to_array(args.number_rows)?, &DataType::Int64)?;
    let (text, number) = (text.as_string::<i32>(), number.as_primitive::<Int64Type>());
    let sizes = (0..text.len()).filter(|i| text.is_valid(*i) && number.is_valid(*i)).map(|i| {
        let each = match function {
            "repeat" => i64::from(text.value_length(i)),
            _ => WIDEST,
        };
        number.value(i).max(0).saturating_mul(each)
    });
    Ok(sizes.fold(0, i64::saturating_add))
}

impl Guard for SizedText {
    fn call(&self, native: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if bytes(native.name(), &args)? > LIMIT {
            return Err(error("54000", "requested length too large"));
        }
        native.invoke_with_args(args)
    }
}
