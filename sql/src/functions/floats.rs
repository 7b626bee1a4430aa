//! Floating point numbers as Postgres computes with them (manual 9.3): what has no value, or none that fits,
//! is an error, where IEEE 754 has an infinity or NaN. And their casts from and to `numeric`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Float64Builder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, i256};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::function::error;
use super::guarded::{Guard, guarded};
use super::numeric::{INEXACT, digits, of_wide, overflow, power_of_ten, rounded_quotient, too_long};

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Fails with 22012 and 22003 if the result is not one of Postgres'. All three are of one type, of which
/// only `real` and `double precision` are looked at; operands have one value or as many as the result.
pub fn check(arithmetic: Arithmetic, left: &dyn Array, right: &dyn Array, result: &dyn Array) -> Result<()> {
    let suspicious = |value: f64| !value.is_finite() || value == 0.0;
    let (left, right, result) = (doubles(left)?, doubles(right)?, doubles(result)?);
    if !result.values().iter().any(|value| suspicious(*value)) {
        return Ok(());
    }
    let operand = |values: &Float64Array, i: usize| values.value(if values.len() == 1 { 0 } else { i });
    for i in (0..result.len()).filter(|i| result.is_valid(*i) && suspicious(result.value(*i))) {
        let (a, b, value) = (operand(&left, i), operand(&right, i), result.value(i));
        if arithmetic == Arithmetic::Divide && b == 0.0 && !a.is_nan() {
            return Err(error("22012", "division by zero"));
        }
        let finite = a.is_finite() && (b.is_finite() || arithmetic == Arithmetic::Divide);
        if value.is_infinite() && finite {
            return Err(error("22003", "value out of range: overflow"));
        }
        let vanished = match arithmetic {
            Arithmetic::Add | Arithmetic::Subtract => false,
            Arithmetic::Multiply => a != 0.0 && b != 0.0,
            Arithmetic::Divide => a != 0.0 && !b.is_infinite(),
        };
        if value == 0.0 && vanished {
            return Err(error("22003", "value out of range: underflow"));
        }
    }
    Ok(())
}

