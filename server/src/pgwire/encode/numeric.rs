//! `numeric`: decimals as text and in Postgres' binary form, groups of four decimal digits
//! (`numeric_send` in its sources).

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type};
use auric_sql::types::ALL_DIGITS;
use auric_sql::{Error, Result, SqlState};
use bytes::BufMut;

use super::number::primitive;
use super::{Encoder, Nothing};

const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;

pub(super) fn decimal(array: &ArrayRef, binary: bool) -> Encoder {
    match *array.data_type() {
        DataType::Decimal32(_, scale) => primitive::<Decimal32Type, _>(array, move |value, out| {
            put_i128(i128::from(value), scale, binary, out);
            Ok(())
        }),
        DataType::Decimal64(_, scale) => primitive::<Decimal64Type, _>(array, move |value, out| {
            put_i128(i128::from(value), scale, binary, out);
            Ok(())
        }),
        DataType::Decimal128(_, scale) => primitive::<Decimal128Type, _>(array, move |value, out| {
            put_i128(value, scale, binary, out);
            Ok(())
        }),
        DataType::Decimal256(_, scale) => primitive::<Decimal256Type, _>(array, move |value, out| {
            let text = value.to_string();
            let (negative, digits) = text.strip_prefix('-').map_or((false, &*text), |rest| (true, rest));
            put(negative, digits.as_bytes(), scale, binary, out);
            Ok(())
        }),
        _ => Box::new(Nothing),
    }
}

/// A quotient, with as many digits after the point as Postgres gives it: 16 significant ones counted in
/// groups of four, but at least `least` (`select_div_scale` in its sources).
pub(super) fn quotient(array: &ArrayRef, least: u8, binary: bool) -> Encoder {
    let put_rounded = move |text: String, scale: i8, out: &mut Vec<u8>| {
        let (negative, digits) = text.strip_prefix('-').map_or((false, &*text), |rest| (true, rest));
        let (digits, scale) = match least {
            ALL_DIGITS => without_zeros(digits.as_bytes(), scale),
            least => rounded_quotient(digits.as_bytes(), scale, least),
        };
        let negative = negative && digits != b"0";
        put(negative, &digits, scale, binary, out);
        Ok(())
    };
    match *array.data_type() {
        DataType::Decimal128(_, scale) => primitive::<Decimal128Type, _>(array, move |value, out| {
            put_rounded(value.to_string(), scale, out)
        }),
        DataType::Decimal256(_, scale) => primitive::<Decimal256Type, _>(array, move |value, out| {
            put_rounded(value.to_string(), scale, out)
        }),
        _ => decimal(array, binary),
    }
}

/// Digits and scale without the zeros at the end of a fraction.
fn without_zeros(digits: &[u8], scale: i8) -> (Vec<u8>, i8) {
    let full = usize::try_from(scale).unwrap_or(0);
    let zeros = digits.iter().rev().take(full).take_while(|digit| **digit == b'0').count();
    let scale = if digits == b"0" { 0 } else { full - zeros };
    (digits[..digits.len() - zeros.min(digits.len() - 1)].to_vec(), scale as i8)
}

/// Digits and scale that a quotient is shown with.
fn rounded_quotient(digits: &[u8], scale: i8, least: u8) -> (Vec<u8>, i8) {
    let full = usize::try_from(scale).unwrap_or(0);
    let whole = digits.len().saturating_sub(full);
    let one = whole == 1 && digits.first() == Some(&b'1') && digits[1..].iter().all(|digit| *digit == b'0');
    let shown = match whole {
        // Equal operands: Postgres expects a quotient below 1.
        _ if one || digits == b"0" => 20,
        0 => 20 + (full - digits.len()) / 4 * 4,
        whole => 16_usize.saturating_sub((whole - 1) / 4 * 4),
    };
    let shown = shown.max(usize::from(least)).min(full);
    let cut = full - shown;
    let mut kept = digits[..digits.len().saturating_sub(cut)].to_vec();
    let half = digits.len() >= cut && cut > 0 && digits.get(digits.len() - cut).is_some_and(|d| *d >= b'5');
    if half {
        let mut carry = true;
        for digit in kept.iter_mut().rev() {
            carry = *digit == b'9';
            *digit = if carry { b'0' } else { *digit + 1 };
            if !carry {
                break;
            }
        }
        if carry {
            kept.insert(0, b'1');
        }
    }
    if kept.is_empty() {
        kept.push(b'0');
    }
    (kept, i8::try_from(shown).unwrap_or(scale))
}

