//! Quotients and products of `numeric` (manual 9.3). Postgres' numeric has no fixed scale; arrow's decimals
//! do. A quotient has 20 digits after the point, which is what Postgres keeps of numbers below 1, and is
//! shown with as many as Postgres would show ([`QUOTIENT`]). What does not fit 38 digits is computed with
//! 76; what does not fit these is an error, never a wrong value.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Field, FieldRef, i256};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::function::error;
use crate::error::{Error, SqlState};
use crate::types::QUOTIENT;

/// Digits after the point of a quotient.
pub const QUOTIENT_SCALE: i8 = 20;
/// Digits after the point of what is cast to `numeric` from a number that is not exact, or from text: all that
/// a floating point number has, but for the smallest ones.
pub const INEXACT_SCALE: i8 = 30;
/// The type of that, which is shown without zeros at its end.
pub const INEXACT: DataType = DataType::Decimal256(DIGITS_256, INEXACT_SCALE);
/// A product with so many digits after the point has a quotient in it: it may need more than 38 digits.
const LONG_SCALE: i16 = 20;
const DIGITS_128: i16 = 38;
const DIGITS_256: u8 = 76;

static DIVIDE: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Operator::udf(Operation::Divide));
static MULTIPLY: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Operator::udf(Operation::Multiply));

/// `left / right`, where one is a decimal and both are decimals or integers. Fails with 22012 and 22003.
pub fn quotient(left: Expr, right: Expr) -> Expr {
    DIVIDE.call(vec![left, right])
}

/// `left * right` of two types, if it needs more than arrow's own product of 38 digits.
pub fn wide_product(left: &DataType, right: &DataType) -> Option<Arc<ScalarUDF>> {
    let ((p1, s1), (p2, s2)) = (digits(left)?, digits(right)?);
    let scale = i16::from(s1) + i16::from(s2);
    let precision = i16::from(p1) + i16::from(p2) + 1;
    (precision > DIGITS_128 && scale >= LONG_SCALE).then(|| MULTIPLY.clone())
}

/// Precision and scale of a number that is exact.
pub fn digits(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::UInt64 => (20, 0),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => (*p, *s),
        _ => return None,
    })
}

/// The decimal with so many digits before the point and after it.
pub fn exact_type(whole: i16, scale: i16) -> DataType {
    let scale = i8::try_from(scale.min(i16::from(DIGITS_256))).unwrap_or(i8::MAX);
    match u8::try_from(whole.max(0) + i16::from(scale)) {
        Ok(precision) if i16::from(precision) <= DIGITS_128 => DataType::Decimal128(precision.max(1), scale),
        _ => DataType::Decimal256(DIGITS_256, scale),
    }
}

/// The type of the quotient of numbers of these digits.
pub fn quotient_type((p1, s1): (u8, i8), (_, s2): (u8, i8)) -> DataType {
    let whole = i16::from(p1) - i16::from(s1) + i16::from(s2);
    exact_type(whole, i16::from(QUOTIENT_SCALE.max(s1).max(s2)))
}

