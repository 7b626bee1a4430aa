//! Parameters of Bind, text or binary, to the scalar values that a session takes.
//!
//! Types that arrow has no own form for here (`numeric`, `interval`, arrays, …) are brought to their
//! text first and cast to the arrow type that the session expects.

use arrow::datatypes::{DataType, TimeUnit};
use auric_sql::pg_catalog::types::format_type;
use auric_sql::types::arrow_type;
use auric_sql::types::text_input;
use auric_sql::{Error, Result, SqlState};
use bytes::Buf;
use datafusion::scalar::ScalarValue;
use postgres_types::{Kind, Type};

use super::encode::{Interval, POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROS, numeric_to_text, put_interval};
use super::frontend::utf8;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Decodes a parameter. `None`: NULL. Fails with 22P02, 22003, 22007 (text) or 22P03 (binary).
pub(super) fn decode(pg: &Type, bytes: Option<&[u8]>, binary: bool) -> Result<ScalarValue> {
    let target = arrow_type(pg);
    let Some(bytes) = bytes else {
        return ScalarValue::try_from(&target).map_err(|_| unsupported(pg));
    };
    let value = if binary { from_binary(pg, bytes)? } else { from_text(pg, utf8(bytes)?)? };
    // The session reads the text of arrays, knowing the type of the elements.
    if value.data_type() == target || matches!(target, DataType::List(_)) {
        return Ok(value);
    }
    value.cast_to(&target).map_err(|_| match value {
        ScalarValue::Utf8(Some(text)) => invalid_text(pg, &text),
        _ => unsupported(pg),
    })
}

fn unsupported(pg: &Type) -> Error {
    Error::new(SqlState("0A000"), format!("parameters of type {pg} are not supported"))
}

/// The values that stand for infinity: no table can hold them.
fn infinite(pg: &Type) -> Error {
    let name = format_type(pg.oid(), None);
    Error::new(SqlState("22008"), format!("{name} out of range: infinity is not supported"))
}

fn invalid_text(pg: &Type, text: &str) -> Error {
    let code = match *pg {
        Type::DATE | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::INTERVAL => "22007",
        _ => "22P02",
    };
    Error::new(
        SqlState(code),
        format!("invalid input syntax for type {}: \"{text}\"", format_type(pg.oid(), None)),
    )
}

fn from_text(pg: &Type, text: &str) -> Result<ScalarValue> {
    let invalid = || invalid_text(pg, text);
    let trimmed = text.trim();
    Ok(match *pg {
        Type::BOOL => ScalarValue::Boolean(Some(parse_bool(trimmed).ok_or_else(invalid)?)),
        Type::INT2 => ScalarValue::Int16(Some(parse_integer(pg, trimmed)?)),
        Type::INT4 => ScalarValue::Int32(Some(parse_integer(pg, trimmed)?)),
        Type::INT8 => ScalarValue::Int64(Some(parse_integer(pg, trimmed)?)),
        Type::OID => ScalarValue::Int64(Some(i64::from(parse_integer::<u32>(pg, trimmed)?))),
        Type::TID => ScalarValue::Int64(Some(text_input::tid(trimmed).ok_or_else(invalid)?)),
        Type::FLOAT4 => ScalarValue::Float32(Some(parse_float(trimmed).ok_or_else(invalid)? as f32)),
        Type::FLOAT8 => ScalarValue::Float64(Some(parse_float(trimmed).ok_or_else(invalid)?)),
        Type::BYTEA => ScalarValue::Binary(Some(text_input::bytea(text)?)),
        Type::UUID => ScalarValue::FixedSizeBinary(16, Some(text_input::uuid(trimmed)?.to_vec())),
        Type::NUMERIC => {
            let mut checked = Vec::new();
            super::encode::text_to_numeric(trimmed.as_bytes(), &mut checked)?;
            ScalarValue::Utf8(Some(trimmed.to_string()))
        }
        Type::DATE => ScalarValue::Utf8(Some(date_part(trimmed).to_string())),
        Type::TIME => ScalarValue::Utf8(Some(without_zone(trimmed).to_string())),
        Type::TIMESTAMP => {
            let time = trimmed.find([' ', 'T', 't']).map_or(trimmed.len(), |at| at + 1);
            let (date, time) = trimmed.split_at_checked(time).ok_or_else(invalid)?;
            ScalarValue::Utf8(Some(format!("{date}{}", without_zone(time)).trim_end().to_string()))
        }
        _ => ScalarValue::Utf8(Some(text.to_string())),
    })
}

