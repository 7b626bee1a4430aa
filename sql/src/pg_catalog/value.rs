//! Values of catalog rows and of catalog functions, and the arrow columns that are made of them.
//!
//! Catalog relations are small and wide, so they are built value by value; the arrow type of a
//! column follows from the name of its Postgres type, which the field keeps in its metadata
//! ([`PG_TYPE`]) because several Postgres types share one arrow type (`oid` and `int8`, `name` and `text`).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, ListArray,
    StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::cast::{as_boolean_array, as_float64_array, as_int64_array, as_string_array};
use datafusion::error::{DataFusionError, Result};

pub use crate::types::PG_TYPE;

/// A value of a catalog row, or an argument or result of a catalog function.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// Any integer type, `oid`, `xid`, `regclass`, ….
    Int(i64),
    Float(f64),
    Text(String),
    /// Microseconds since the epoch.
    Time(i64),
    List(Vec<Value>),
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number, or a text that is one (`'16404'` is an `oid` wherever one is expected).
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Float(f) if f.fract() == 0.0 => Some(*f as i64),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// An object identifier.
    pub fn as_oid(&self) -> Option<u32> {
        u32::try_from(self.as_int()?).ok()
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            Self::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "t" | "true" | "on" | "yes" | "1" => Some(true),
                "f" | "false" | "off" | "no" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<i16> for Value {
    fn from(value: i16) -> Self {
        Self::Int(value.into())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_string())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl From<chrono::DateTime<chrono::Utc>> for Value {
    fn from(value: chrono::DateTime<chrono::Utc>) -> Self {
        Self::Time(value.timestamp_micros())
    }
}

/// Arrow type in which values of a Postgres type (by `typname`) are held.
pub fn arrow_type(pg: &str) -> DataType {
    match pg {
        "bool" => DataType::Boolean,
        "int2" => DataType::Int16,
        "int4" => DataType::Int32,
        "int8" | "oid" | "xid" | "cid" | "tid" | "regproc" | "regprocedure" | "regclass" | "regtype"
        | "regnamespace" | "regrole" => DataType::Int64,
        "float4" => DataType::Float32,
        "float8" | "numeric" => DataType::Float64,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        "interval" => DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
        "bytea" => DataType::Binary,
        "int2vector" => list_of(DataType::Int16),
        "oidvector" => list_of(DataType::Int64),
        array if array.starts_with('_') => list_of(arrow_type(array.strip_prefix('_').unwrap_or_default())),
        _ => DataType::Utf8,
    }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// A nullable column of a Postgres type (by `typname`).
pub fn field(name: &str, pg: &str) -> Field {
    let metadata = HashMap::from([(PG_TYPE.to_string(), pg.to_string())]);
    Field::new(name, arrow_type(pg), true).with_metadata(metadata)
}

/// [`field`], shared.
pub fn field_ref(name: &str, pg: &str) -> FieldRef {
    Arc::new(field(name, pg))
}

fn mismatch(value: &Value, data_type: &DataType) -> DataFusionError {
    DataFusionError::Internal(format!("{value:?} in a catalog column of type {data_type}"))
}

/// Makes an arrow array of one type. Fails (internal error) when a value does not fit.
pub fn to_array(values: &[Value], data_type: &DataType) -> Result<ArrayRef> {
    fn all<T>(
        values: &[Value],
        data_type: &DataType,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<Option<T>>> {
        values
            .iter()
            .map(|value| match value {
                Value::Null => Ok(None),
                value => convert(value).map(Some).ok_or_else(|| mismatch(value, data_type)),
            })
            .collect()
    }
    let int = |value: &Value| match value {
        Value::Int(n) => Some(*n),
        _ => None,
    };
    let float = |value: &Value| match value {
        Value::Float(f) => Some(*f),
        Value::Int(n) => Some(*n as f64),
        _ => None,
    };
    Ok(match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from(all(values, data_type, |v| match v {
            Value::Bool(b) => Some(*b),
            _ => None,
        })?)),
        DataType::Int16 => Arc::new(Int16Array::from(all(values, data_type, |v| {
            int(v).and_then(|n| i16::try_from(n).ok())
        })?)),
        DataType::Int32 => Arc::new(Int32Array::from(all(values, data_type, |v| {
            int(v).and_then(|n| i32::try_from(n).ok())
        })?)),
        DataType::Int64 => Arc::new(Int64Array::from(all(values, data_type, int)?)),
        DataType::Float32 => {
            Arc::new(Float32Array::from(all(values, data_type, |v| float(v).map(|f| f as f32))?))
        }
        DataType::Float64 => Arc::new(Float64Array::from(all(values, data_type, float)?)),
        DataType::Utf8 => Arc::new(StringArray::from(all(values, data_type, |v| match v {
            Value::Text(text) => Some(text.as_str().to_string()),
            _ => None,
        })?)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let times = all(values, data_type, |v| match v {
                Value::Time(t) => Some(*t),
                _ => None,
            })?;
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone_opt(zone.clone()))
        }
        DataType::List(item) => list_array(values, item)?,
        other => match values.iter().find(|value| !value.is_null()) {
            Some(value) => return Err(mismatch(value, other)),
            None => new_null_array(other, values.len()),
        },
    })
}

fn list_array(values: &[Value], item: &FieldRef) -> Result<ArrayRef> {
    let mut lengths = Vec::with_capacity(values.len());
    let mut flat = Vec::new();
    for value in values {
        match value {
            Value::Null => lengths.push(0),
            Value::List(items) => {
                lengths.push(items.len());
                flat.extend(items.iter().cloned());
            }
            other => return Err(mismatch(other, item.data_type())),
        }
    }
    let nulls: NullBuffer = values.iter().map(|value| !value.is_null()).collect();
    let items = to_array(&flat, item.data_type())?;
    Ok(Arc::new(ListArray::try_new(item.clone(), OffsetBuffer::from_lengths(lengths), items, Some(nulls))?))
}

/// Reads every value of an arrow array of any of the types that arguments come in.
pub fn from_array(array: &ArrayRef) -> Result<Vec<Value>> {
    use arrow::compute::cast;
    let nullable = |i: usize, value: Value| if array.is_null(i) { Value::Null } else { value };
    let rows = 0..array.len();
    Ok(match array.data_type() {
        DataType::Null => vec![Value::Null; array.len()],
        DataType::Boolean => {
            let array = as_boolean_array(array)?;
            rows.map(|i| nullable(i, Value::Bool(array.value(i)))).collect()
        }
        t if t.is_integer() => {
            let ints = cast(array, &DataType::Int64)?;
            let ints = as_int64_array(&ints)?;
            rows.map(|i| nullable(i, Value::Int(ints.value(i)))).collect()
        }
        t if t.is_numeric() => {
            let floats = cast(array, &DataType::Float64)?;
            let floats = as_float64_array(&floats)?;
            rows.map(|i| nullable(i, Value::Float(floats.value(i)))).collect()
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            let item = match array.data_type() {
                DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) => f,
                _ => return Ok(vec![Value::Null; array.len()]),
            };
            let lists = cast(array, &DataType::List(item.clone()))?;
            let lists = datafusion::common::cast::as_list_array(&lists)?;
            rows.map(|i| {
                if lists.is_null(i) { Ok(Value::Null) } else { from_array(&lists.value(i)).map(Value::List) }
            })
            .collect::<Result<_>>()?
        }
        DataType::Timestamp(_, zone) => {
            let times = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
            let times = cast(&times, &DataType::Int64)?;
            let times = as_int64_array(&times)?;
            rows.map(|i| nullable(i, Value::Time(times.value(i)))).collect()
        }
        _ => {
            let texts = cast(array, &DataType::Utf8)?;
            let texts = as_string_array(&texts)?;
            rows.map(|i| nullable(i, Value::Text(texts.value(i).to_string()))).collect()
        }
    })
}

/// Reads Postgres' array literal (`{a,"b c",NULL}`; manual 8.15.2), one dimension. `None`: malformed.
pub fn parse_array_literal(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    if inner.trim().is_empty() {
        return Some(items);
    }
    let mut chars = inner.chars().peekable();
    loop {
        while chars.peek().is_some_and(|c| c.is_whitespace()) {
            chars.next();
        }
        let mut item = String::new();
        let quoted = chars.peek() == Some(&'"');
        if quoted {
            chars.next();
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => item.push(chars.next()?),
                    c => item.push(c),
                }
            }
            while chars.peek().is_some_and(|c| c.is_whitespace()) {
                chars.next();
            }
        } else {
            while let Some(c) = chars.peek().copied().filter(|c| *c != ',') {
                chars.next();
                match c {
                    '\\' => item.push(chars.next()?),
                    '{' | '}' | '"' => return None,
                    c => item.push(c),
                }
            }
            item.truncate(item.trim_end().len());
            if item.is_empty() {
                return None;
            }
        }
        let null = !quoted && item.eq_ignore_ascii_case("null");
        items.push(if null { None } else { Some(item) });
        match chars.next() {
            None => return Some(items),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}