fn put_i128(value: i128, scale: i8, binary: bool, out: &mut Vec<u8>) {
    if binary && put_small_binary(value, scale, out).is_some() {
        return;
    }
    let mut buffer = itoa::Buffer::new();
    let digits = match u64::try_from(value.unsigned_abs()) {
        Ok(small) => buffer.format(small),
        Err(_) => buffer.format(value.unsigned_abs()),
    };
    put(value < 0, digits.as_bytes(), scale, binary, out);
}

/// A number of at most 64 bits in binary, by arithmetic rather than by its digits. `None`: it is larger.
fn put_small_binary(value: i128, scale: i8, out: &mut Vec<u8>) -> Option<()> {
    let scale = u32::try_from(scale).ok()?;
    // Whole groups of four digits after the point.
    let missing = (4 - scale % 4) % 4;
    let mut rest = u64::try_from(value.unsigned_abs()).ok()?.checked_mul(10_u64.pow(missing))?;
    // The lowest group first.
    let (mut groups, mut count) = ([0_u16; 5], 0);
    for group in &mut groups {
        if rest == 0 {
            break;
        }
        *group = (rest % 10_000) as u16;
        rest /= 10_000;
        count += 1;
    }
    let trailing = groups[..count].iter().take_while(|group| **group == 0).count();
    let kept = &groups[trailing..count];
    let weight = if count == 0 { 0 } else { count as i16 - ((scale + missing) / 4) as i16 - 1 };
    out.put_u16(kept.len() as u16);
    out.put_i16(weight);
    out.put_u16(if value < 0 { NEGATIVE } else { 0 });
    out.put_u16(scale as u16);
    kept.iter().rev().for_each(|group| out.put_u16(*group));
    Some(())
}

fn put(negative: bool, digits: &[u8], scale: i8, binary: bool, out: &mut Vec<u8>) {
    if binary { put_binary(negative, digits, scale, out) } else { put_text(negative, digits, scale, out) }
}

/// `digits` × 10^-`scale`. Zero has the digits `0`.
fn put_text(negative: bool, digits: &[u8], scale: i8, out: &mut Vec<u8>) {
    if negative {
        out.put_u8(b'-');
    }
    let Ok(scale) = usize::try_from(scale) else {
        out.extend_from_slice(digits);
        if digits != b"0" {
            out.put_bytes(b'0', usize::from(scale.unsigned_abs()));
        }
        return;
    };
    let whole = digits.len().saturating_sub(scale);
    if whole == 0 {
        out.put_u8(b'0');
    }
    out.extend_from_slice(&digits[..whole]);
    if scale > 0 {
        out.put_u8(b'.');
        out.put_bytes(b'0', scale - (digits.len() - whole));
        out.extend_from_slice(&digits[whole..]);
    }
}

/// `digits` × 10^-`scale` in binary.
pub(super) fn put_binary(negative: bool, digits: &[u8], scale: i8, out: &mut Vec<u8>) {
    // All digits around the point, padded to groups of four on both sides.
    let shown_scale = usize::try_from(scale).unwrap_or(0);
    let appended = if scale < 0 { usize::from(scale.unsigned_abs()) } else { 0 };
    let whole = (digits.len() + appended).saturating_sub(shown_scale);
    let missing = (shown_scale + whole) - (digits.len() + appended);
    let left = (4 - whole % 4) % 4;
    let right = (4 - shown_scale % 4) % 4;
    let mut aligned = Vec::with_capacity(left + missing + digits.len() + appended + right);
    aligned.resize(left + missing, b'0');
    aligned.extend_from_slice(digits);
    aligned.resize(aligned.len() + appended + right, b'0');

    let groups: Vec<i16> =
        aligned.chunks(4).map(|group| group.iter().fold(0, |n, d| n * 10 + i16::from(d - b'0'))).collect();
    let leading = groups.iter().take_while(|g| **g == 0).count();
    let trailing = groups.iter().rev().take_while(|g| **g == 0).count();
    let weight = ((whole + left) / 4) as i16 - 1 - leading as i16;
    let (kept, weight, sign) = if leading == groups.len() {
        (&groups[..0], 0, 0)
    } else {
        (&groups[leading..groups.len() - trailing], weight, if negative { NEGATIVE } else { 0 })
    };
    out.put_u16(kept.len() as u16);
    out.put_i16(weight);
    out.put_u16(sign);
    out.put_u16(shown_scale as u16);
    kept.iter().for_each(|group| out.put_i16(*group));
}