fn doubles(values: &dyn Array) -> Result<Float64Array> {
    Ok(cast(values, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}

/// Functions that DataFusion gives an infinity or NaN of finite numbers.
pub fn checked_functions() -> Vec<ScalarUDF> {
    use datafusion::functions::math;
    let native =
        [math::acos(), math::acosh(), math::asin(), math::atanh(), math::cosh(), math::exp(), math::ln()];
    let more = [math::log(), math::log10(), math::sinh(), math::sqrt()];
    guarded::<Finite>(native.into_iter().chain(more))
}

/// What is not finite, of finite numbers, is an error.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
struct Finite;

fn failure(function: &str, argument: f64) -> DataFusionError {
    match function {
        "ln" | "log" | "log10" if argument == 0.0 => error("2201E", "cannot take logarithm of zero"),
        "ln" | "log" | "log10" if argument < 0.0 => {
            error("2201E", "cannot take logarithm of a negative number")
        }
        // To the base 1.
        "log" => error("22012", "division by zero"),
        "sqrt" => error("2201F", "cannot take square root of a negative number"),
        "exp" if argument < 0.0 => error("22003", "value out of range: underflow"),
        "exp" | "cosh" | "sinh" => error("22003", "value out of range: overflow"),
        _ => error("22003", "input is out of range"),
    }
}

impl Guard for Finite {
    fn call(&self, native: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (arguments, rows, name) = (args.args.clone(), args.number_rows, native.name());
        let sign = |e: DataFusionError| match name {
            // DataFusion has an error of its own, without a SQLSTATE.
            "sqrt" if e.to_string().contains("square root") => failure(name, -1.0),
            _ => e,
        };
        let result = native.invoke_with_args(args).map_err(sign)?;
        let values = doubles(&result.to_array(rows)?)?;
        let ordinary = |value: f64| value.is_finite() && (value != 0.0 || name != "exp");
        if values.values().iter().all(|value| ordinary(*value)) {
            return Ok(result);
        }
        let arguments =
            arguments.iter().map(|arg| doubles(&arg.to_array(rows)?)).collect::<Result<Vec<_>>>()?;
        for i in (0..values.len()).filter(|i| values.is_valid(*i) && !ordinary(values.value(*i))) {
            // The last argument is the one that a logarithm is taken of.
            if let Some(last) = arguments.last()
                && arguments.iter().all(|argument| argument.value(i).is_finite())
            {
                return Err(failure(name, last.value(i)));
            }
        }
        Ok(result)
    }
}

/// A cast between floating point numbers and decimals by their digits, as Postgres does it, where arrow's
/// arithmetic gives others. `None`: arrow's is right.
pub fn by_digits(number: &Expr, source: &DataType, target: &DataType) -> Option<Expr> {
    let long = |t: &DataType| matches!(digits(t), Some((precision, _)) if t.is_decimal() && precision > 15);
    let applies = (source.is_floating() && target.is_decimal()) || (long(source) && target.is_floating());
    let signature = || Signature::any(1, Volatility::Immutable);
    applies.then(|| {
        let function = ByDigits { target: target.clone(), signature: signature() };
        ScalarUDF::new_from_impl(function).call(vec![number.clone()])
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ByDigits {
    target: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for ByDigits {
    fn name(&self) -> &str {
        "by_digits"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.target.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let values = ColumnarValue::values_to_arrays(&args.args)?;
        let values = values.first().ok_or_else(overflow)?;
        let array = match self.target.is_decimal() {
            true => decimals(values, &self.target)?,
            false => floats(values, &self.target)?,
        };
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }
}

/// As many digits as the type surely holds (`FLT_DIG`, `DBL_DIG`).
fn decimals(values: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    let significant = if *values.data_type() == DataType::Float64 { 15 } else { 6 };
    let (precision, scale) = digits(target).ok_or_else(overflow)?;
    let limit = power_of_ten(i16::from(precision))?;
    // Whoever names no digits wants all of them.
    let places = if *target == INEXACT { Places::All } else { Places::Rounded };
    let one = |value: Option<f64>| -> Result<Option<i256>> {
        let Some(value) = value else { return Ok(None) };
        let digits = scaled(value, significant, scale, places)?;
        if digits.wrapping_abs() < limit { Ok(Some(digits)) } else { Err(overflow()) }
    };
    of_wide(doubles(values)?.iter().map(one), target)
}

/// What becomes of digits behind the last place.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Places {
    Rounded,
    /// They are an error.
    All,
}

/// The number times ten to the power of `scale`. Fails with 22003.
fn scaled(value: f64, significant: usize, scale: i8, kept: Places) -> Result<i256> {
    let text = format!("{value:.*e}", significant - 1);
    let (mantissa, exponent) = text.split_once('e').ok_or_else(overflow)?;
    let exponent: i16 = exponent.parse().map_err(|_| overflow())?;
    let mantissa: i64 = mantissa.replace('.', "").parse().map_err(|_| overflow())?;
    let mantissa = i256::from_i128(mantissa.into());
    let places = i16::try_from(significant).unwrap_or(i16::MAX) - 1;
    let shift = exponent - places + i16::from(scale);
    if shift >= 0 {
        return mantissa.checked_mul(power_of_ten(shift)?).ok_or_else(overflow);
    }
    if kept == Places::All {
        let too_small = shift < -20 && mantissa != i256::ZERO;
        if too_small || mantissa.wrapping_rem(power_of_ten((-shift).min(20))?) != i256::ZERO {
            return Err(too_long());
        }
    }
    // Smaller than half of the last place.
    if shift < -20 { Ok(i256::ZERO) } else { Ok(rounded_quotient(mantissa, power_of_ten(-shift)?)) }
}

/// The nearest floating point numbers: arrow divides, and so rounds twice.
fn floats(values: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
    const EXACT: u128 = 1 << 53;
    let scale = digits(values.data_type()).map_or(0, |(_, scale)| scale);
    let mut floats = Float64Builder::with_capacity(values.len());
    let text = |i: usize| -> Result<f64> {
        let text = match values.data_type() {
            DataType::Decimal128(..) => values.as_primitive::<Decimal128Type>().value_as_string(i),
            _ => values.as_primitive::<arrow::datatypes::Decimal256Type>().value_as_string(i),
        };
        text.parse().map_err(|_| overflow())
    };
    for i in 0..values.len() {
        if values.is_null(i) {
            floats.append_null();
            continue;
        }
        let short = match values.as_primitive_opt::<Decimal128Type>().map(|values| values.value(i)) {
            Some(value) if value.unsigned_abs() < EXACT && (0..=22).contains(&scale) => {
                Some(value as f64 / 10f64.powi(i32::from(scale)))
            }
            _ => None,
        };
        floats.append_value(match short {
            Some(value) => value,
            None => text(i)?,
        });
    }
    let floats: ArrayRef = Arc::new(floats.finish());
    Ok(if target == floats.data_type() { floats } else { cast(&floats, target)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_as_written() {
        let digits =
            |value, significant, scale| scaled(value, significant, scale, Places::Rounded).unwrap().to_i128();
        assert_eq!(digits(1.005, 15, 2), Some(101));
        assert_eq!(digits(-1.005, 15, 2), Some(-101));
        assert_eq!(digits(f64::from(0.1f32), 6, 10), Some(1_000_000_000));
        assert_eq!(digits(1e-30, 15, 10), Some(0));
        assert_eq!(digits(0.0, 15, 3), Some(0));
        assert_eq!(digits(1e20, 15, 2), Some(10i128.pow(22)));
        assert!(scaled(f64::NAN, 15, 2, Places::Rounded).is_err());
        assert!(scaled(1e300, 15, 2, Places::Rounded).is_err());
        assert_eq!(scaled(1e-10, 15, 10, Places::All).unwrap(), i256::ONE);
        assert!(scaled(1e-11, 15, 10, Places::All).is_err());
        assert!(scaled(1e-40, 15, 10, Places::All).is_err());
        assert_eq!(scaled(0.0, 15, 10, Places::All).unwrap(), i256::ZERO);
    }
}