/// A time without the zone behind it: for types without one, Postgres reads it and ignores it.
fn without_zone(text: &str) -> &str {
    let Some(at) = text.find(['+', '-', 'Z', 'z']) else { return text };
    let (time, zone) = text.split_at(at);
    let is_zone = match zone.strip_prefix(['+', '-']) {
        Some(digits) => {
            let plain = |c: char| c.is_ascii_digit() || c == ':';
            digits.starts_with(|c: char| c.is_ascii_digit()) && digits.chars().all(plain)
        }
        None => zone.len() == 1,
    };
    if is_zone { time.trim_end() } else { text }
}

/// The date of a date with a time or a zone behind it (drivers send such), which do not count.
fn date_part(text: &str) -> &str {
    let Some((date, rest)) = text.split_once([' ', 'T', 't']) else { return text };
    let is_time =
        rest.chars().all(|c| c.is_ascii_digit() || matches!(c, ':' | '.' | '+' | '-' | 'Z' | 'z' | ' '));
    if is_time { date } else { text }
}

/// `t`, `true`, `yes`, `on`, `1` and their opposites, or a beginning that says which.
fn parse_bool(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let begins = |word: &str, at_least: usize| text.len() >= at_least && word.starts_with(&text);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || text == "1" {
        Some(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || text == "0" {
        Some(false)
    } else {
        None
    }
}

fn parse_integer<I: TryFrom<i128>>(pg: &Type, text: &str) -> Result<I> {
    let value: i128 = text.parse().map_err(|_| invalid_text(pg, text))?;
    I::try_from(value).map_err(|_| {
        Error::new(
            SqlState("22003"),
            format!("value \"{text}\" is out of range for type {}", format_type(pg.oid(), None)),
        )
    })
}

fn parse_float(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "infinity" | "+infinity" | "inf" | "+inf" => Some(f64::INFINITY),
        "-infinity" | "-inf" => Some(f64::NEG_INFINITY),
        "nan" => Some(f64::NAN),
        _ => text.parse().ok(),
    }
}

/// Decodes a value in binary, as the type that [`arrow_type`] names or as text.
pub(super) fn from_binary(pg: &Type, bytes: &[u8]) -> Result<ScalarValue> {
    let invalid = || {
        Error::new(
            SqlState("22P03"),
            format!("incorrect binary data format for type {}", format_type(pg.oid(), None)),
        )
    };
    macro_rules! fixed {
        ($int:ty) => {
            <$int>::from_be_bytes(bytes.try_into().map_err(|_| invalid())?)
        };
    }
    Ok(match *pg {
        Type::BOOL => match bytes {
            [byte] => ScalarValue::Boolean(Some(*byte != 0)),
            _ => return Err(invalid()),
        },
        Type::INT2 => ScalarValue::Int16(Some(fixed!(i16))),
        Type::INT4 => ScalarValue::Int32(Some(fixed!(i32))),
        Type::INT8 => ScalarValue::Int64(Some(fixed!(i64))),
        Type::OID => ScalarValue::Int64(Some(i64::from(fixed!(u32)))),
        Type::TID => {
            let place: [u8; 6] = bytes.try_into().map_err(|_| invalid())?;
            ScalarValue::Int64(Some(place.iter().fold(0, |all, byte| (all << 8) | i64::from(*byte))))
        }
        Type::FLOAT4 => ScalarValue::Float32(Some(fixed!(f32))),
        Type::FLOAT8 => ScalarValue::Float64(Some(fixed!(f64))),
        Type::DATE => {
            let days = fixed!(i32);
            if matches!(days, i32::MIN | i32::MAX) {
                return Err(infinite(pg));
            }
            let days = i64::from(days) + POSTGRES_EPOCH_DAYS;
            ScalarValue::Date32(Some(i32::try_from(days).map_err(|_| invalid())?))
        }
        Type::TIME => match fixed!(i64) {
            micros @ 0..MICROS_PER_DAY => ScalarValue::Time64Microsecond(Some(micros)),
            _ => return Err(Error::new(SqlState("22008"), "time out of range")),
        },
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let micros = fixed!(i64);
            if matches!(micros, i64::MIN | i64::MAX) {
                return Err(infinite(pg));
            }
            let micros = micros.checked_add(POSTGRES_EPOCH_MICROS).ok_or_else(invalid)?;
            let zone = match arrow_type(pg) {
                DataType::Timestamp(TimeUnit::Microsecond, zone) => zone,
                _ => None,
            };
            ScalarValue::TimestampMicrosecond(Some(micros), zone)
        }
        Type::BYTEA => ScalarValue::Binary(Some(bytes.to_vec())),
        Type::UUID if bytes.len() == 16 => ScalarValue::FixedSizeBinary(16, Some(bytes.to_vec())),
        Type::UUID => return Err(invalid()),
        _ => ScalarValue::Utf8(Some(binary_to_text(pg, bytes)?)),
    })
}