/// Decimal text (`-1.50`, `1e20`, `NaN`) in binary. Fails with 22003 when it has more than 76 digits
/// after the point.
pub(in crate::pgwire) fn text_to_binary(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let special = match text {
        b"NaN" => Some(NOT_A_NUMBER),
        b"Infinity" => Some(INFINITY),
        b"-Infinity" => Some(MINUS_INFINITY),
        _ => None,
    };
    if let Some(sign) = special {
        [0, 0, sign, 0].iter().for_each(|word| out.put_u16(*word));
        return Ok(());
    }
    let text = String::from_utf8_lossy(text);
    let invalid =
        || Error::new(SqlState("22P02"), format!("invalid input syntax for type numeric: \"{text}\""));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().map_err(|_| invalid())?;
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid());
    }
    let mut scale = fraction.len() as i32 - exponent;
    if scale < 0 {
        let zeros = scale.unsigned_abs() as usize;
        if zeros > 400 {
            return Err(Error::new(SqlState("22003"), format!("numeric out of range: {text}")));
        }
        digits.resize(digits.len() + zeros, b'0');
        scale = 0;
    }
    let scale = i8::try_from(scale)
        .map_err(|_| Error::new(SqlState("22003"), format!("numeric out of range: {text}")))?;
    put_binary(negative, &digits, scale, out);
    Ok(())
}

/// The text of a binary numeric. `None`: not one.
pub(in crate::pgwire) fn binary_to_text(bytes: &[u8]) -> Option<String> {
    let words: Vec<u16> =
        bytes.chunks(2).map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?))).collect::<Option<_>>()?;
    let [count, weight, sign, scale, groups @ ..] = &words[..] else { return None };
    let (weight, scale) = (i32::from(*weight as i16), usize::from(*scale));
    match *sign {
        NOT_A_NUMBER => return Some("NaN".into()),
        INFINITY => return Some("Infinity".into()),
        MINUS_INFINITY => return Some("-Infinity".into()),
        0 | NEGATIVE => {}
        _ => return None,
    }
    if groups.len() != usize::from(*count) || groups.iter().any(|g| *g > 9999) || scale > 0x3fff {
        return None;
    }
    let group = |index: i32| usize::try_from(index).ok().and_then(|i| groups.get(i)).copied().unwrap_or(0);
    let mut text = String::new();
    for index in 0..=weight {
        let digits = group(index);
        // Groups may begin with some of zeros.
        if text.is_empty() && digits > 0 {
            text.push_str(&digits.to_string());
        } else if !text.is_empty() {
            text.push_str(&format!("{digits:04}"));
        }
    }
    if text.is_empty() {
        text.push('0');
    }
    if scale > 0 {
        text.push('.');
        let start = text.len();
        let mut index = weight + 1;
        while text.len() - start < scale {
            text.push_str(&format!("{:04}", group(index)));
            index += 1;
        }
        text.truncate(start + scale);
    }
    // What is left of a small number is no less than zero.
    if *sign == NEGATIVE && text.bytes().any(|byte| matches!(byte, b'1'..=b'9')) {
        text.insert(0, '-');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of a binary numeric.
    fn words(words: &[i16]) -> Option<String> {
        binary_to_text(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn numbers_that_nobody_would_write_so() {
        const NEGATIVE: i16 = super::NEGATIVE as i16;
        assert_eq!(words(&[1, -9, NEGATIVE, 0, 5]).as_deref(), Some("0"));
        assert_eq!(words(&[1, -2, NEGATIVE, 3, 5]).as_deref(), Some("0.000"));
        assert_eq!(words(&[1, -1, NEGATIVE, 4, 5]).as_deref(), Some("-0.0005"));
        assert_eq!(words(&[3, 2, NEGATIVE, 0, 0, 5, 6]).as_deref(), Some("-50006"));
        assert_eq!(words(&[2, 1, 0, 2, 0, 0]).as_deref(), Some("0.00"));
        assert_eq!(words(&[0, 0, 0, 0]).as_deref(), Some("0"));
        assert_eq!(words(&[1, 1, 0, 0, 1]).as_deref(), Some("10000"));
        assert_eq!(words(&[2, 0, 0, 0, 1]), None);
    }

    #[test]
    fn small_numbers_in_binary_are_as_by_their_digits() {
        let numbers = [
            0,
            1,
            9,
            10,
            99,
            100,
            1234,
            9999,
            10_000,
            10_001,
            123_456_789,
            1_000_000_000_000,
            990_000,
            i64::MAX.into(),
        ];
        for scale in 0..=18 {
            for value in numbers.into_iter().flat_map(|n: i128| [n, -n]) {
                let (mut one, mut other) = (Vec::new(), Vec::new());
                if put_small_binary(value, scale, &mut one).is_some() {
                    let digits = value.unsigned_abs().to_string();
                    put_binary(value < 0, digits.as_bytes(), scale, &mut other);
                    assert_eq!(one, other, "{value} with scale {scale}");
                } else {
                    assert!(one.is_empty() && value.unsigned_abs() > 1 << 50);
                }
            }
        }
    }
}
