//! Record batches to DataRow messages.
//!
//! Each column is downcast once per batch; rows are then written one after the other into one buffer
//! per chunk. What a value looks like is decided by its arrow type and the Postgres type that the
//! client was told, in text exactly as Postgres prints it (`DateStyle` ISO), times in the session's time
//! zone, intervals in its `IntervalStyle`, bytes and floating point numbers in its `TextStyle`.

mod array;
mod datetime;
mod interval;
mod json;
mod number;
mod numeric;
mod text;

#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef, IntervalUnit};
use arrow::record_batch::RecordBatch;
use auric_sql::types::text_style::TextStyle;
use auric_sql::{CopyLines, Error, OutputColumn, Result, Session, SqlState};
use bytes::{BufMut, Bytes};
use postgres_types::Type;

pub(super) use datetime::{POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROS};
pub(super) use interval::{Interval, IntervalStyle, put_text as put_interval};
pub(super) use numeric::{binary_to_text as numeric_to_text, text_to_binary as text_to_numeric};

/// A chunk ends when it is this long.
const CHUNK: usize = 256 * 1024;
/// In the number of formats: it is one of each column; their count is in the bits above, then they.
const EACH: u64 = 2;
/// Of the count.
const LENGTH_MASK: usize = 0x3f;
/// A number has room for so many columns.
const SPELLED_OUT: usize = 56;
/// Message type of DataRow.
const DATA_ROW: u8 = b'D';

/// Formats of a result's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Formats {
    /// All the same; `true`: binary.
    All(bool),
    /// One each; `true`: binary.
    Each(Vec<bool>),
}

impl Formats {
    pub(super) const TEXT: Self = Self::All(false);

    /// From the codes of a Bind message (none: text; one: for all).
    pub(super) fn from_codes(codes: &[i16]) -> Result<Self> {
        let binary = |code: &i16| match code {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Error::new(SqlState("08P01"), format!("unsupported format code: {other}"))),
        };
        match codes {
            [] => Ok(Self::TEXT),
            [code] => Ok(Self::All(binary(code)?)),
            codes => Ok(Self::Each(codes.iter().map(binary).collect::<Result<_>>()?)),
        }
    }

    /// Another number for other formats.
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::All(binary) => u64::from(*binary),
            Self::Each(each) if each.len() <= SPELLED_OUT => {
                let bits = each.iter().rev().fold(0, |bits, binary| (bits << 1) | u64::from(*binary));
                (bits << 8) | (each.len() as u64) << 2 | EACH
            }
            Self::Each(each) => {
                let mut hasher = DefaultHasher::new();
                each.hash(&mut hasher);
                // All of the length's bits: none that is spelled out.
                hasher.finish() | (LENGTH_MASK as u64) << 2 | EACH
            }
        }
    }

    /// The formats of a number. `None`: it is of too many columns to tell them.
    pub(super) fn of_number(number: u64) -> Option<Self> {
        if number & EACH == 0 {
            return Some(Self::All(number == 1));
        }
        let length = usize::try_from(number >> 2).ok()? & LENGTH_MASK;
        if length > SPELLED_OUT {
            return None;
        }
        Some(Self::Each((0..length).map(|column| (number >> (8 + column)) & 1 == 1).collect()))
    }

    pub(super) fn is_binary(&self, column: usize) -> bool {
        match self {
            Self::All(binary) => *binary,
            Self::Each(binary) => binary.get(column).copied().unwrap_or(false),
        }
    }

    /// As the wire codes it.
    pub(super) fn code(&self, column: usize) -> i16 {
        i16::from(self.is_binary(column))
    }
}

/// Writes values of one column.
pub(super) trait ValueEncoder: Send {
    /// Appends the value at `row`, which is not NULL, without its length.
    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<()>;
}

type Encoder = Box<dyn ValueEncoder>;

/// What a session's settings say about text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    /// The zone of times, as arrow names it.
    pub zone: String,
    pub intervals: IntervalStyle,
    pub style: TextStyle,
}

