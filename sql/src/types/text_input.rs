//! Text to the types that arrow cannot read as Postgres does: `uuid`, `bytea`, dates and times, and floating
//! point numbers, which have a range.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Date32Array, FixedSizeBinaryBuilder, IntervalMonthDayNanoArray,
    ListArray, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::datetime::{Reader, interval};
use crate::error::{Error, SqlState};
use crate::functions::calendar::Zone;
use crate::functions::columnar::{INTERVAL, TIMESTAMP, timestamptz};
use crate::functions::interval::TIME;
use crate::session::carried::Carried;
use crate::session::info::SessionInfo;

static UUID_IN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function(Input::Uuid));
static BYTEA_IN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function(Input::Bytea));
static DATE_IN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function(Input::Date));
static TIME_IN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function(Input::Time));
static TIMESTAMP_IN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function(Input::Timestamp));
static TIMESTAMPTZ_IN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function(Input::Timestamptz));
static REAL_IN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function(Input::Real));
static DOUBLE_IN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function(Input::Double));
static INTERVAL_IN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| function(Input::Interval));

/// Input functions, by the type of their result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Input {
    Uuid,
    Bytea,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Real,
    Double,
}

fn function(input: Input) -> Arc<ScalarUDF> {
    let volatility = match input {
        Input::Uuid | Input::Bytea | Input::Interval | Input::Real | Input::Double => Volatility::Immutable,
        // `today`, and the session's time zone.
        Input::Date | Input::Time | Input::Timestamp | Input::Timestamptz => Volatility::Stable,
    };
    Arc::new(ScalarUDF::new_from_impl(TextInput { input, signature: Signature::any(1, volatility) }))
}

/// Whether a function is one of these.
pub fn is_input(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<TextInput>().is_some()
}

/// The expression that reads `text` (or each of a list of texts) as the type, if arrow's own cast would
/// not do.
pub fn read(text: &Expr, to: &DataType) -> Option<Expr> {
    match to {
        DataType::List(item) => read(text, item.data_type()),
        DataType::FixedSizeBinary(16) => Some(UUID_IN.call(vec![text.clone()])),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            Some(BYTEA_IN.call(vec![text.clone()]))
        }
        DataType::Date32 | DataType::Date64 => Some(DATE_IN.call(vec![text.clone()])),
        DataType::Time32(_) | DataType::Time64(_) => Some(TIME_IN.call(vec![text.clone()])),
        DataType::Timestamp(_, None) => Some(TIMESTAMP_IN.call(vec![text.clone()])),
        DataType::Timestamp(_, Some(_)) => Some(TIMESTAMPTZ_IN.call(vec![text.clone()])),
        DataType::Interval(_) | DataType::Duration(_) => Some(INTERVAL_IN.call(vec![text.clone()])),
        DataType::Float32 => Some(REAL_IN.call(vec![text.clone()])),
        DataType::Float64 => Some(DOUBLE_IN.call(vec![text.clone()])),
        _ => None,
    }
}

/// [`read`] of an expression that is one text: for a list, that is an array literal.
pub fn read_text(text: &Expr, to: &DataType) -> Option<Expr> {
    match to {
        DataType::List(item) => Some(super::array_input::read(text, item.data_type())),
        _ => read(text, to),
    }
}

/// A `tid`: block and place in it, as one number in their order.
pub fn tid(text: &str) -> Option<i64> {
    let (block, place) = text.trim().strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    let (block, place): (u32, u16) = (block.trim().parse().ok()?, place.trim().parse().ok()?);
    Some((i64::from(block) << 16) | i64::from(place))
}

/// The 16 bytes of a uuid as Postgres reads it: 32 digits, hyphens after any four, braces around.
pub fn uuid(text: &str) -> std::result::Result<[u8; 16], Error> {
    let invalid =
        || Error::new(SqlState::INVALID_TEXT, format!("invalid input syntax for type uuid: \"{text}\""));
    let inner = text.trim();
    let inner = match inner.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(invalid)?,
        None => inner,
    };
    let digits: Vec<u8> = inner.bytes().filter(|byte| *byte != b'-').collect();
    let bytes = hexadecimal(&digits).ok_or_else(invalid)?;
    bytes.try_into().map_err(|_| invalid())
}

/// The bytes of a bytea (Postgres manual 8.4): `\x` and hexadecimal digits, or the escape format.
pub fn bytea(text: &str) -> std::result::Result<Vec<u8>, Error> {
    let invalid = || Error::new(SqlState::INVALID_TEXT, "invalid input syntax for type bytea");
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        return hexadecimal(&digits)
            .ok_or_else(|| Error::new(SqlState::INVALID_PARAMETER_VALUE, "invalid hexadecimal data"));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return Ok(bytes),
            [b'\\', b'\\', tail @ ..] => {
                bytes.push(b'\\');
                rest = tail;
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = tail;
            }
            [b'\\', ..] => return Err(invalid()),
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
}

/// The bytes of pairs of digits. `None`: they are none.
pub fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(nibble(*high)? * 16 + nibble(*low)?),
        _ => None,
    });
    pairs.collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextInput {
    input: Input,
    signature: Signature,
}

