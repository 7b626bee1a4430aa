//! Partition values as ranges of the column that they were computed from.
//!
//! For a transform `t` and a partition value `v`, every row of the partition has a column value `x`
//! with `t(x) = v`. This module gives, for whole columns of partition values, the smallest and the
//! largest such `x` (Iceberg spec, "Partition Transforms"). Null means: no bound. A range may be wider
//! than necessary, never narrower.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, Decimal128Array, Int64Array,
    PrimitiveArray, StringArray, new_null_array,
};
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, TimeUnit};
use chrono::NaiveDate;

use super::type_promotion::is_readable_as;
use crate::table::Transform;

const SECONDS_PER_DAY: i64 = 86_400;
const SECONDS_PER_HOUR: i64 = 3_600;

/// Inclusive bounds of the source column, in its type `source`, for partition values between `lower`
/// and `upper`. `None`: the transform gives no range.
pub(super) fn source_range(
    transform: &Transform,
    lower: &ArrayRef,
    upper: &ArrayRef,
    source: &DataType,
) -> Option<(ArrayRef, ArrayRef)> {
    match transform {
        Transform::Identity => Some((lossless_cast(lower, source)?, lossless_cast(upper, source)?)),
        Transform::Year | Transform::Month | Transform::Day | Transform::Hour => {
            let lower = period_bounds(transform, lower, source, Side::Lower)?;
            Some((lower, period_bounds(transform, upper, source, Side::Upper)?))
        }
        Transform::Truncate(width) => {
            let largest = largest_truncated(upper, *width)?;
            let smallest = smallest_truncated(lower, upper, *width);
            Some((lossless_cast(&smallest, source)?, lossless_cast(&largest, source)?))
        }
        Transform::Bucket(_) | Transform::Void | Transform::Unknown(_) => None,
    }
}

/// The values in a type that holds them all; a value that does not fit becomes null. `None`: no such
/// conversion.
pub(super) fn lossless_cast(values: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    if values.data_type() == to {
        return Some(values.clone());
    }
    is_readable_as(values.data_type(), to).then(|| cast(values, to).ok()).flatten()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Lower,
    Upper,
}

/// First (or last) value of the column in each period.
fn period_bounds(
    transform: &Transform,
    values: &ArrayRef,
    source: &DataType,
    side: Side,
) -> Option<ArrayRef> {
    let periods = cast(values, &DataType::Int32).ok()?;
    let periods = periods.as_primitive::<Int32Type>();
    let ticks_per_second = match source {
        DataType::Date32 => None,
        DataType::Timestamp(unit, _) => Some(match unit {
            TimeUnit::Second => 1,
            TimeUnit::Millisecond => 1_000,
            TimeUnit::Microsecond => 1_000_000,
            TimeUnit::Nanosecond => 1_000_000_000_i64,
        }),
        _ => return None,
    };
    let ticks = |seconds: i64| match ticks_per_second {
        None => Some(seconds.div_euclid(SECONDS_PER_DAY)),
        Some(ticks) => seconds.checked_mul(ticks),
    };
    let bound = |period: i32| {
        let period = i64::from(period);
        match side {
            // Some writers rounded values before 1970 towards it, into the period that follows.
            Side::Lower if period <= 0 => period_start(transform, period - 1).and_then(ticks),
            Side::Lower => period_start(transform, period).and_then(ticks),
            Side::Upper => period_start(transform, period + 1).and_then(ticks)?.checked_sub(1),
        }
    };
    let bounds: Int64Array = periods.iter().map(|p| p.and_then(bound)).collect();
    match source {
        DataType::Date32 => cast(&cast(&bounds, &DataType::Int32).ok()?, source).ok(),
        _ => cast(&bounds, source).ok(),
    }
}

/// Seconds since the epoch at which a period starts.
fn period_start(transform: &Transform, period: i64) -> Option<i64> {
    let month_start = |months: i64| {
        let year = i32::try_from(1970 + months.div_euclid(12)).ok()?;
        let month = u32::try_from(months.rem_euclid(12) + 1).ok()?;
        Some(NaiveDate::from_ymd_opt(year, month, 1)?.and_hms_opt(0, 0, 0)?.and_utc().timestamp())
    };
    match transform {
        Transform::Year => month_start(period.checked_mul(12)?),
        Transform::Month => month_start(period),
        Transform::Day => period.checked_mul(SECONDS_PER_DAY),
        Transform::Hour => period.checked_mul(SECONDS_PER_HOUR),
        _ => None,
    }
}

