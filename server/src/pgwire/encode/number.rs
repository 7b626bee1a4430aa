//! Booleans, integers and floating-point numbers.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use auric_sql::{Error, Result, SqlState};
use bytes::BufMut;
use postgres_types::Type;

use super::{Encoder, ValueEncoder, numeric};

/// A primitive column and how one of its values is written.
pub(super) struct Primitive<A: ArrowPrimitiveType, F> {
    pub array: PrimitiveArray<A>,
    pub write: F,
}

impl<A, F> ValueEncoder for Primitive<A, F>
where
    A: ArrowPrimitiveType,
    F: Fn(A::Native, &mut Vec<u8>) -> Result<()> + Send,
{
    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        (self.write)(self.array.value(row), out)
    }
}

/// Boxes a primitive column with its writer. The array must hold values of `A`.
pub(super) fn primitive<A, F>(array: &ArrayRef, write: F) -> Encoder
where
    A: ArrowPrimitiveType,
    F: Fn(A::Native, &mut Vec<u8>) -> Result<()> + Send + 'static,
{
    Box::new(Primitive { array: array.as_primitive::<A>().clone(), write })
}

struct Boolean {
    array: BooleanArray,
    /// What false and true look like.
    forms: [&'static [u8]; 2],
}

impl ValueEncoder for Boolean {
    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(self.forms[usize::from(self.array.value(row))]);
        Ok(())
    }
}

pub(super) fn boolean(array: &ArrayRef, pg: &Type, binary: bool) -> Result<Encoder> {
    let forms: [&[u8]; 2] = match (binary, pg) {
        (true, &Type::BOOL) => [&[0], &[1]],
        (false, &Type::BOOL) => [b"f", b"t"],
        // Text and JSON spell it out.
        _ => [b"false", b"true"],
    };
    Ok(Box::new(Boolean { array: array.as_boolean().clone(), forms }))
}

/// How an integer travels in binary.
#[derive(Clone, Copy)]
enum Width {
    Two,
    Four,
    /// `oid` and its aliases.
    Oid,
    /// Block and place in it.
    Tid,
    Eight,
    Numeric,
}

fn width(pg: &Type) -> Option<Width> {
    Some(match *pg {
        Type::INT2 => Width::Two,
        Type::INT4 => Width::Four,
        Type::INT8 => Width::Eight,
        Type::NUMERIC => Width::Numeric,
        Type::OID
        | Type::XID
        | Type::CID
        | Type::REGCLASS
        | Type::REGTYPE
        | Type::REGPROC
        | Type::REGPROCEDURE
        | Type::REGNAMESPACE
        | Type::REGROLE
        | Type::REGOPER
        | Type::REGOPERATOR => Width::Oid,
        Type::TID => Width::Tid,
        _ => return None,
    })
}

