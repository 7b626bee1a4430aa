//! Values: Iceberg literals, arrow arrays, DataFusion scalars and the binary single-value form
//! (Iceberg spec, appendix D), one into the other. The only file that knows how each type is stored.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryBuilder,
    Float32Array, Float64Array, Int32Array, Int64Array, StringBuilder, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::scalar::ScalarValue;
use iceberg::spec::{Datum, PrimitiveLiteral as Literal, PrimitiveType};

use crate::error::{Error, Result};

/// Time zone of every arrow timestamp that counts from the epoch in UTC.
pub const UTC: &str = "+00:00";

/// Arrow type of values in statistics and partitions: as in the schema, but strings and binaries are
/// plain ones.
pub fn value_type(primitive: &PrimitiveType) -> Result<DataType> {
    use PrimitiveType as P;
    let unsupported = |what: String| Error::unsupported("the table", what);
    Ok(match primitive {
        P::Boolean => DataType::Boolean,
        P::Int => DataType::Int32,
        P::Long => DataType::Int64,
        P::Float => DataType::Float32,
        P::Double => DataType::Float64,
        P::Decimal { precision, scale } => match (u8::try_from(*precision), i8::try_from(*scale)) {
            (Ok(p), Ok(s)) if (1..=38).contains(&p) && i16::from(s) <= i16::from(p) => {
                DataType::Decimal128(p, s)
            }
            _ => return Err(unsupported(format!("type decimal({precision}, {scale})"))),
        },
        P::Date => DataType::Date32,
        P::Time => DataType::Time64(TimeUnit::Microsecond),
        P::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        P::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        P::TimestampNs => DataType::Timestamp(TimeUnit::Nanosecond, None),
        P::TimestamptzNs => DataType::Timestamp(TimeUnit::Nanosecond, Some(UTC.into())),
        P::String => DataType::Utf8,
        P::Binary => DataType::Binary,
        P::Uuid => DataType::FixedSizeBinary(16),
        P::Fixed(length) => match i32::try_from(*length) {
            Ok(length) => DataType::FixedSizeBinary(length),
            Err(_) => return Err(unsupported(format!("type fixed[{length}]"))),
        },
    })
}

/// An array of [`value_type`] from literals of `primitive`. A literal of another type becomes null:
/// unknown, which is always correct for a statistic.
pub fn to_array<'a>(
    primitive: &PrimitiveType,
    values: impl Iterator<Item = Option<&'a Literal>>,
) -> Result<ArrayRef> {
    use PrimitiveType as P;
    Ok(match primitive {
        P::Boolean => Arc::new(values.map(|v| v.and_then(as_bool)).collect::<BooleanArray>()),
        P::Int => Arc::new(values.map(|v| v.and_then(as_i32)).collect::<Int32Array>()),
        P::Date => Arc::new(values.map(|v| v.and_then(as_i32)).collect::<Date32Array>()),
        P::Long => Arc::new(values.map(|v| v.and_then(as_i64)).collect::<Int64Array>()),
        P::Time => Arc::new(values.map(|v| v.and_then(as_i64)).collect::<Time64MicrosecondArray>()),
        P::Timestamp => Arc::new(values.map(|v| v.and_then(as_i64)).collect::<TimestampMicrosecondArray>()),
        P::Timestamptz => Arc::new(
            values.map(|v| v.and_then(as_i64)).collect::<TimestampMicrosecondArray>().with_timezone(UTC),
        ),
        P::TimestampNs => Arc::new(values.map(|v| v.and_then(as_i64)).collect::<TimestampNanosecondArray>()),
        P::TimestamptzNs => Arc::new(
            values.map(|v| v.and_then(as_i64)).collect::<TimestampNanosecondArray>().with_timezone(UTC),
        ),
        P::Float => Arc::new(values.map(|v| v.and_then(as_f32)).collect::<Float32Array>()),
        P::Double => Arc::new(values.map(|v| v.and_then(as_f64)).collect::<Float64Array>()),
        P::Decimal { .. } => {
            let array = values.map(|v| v.and_then(as_i128)).collect::<Decimal128Array>();
            Arc::new(array.with_data_type(value_type(primitive)?))
        }
        P::String => {
            let mut builder = StringBuilder::new();
            values.for_each(|v| builder.append_option(v.and_then(as_str)));
            Arc::new(builder.finish())
        }
        P::Binary => {
            let mut builder = BinaryBuilder::new();
            values.for_each(|v| builder.append_option(v.and_then(as_bytes)));
            Arc::new(builder.finish())
        }
        P::Uuid | P::Fixed(_) => fixed_array(primitive, values)?,
    })
}