impl ScalarUDFImpl for TextInput {
    fn name(&self) -> &str {
        match self.input {
            Input::Uuid => "uuid_in",
            Input::Bytea => "byteain",
            Input::Date => "date_in",
            Input::Time => "time_in",
            Input::Timestamp => "timestamp_in",
            Input::Timestamptz => "timestamptz_in",
            Input::Interval => "interval_in",
            Input::Real => "float4in",
            Input::Double => "float8in",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let item = match self.input {
            Input::Uuid => DataType::FixedSizeBinary(16),
            Input::Bytea => DataType::Binary,
            Input::Date => DataType::Date32,
            Input::Time => TIME,
            Input::Timestamp => TIMESTAMP,
            Input::Timestamptz => timestamptz(),
            Input::Interval => INTERVAL,
            Input::Real => DataType::Float32,
            Input::Double => DataType::Float64,
        };
        Ok(match arg_types {
            [DataType::List(_)] => DataType::new_list(item, true),
            _ => item,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(text) = args.args.first() else {
            return Err(DataFusionError::Internal("one argument expected".into()));
        };
        let constant = matches!(text, ColumnarValue::Scalar(_));
        let rows = if constant { 1 } else { args.number_rows };
        let text = text.to_array(rows)?;
        let result = match text.as_list_opt::<i32>() {
            None => self.read(&text, &args.config_options)?,
            Some(lists) => {
                let items = self.read(lists.values(), &args.config_options)?;
                let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
                Arc::new(ListArray::try_new(item, lists.offsets().clone(), items, lists.nulls().cloned())?)
            }
        };
        Ok(if constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }
}

impl TextInput {
    fn read(&self, texts: &ArrayRef, options: &ConfigOptions) -> Result<ArrayRef> {
        self.input.read(cast(texts, &DataType::Utf8)?.as_string::<i32>(), options)
    }
}

impl Input {
    fn read(self, texts: &StringArray, options: &ConfigOptions) -> Result<ArrayRef> {
        let info = SessionInfo::of(options);
        let now = info.map(|info| info.transaction_start.timestamp_micros()).unwrap_or_default();
        let reader = Reader { zone: Zone::of(options), now };
        Ok(match self {
            Self::Uuid => {
                let mut builder = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
                for text in texts {
                    match text {
                        Some(text) => builder.append_value(uuid(text)?)?,
                        None => builder.append_null(),
                    }
                }
                Arc::new(builder.finish())
            }
            Self::Bytea => {
                let mut builder = BinaryBuilder::with_capacity(texts.len(), 0);
                for text in texts {
                    builder.append_option(text.map(bytea).transpose()?);
                }
                Arc::new(builder.finish())
            }
            Self::Date => Arc::new(Date32Array::from(each(texts, |text| reader.date(text))?)),
            Self::Time => Arc::new(Time64MicrosecondArray::from(each(texts, |text| reader.time(text))?)),
            Self::Timestamp => {
                Arc::new(TimestampMicrosecondArray::from(each(texts, |text| reader.timestamp(text))?))
            }
            Self::Timestamptz => {
                let instants = TimestampMicrosecondArray::from(each(texts, |text| reader.timestamptz(text))?);
                Arc::new(instants.with_timezone("+00:00"))
            }
            Self::Interval => {
                let read = |text: &str| interval::read(text)?.to_arrow();
                let values = texts.iter().map(|text| text.map(read).transpose());
                Arc::new(IntervalMonthDayNanoArray::from(values.collect::<Result<Vec<_>>>()?))
            }
            Self::Real => in_range(texts, &DataType::Float32, "real")?,
            Self::Double => in_range(texts, &DataType::Float64, "double precision")?,
        })
    }
}

/// Fails with 22003 for what arrow reads as an infinity or as 0 and is neither.
fn in_range(texts: &StringArray, to: &DataType, name: &str) -> Result<ArrayRef> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let numbers = cast_with_options(texts, to, &strict)?;
    let doubles = cast(&numbers, &DataType::Float64)?;
    for (text, number) in texts.iter().zip(doubles.as_primitive::<Float64Type>()) {
        let (Some(text), Some(number)) = (text, number) else { continue };
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let lost = match number {
            0.0 => mantissa.contains(|c: char| matches!(c, '1'..='9')),
            number => number.is_infinite() && text.contains(|c: char| c.is_ascii_digit()),
        };
        if lost {
            let message = format!("\"{text}\" is out of range for type {name}");
            return Err(Error::new(SqlState::NUMERIC_OUT_OF_RANGE, message).into());
        }
    }
    Ok(numbers)
}

fn each<T>(
    texts: &StringArray,
    read: impl Fn(&str) -> std::result::Result<T, Error>,
) -> Result<Vec<Option<T>>> {
    texts.iter().map(|text| Ok(text.map(&read).transpose()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::{bytea, uuid};

    #[test]
    fn forms_of_uuids() {
        let expected = uuid("a0eebc999c0b4ef8bb6d6bb9bd380a11").unwrap();
        assert_eq!(uuid("{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}").unwrap(), expected);
        assert!(uuid("a0eebc99").is_err());
        assert!(uuid("x0eebc999c0b4ef8bb6d6bb9bd380a11").is_err());
    }

    #[test]
    fn forms_of_bytea() {
        assert_eq!(bytea("\\x00fF 10").unwrap(), [0, 255, 16]);
        assert_eq!(bytea("a\\\\b\\001").unwrap(), b"a\\b\x01");
        assert!(bytea("\\x0").is_err());
        assert!(bytea("\\xzz").is_err());
        assert!(bytea("\\9").is_err());
    }
}