fn put_text<I: itoa::Integer>(value: I, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn put_binary(value: i128, width: Width, out: &mut Vec<u8>) -> Result<()> {
    let out_of_range = |name: &str| Error::new(SqlState("22003"), format!("{name} out of range: {value}"));
    match width {
        Width::Two => out.put_i16(i16::try_from(value).map_err(|_| out_of_range("smallint"))?),
        Width::Four => out.put_i32(i32::try_from(value).map_err(|_| out_of_range("integer"))?),
        Width::Oid => out.put_u32(u32::try_from(value).map_err(|_| out_of_range("oid"))?),
        Width::Tid => {
            let place = u64::try_from(value).map_err(|_| out_of_range("tid"))?;
            out.put_uint(place, 6);
        }
        Width::Eight => out.put_i64(i64::try_from(value).map_err(|_| out_of_range("bigint"))?),
        Width::Numeric => numeric::put_binary(value < 0, value.unsigned_abs().to_string().as_bytes(), 0, out),
    }
    Ok(())
}

/// `None`: no binary format under this type.
pub(super) fn integer(array: &ArrayRef, pg: &Type, binary: bool) -> Option<Encoder> {
    // The commonest, which need no check.
    match (array.data_type(), pg) {
        (DataType::Int64, &Type::INT8) if binary => {
            return Some(primitive::<Int64Type, _>(array, |value, out| {
                out.extend_from_slice(&value.to_be_bytes());
                Ok(())
            }));
        }
        (DataType::Int64, &Type::TID) if !binary => {
            return Some(primitive::<Int64Type, _>(array, |value, out| {
                out.push(b'(');
                put_text(value >> 16, out);
                out.push(b',');
                put_text(value & 0xffff, out);
                out.push(b')');
                Ok(())
            }));
        }
        (DataType::Int32, &Type::INT4) if binary => {
            return Some(primitive::<Int32Type, _>(array, |value, out| {
                out.extend_from_slice(&value.to_be_bytes());
                Ok(())
            }));
        }
        _ => {}
    }
    let width = if binary && !super::text::is_text(pg) { Some(width(pg)?) } else { None };
    macro_rules! by_type {
        ($($variant:ident => $arrow:ty),* $(,)?) => {
            match (array.data_type(), width) {
                $(
                    (DataType::$variant, None) => primitive::<$arrow, _>(array, |value, out| {
                        put_text(value, out);
                        Ok(())
                    }),
                    (DataType::$variant, Some(width)) => primitive::<$arrow, _>(array, move |value, out| {
                        put_binary(i128::from(value), width, out)
                    }),
                )*
                _ => return None,
            }
        };
    }
    Some(by_type!(
        Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
        UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type,
    ))
}

/// `None`: no binary format under this type.
pub(super) fn float(array: &ArrayRef, pg: &Type, binary: bool) -> Option<Encoder> {
    let text = !binary || super::text::is_text(pg);
    Some(match (array.data_type(), text) {
        (DataType::Float16, true) => primitive::<Float16Type, _>(array, |value, out| {
            put_f32(value.to_f32(), out);
            Ok(())
        }),
        (DataType::Float32, true) if *pg == Type::FLOAT8 => {
            primitive::<Float32Type, _>(array, |value, out| {
                put_f64(f64::from(value), out);
                Ok(())
            })
        }
        (DataType::Float32, true) => primitive::<Float32Type, _>(array, |value, out| {
            put_f32(value, out);
            Ok(())
        }),
        (DataType::Float64, true) => primitive::<Float64Type, _>(array, |value, out| {
            put_f64(value, out);
            Ok(())
        }),
        (DataType::Float16, false) => binary_float::<Float16Type>(array, pg, |v| f64::from(v.to_f32()))?,
        (DataType::Float32, false) => binary_float::<Float32Type>(array, pg, f64::from)?,
        (DataType::Float64, false) => binary_float::<Float64Type>(array, pg, |v| v)?,
        _ => return None,
    })
}

fn binary_float<A: ArrowPrimitiveType>(
    array: &ArrayRef,
    pg: &Type,
    wide: impl Fn(A::Native) -> f64 + Send + 'static,
) -> Option<Encoder> {
    Some(match *pg {
        Type::FLOAT4 => primitive::<A, _>(array, move |value, out| {
            out.put_f32(wide(value) as f32);
            Ok(())
        }),
        Type::FLOAT8 => primitive::<A, _>(array, move |value, out| {
            out.put_f64(wide(value));
            Ok(())
        }),
        Type::NUMERIC => primitive::<A, _>(array, move |value, out| {
            let mut text = Vec::new();
            put_f64(wide(value), &mut text);
            numeric::text_to_binary(&text, out)
        }),
        _ => return None,
    })
}

/// Shortest text that reads back as the same number.
pub(super) fn put_f64(value: f64, out: &mut Vec<u8>) {
    if (1e-4..1e15).contains(&value.abs()) {
        put_plain(ryu::Buffer::new().format_finite(value), out);
    } else if value.is_finite() {
        put_shortest(ryu::Buffer::new().format_finite(value), 15, out);
    } else {
        put_not_finite(value, out);
    }
}

/// Shortest text that reads back as the same single-precision number.
pub(super) fn put_f32(value: f32, out: &mut Vec<u8>) {
    if (1e-4..1e6).contains(&value.abs()) {
        put_plain(ryu::Buffer::new().format_finite(value), out);
    } else if value.is_finite() {
        put_shortest(ryu::Buffer::new().format_finite(value), 6, out);
    } else {
        put_not_finite(f64::from(value), out);
    }
}

/// A number that ryu, as Postgres, writes without an exponent.
fn put_plain(shortest: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(shortest.strip_suffix(".0").unwrap_or(shortest).as_bytes());
}

fn put_not_finite(value: f64, out: &mut Vec<u8>) {
    let text: &[u8] = match (value.is_nan(), value > 0.0) {
        (true, _) => b"NaN",
        (false, true) => b"Infinity",
        (false, false) => b"-Infinity",
    };
    out.extend_from_slice(text);
}

/// Lays out the digits that ryu found as Postgres does: an exponent below 10⁻⁴ and from 10^`limit`
/// (`float_to_shortest_decimal` in its sources), no `.0`.
fn put_shortest(shortest: &str, limit: i32, out: &mut Vec<u8>) {
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((shortest, "0"));
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // ryu writes 24 bytes at most.
    let mut all = [b'0'; 32];
    let length = whole.len() + fraction.len();
    for (place, digit) in all.iter_mut().zip(whole.bytes().chain(fraction.bytes())) {
        *place = digit;
    }
    let all = &all[..length.min(32)];
    let leading = all.iter().take_while(|d| **d == b'0').count();
    let trailing = all.iter().rev().take_while(|d| **d == b'0').count();
    if negative {
        out.put_u8(b'-');
    }
    if leading == all.len() {
        out.put_u8(b'0');
        return;
    }
    let digits = &all[leading..all.len() - trailing];
    // Exponent of the first digit.
    let exponent: i32 = exponent.parse::<i32>().unwrap_or(0) + whole.len() as i32 - 1 - leading as i32;
    if exponent < -4 || exponent >= limit {
        put_scientific(digits, exponent, out);
    } else {
        put_fixed(digits, exponent, out);
    }
}

fn put_scientific(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(&digits[..1]);
    if digits.len() > 1 {
        out.put_u8(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.put_u8(b'e');
    out.put_u8(if exponent < 0 { b'-' } else { b'+' });
    if exponent.abs() < 10 {
        out.put_u8(b'0');
    }
    put_text(exponent.unsigned_abs(), out);
}

fn put_fixed(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    let Ok(last_whole) = usize::try_from(exponent) else {
        out.extend_from_slice(b"0.");
        out.put_bytes(b'0', exponent.unsigned_abs() as usize - 1);
        out.extend_from_slice(digits);
        return;
    };
    let whole = (last_whole + 1).min(digits.len());
    out.extend_from_slice(&digits[..whole]);
    out.put_bytes(b'0', last_whole + 1 - whole);
    if whole < digits.len() {
        out.put_u8(b'.');
        out.extend_from_slice(&digits[whole..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_an_exponent_are_as_laid_out() {
        let mut seed = 1_u64;
        for exponent in -4..15 {
            for _ in 0..200 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let digits = seed >> 11;
                let all = digits as f64 / (1_u64 << 53) as f64 * 9.0 + 1.0;
                let few = (all * 100.0).round() / 100.0;
                for value in [all, few, few.round()].map(|n| n * 10_f64.powi(exponent)) {
                    if !(1e-4..1e15).contains(&value) {
                        continue;
                    }
                    let (mut one, mut other) = (Vec::new(), Vec::new());
                    put_f64(-value, &mut one);
                    put_shortest(ryu::Buffer::new().format_finite(-value), 15, &mut other);
                    assert_eq!(one, other, "{value}");
                    let value = value as f32;
                    let (mut one, mut other) = (Vec::new(), Vec::new());
                    put_f32(value, &mut one);
                    put_shortest(ryu::Buffer::new().format_finite(value), 6, &mut other);
                    assert_eq!(one, other, "{value}");
                }
            }
        }
    }
}