/// The text form of a value in binary, for types that go through their text.
fn binary_to_text(pg: &Type, bytes: &[u8]) -> Result<String> {
    let invalid = || {
        Error::new(
            SqlState("22P03"),
            format!("incorrect binary data format for type {}", format_type(pg.oid(), None)),
        )
    };
    if let Kind::Array(element) = pg.kind() {
        return array_to_text(element, bytes);
    }
    match *pg {
        Type::NUMERIC => numeric_to_text(bytes).ok_or_else(invalid),
        Type::INTERVAL => {
            let mut rest = bytes;
            if rest.len() != 16 {
                return Err(invalid());
            }
            let (micros, days, months) = (rest.get_i64(), rest.get_i32(), rest.get_i32());
            let mut text = Vec::new();
            put_interval(Interval { months, days, micros }, &mut text);
            utf8(&text).map(str::to_string)
        }
        Type::JSONB => match bytes {
            [1, document @ ..] => utf8(document).map(str::to_string),
            _ => Err(invalid()),
        },
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::NAME
        | Type::JSON
        | Type::XML
        | Type::UNKNOWN
        | Type::CHAR => utf8(bytes).map(str::to_string),
        _ => match from_binary_as_text(pg, bytes) {
            Some(text) => Ok(text),
            None => Err(Error::new(
                SqlState("0A000"),
                format!("no binary input format for type {}", format_type(pg.oid(), None)),
            )
            .with_hint("Send the parameter as text.")),
        },
    }
}

/// Text of a scalar that [`from_binary`] understands.
fn from_binary_as_text(pg: &Type, bytes: &[u8]) -> Option<String> {
    if matches!(
        *pg,
        Type::BOOL
            | Type::INT2
            | Type::INT4
            | Type::INT8
            | Type::OID
            | Type::FLOAT4
            | Type::FLOAT8
            | Type::DATE
            | Type::TIME
            | Type::TIMESTAMP
            | Type::TIMESTAMPTZ
            | Type::BYTEA
            | Type::UUID
    ) {
        let array = from_binary(pg, bytes).ok()?.to_array().ok()?;
        let text = super::encode::value_text(&array, pg).ok()?;
        return Some(text);
    }
    None
}

/// A binary array as array text.
fn array_to_text(element: &Type, bytes: &[u8]) -> Result<String> {
    let invalid = || Error::new(SqlState("22P03"), "incorrect binary data format for an array");
    let mut rest = bytes;
    let mut next = |length: usize| -> Result<&[u8]> {
        let (head, tail) = rest.split_at_checked(length).ok_or_else(invalid)?;
        rest = tail;
        Ok(head)
    };
    let mut int = || -> Result<i32> { Ok(next(4)?.get_i32()) };
    let dimensions = usize::try_from(int()?).map_err(|_| invalid())?;
    let (_flags, _element) = (int()?, int()?);
    if dimensions > 6 {
        return Err(invalid());
    }
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        lengths.push(usize::try_from(int()?).map_err(|_| invalid())?);
        int()?;
    }
    let mut text = String::new();
    if lengths.is_empty() {
        return if rest.is_empty() { Ok("{}".into()) } else { Err(invalid()) };
    }
    // Every element takes four bytes at least: what the lengths promise must be there.
    let elements = lengths.iter().try_fold(1_usize, |product, length| product.checked_mul(*length));
    match elements {
        Some(elements) if elements <= rest.len() / 4 => {}
        _ => return Err(invalid()),
    }
    if elements == Some(0) {
        return if rest.is_empty() { Ok("{}".into()) } else { Err(invalid()) };
    }
    put_array(element, &lengths, &mut rest, &mut text)?;
    if rest.is_empty() { Ok(text) } else { Err(invalid()) }
}

fn put_array(element: &Type, lengths: &[usize], rest: &mut &[u8], text: &mut String) -> Result<()> {
    let invalid = || Error::new(SqlState("22P03"), "incorrect binary data format for an array");
    let Some((length, inner)) = lengths.split_first() else { return Err(invalid()) };
    text.push('{');
    for i in 0..*length {
        if i > 0 {
            text.push(',');
        }
        if !inner.is_empty() {
            put_array(element, inner, rest, text)?;
            continue;
        }
        let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(invalid)?;
        *rest = tail;
        let Ok(size) = usize::try_from(i32::from_be_bytes(*head)) else {
            text.push_str("NULL");
            continue;
        };
        let (value, tail) = rest.split_at_checked(size).ok_or_else(invalid)?;
        *rest = tail;
        let value = binary_to_text(element, value)?;
        text.push('"');
        for c in value.chars() {
            if matches!(c, '"' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('"');
    }
    text.push('}');
    Ok(())
}

#[cfg(test)]
mod tests;
