//! Functions about the digits of `numeric` (manual 9.3), and about the bits and bytes of values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, i256};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::Volatility;

use super::columnar::{Columnar, Columns};
use super::function::error;
use super::numeric::{INEXACT, INEXACT_SCALE, digits, of_wide, overflow, power_of_ten, too_long, wide};
use crate::types::text_style::is_bytea;

pub const FUNCTIONS: &[Columnar] = &[
    Columnar {
        name: "div",
        volatility: Volatility::Immutable,
        arguments: |types| exact(types, 2),
        returns: |_, _| Ok(DataType::Decimal128(38, 0)),
        eval: div,
    },
    Columnar {
        name: "scale",
        volatility: Volatility::Immutable,
        arguments: |types| exact(types, 1),
        returns: |_, _| Ok(DataType::Int32),
        eval: |columns| each(columns, |_, scale| scale),
    },
    Columnar {
        name: "min_scale",
        volatility: Volatility::Immutable,
        arguments: |types| exact(types, 1),
        returns: |_, _| Ok(DataType::Int32),
        eval: |columns| each(columns, min_scale),
    },
    Columnar {
        name: "trim_scale",
        volatility: Volatility::Immutable,
        arguments: |types| exact(types, 1),
        returns: |_, _| Ok(INEXACT),
        eval: trim_scale,
    },
    Columnar {
        name: "bit_count",
        volatility: Volatility::Immutable,
        arguments: |types| match types {
            [t] if is_bytea(t) || t.is_string() => Some(vec![DataType::Binary]),
            _ => None,
        },
        returns: |_, _| Ok(DataType::Int64),
        eval: bit_count,
    },
    Columnar {
        name: "pg_column_size",
        volatility: Volatility::Immutable,
        arguments: |types| (types.len() == 1).then(|| types.to_vec()),
        returns: |_, _| Ok(DataType::Int32),
        eval: column_size,
    },
];

/// So many numbers that are exact, as they are.
fn exact(types: &[DataType], count: usize) -> Option<Vec<DataType>> {
    let exact = types.len() == count && types.iter().all(|t| digits(t).is_some() || t.is_null());
    let known = |t: &DataType| if t.is_null() { DataType::Decimal128(1, 0) } else { t.clone() };
    exact.then(|| types.iter().map(known).collect())
}

/// The whole part of a quotient. Fails with 22012 and 22003.
fn div(columns: &Columns<'_>) -> Result<ArrayRef> {
    let ((left, s1), (right, s2)) = (wide(columns.array(0)?)?, wide(columns.array(1)?)?);
    let common = s1.max(s2);
    let factors =
        (power_of_ten(i16::from(common) - i16::from(s1))?, power_of_ten(i16::from(common) - i16::from(s2))?);
    let values = left.iter().zip(right.iter()).map(|pair| match pair {
        (Some(_), Some(i256::ZERO)) => Err(error("22012", "division by zero")),
        (Some(left), Some(right)) => {
            let left = left.checked_mul(factors.0).ok_or_else(overflow)?;
            let right = right.checked_mul(factors.1).ok_or_else(overflow)?;
            Ok(Some(left.wrapping_div(right)))
        }
        _ => Ok(None),
    });
    of_wide(values, columns.result)
}

/// A number of each value and the scale of its type.
fn each(columns: &Columns<'_>, of: fn(i256, i32) -> i32) -> Result<ArrayRef> {
    let (values, scale) = wide(columns.array(0)?)?;
    let values = values.iter().map(|value| value.map(|value| of(value, scale.max(0).into())));
    Ok(Arc::new(values.collect::<Int32Array>()))
}

/// How many digits after the point a value needs.
fn min_scale(mut value: i256, mut scale: i32) -> i32 {
    let ten = i256::from_i128(10);
    while scale > 0 && value.wrapping_rem(ten) == i256::ZERO {
        value = value.wrapping_div(ten);
        scale -= 1;
    }
    scale
}