impl Shown {
    pub(super) fn of(session: &Session) -> Self {
        Self::named(session.time_zone(), &session.interval_style(), session.text_style())
    }

    /// `zone`: as arrow names it.
    pub(super) fn named(zone: String, interval_style: &str, style: TextStyle) -> Self {
        Self { zone, intervals: IntervalStyle::named(interval_style), style }
    }

    /// As Postgres does without any settings.
    pub(super) fn plain() -> Self {
        let style = TextStyle::default();
        Self { zone: "+00:00".to_string(), intervals: IntervalStyle::Postgres, style }
    }
}

/// One column of a batch, ready to be written row by row.
pub(super) struct Column {
    nulls: Option<NullBuffer>,
    encoder: Encoder,
}

impl Column {
    pub(super) fn new(array: &ArrayRef, pg_type: &Type, binary: bool) -> Result<Self> {
        let nulls = match array.as_struct_opt().and_then(|row| row.columns().first()) {
            // A row of OID and name is there even where the object is NULL.
            Some(oids) if text::is_object_identifier(pg_type) => oids.logical_nulls(),
            _ => array.logical_nulls(),
        };
        Ok(Self { nulls, encoder: encoder(array, pg_type, binary)? })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends length and value, or the length that stands for NULL.
    fn put_with_length(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        let at = out.len();
        out.put_i32(0);
        self.encoder.put(row, out)?;
        let length = i32::try_from(out.len() - at - 4).map_err(|_| too_long())?;
        patch(out, at, length);
        Ok(())
    }
}

fn too_long() -> Error {
    Error::new(SqlState("54000"), "value exceeds the protocol's limit of 1 GB")
}

/// Overwrites the four bytes at `at`.
fn patch(out: &mut [u8], at: usize, value: i32) {
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// Message type of CopyData, whose binary rows look like those of DataRow.
const COPY_DATA: u8 = b'd';

/// Writes the rows of one batch, in chunks.
pub(super) struct BatchEncoder {
    columns: Vec<Column>,
    message: u8,
    /// Bytes that the first message has before its row.
    preamble: &'static [u8],
    rows: usize,
    next: usize,
}

impl BatchEncoder {
    pub(super) fn new(
        batch: &RecordBatch,
        columns: &[OutputColumn],
        formats: &Formats,
        shown: &Shown,
    ) -> Result<Self> {
        if batch.num_columns() != columns.len() {
            return Err(Error::new(SqlState("XX000"), "the result's columns are not those announced"));
        }
        let arrays =
            batch.columns().iter().map(|array| in_zone(array, &shown.zone)).collect::<Result<Vec<_>>>()?;
        let encoders = arrays.iter().zip(columns).enumerate();
        let columns = encoders
            .map(|(i, (array, column))| match column.quotient_scale {
                Some(least) => Ok(Column {
                    nulls: array.logical_nulls(),
                    encoder: numeric::quotient(array, least, formats.is_binary(i)),
                }),
                None if column.pg_type == Type::BPCHAR && column.type_modifier > 4 => {
                    let length = usize::try_from(column.type_modifier - 4).unwrap_or(0);
                    let nulls = array.logical_nulls();
                    Ok(Column { nulls, encoder: text::padded(array, length)? })
                }
                // Postgres' own style is written at once, like any other type.
                None if column.pg_type == Type::INTERVAL
                    && !formats.is_binary(i)
                    && shown.intervals != IntervalStyle::Postgres =>
                {
                    let nulls = array.logical_nulls();
                    Ok(Column { nulls, encoder: interval::text(array, shown.intervals) })
                }
                None if !formats.is_binary(i) => match shown.style.texts(array).map_err(arrow_error)? {
                    Some(texts) => Column::new(&texts, &column.pg_type, false),
                    None => Column::new(array, &column.pg_type, false),
                },
                None => Column::new(array, &column.pg_type, true),
            })
            .collect::<Result<_>>()?;
        Ok(Self { columns, message: DATA_ROW, preamble: &[], rows: batch.num_rows(), next: 0 })
    }

    /// Rows of COPY in binary format. `preamble`: stands before the first row.
    pub(super) fn for_copy(
        batch: &RecordBatch,
        columns: &[OutputColumn],
        preamble: &'static [u8],
    ) -> Result<Self> {
        let encoder = Self::new(batch, columns, &Formats::All(true), &Shown::plain())?;
        Ok(Self { message: COPY_DATA, preamble, ..encoder })
    }

    /// The next rows as DataRow messages, and their number. `None`: all rows were written.
    pub(super) fn next_chunk(&mut self) -> Result<Option<(Bytes, u64)>> {
        if self.next >= self.rows {
            return Ok(None);
        }
        let first = self.next;
        let guess = (self.rows - first) * (self.columns.len() * 16 + 8);
        let mut out = Vec::with_capacity(guess.min(CHUNK + CHUNK / 8));
        while self.next < self.rows && out.len() < CHUNK {
            self.put_row(self.next, &mut out)?;
            self.next += 1;
        }
        Ok(Some((Bytes::from(out), (self.next - first) as u64)))
    }

    /// The next rows as lines of COPY, one CopyData message each, and their number. `None`: all were written.
    pub(super) fn next_lines(&mut self, lines: &CopyLines) -> Result<Option<(Bytes, u64)>> {
        if self.next >= self.rows {
            return Ok(None);
        }
        let first = self.next;
        let (mut out, mut value) = (Vec::with_capacity(CHUNK), Vec::new());
        while self.next < self.rows && out.len() < CHUNK {
            out.put_u8(COPY_DATA);
            let at = out.len();
            out.put_i32(0);
            for (i, column) in self.columns.iter().enumerate() {
                let null = column.is_null(self.next);
                value.clear();
                if !null {
                    column.encoder.put(self.next, &mut value)?;
                }
                lines.value(i, (!null).then_some(value.as_slice()), &mut out);
            }
            lines.end(&mut out);
            let length = i32::try_from(out.len() - at).map_err(|_| too_long())?;
            patch(&mut out, at, length);
            self.next += 1;
        }
        Ok(Some((Bytes::from(out), (self.next - first) as u64)))
    }

    fn put_row(&mut self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.put_u8(self.message);
        let at = out.len();
        out.put_i32(0);
        out.extend_from_slice(std::mem::take(&mut self.preamble));
        out.put_u16(self.columns.len() as u16);
        for column in &self.columns {
            column.put_with_length(row, out)?;
        }
        let length = i32::try_from(out.len() - at).map_err(|_| too_long())?;
        patch(out, at, length);
        Ok(())
    }
}

/// The same values, of the type that has the session's zone.
fn in_zone(array: &ArrayRef, zone: &str) -> Result<ArrayRef> {
    if zone == "+00:00" {
        return Ok(array.clone());
    }
    match zoned(array.data_type(), zone) {
        Some(data_type) => retyped(array, data_type),
        None => Ok(array.clone()),
    }
}

/// `None`: no time with zone in it.
fn zoned(data_type: &DataType, zone: &str) -> Option<DataType> {
    let of_field = |field: &FieldRef| -> Option<FieldRef> {
        let data_type = zoned(field.data_type(), zone)?;
        Some(Arc::new(field.as_ref().clone().with_data_type(data_type)))
    };
    Some(match data_type {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some(zone.into())),
        DataType::List(item) => DataType::List(of_field(item)?),
        DataType::LargeList(item) => DataType::LargeList(of_field(item)?),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(of_field(item)?, *size),
        DataType::Map(entries, sorted) => DataType::Map(of_field(entries)?, *sorted),
        DataType::Struct(fields) => {
            let changed: Vec<_> = fields.iter().map(of_field).collect();
            if changed.iter().all(Option::is_none) {
                return None;
            }
            let fields = fields.iter().zip(changed);
            DataType::Struct(fields.map(|(old, new)| new.unwrap_or_else(|| old.clone())).collect())
        }
        _ => return None,
    })
}

/// Changes nothing but the type: the zone says how an instant is shown, not which it is.
fn retyped(array: &ArrayRef, data_type: DataType) -> Result<ArrayRef> {
    fn with_type(data: ArrayData, data_type: DataType) -> Result<ArrayData> {
        let types: Vec<DataType> = match &data_type {
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::Map(item, _) => vec![item.data_type().clone()],
            DataType::Struct(fields) => fields.iter().map(|field| field.data_type().clone()).collect(),
            _ => Vec::new(),
        };
        let children = data.child_data().iter().cloned().zip(types);
        let children = children.map(|(child, t)| with_type(child, t)).collect::<Result<Vec<_>>>()?;
        let builder = data.into_builder().data_type(data_type).child_data(children);
        builder.build().map_err(arrow_error)
    }
    Ok(make_array(with_type(array.to_data(), data_type)?))
}

/// The encoder of an array whose values the client was told are of type `pg`.
fn encoder(array: &ArrayRef, pg: &Type, binary: bool) -> Result<Encoder> {
    let no_binary = || {
        Error::new(SqlState("0A000"), format!("no binary output format for {} as {pg}", array.data_type()))
            .with_hint("Ask for the text format.")
    };
    match array.data_type() {
        DataType::Null => Ok(Box::new(Nothing)),
        DataType::Boolean => number::boolean(array, pg, binary),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => number::integer(array, pg, binary).ok_or_else(no_binary),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            number::float(array, pg, binary).ok_or_else(no_binary)
        }
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => Ok(numeric::decimal(array, binary)),
        DataType::Date32 | DataType::Date64 => Ok(datetime::date(array, binary)),
        DataType::Time32(_) | DataType::Time64(_) => datetime::time(array, binary).ok_or_else(no_binary),
        DataType::Timestamp(_, zone) => Ok(datetime::timestamp(array, zone.as_deref(), binary)),
        DataType::Interval(unit) => Ok(match unit {
            IntervalUnit::YearMonth => interval::year_month(array, binary),
            IntervalUnit::DayTime => interval::day_time(array, binary),
            IntervalUnit::MonthDayNano => interval::month_day_nano(array, binary),
        }),
        DataType::Duration(_) => Ok(interval::duration(array, binary)),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => text::string(array, pg, binary),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Ok(text::bytes(array, pg, binary))
        }
        DataType::Dictionary(_, _) => dictionary(array, pg, binary),
        DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(_, _)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
            if *pg != Type::JSON && *pg != Type::JSONB =>
        {
            array::list(array, pg, binary)
        }
        DataType::RunEndEncoded(_, values) => {
            let plain = arrow::compute::cast(array, values.data_type()).map_err(arrow_error)?;
            encoder(&plain, pg, binary)
        }
        DataType::Struct(_) if text::is_object_identifier(pg) => text::object_identifier(array, pg, binary),
        _ => json::document(array, pg, binary),
    }
}

/// Text of the first value of an array.
pub(super) fn value_text(array: &ArrayRef, pg: &Type) -> Result<String> {
    let mut out = Vec::new();
    encoder(array, pg, false)?.put(0, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

pub(super) fn arrow_error(error: arrow::error::ArrowError) -> Error {
    Error::new(SqlState("XX000"), format!("cannot encode the result: {error}"))
}

/// Column of type null: every row is NULL, nothing is ever written.
struct Nothing;

impl ValueEncoder for Nothing {
    fn put(&self, _row: usize, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

/// A dictionary: the values' encoder, found by key.
struct Dictionary {
    keys: Vec<usize>,
    values: Encoder,
}

impl ValueEncoder for Dictionary {
    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        self.values.put(self.keys[row], out)
    }
}

fn dictionary(array: &ArrayRef, pg: &Type, binary: bool) -> Result<Encoder> {
    let dictionary = array.as_any_dictionary();
    if dictionary.values().is_empty() {
        return Ok(Box::new(Nothing));
    }
    let values = encoder(dictionary.values(), pg, binary)?;
    Ok(Box::new(Dictionary { keys: dictionary.normalized_keys(), values }))
}
