//! Mathematical functions (manual 9.3) whose types or rounding differ from DataFusion's.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, i256};
use datafusion::error::Result;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::columnar::{Columnar, Columns, type_name};
use super::function::error;
use super::numeric::{INEXACT, INEXACT_SCALE, digits, of_wide, overflow, power_of_ten, too_long};

pub const FUNCTIONS: &[Columnar] = &[
    Columnar {
        name: "numeric",
        volatility: Volatility::Immutable,
        arguments: |types| match types {
            [t] if t.is_string() => Some(vec![DataType::Utf8]),
            [t] if t.is_numeric() || t.is_null() => Some(vec![as_numeric(t)]),
            _ => None,
        },
        returns: |types, _| Ok(types.first().map_or(INEXACT, as_numeric)),
        eval: |columns| match columns.array(0)?.as_string_opt::<i32>() {
            Some(texts) => numbers(texts),
            None => Ok(columns.array(0)?.clone()),
        },
    },
    Columnar {
        name: "power",
        volatility: Volatility::Immutable,
        arguments: |types| {
            let numbers =
                types.len() == 2 && types.iter().all(|t| t.is_numeric() || t.is_string() || t.is_null());
            numbers.then(|| vec![DataType::Float64; 2])
        },
        returns: |_, _| Ok(DataType::Float64),
        eval: power,
    },
    Columnar {
        name: "sign",
        volatility: Volatility::Immutable,
        arguments: |types| match types {
            [t @ DataType::Decimal128(..)] => Some(vec![t.clone()]),
            [t] if t.is_numeric() || t.is_string() || t.is_null() => Some(vec![DataType::Float64]),
            _ => None,
        },
        returns: |types, _| {
            Ok(match types {
                [DataType::Decimal128(..)] => DataType::Decimal128(1, 0),
                _ => DataType::Float64,
            })
        },
        eval: sign,
    },
];

fn as_numeric(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Decimal128(..) | DataType::Decimal256(..) => data_type.clone(),
        other => match digits(other) {
            Some((precision, scale)) => DataType::Decimal128(precision.max(1), scale),
            None => INEXACT,
        },
    }
}

/// Texts as numbers with all of their digits. Fails with 22P02 and 22003.
fn numbers(texts: &StringArray) -> Result<ArrayRef> {
    of_wide(texts.iter().map(|text| text.map(number).transpose()), &INEXACT)
}

fn number(text: &str) -> Result<i256> {
    let invalid = || error("22P02", format!("invalid input syntax for type numeric: \"{text}\""));
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let (negative, unsigned) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, trimmed.get(1..).unwrap_or_default()),
        Some(b'+') => (false, trimmed.get(1..).unwrap_or_default()),
        _ => (false, trimmed),
    };
    if ["nan", "inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word)) {
        return Err(error("0A000", format!("{trimmed} as a value of type numeric is not supported")));
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| invalid())?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(invalid());
    }
    let kept = format!("{whole}{fraction}");
    let kept = kept.trim_start_matches('0');
    let significant = kept.trim_end_matches('0');
    if significant.is_empty() {
        return Ok(i256::ZERO);
    }
    let zeros = i32::try_from(kept.len() - significant.len()).map_err(|_| overflow())?;
    let places = i32::try_from(fraction.len()).map_err(|_| overflow())?;
    let shift = exponent.saturating_sub(places).saturating_add(zeros).saturating_add(INEXACT_SCALE.into());
    if shift < 0 {
        return Err(too_long());
    }
    let factor = power_of_ten(i16::try_from(shift).map_err(|_| overflow())?)?;
    let digits = significant.parse::<i256>().map_err(|_| overflow())?;
    let value = digits.checked_mul(factor).ok_or_else(overflow)?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