/// The number as one of the type that is shown without zeros at its end. Fails with 22003.
fn trim_scale(columns: &Columns<'_>) -> Result<ArrayRef> {
    let (values, scale) = wide(columns.array(0)?)?;
    let places = i16::from(INEXACT_SCALE) - i16::from(scale);
    let (factor, divisor) = (power_of_ten(places.max(0))?, power_of_ten((-places).max(0))?);
    let values = values.iter().map(|value| match value {
        Some(value) if value.wrapping_rem(divisor) != i256::ZERO => Err(too_long()),
        Some(value) => value.wrapping_div(divisor).checked_mul(factor).map(Some).ok_or_else(overflow),
        None => Ok(None),
    });
    of_wide(values, &INEXACT)
}

fn bit_count(columns: &Columns<'_>) -> Result<ArrayRef> {
    let bytes = columns
        .array(0)?
        .as_binary_opt::<i32>()
        .ok_or_else(|| DataFusionError::Internal("an argument is no bytea".into()))?;
    let count = |bytes: &[u8]| bytes.iter().map(|byte| i64::from(byte.count_ones())).sum::<i64>();
    Ok(Arc::new(bytes.iter().map(|value| value.map(count)).collect::<Int64Array>()))
}

/// Bytes of a value as Postgres has it in a row that is not stored: those of variable length begin with four
/// that tell it.
fn column_size(columns: &Columns<'_>) -> Result<ArrayRef> {
    const HEADER: usize = 4;
    let array = columns.array(0)?;
    let nulls = array.logical_nulls();
    let is_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let size: Box<dyn Fn(usize) -> usize> = match array.data_type() {
        DataType::Boolean => Box::new(|_| 1),
        DataType::Interval(_) | DataType::Duration(_) | DataType::FixedSizeBinary(16) => Box::new(|_| 16),
        DataType::Date32 | DataType::Date64 => Box::new(|_| 4),
        DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) => Box::new(|_| 8),
        t if is_bytea(t) || t.is_string() => {
            let bytes = cast(array, &DataType::LargeBinary)?;
            let bytes = bytes.as_binary::<i64>().clone();
            Box::new(move |row| HEADER + bytes.value(row).len())
        }
        t if t.is_integer() || t.is_floating() => {
            let width = t.primitive_width().unwrap_or(8);
            Box::new(move |_| width)
        }
        t if digits(t).is_some() => {
            let (values, scale) = wide(array)?;
            Box::new(move |row| numeric_size(values.value(row), scale))
        }
        // What is nested takes about as much as arrow takes for it.
        _ => {
            let array = array.clone();
            Box::new(move |row| HEADER + array.slice(row, 1).to_data().get_slice_memory_size().unwrap_or(0))
        }
    };
    let sizes = (0..array.len()).map(|row| match is_null(row) {
        true => None,
        false => Some(i32::try_from(size(row)).unwrap_or(i32::MAX)),
    });
    Ok(Arc::new(sizes.collect::<Int32Array>()))
}

/// Length, sign and scale, and two bytes for each four digits (`make_result` in Postgres' sources).
fn numeric_size(value: i256, scale: i8) -> usize {
    let text = value.wrapping_abs().to_string();
    let scale = usize::try_from(scale).unwrap_or(0);
    let padded = format!("{text:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
    let fraction = format!("{fraction:0<width$}", width = fraction.len().div_ceil(4) * 4);
    let groups = whole + &fraction;
    let groups: Vec<&str> = (0..groups.len() / 4).filter_map(|i| groups.get(i * 4..i * 4 + 4)).collect();
    let kept = match groups.iter().position(|group| *group != "0000") {
        None => 0,
        Some(first) => {
            let last = groups.iter().rposition(|group| *group != "0000").unwrap_or(first);
            last - first + 1
        }
    };
    6 + 2 * kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_that_a_value_needs() {
        assert_eq!(min_scale(i256::from_i128(8_410_100), 4), 2);
        assert_eq!(min_scale(i256::ZERO, 3), 0);
        assert_eq!(min_scale(i256::from_i128(-1), 5), 5);
    }

    #[test]
    fn sizes_of_numbers() {
        for (value, scale, size) in [(0, 0, 6), (1, 0, 8), (10_000, 0, 8), (12_345, 0, 10), (15, 1, 10)] {
            assert_eq!(numeric_size(i256::from_i128(value), scale), size, "{value} {scale}");
        }
    }
}