fn fixed_array<'a>(
    primitive: &PrimitiveType,
    values: impl Iterator<Item = Option<&'a Literal>>,
) -> Result<ArrayRef> {
    let DataType::FixedSizeBinary(length) = value_type(primitive)? else {
        return Err(Error::Internal(format!("{primitive} is not of fixed size")));
    };
    let mut builder = FixedSizeBinaryBuilder::new(length);
    for value in values {
        let bytes = match value {
            Some(Literal::UInt128(v)) => Some(v.to_be_bytes().to_vec()),
            Some(Literal::Binary(v)) => Some(v.clone()),
            _ => None,
        };
        match bytes.filter(|b| i32::try_from(b.len()) == Ok(length)) {
            Some(bytes) => builder.append_value(bytes).map_err(|e| Error::Internal(e.to_string()))?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn as_bool(v: &Literal) -> Option<bool> {
    if let Literal::Boolean(v) = v { Some(*v) } else { None }
}

fn as_i32(v: &Literal) -> Option<i32> {
    if let Literal::Int(v) = v { Some(*v) } else { None }
}

fn as_i64(v: &Literal) -> Option<i64> {
    if let Literal::Long(v) = v { Some(*v) } else { None }
}

fn as_f32(v: &Literal) -> Option<f32> {
    if let Literal::Float(v) = v { Some(v.0) } else { None }
}

fn as_f64(v: &Literal) -> Option<f64> {
    if let Literal::Double(v) = v { Some(v.0) } else { None }
}

fn as_i128(v: &Literal) -> Option<i128> {
    if let Literal::Int128(v) = v { Some(*v) } else { None }
}

fn as_str(v: &Literal) -> Option<&str> {
    if let Literal::String(v) = v { Some(v) } else { None }
}

fn as_bytes(v: &Literal) -> Option<&[u8]> {
    if let Literal::Binary(v) = v { Some(v) } else { None }
}

/// One literal as a scalar of [`value_type`]; null where it does not fit the type.
pub fn to_scalar(primitive: &PrimitiveType, value: Option<&Literal>) -> Result<ScalarValue> {
    Ok(ScalarValue::try_from_array(&to_array(primitive, std::iter::once(value))?, 0)?)
}

/// A partition value or bound as a literal of `primitive`; `None` for null. The scalar may be of any
/// type that casts without loss to [`value_type`] (a view type, a narrower integer, …).
pub fn from_scalar(primitive: &PrimitiveType, value: &ScalarValue) -> Result<Option<Literal>> {
    match single_value_bytes(primitive, value)? {
        None => Ok(None),
        Some(bytes) => Ok(Some(datum(primitive, &bytes)?.literal().clone())),
    }
}

/// A datum from its binary single-value form.
pub fn datum(primitive: &PrimitiveType, bytes: &[u8]) -> Result<Datum> {
    Datum::try_from_bytes(bytes, primitive.clone())
        .map_err(|e| Error::Internal(format!("value does not fit {primitive}: {e}")))
}

/// Binary single-value serialization of a scalar (Iceberg spec, appendix D); `None` for null.
pub fn single_value_bytes(primitive: &PrimitiveType, value: &ScalarValue) -> Result<Option<Vec<u8>>> {
    if value.is_null() {
        return Ok(None);
    }
    let target = value_type(primitive)?;
    let value = if value.data_type() == target {
        value.clone()
    } else {
        let array = cast(&value.to_array()?, &target)
            .map_err(|e| Error::Internal(format!("{value:?} does not fit {primitive}: {e}")))?;
        ScalarValue::try_from_array(&array, 0)?
    };
    let bytes = match &value {
        ScalarValue::Boolean(Some(v)) => vec![u8::from(*v)],
        ScalarValue::Int32(Some(v)) | ScalarValue::Date32(Some(v)) => v.to_le_bytes().to_vec(),
        ScalarValue::Int64(Some(v))
        | ScalarValue::Time64Microsecond(Some(v))
        | ScalarValue::TimestampMicrosecond(Some(v), _)
        | ScalarValue::TimestampNanosecond(Some(v), _) => v.to_le_bytes().to_vec(),
        ScalarValue::Float32(Some(v)) => v.to_le_bytes().to_vec(),
        ScalarValue::Float64(Some(v)) => v.to_le_bytes().to_vec(),
        ScalarValue::Utf8(Some(v)) => v.as_bytes().to_vec(),
        ScalarValue::Binary(Some(v)) | ScalarValue::FixedSizeBinary(_, Some(v)) => v.clone(),
        ScalarValue::Decimal128(Some(v), _, _) => minimal_be_bytes(*v),
        _ => return Err(Error::Internal(format!("{value:?} does not fit {primitive}"))),
    };
    Ok(Some(bytes))
}

/// Two's complement, big endian, in as few bytes as hold the sign.
fn minimal_be_bytes(value: i128) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let redundant = |pair: &[u8]| match pair {
        [0x00, next] => next & 0x80 == 0,
        [0xff, next] => next & 0x80 != 0,
        _ => false,
    };
    let skip = bytes.windows(2).take_while(|pair| redundant(pair)).count();
    bytes.iter().skip(skip).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_take_as_few_bytes_as_possible() {
        assert_eq!(minimal_be_bytes(0), vec![0]);
        assert_eq!(minimal_be_bytes(-1), vec![0xff]);
        assert_eq!(minimal_be_bytes(127), vec![0x7f]);
        assert_eq!(minimal_be_bytes(128), vec![0, 0x80]);
        assert_eq!(minimal_be_bytes(-128), vec![0x80]);
        assert_eq!(minimal_be_bytes(-129), vec![0xff, 0x7f]);
        assert_eq!(minimal_be_bytes(i128::MIN).len(), 16);
    }

    #[test]
    fn scalars_survive_the_round_trip() {
        let cases = [
            (PrimitiveType::Int, ScalarValue::Int32(Some(-7))),
            (PrimitiveType::Long, ScalarValue::Int64(Some(i64::MAX))),
            (PrimitiveType::Date, ScalarValue::Date32(Some(-1))),
            (PrimitiveType::Double, ScalarValue::Float64(Some(-0.0))),
            (PrimitiveType::String, ScalarValue::Utf8(Some("žluťoučký".into()))),
            (PrimitiveType::Binary, ScalarValue::Binary(Some(vec![0, 255]))),
            (PrimitiveType::Uuid, ScalarValue::FixedSizeBinary(16, Some((0..16).collect()))),
            (PrimitiveType::Fixed(3), ScalarValue::FixedSizeBinary(3, Some(vec![1, 2, 3]))),
            (
                PrimitiveType::Decimal { precision: 20, scale: 2 },
                ScalarValue::Decimal128(Some(-12345), 20, 2),
            ),
            (PrimitiveType::Timestamptz, ScalarValue::TimestampMicrosecond(Some(5), Some(UTC.into()))),
        ];
        for (primitive, scalar) in cases {
            let literal = from_scalar(&primitive, &scalar).unwrap();
            assert_eq!(to_scalar(&primitive, literal.as_ref()).unwrap(), scalar, "{primitive}");
        }
    }

    #[test]
    fn view_types_are_accepted() {
        let literal = from_scalar(&PrimitiveType::String, &ScalarValue::Utf8View(Some("a".into()))).unwrap();
        assert_eq!(literal, Some(Literal::String("a".into())));
        assert_eq!(from_scalar(&PrimitiveType::String, &ScalarValue::Utf8View(None)).unwrap(), None);
    }
}
