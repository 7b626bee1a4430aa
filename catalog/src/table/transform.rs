//! Partition transforms over arrow arrays (Iceberg spec, "Partition Transforms" and Appendix B).
//!
//! Input is a column in any arrow type that a table schema may hold; output has one value per input
//! value, null where the input is null. Every transform is exact for values before 1970 (floor, not
//! truncation) and for every timestamp unit.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewBuilder, GenericBinaryBuilder,
    GenericStringBuilder, Int32Array, OffsetSizeTrait, PrimitiveArray, StringViewBuilder, new_null_array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DecimalType, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;

use super::partition::Transform;
use crate::error::{Error, Result};

const SECONDS_PER_DAY: i64 = 86_400;
const SECONDS_PER_HOUR: i64 = 3_600;

/// Arrow type of the values of `transform` over a column of type `source`.
/// Fails with `Invalid` where the spec does not allow the combination, `Unsupported` for
/// [`Transform::Unknown`].
pub fn result_type(transform: &Transform, source: &DataType) -> Result<DataType> {
    use DataType as T;
    let allowed = match transform {
        Transform::Unknown(name) => {
            return Err(Error::unsupported("the table", format!("partition transform \"{name}\"")));
        }
        Transform::Void => true,
        Transform::Identity => !source.is_nested(),
        Transform::Bucket(n) => {
            if *n == 0 || *n > i32::MAX as u32 {
                return Err(Error::Invalid(format!("{transform} needs a positive number of buckets")));
            }
            matches!(
                source,
                T::Int8
                    | T::Int16
                    | T::Int32
                    | T::Int64
                    | T::Decimal128(_, _)
                    | T::Date32
                    | T::Timestamp(_, _)
            ) || matches!(source, T::Time32(_) | T::Time64(_) | T::FixedSizeBinary(_))
                || is_string(source)
                || is_binary(source)
        }
        Transform::Truncate(w) => {
            if *w == 0 || *w > i32::MAX as u32 {
                return Err(Error::Invalid(format!("{transform} needs a positive width")));
            }
            matches!(source, T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Decimal128(_, _))
                || is_string(source)
                || is_binary(source)
        }
        Transform::Year | Transform::Month | Transform::Day => {
            matches!(source, T::Date32 | T::Timestamp(_, _))
        }
        Transform::Hour => matches!(source, T::Timestamp(_, _)),
    };
    if !allowed {
        return Err(Error::Invalid(format!("{transform} cannot be applied to a column of type {source}")));
    }
    Ok(match transform {
        Transform::Bucket(_) | Transform::Year | Transform::Month | Transform::Hour => T::Int32,
        Transform::Day => T::Date32,
        _ => source.clone(),
    })
}

/// The values of `transform` over `values`, typed as [`result_type`] says.
/// Fails as `result_type` does, and with `Invalid` when a value has no result (a year that does not
/// fit 32 bits).
pub fn apply(transform: &Transform, values: &ArrayRef) -> Result<ArrayRef> {
    let result = result_type(transform, values.data_type())?;
    let applied = match transform {
        Transform::Identity => Ok(values.clone()),
        Transform::Void | Transform::Unknown(_) => Ok(new_null_array(&result, values.len())),
        Transform::Bucket(n) => bucket(*n as i32, values),
        Transform::Truncate(w) => truncate(*w, values),
        Transform::Year => calendar(values, |days| year_month(days).0 - 1970),
        Transform::Month => calendar(values, |days| {
            let (year, month) = year_month(days);
            (year - 1970) * 12 + i64::from(month) - 1
        }),
        Transform::Day => calendar(values, |days| days).map(|days| {
            let days = days.as_primitive::<Int32Type>().reinterpret_cast::<Date32Type>();
            Arc::new(days) as ArrayRef
        }),
        Transform::Hour => per_period(values, SECONDS_PER_HOUR, |hours| hours),
    };
    applied.map_err(|e| match e {
        ArrowError::ComputeError(_) | ArrowError::CastError(_) => Error::Invalid(e.to_string()),
        e => Error::Internal(e.to_string()),
    })
}