/// Widest truncation of integers whose sums stay in 32 bits in Iceberg's reference implementation. What it
/// makes of wider ones follows no order.
pub(super) const MAX_ORDERED_WIDTH: u32 = 1 << 30;

/// The smallest value that truncates to a value between `lower` and `upper`.
///
/// What would truncate to less than the type's least number wraps around, in Iceberg's reference
/// implementation and here: the least values of a column are in a partition near the greatest number. Of 64
/// bits, it may have been written when the column had 32.
fn smallest_truncated(lower: &ArrayRef, upper: &ArrayRef, width: u32) -> ArrayRef {
    let (int, long) = (wrapped(i32::MIN.into(), width), wrapped(i64::MIN.into(), width));
    let unbounded = match lower.data_type() {
        DataType::Int32 => holds_any::<Int32Type>(lower, upper, &[int]),
        DataType::Int64 => holds_any::<Int64Type>(lower, upper, &[int, long]),
        _ => return lower.clone(),
    };
    let smallest = nullif(lower, &unbounded).ok().filter(|_| width <= MAX_ORDERED_WIDTH);
    smallest.unwrap_or_else(|| new_null_array(lower.data_type(), lower.len()))
}

/// What the least number of a type truncates to, if that wraps around.
fn wrapped(least: i128, width: u32) -> Option<i128> {
    let above = least.rem_euclid(i128::from(width));
    (above > 0).then(|| -least - above)
}

/// Whether one of `values` may be between `lower` and `upper`, which are unbounded where null.
fn holds_any<T: ArrowPrimitiveType<Native: Into<i128>>>(
    lower: &dyn Array,
    upper: &dyn Array,
    values: &[Option<i128>],
) -> BooleanArray {
    let (lower, upper) = (lower.as_primitive::<T>(), upper.as_primitive::<T>());
    let bounds = lower.iter().zip(upper.iter());
    let holds = bounds.map(|(lower, upper)| {
        let inside = |value: &i128| {
            lower.is_none_or(|lower| lower.into() <= *value)
                && upper.is_none_or(|upper| *value <= upper.into())
        };
        Some(values.iter().flatten().any(inside))
    });
    holds.collect()
}

/// The largest value that truncates to each value.
fn largest_truncated(values: &ArrayRef, width: u32) -> Option<ArrayRef> {
    let above = i64::from(width).checked_sub(1)?;
    match values.data_type() {
        DataType::Int32 | DataType::Int64 if width > MAX_ORDERED_WIDTH => {
            Some(new_null_array(values.data_type(), values.len()))
        }
        DataType::Int32 => {
            // As long: the largest int truncates down, its bound may lie beyond.
            let wide = cast(values, &DataType::Int64).ok()?;
            let upper = map::<Int64Type>(&wide, |v| v.checked_add(above).map(|v| v.min(i64::from(i32::MAX))));
            cast(&upper, &DataType::Int32).ok()
        }
        DataType::Int64 => Some(Arc::new(map::<Int64Type>(values, |v| v.checked_add(above)))),
        DataType::Decimal128(precision, scale) => {
            let upper: Decimal128Array = map::<Decimal128Type>(values, |v| v.checked_add(i128::from(above)));
            Some(Arc::new(upper.with_precision_and_scale(*precision, *scale).ok()?))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let values = cast(values, &DataType::Utf8).ok()?;
            let bounds = values.as_string::<i32>().iter().map(|v| v.and_then(|v| last_with_prefix(v, width)));
            Some(Arc::new(bounds.collect::<StringArray>()))
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let values = cast(values, &DataType::Binary).ok()?;
            let bounds =
                values.as_binary::<i32>().iter().map(|v| v.and_then(|v| last_bytes_with_prefix(v, width)));
            Some(Arc::new(bounds.collect::<BinaryArray>()))
        }
        _ => None,
    }
}

fn map<T: ArrowPrimitiveType>(
    values: &dyn Array,
    f: impl Fn(T::Native) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    values.as_primitive::<T>().unary_opt(f)
}

/// An upper bound of the strings that start with `prefix`, cut to `width` characters; the prefix
/// itself, when it is shorter than that: then nothing was cut off.
fn last_with_prefix(prefix: &str, width: u32) -> Option<String> {
    if prefix.chars().count() < width as usize {
        return Some(prefix.to_string());
    }
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last as u32 + 1 {
            0xD800 => Some('\u{E000}'),
            code => char::from_u32(code),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

fn last_bytes_with_prefix(prefix: &[u8], width: u32) -> Option<Vec<u8>> {
    if prefix.len() < width as usize {
        return Some(prefix.to_vec());
    }
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            return Some(bytes);
        }
    }
    None
}