fn product_type((p1, s1): (u8, i8), (p2, s2): (u8, i8)) -> DataType {
    let whole = i16::from(p1) - i16::from(s1) + i16::from(p2) - i16::from(s2);
    let exact = i16::from(s1) + i16::from(s2);
    // Products of products keep room before the point.
    exact_type(whole, exact.min(i16::from(s1.max(s2)).max(40)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operation {
    Divide,
    Multiply,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Operator {
    operation: Operation,
    signature: Signature,
}

impl Operator {
    fn udf(operation: Operation) -> Arc<ScalarUDF> {
        let signature = Signature::any(2, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Self { operation, signature }))
    }
}

fn two<T>(values: &[T]) -> Result<(&T, &T)> {
    match values {
        [left, right] => Ok((left, right)),
        _ => Err(DataFusionError::Internal("two operands expected".into())),
    }
}

impl ScalarUDFImpl for Operator {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Divide => "numeric_div",
            Operation::Multiply => "numeric_mul",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let (left, right) = two(types)?;
        let (Some(left), Some(right)) = (digits(left), digits(right)) else {
            return Err(DataFusionError::Internal("operands are no exact numbers".into()));
        };
        Ok(match self.operation {
            Operation::Divide => quotient_type(left, right),
            Operation::Multiply => product_type(left, right),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let field = Field::new(self.name(), self.return_type(&types)?, true);
        Ok(Arc::new(match self.operation {
            Operation::Divide => {
                let scales = types.iter().filter_map(digits).map(|(_, scale)| scale);
                as_quotient(field, scales.max().unwrap_or(0))
            }
            Operation::Multiply => field,
        }))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let (left, right) = two(&arrays)?;
        let result = args.return_field.data_type();
        let array = match self.operation {
            Operation::Divide => divide(left, right, result)?,
            Operation::Multiply => multiply(left, right, result)?,
        };
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}

/// A field that is shown as quotients are. `scale`: of the operand with the most digits after the point.
pub fn as_quotient(field: Field, scale: i8) -> Field {
    let metadata = [(QUOTIENT.to_string(), scale.max(0).to_string())];
    field.with_metadata(metadata.into_iter().collect())
}

/// 22003.
pub fn overflow() -> DataFusionError {
    error("22003", "value overflows numeric format")
}

/// 22003 for a value with more digits after the point than [`INEXACT`] has.
pub fn too_long() -> DataFusionError {
    let message = format!("a numeric with more than {INEXACT_SCALE} digits after the point is not supported");
    let hint = "Say how many it is to have: ::numeric(38,38), or round it.";
    DataFusionError::External(Box::new(Error::new(SqlState::NUMERIC_OUT_OF_RANGE, message).with_hint(hint)))
}

/// Decimals and integers as decimals of 256 bits.
pub fn wide(array: &ArrayRef) -> Result<(Decimal256Array, i8)> {
    let (precision, scale) = digits(array.data_type())
        .ok_or_else(|| DataFusionError::Internal("an operand is no exact number".into()))?;
    let wide = cast(array, &DataType::Decimal256(precision.max(1), scale))?;
    Ok((wide.as_primitive::<Decimal256Type>().clone(), scale))
}

/// Fails with 22003 above 10^76.
pub fn power_of_ten(exponent: i16) -> Result<i256> {
    let mut power = i256::ONE;
    for _ in 0..exponent {
        power = power.checked_mul(i256::from_i128(10)).ok_or_else(overflow)?;
    }
    Ok(power)
}

/// Half away from zero, as Postgres rounds. `divisor` is not zero.
pub fn rounded_quotient(dividend: i256, divisor: i256) -> i256 {
    if let (Some(n), Some(d)) = (dividend.to_i128(), divisor.to_i128())
        && n != i128::MIN
        && d.unsigned_abs() < 1 << 126
    {
        let (quotient, rest) = (n / d, n % d);
        let away = rest.unsigned_abs() * 2 >= d.unsigned_abs();
        let step = if !away {
            0
        } else if (n < 0) == (d < 0) {
            1
        } else {
            -1
        };
        return i256::from_i128(quotient).wrapping_add(i256::from_i128(step));
    }
    let (quotient, rest) = (dividend.wrapping_div(divisor), dividend.wrapping_rem(divisor));
    // Not 2 × rest, which may not fit.
    let away = rest.wrapping_abs() >= divisor.wrapping_abs().wrapping_sub(rest.wrapping_abs());
    let step = if !away {
        0
    } else if dividend.is_negative() == divisor.is_negative() {
        1
    } else {
        -1
    };
    quotient.wrapping_add(i256::from_i128(step))
}

/// The quotient times ten to the power of `places`, digit by digit, as by hand. `None`: it does not fit.
fn long_quotient(dividend: i256, divisor: i256, places: i16) -> Option<i256> {
    let ten = i256::from_i128(10);
    let (mut quotient, mut rest) = (dividend.wrapping_div(divisor), dividend.wrapping_rem(divisor));
    for _ in 0..places {
        rest = rest.checked_mul(ten)?;
        quotient = quotient.checked_mul(ten)?.checked_add(rest.wrapping_div(divisor))?;
        rest = rest.wrapping_rem(divisor);
    }
    quotient.checked_add(rounded_quotient(rest, divisor))
}

/// Quotients as decimals of the type `result`. Fails with 22012 and 22003.
pub fn divide(left: &ArrayRef, right: &ArrayRef, result: &DataType) -> Result<ArrayRef> {
    let ((left, s1), (right, s2)) = (wide(left)?, wide(right)?);
    let (_, scale) = digits(result).ok_or_else(overflow)?;
    let places = (i16::from(scale) - i16::from(s1) + i16::from(s2)).max(0);
    let factor = power_of_ten(places)?;
    let one = |n: i256, d: i256| -> Result<i256> {
        if d == i256::ZERO {
            return Err(error("22012", "division by zero"));
        }
        match n.checked_mul(factor) {
            Some(n) => Ok(rounded_quotient(n, d)),
            None => long_quotient(n, d, places).ok_or_else(overflow),
        }
    };
    combine(&left, &right, result, one)
}

fn multiply(left: &ArrayRef, right: &ArrayRef, result: &DataType) -> Result<ArrayRef> {
    let ((left, s1), (right, s2)) = (wide(left)?, wide(right)?);
    let (_, scale) = digits(result).ok_or_else(overflow)?;
    let divisor = power_of_ten((i16::from(s1) + i16::from(s2) - i16::from(scale)).max(0))?;
    combine(&left, &right, result, |a, b| {
        match a.checked_mul(b) {
            Some(product) => Ok(rounded_quotient(product, divisor)),
            None => {
                // What is before and what is behind the digits that go.
                let (high, low) = (a.wrapping_div(divisor), a.wrapping_rem(divisor));
                let low = rounded_quotient(low.checked_mul(b).ok_or_else(overflow)?, divisor);
                high.checked_mul(b).and_then(|high| high.checked_add(low)).ok_or_else(overflow)
            }
        }
    })
}

fn combine(
    left: &Decimal256Array,
    right: &Decimal256Array,
    result: &DataType,
    one: impl Fn(i256, i256) -> Result<i256>,
) -> Result<ArrayRef> {
    let values = left.iter().zip(right.iter()).map(|pair| match pair {
        (Some(left), Some(right)) => one(left, right).map(Some),
        _ => Ok(None),
    });
    of_wide(values, result)
}

/// Values as decimals of the type `result`, whose scale they have. Fails with 22003.
pub fn of_wide(values: impl Iterator<Item = Result<Option<i256>>>, result: &DataType) -> Result<ArrayRef> {
    let limit = power_of_ten(match result {
        DataType::Decimal128(..) => DIGITS_128,
        _ => i16::from(DIGITS_256),
    })?;
    let checked = values.map(|value| match value? {
        Some(value) if value.wrapping_abs() >= limit => Err(overflow()),
        value => Ok(value),
    });
    Ok(match result {
        DataType::Decimal128(..) => {
            let narrow = checked.map(|value| Ok(value?.and_then(i256::to_i128)));
            let array: Decimal128Array = narrow.collect::<Result<_>>()?;
            Arc::new(array.with_data_type(result.clone()))
        }
        _ => {
            let array: Decimal256Array = checked.collect::<Result<_>>()?;
            Arc::new(array.with_data_type(result.clone()))
        }
    })
}

/// The values of decimals of 128 bits.
pub fn narrow(array: &ArrayRef) -> Result<&Decimal128Array> {
    array
        .as_primitive_opt::<Decimal128Type>()
        .ok_or_else(|| DataFusionError::Internal("an argument is no decimal".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_away_from_zero() {
        let q = |n: i128, d: i128| rounded_quotient(i256::from_i128(n), i256::from_i128(d)).to_i128();
        assert_eq!(q(5, 2), Some(3));
        assert_eq!(q(-5, 2), Some(-3));
        assert_eq!(q(5, -2), Some(-3));
        assert_eq!(q(-5, -2), Some(3));
        assert_eq!(q(7, 3), Some(2));
        let huge = power_of_ten(60).unwrap();
        let half = huge.wrapping_add(rounded_quotient(huge, i256::from_i128(2)));
        assert_eq!(rounded_quotient(half, huge).to_i128(), Some(2));
        assert_eq!(rounded_quotient(half.wrapping_neg(), huge).to_i128(), Some(-2));
    }

    #[test]
    fn quotients_by_hand() {
        for (n, d) in [(1, 3), (-2, 3), (2, -3), (7, 7), (-1, -6), (12_345, 678), (5, 2)] {
            let (n, d) = (i256::from_i128(n), i256::from_i128(d));
            let at_once = rounded_quotient(n.wrapping_mul(power_of_ten(9).unwrap()), d);
            assert_eq!(long_quotient(n, d, 9), Some(at_once));
        }
        let huge = power_of_ten(70).unwrap();
        assert_eq!(long_quotient(huge, huge, 30), Some(power_of_ten(30).unwrap()));
        assert_eq!(long_quotient(huge, i256::ONE, 30), None);
    }

    #[test]
    fn types_of_quotients() {
        assert_eq!(quotient_type((10, 0), (2, 1)), DataType::Decimal128(31, 20));
        assert_eq!(quotient_type((38, 4), (38, 4)), DataType::Decimal256(76, 20));
        assert_eq!(quotient_type((5, 5), (30, 30)), DataType::Decimal256(76, 30));
    }
}