fn is_string(t: &DataType) -> bool {
    matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(t: &DataType) -> bool {
    matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

// ---- year, month, day, hour ----------------------------------------------------------------------

fn ticks_per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// `f` over the day numbers of a date or timestamp column.
fn calendar(values: &ArrayRef, f: impl Fn(i64) -> i64) -> Result<ArrayRef, ArrowError> {
    match values.data_type() {
        DataType::Date32 => map_ticks::<Date32Type>(values, i64::from, 1, f),
        _ => per_period(values, SECONDS_PER_DAY, f),
    }
}

/// `f` over the number of whole periods since the epoch of a timestamp column.
fn per_period(values: &ArrayRef, seconds: i64, f: impl Fn(i64) -> i64) -> Result<ArrayRef, ArrowError> {
    let DataType::Timestamp(unit, _) = values.data_type() else {
        return Err(ArrowError::InvalidArgumentError(format!("{} is not a timestamp", values.data_type())));
    };
    let ticks = seconds * ticks_per_second(unit);
    match unit {
        TimeUnit::Second => map_ticks::<TimestampSecondType>(values, |v| v, ticks, f),
        TimeUnit::Millisecond => map_ticks::<TimestampMillisecondType>(values, |v| v, ticks, f),
        TimeUnit::Microsecond => map_ticks::<TimestampMicrosecondType>(values, |v| v, ticks, f),
        TimeUnit::Nanosecond => map_ticks::<TimestampNanosecondType>(values, |v| v, ticks, f),
    }
}

fn map_ticks<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    widen: impl Fn(T::Native) -> i64,
    ticks: i64,
    f: impl Fn(i64) -> i64,
) -> Result<ArrayRef, ArrowError> {
    let out: Int32Array = values.as_primitive::<T>().try_unary(|v| {
        i32::try_from(f(widen(v).div_euclid(ticks)))
            .map_err(|_| ArrowError::ComputeError("date is out of range for a partition transform".into()))
    })?;
    Ok(Arc::new(out))
}

/// Proleptic Gregorian year and month (1 to 12) of a day number, for any day number.
fn year_month(days: i64) -> (i64, u32) {
    let z = i128::from(days) + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    (year as i64, month as u32)
}

// ---- truncate ------------------------------------------------------------------------------------

fn truncate(width: u32, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let chars = |s: &str| s.char_indices().nth(width as usize).map_or(s.len(), |(at, _)| at);
    let bytes = |b: &[u8]| b.len().min(width as usize);
    Ok(match values.data_type() {
        // A width beyond the type's range leaves 0 for positive and the wrapped value for negative
        // numbers, as it does in the reference implementation's int arithmetic.
        DataType::Int8 => truncate_int::<Int8Type>(values, |v| floor_to(v.into(), width.into()) as i8),
        DataType::Int16 => truncate_int::<Int16Type>(values, |v| floor_to(v.into(), width.into()) as i16),
        DataType::Int32 => truncate_int::<Int32Type>(values, |v| floor_to(v.into(), width.into()) as i32),
        DataType::Int64 => truncate_int::<Int64Type>(values, |v| floor_to(v.into(), width.into()) as i64),
        DataType::Decimal128(precision, _) => {
            // The manifest has no place for more digits; the reference implementation fails there too.
            let truncated = |v| {
                let floor = floor_to(v, width.into());
                let overflow = || ArrowError::ComputeError(format!("{floor} is out of range for truncate"));
                let fits = Decimal128Type::is_valid_decimal_precision(floor, *precision);
                fits.then_some(floor).ok_or_else(overflow)
            };
            let out: PrimitiveArray<Decimal128Type> =
                values.as_primitive::<Decimal128Type>().try_unary(truncated)?;
            Arc::new(out.with_data_type(values.data_type().clone()))
        }
        DataType::Utf8 => truncate_string::<i32>(values, chars),
        DataType::LargeUtf8 => truncate_string::<i64>(values, chars),
        DataType::Utf8View => {
            let mut out = StringViewBuilder::with_capacity(values.len());
            for v in values.as_string_view() {
                out.append_option(v.map(|v| v.get(..chars(v)).unwrap_or(v)));
            }
            Arc::new(out.finish())
        }
        DataType::Binary => truncate_binary::<i32>(values, bytes),
        DataType::LargeBinary => truncate_binary::<i64>(values, bytes),
        DataType::BinaryView => {
            let mut out = BinaryViewBuilder::with_capacity(values.len());
            for v in values.as_binary_view() {
                out.append_option(v.map(|v| v.get(..bytes(v)).unwrap_or(v)));
            }
            Arc::new(out.finish())
        }
        other => return Err(ArrowError::InvalidArgumentError(format!("truncate of {other}"))),
    })
}

fn floor_to(v: i128, width: i128) -> i128 {
    v.wrapping_sub(v.rem_euclid(width))
}

fn truncate_int<T: ArrowPrimitiveType>(values: &ArrayRef, f: impl Fn(T::Native) -> T::Native) -> ArrayRef {
    let out: PrimitiveArray<T> = values.as_primitive::<T>().unary(f);
    Arc::new(out)
}

fn truncate_string<O: OffsetSizeTrait>(values: &ArrayRef, end: impl Fn(&str) -> usize) -> ArrayRef {
    let mut out = GenericStringBuilder::<O>::with_capacity(values.len(), 0);
    for v in values.as_string::<O>() {
        out.append_option(v.map(|v| v.get(..end(v)).unwrap_or(v)));
    }
    Arc::new(out.finish())
}

fn truncate_binary<O: OffsetSizeTrait>(values: &ArrayRef, end: impl Fn(&[u8]) -> usize) -> ArrayRef {
    let mut out = GenericBinaryBuilder::<O>::with_capacity(values.len(), 0);
    for v in values.as_binary::<O>() {
        out.append_option(v.map(|v| v.get(..end(v)).unwrap_or(v)));
    }
    Arc::new(out.finish())
}

// ---- bucket --------------------------------------------------------------------------------------

fn bucket(n: i32, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let of = |hash: u32| (hash & i32::MAX as u32) as i32 % n;
    let long = |v: i64| of(hash_long(v));
    let overflow = |_| ArrowError::ComputeError("timestamp is out of range for bucket".into());
    // Seconds and milliseconds do not occur in Iceberg tables, but may be what a query yields.
    let scaled = |v: i64, by: i64| v.checked_mul(by).map(long).ok_or(()).map_err(overflow);
    let out: Int32Array = match values.data_type() {
        DataType::Int8 => values.as_primitive::<Int8Type>().unary(|v| long(v.into())),
        DataType::Int16 => values.as_primitive::<Int16Type>().unary(|v| long(v.into())),
        DataType::Int32 => values.as_primitive::<Int32Type>().unary(|v| long(v.into())),
        DataType::Int64 => values.as_primitive::<Int64Type>().unary(long),
        DataType::Date32 => values.as_primitive::<Date32Type>().unary(|v| long(v.into())),
        DataType::Decimal128(_, _) => values.as_primitive::<Decimal128Type>().unary(|v| of(hash_decimal(v))),
        DataType::Time32(TimeUnit::Second) => {
            values.as_primitive::<Time32SecondType>().unary(|v| long(i64::from(v) * 1_000_000))
        }
        DataType::Time32(_) => {
            values.as_primitive::<Time32MillisecondType>().unary(|v| long(i64::from(v) * 1_000))
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            values.as_primitive::<Time64NanosecondType>().unary(|v| long(v.div_euclid(1_000)))
        }
        DataType::Time64(_) => values.as_primitive::<Time64MicrosecondType>().unary(long),
        DataType::Timestamp(TimeUnit::Second, _) => {
            values.as_primitive::<TimestampSecondType>().try_unary(|v| scaled(v, 1_000_000))?
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            values.as_primitive::<TimestampMillisecondType>().try_unary(|v| scaled(v, 1_000))?
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            values.as_primitive::<TimestampMicrosecondType>().unary(long)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            values.as_primitive::<TimestampNanosecondType>().unary(|v| long(v.div_euclid(1_000)))
        }
        DataType::Utf8 => {
            values.as_string::<i32>().iter().map(|v| v.map(|v| of(hash(v.as_bytes())))).collect()
        }
        DataType::LargeUtf8 => {
            values.as_string::<i64>().iter().map(|v| v.map(|v| of(hash(v.as_bytes())))).collect()
        }
        DataType::Utf8View => {
            values.as_string_view().iter().map(|v| v.map(|v| of(hash(v.as_bytes())))).collect()
        }
        DataType::Binary => values.as_binary::<i32>().iter().map(|v| v.map(|v| of(hash(v)))).collect(),
        DataType::LargeBinary => values.as_binary::<i64>().iter().map(|v| v.map(|v| of(hash(v)))).collect(),
        DataType::BinaryView => values.as_binary_view().iter().map(|v| v.map(|v| of(hash(v)))).collect(),
        DataType::FixedSizeBinary(_) => {
            values.as_fixed_size_binary().iter().map(|v| v.map(|v| of(hash(v)))).collect()
        }
        other => return Err(ArrowError::InvalidArgumentError(format!("bucket of {other}"))),
    };
    Ok(Arc::new(out))
}

fn hash_long(v: i64) -> u32 {
    hash(&v.to_le_bytes())
}

/// Hash of the shortest big-endian two's complement form of the unscaled value.
fn hash_decimal(v: i128) -> u32 {
    let bytes = v.to_be_bytes();
    let redundant = bytes
        .windows(2)
        .take_while(|pair| match pair {
            [0x00, next] => next & 0x80 == 0,
            [0xff, next] => next & 0x80 != 0,
            _ => false,
        })
        .count();
    hash(bytes.get(redundant..).unwrap_or(&bytes))
}

/// 32-bit Murmur3, x86 variant, seed 0.
fn hash(bytes: &[u8]) -> u32 {
    fn mix(k: u32) -> u32 {
        k.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
    }
    let mut h = 0u32;
    let (blocks, tail) = bytes.as_chunks::<4>();
    for block in blocks {
        h = (h ^ mix(u32::from_le_bytes(*block))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if !tail.is_empty() {
        h ^= mix(tail.iter().rev().fold(0, |k, byte| (k << 8) | u32::from(*byte)));
    }
    h ^= bytes.len() as u32;
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Int64Array, StringArray,
        StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    };

    use super::*;

    fn ints(transform: Transform, values: ArrayRef) -> Vec<Option<i32>> {
        let out = apply(&transform, &values).unwrap();
        assert_eq!(out.data_type(), &result_type(&transform, values.data_type()).unwrap());
        arrow::compute::cast(&out, &DataType::Int32).unwrap().as_primitive::<Int32Type>().iter().collect()
    }

    /// Iceberg spec, Appendix B, "32-bit Hash Requirements".
    #[test]
    fn hashes_of_the_spec() {
        assert_eq!(hash_long(34) as i32, 2_017_239_379);
        assert_eq!(hash_decimal(1420) as i32, -500_754_589);
        assert_eq!(hash_long(17_486) as i32, -653_330_422);
        assert_eq!(hash_long(81_068_000_000) as i32, -662_762_989);
        assert_eq!(hash_long(1_510_871_468_000_000) as i32, -2_047_944_441);
        assert_eq!(hash_long(1_510_871_468_000_001) as i32, -1_207_196_810);
        assert_eq!(hash(b"iceberg") as i32, 1_210_000_089);
        let uuid = 0xf79c_3e09_677c_4bbd_a479_3f34_9cb7_85e7_u128.to_be_bytes();
        assert_eq!(hash(&uuid) as i32, 1_488_055_340);
        assert_eq!(hash(&[0, 1, 2, 3]) as i32, -188_683_207);
    }

    #[test]
    fn minimal_decimal_bytes() {
        for (value, bytes) in [
            (0, &[0u8][..]),
            (127, &[0x7f]),
            (128, &[0, 0x80]),
            (-1, &[0xff]),
            (-128, &[0x80]),
            (-129, &[0xff, 0x7f]),
        ] {
            assert_eq!(hash_decimal(value), hash(bytes), "{value}");
        }
    }

    #[test]
    fn bucket_by_type() {
        let n = Transform::Bucket(16);
        let of = |hash: i32| Some((hash & i32::MAX) % 16);
        let one = |values: ArrayRef| ints(n.clone(), values)[0];
        assert_eq!(one(Arc::new(Int32Array::from(vec![34]))), of(2_017_239_379));
        assert_eq!(one(Arc::new(Int64Array::from(vec![34]))), of(2_017_239_379));
        assert_eq!(one(Arc::new(Date32Array::from(vec![17_486]))), of(-653_330_422));
        assert_eq!(one(Arc::new(Time64MicrosecondArray::from(vec![81_068_000_000]))), of(-662_762_989));
        let micros = TimestampMicrosecondArray::from(vec![1_510_871_468_000_001]);
        assert_eq!(one(Arc::new(micros.clone())), of(-1_207_196_810));
        assert_eq!(one(Arc::new(micros.with_timezone("+00:00"))), of(-1_207_196_810));
        let nanos = TimestampNanosecondArray::from(vec![1_510_871_468_000_001_001]);
        assert_eq!(one(Arc::new(nanos)), of(-1_207_196_810));
        let decimal = Decimal128Array::from(vec![1420]).with_precision_and_scale(9, 2).unwrap();
        assert_eq!(one(Arc::new(decimal)), of(-500_754_589));
        assert_eq!(one(Arc::new(StringArray::from(vec!["iceberg"]))), of(1_210_000_089));
        assert_eq!(one(Arc::new(StringViewArray::from(vec!["iceberg"]))), of(1_210_000_089));
        assert_eq!(one(Arc::new(BinaryArray::from(vec![&[0u8, 1, 2, 3][..]]))), of(-188_683_207));
        let fixed = FixedSizeBinaryArray::try_from_iter([[0u8, 1, 2, 3]].into_iter()).unwrap();
        assert_eq!(one(Arc::new(fixed)), of(-188_683_207));
        assert_eq!(one(Arc::new(Int32Array::from(vec![None]))), None);
    }

    #[test]
    fn truncate_by_type() {
        let ten = Transform::Truncate(10);
        assert_eq!(
            ints(ten.clone(), Arc::new(Int32Array::from(vec![1, -1, -10, 0]))),
            [Some(0), Some(-10), Some(-10), Some(0)]
        );
        assert_eq!(ints(ten, Arc::new(Int64Array::from(vec![Some(19), None]))), [Some(10), None]);
        let decimal = Decimal128Array::from(vec![1065, -1]).with_precision_and_scale(9, 2).unwrap();
        let out = apply(&Transform::Truncate(50), &(Arc::new(decimal) as ArrayRef)).unwrap();
        assert_eq!(out.data_type(), &DataType::Decimal128(9, 2));
        assert_eq!(out.as_primitive::<Decimal128Type>().values(), &[1050, -50]);
        let digits = Decimal128Array::from(vec![-5]).with_precision_and_scale(2, 0).unwrap();
        let digits: ArrayRef = Arc::new(digits);
        assert!(apply(&Transform::Truncate(10), &digits).is_ok());
        assert!(matches!(apply(&Transform::Truncate(1000), &digits), Err(Error::Invalid(_))));
        let text: ArrayRef =
            Arc::new(StringViewArray::from(vec![Some("iceberg"), None, Some("日本語"), Some("")]));
        let out = apply(&Transform::Truncate(2), &text).unwrap();
        let got: Vec<_> = out.as_string_view().iter().collect();
        assert_eq!(got, [Some("ic"), None, Some("日本"), Some("")]);
        let binary: ArrayRef = Arc::new(BinaryArray::from(vec![&[1u8, 2, 3][..]]));
        assert_eq!(apply(&Transform::Truncate(2), &binary).unwrap().as_binary::<i32>().value(0), &[1, 2]);
        let least: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN]));
        assert!(apply(&Transform::Truncate(10), &least).is_ok());
    }

    #[test]
    fn dates_before_the_epoch_are_floored() {
        let days: ArrayRef =
            Arc::new(Date32Array::from(vec![Some(17_501), Some(-1), Some(0), Some(-366), None]));
        assert_eq!(ints(Transform::Year, days.clone()), [Some(47), Some(-1), Some(0), Some(-2), None]);
        assert_eq!(ints(Transform::Month, days.clone()), [Some(575), Some(-1), Some(0), Some(-13), None]);
        assert_eq!(ints(Transform::Day, days), [Some(17_501), Some(-1), Some(0), Some(-366), None]);
        // 2017-12-01T10:12:55.038194 and one microsecond before the epoch
        let micros = vec![1_512_123_175_038_194, -1];
        let zoned: ArrayRef = Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"));
        assert_eq!(ints(Transform::Hour, zoned.clone()), [Some(420_034), Some(-1)]);
        assert_eq!(ints(Transform::Day, zoned.clone()), [Some(17_501), Some(-1)]);
        assert_eq!(ints(Transform::Month, zoned.clone()), [Some(575), Some(-1)]);
        assert_eq!(ints(Transform::Year, zoned), [Some(47), Some(-1)]);
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![-1]));
        assert_eq!(ints(Transform::Year, nanos), [Some(-1)]);
    }

    #[test]
    fn calendar_agrees_with_chrono() {
        use chrono::Datelike;
        for days in (-800_000..800_000).step_by(37) {
            let date = chrono::NaiveDate::from_num_days_from_ce_opt(days + 719_163).unwrap();
            assert_eq!(year_month(days.into()), (date.year().into(), date.month()), "{days}");
        }
    }

    #[test]
    fn void_and_refusals() {
        let values: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        assert_eq!(apply(&Transform::Void, &values).unwrap().null_count(), 2);
        let refused = [
            (Transform::Bucket(4), DataType::Float64),
            (Transform::Bucket(0), DataType::Int32),
            (Transform::Truncate(0), DataType::Int32),
            (Transform::Truncate(3), DataType::Date32),
            (Transform::Hour, DataType::Date32),
            (Transform::Day, DataType::Utf8View),
        ];
        for (transform, source) in refused {
            assert!(
                matches!(result_type(&transform, &source), Err(Error::Invalid(_))),
                "{transform} {source}"
            );
        }
        let unknown = Transform::Unknown("zorder".into());
        assert!(matches!(apply(&unknown, &values), Err(Error::Unsupported { .. })));
    }
}