fn power(columns: &Columns<'_>) -> Result<ArrayRef> {
    let (bases, exponents) =
        (columns.array(0)?.as_primitive::<Float64Type>(), columns.array(1)?.as_primitive::<Float64Type>());
    let values = bases.iter().zip(exponents).map(|pair| match pair {
        (Some(base), Some(exponent)) => one_power(base, exponent).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(values.collect::<Result<Float64Array>>()?))
}

fn one_power(base: f64, exponent: f64) -> Result<f64> {
    if base == 0.0 && exponent < 0.0 {
        return Err(error("2201F", "zero raised to a negative power is undefined"));
    }
    if base < 0.0 && base.is_finite() && exponent.is_finite() && exponent.fract() != 0.0 {
        let message = "a negative number raised to a non-integer power yields a complex result";
        return Err(error("2201F", message));
    }
    let power = base.powf(exponent);
    if power.is_infinite() && base.is_finite() && exponent.is_finite() {
        return Err(error("22003", "value out of range: overflow"));
    }
    Ok(power)
}

fn sign(columns: &Columns<'_>) -> Result<ArrayRef> {
    let values = columns.array(0)?;
    if let DataType::Decimal128(..) = values.data_type() {
        let signs = super::numeric::narrow(values)?.iter().map(|value| value.map(i128::signum));
        return Ok(Arc::new(signs.collect::<Decimal128Array>().with_data_type(columns.result.clone())));
    }
    let sign = |value: f64| if value == 0.0 || value.is_nan() { value } else { value.signum() };
    Ok(Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(sign)))
}

/// `round`: floating point numbers (and integers, which become such) to the nearest even number, decimals as
/// DataFusion does: half away from zero.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Round {
    native: Arc<ScalarUDF>,
    signature: Signature,
}

impl Default for Round {
    fn default() -> Self {
        Self {
            native: datafusion::functions::math::round(),
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

static ROUND: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Round::default())));

/// A number as an integer of its own type: what a cast to an integer rounds to.
pub fn rounded(number: Expr) -> Expr {
    ROUND.call(vec![number])
}

/// Coerced argument types of another function.
fn native_types(native: &ScalarUDF, types: &[DataType]) -> Result<Vec<DataType>> {
    let fields: Vec<FieldRef> =
        types.iter().map(|t| Arc::new(Field::new("", t.clone(), true)) as FieldRef).collect();
    let fields = fields_with_udf(&fields, native)?;
    Ok(fields.iter().map(|field| field.data_type().clone()).collect())
}

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        "round"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [t] if t.is_integer() || t.is_floating() || t.is_null() => Ok(vec![DataType::Float64]),
            // Postgres has no round(double precision, integer); this one is DataFusion's.
            [t, places] if t.is_integer() => native_types(&self.native, &[as_numeric(t), places.clone()]),
            // A cast around the literal would hide how many digits are left, which is the scale of the result.
            [t, places @ DataType::Int64] if t.is_decimal() => Ok(vec![t.clone(), places.clone()]),
            [_] | [_, _] => native_types(&self.native, types),
            _ => {
                let names: Vec<_> = types.iter().map(type_name).collect();
                Err(error("42883", format!("function round({}) does not exist", names.join(", "))))
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Float64] => Ok(DataType::Float64),
            _ => self.native.return_type(types),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields {
            [field] if *field.data_type() == DataType::Float64 => {
                Ok(Arc::new(Field::new(self.name(), DataType::Float64, true)))
            }
            _ => self.native.return_field_from_args(args),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Scalar(ScalarValue::Float64(value))] => {
                Ok(ColumnarValue::Scalar(ScalarValue::Float64(value.map(f64::round_ties_even))))
            }
            [ColumnarValue::Array(values)] if *values.data_type() == DataType::Float64 => {
                let values = values.as_primitive::<Float64Type>();
                Ok(ColumnarValue::Array(Arc::new(values.unary::<_, Float64Type>(f64::round_ties_even))))
            }
            [_, places] if places.data_type() == DataType::Int64 => {
                let places = places.cast_to(&DataType::Int32, None)?;
                let mut args = args;
                if let [_, places_field] = args.arg_fields.as_mut_slice() {
                    *places_field = Arc::new(places_field.as_ref().clone().with_data_type(DataType::Int32));
                }
                args.args.truncate(1);
                args.args.push(places);
                self.native.invoke_with_args(args)
            }
            _ => self.native.invoke_with_args(args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_their_digits() {
        let scaled = |n: i128, power| i256::from_i128(n).wrapping_mul(power_of_ten(power).unwrap());
        assert_eq!(number(" -1.50 ").unwrap(), scaled(-15, 29));
        assert_eq!(number("1e-30").unwrap(), i256::ONE);
        assert_eq!(number("+.5E1").unwrap(), scaled(5, 30));
        assert_eq!(number("0e99").unwrap(), i256::ZERO);
        assert_eq!(number("100").unwrap(), scaled(1, 32));
        for wrong in ["", "-", ".", "1e", "1.2.3", "0x10", "1 2", "--1", "nan", "1e-31", "1e99"] {
            assert!(number(wrong).is_err(), "{wrong}");
        }
    }
}
