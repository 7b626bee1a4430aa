//! `width_bucket` (manual 9.3): of exact numbers exactly.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Float64Type, Int32Type};
use datafusion::error::Result;
use datafusion::logical_expr::Volatility;

use super::columnar::{Columnar, Columns, is_text};
use super::function::error;

pub const FUNCTIONS: &[Columnar] = &[Columnar {
    name: "width_bucket",
    volatility: Volatility::Immutable,
    arguments,
    returns: |_, _| Ok(DataType::Int32),
    eval: |columns| match columns.array(1)?.data_type() {
        DataType::List(_) => among(columns),
        DataType::Float64 => buckets(columns, float),
        _ => buckets(columns, exact),
    },
}];

fn arguments(types: &[DataType]) -> Option<Vec<DataType>> {
    let number = |t: &DataType| t.is_numeric() || is_text(t);
    if let [operand, DataType::List(_)] = types {
        let item = Field::new_list_field(DataType::Float64, true);
        return number(operand).then(|| vec![DataType::Float64, DataType::List(Arc::new(item))]);
    }
    let [operand, low, high, count] = types else { return None };
    let bounds = [operand, low, high];
    if !bounds.into_iter().all(number) || !(count.is_integer() || is_text(count)) {
        return None;
    }
    let scale =
        bounds.into_iter().map(|t| if let DataType::Decimal128(_, scale) = t { *scale } else { 0 }).max();
    let both = match scale {
        Some(scale) if !bounds.into_iter().any(DataType::is_floating) => DataType::Decimal128(38, scale),
        _ => DataType::Float64,
    };
    Some(vec![both.clone(), both.clone(), both, DataType::Int32])
}

type Bucket = fn(&Columns<'_>, usize, i32) -> Result<i32>;

fn buckets(columns: &Columns<'_>, bucket: Bucket) -> Result<ArrayRef> {
    let counts = columns.array(3)?.as_primitive::<Int32Type>();
    let of_row = |i: usize| {
        if columns.arrays.iter().any(|array| array.is_null(i)) {
            return Ok(None);
        }
        let count = counts.value(i);
        if count <= 0 {
            return Err(error("2201G", "count must be greater than zero"));
        }
        bucket(columns, i, count).map(Some)
    };
    Ok(Arc::new((0..columns.rows).map(of_row).collect::<Result<Int32Array>>()?))
}

/// Below the first bucket, after the last, or the one that the fraction of the way falls into.
fn place(from_low: Ordering, from_high: Ordering, count: i32, within: impl FnOnce() -> i32) -> Result<i32> {
    match (from_low, from_high) {
        (Ordering::Less, _) => Ok(0),
        (_, Ordering::Less) => Ok(within().clamp(0, count - 1) + 1),
        _ => count.checked_add(1).ok_or_else(|| error("22003", "integer out of range")),
    }
}

fn equal_bounds() -> datafusion::error::DataFusionError {
    error("2201G", "lower bound cannot equal upper bound")
}

fn exact(columns: &Columns<'_>, i: usize, count: i32) -> Result<i32> {
    let value = |k: usize| columns.array(k).map(|array| array.as_primitive::<Decimal128Type>().value(i));
    let (operand, low, high) = (value(0)?, value(1)?, value(2)?);
    if low == high {
        return Err(equal_bounds());
    }
    let (operand, low, high) = if low < high { (operand, low, high) } else { (-operand, -low, -high) };
    let overflow = || error("22003", "numeric field overflow");
    let way = operand.checked_sub(low).ok_or_else(overflow)?;
    let width = high.checked_sub(low).ok_or_else(overflow)?;
    let scaled = way.checked_mul(i128::from(count)).ok_or_else(overflow)?;
    place(operand.cmp(&low), operand.cmp(&high), count, || i32::try_from(scaled / width).unwrap_or(i32::MAX))
}

fn float(columns: &Columns<'_>, i: usize, count: i32) -> Result<i32> {
    let value = |k: usize| columns.array(k).map(|array| array.as_primitive::<Float64Type>().value(i));
    let (operand, low, high) = (value(0)?, value(1)?, value(2)?);
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return Err(error("2201G", "operand, lower bound, and upper bound cannot be NaN"));
    }
    if !low.is_finite() || !high.is_finite() {
        return Err(error("2201G", "lower and upper bounds must be finite"));
    }
    if low == high {
        return Err(equal_bounds());
    }
    let (operand, low, high) = if low < high { (operand, low, high) } else { (-operand, -low, -high) };
    let within = || ((operand - low) / (high - low) * f64::from(count)) as i32;
    place(operand.total_cmp(&low), operand.total_cmp(&high), count, within)
}

/// How many of the thresholds, which ascend, are not greater.
fn among(columns: &Columns<'_>) -> Result<ArrayRef> {
    let operands = columns.array(0)?.as_primitive::<Float64Type>();
    let lists = columns.array(1)?.as_list::<i32>();
    let of_row = |i: usize| {
        if operands.is_null(i) || lists.is_null(i) {
            return Ok(None);
        }
        let thresholds = cast(&lists.value(i), &DataType::Float64)?;
        let thresholds = thresholds.as_primitive::<Float64Type>();
        if thresholds.null_count() > 0 {
            return Err(error("22004", "thresholds array must not contain NULLs"));
        }
        let below = thresholds.values().partition_point(|threshold| *threshold <= operands.value(i));
        Ok(i32::try_from(below).ok())
    };
    Ok(Arc::new((0..columns.rows).map(of_row).collect::<Result<Int32Array>>()?))
}
