//! The binary format of COPY (Postgres manual, COPY, "Binary Format"): the client's bytes to rows, and
//! what stands around the rows that go out.
//!
//! Whatever a header, a count or a length promises, no more is read than has arrived. As in Postgres,
//! the data may end without the trailer, but only between two rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, FixedSizeBinaryBuilder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use auric_sql::types::arrow_type;
use auric_sql::{CopyIn, Error, OutputColumn, Result, SqlState};
use bytes::{Buf, BytesMut};
use datafusion::scalar::ScalarValue;
use postgres_types::Type;

use super::frontend::utf8;
use super::parameter::from_binary;

/// What begins the data, with no flag set and no extension.
pub(super) const HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands where a row would begin, at the end.
pub(super) const TRAILER: i16 = -1;

const SIGNATURE: usize = 11;
/// Most rows and bytes in a batch.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Longest row, bytes.
const MAX_ROW: usize = 256 * 1024 * 1024;

/// Rows from the client's bytes, in whatever pieces they come.
pub(super) struct BinaryInput {
    table: String,
    columns: Vec<Column>,
    buffer: BytesMut,
    stage: Stage,
    /// Rows that were read, for messages.
    line: u64,
    rows: usize,
    bytes: usize,
    /// Place in the buffer and length of each field of a row; a negative length is NULL.
    fields: Vec<(usize, i32)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    /// So many bytes of the header's extension are to be skipped.
    Extension(usize),
    Rows,
    Ended,
}

struct Column {
    name: String,
    pg_type: Type,
    builder: Builder,
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(SqlState::BAD_COPY_FORMAT, message)
}

impl BinaryInput {
    pub(super) fn new(copy: &dyn CopyIn) -> Self {
        let columns = copy.columns().iter().map(Column::new).collect();
        Self {
            table: copy.table().to_string(),
            columns,
            buffer: BytesMut::new(),
            stage: Stage::Header,
            line: 0,
            rows: 0,
            bytes: 0,
            fields: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next full batch. `None`: more data is needed.
    pub(super) fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let read = match self.stage {
                Stage::Header => self.header(),
                Stage::Extension(length) => Ok(self.extension(length)),
                Stage::Rows => self.row().map_err(|e| self.located(e)),
                Stage::Ended if self.buffer.is_empty() => Ok(false),
                Stage::Ended => Err(bad("received copy data after EOF marker")),
            };
            if self.rows >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
                return self.batch().map(Some);
            }
            if !read? {
                return Ok(None);
            }
        }
    }

    /// What is left when the client has sent all.
    pub(super) fn finish(&mut self) -> Result<Option<RecordBatch>> {
        match self.stage {
            Stage::Header if self.buffer.len() < SIGNATURE => {
                return Err(bad("COPY file signature not recognized"));
            }
            Stage::Header if self.buffer.len() < SIGNATURE + 4 => {
                return Err(bad("invalid COPY file header (missing flags)"));
            }
            Stage::Header => return Err(bad("invalid COPY file header (missing length)")),
            Stage::Extension(_) => return Err(bad("invalid COPY file header (wrong length)")),
            Stage::Rows if !self.buffer.is_empty() => {
                self.line += 1;
                return Err(self.located(bad("unexpected EOF in COPY data")));
            }
            Stage::Rows | Stage::Ended => {}
        }
        if self.rows == 0 { Ok(None) } else { self.batch().map(Some) }
    }

    fn located(&self, error: Error) -> Error {
        if error.detail.is_some() {
            return error;
        }
        error.with_detail(format!("COPY {}, line {}", self.table, self.line))
    }

    /// `false`, here and below: it has not arrived yet.
    fn header(&mut self) -> Result<bool> {
        let Some((signature, mut rest)) = self.buffer.split_at_checked(SIGNATURE) else { return Ok(false) };
        if !HEADER.starts_with(signature) {
            return Err(bad("COPY file signature not recognized"));
        }
        if rest.len() < 8 {
            return Ok(false);
        }
        let (flags, length) = (rest.get_u32(), rest.get_i32());
        if flags & (1 << 16) != 0 {
            return Err(bad("invalid COPY file header (WITH OIDS)"));
        }
        if flags >> 16 != 0 {
            return Err(bad("unrecognized critical flags in COPY file header"));
        }
        let length = usize::try_from(length).map_err(|_| bad("invalid COPY file header (missing length)"))?;
        self.buffer.advance(HEADER.len());
        self.stage = Stage::Extension(length);
        Ok(true)
    }

    fn extension(&mut self, length: usize) -> bool {
        let here = length.min(self.buffer.len());
        self.buffer.advance(here);
        self.stage = if here == length { Stage::Rows } else { Stage::Extension(length - here) };
        here == length
    }

    fn row(&mut self) -> Result<bool> {
        let Some(count) = self.buffer.first_chunk::<2>() else { return Ok(false) };
        let count = i16::from_be_bytes(*count);
        if count == TRAILER {
            self.buffer.advance(2);
            self.stage = Stage::Ended;
            return Ok(true);
        }
        let width = self.columns.len();
        if usize::try_from(count) != Ok(width) {
            self.line += 1;
            return Err(bad(format!("row field count is {count}, expected {width}")));
        }
        let Some(length) = self.find_fields()? else { return Ok(false) };
        self.line += 1;
        let line = self.line;
        for (column, (at, length)) in self.columns.iter_mut().zip(&self.fields) {
            let value = usize::try_from(*length).ok().and_then(|length| self.buffer.get(*at..at + length));
            column.push(value).map_err(|e| {
                e.with_detail(format!("COPY {}, line {line}, column {}", self.table, column.name))
            })?;
        }
        self.buffer.advance(length);
        self.rows += 1;
        self.bytes += length;
        Ok(true)
    }

    /// Finds the fields of the row that the buffer begins with, and the row's length. `None`: it has not
    /// arrived as a whole.
    fn find_fields(&mut self) -> Result<Option<usize>> {
        self.fields.clear();
        let mut at = 2;
        for column in &self.columns {
            let Some(length) = self.buffer.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
                return Ok(None);
            };
            let length = i32::from_be_bytes(*length);
            at += 4;
            let bytes = match length {
                -1 => 0,
                length => usize::try_from(length).map_err(|_| {
                    let place =
                        format!("COPY {}, line {}, column {}", self.table, self.line + 1, column.name);
                    bad("invalid field size").with_detail(place)
                })?,
            };
            if at + bytes > MAX_ROW {
                let text = format!("row of COPY data is longer than {MAX_ROW} bytes");
                return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, text));
            }
            self.fields.push((at, length));
            at += bytes;
        }
        Ok((at <= self.buffer.len()).then_some(at))
    }

    fn batch(&mut self) -> Result<RecordBatch> {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(|column| column.builder.finish()).collect();
        let fields = self.columns.iter().zip(&arrays);
        let fields: Vec<Field> =
            fields.map(|(column, array)| Field::new(&column.name, array.data_type().clone(), true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(super::encode::arrow_error)
    }
}

impl Column {
    fn new(column: &OutputColumn) -> Self {
        let builder = Builder::new(&arrow_type(&column.pg_type));
        Self { name: column.name.clone(), pg_type: column.pg_type.clone(), builder }
    }

    fn push(&mut self, bytes: Option<&[u8]>) -> Result<()> {
        match (&mut self.builder, bytes) {
            (builder, None) => {
                builder.push_null();
                Ok(())
            }
            // The commonest type that would need a copy.
            (Builder::Text(texts), Some(bytes)) if self.pg_type == Type::TEXT => {
                texts.append_value(utf8(bytes)?);
                Ok(())
            }
            // `smallint`, which tables keep as `integer`; clients send what they said the column is.
            (Builder::Int32(integers), Some([high, low])) => {
                integers.append_value(i16::from_be_bytes([*high, *low]).into());
                Ok(())
            }
            (builder, Some(bytes)) => {
                if builder.push(from_binary(&self.pg_type, bytes)?) {
                    return Ok(());
                }
                let text = format!("COPY in binary format of type {} is not supported", self.pg_type);
                Err(Error::new(SqlState("0A000"), text).with_hint("Use the text format."))
            }
        }
    }
}

macro_rules! builders {
    ($($name:ident: $builder:ty, $scalar:pat => $value:expr;)*) => {
        /// Values of one column.
        enum Builder {
            $($name($builder),)*
        }

        impl Builder {
            /// `false`: the value is of another type.
            fn push(&mut self, value: ScalarValue) -> bool {
                match (self, value) {
                    $((Self::$name(values), $scalar) => append(values, $value),)*
                    _ => false,
                }
            }

            fn push_null(&mut self) {
                match self {
                    $(Self::$name(values) => values.append_null(),)*
                }
            }

            fn finish(&mut self) -> ArrayRef {
                match self {
                    $(Self::$name(values) => Arc::new(values.finish()),)*
                }
            }
        }
    };
}

/// Builders take their values by methods of the same name but of no common trait.
trait Append<V> {
    fn append(&mut self, value: V) -> bool;
}

fn append<V, B: Append<V>>(builder: &mut B, value: V) -> bool {
    builder.append(value)
}

macro_rules! append {
    ($($builder:ty, $value:ty;)*) => {
        $(impl Append<$value> for $builder {
            fn append(&mut self, value: $value) -> bool {
                self.append_value(value);
                true
            }
        })*
    };
}

append! {
    BooleanBuilder, bool;
    Int16Builder, i16;
    Int32Builder, i32;
    Int64Builder, i64;
    Float32Builder, f32;
    Float64Builder, f64;
    Date32Builder, i32;
    Time64MicrosecondBuilder, i64;
    TimestampMicrosecondBuilder, i64;
    BinaryBuilder, Vec<u8>;
    StringBuilder, String;
}

impl Append<Vec<u8>> for FixedSizeBinaryBuilder {
    fn append(&mut self, value: Vec<u8>) -> bool {
        self.append_value(value).is_ok()
    }
}

builders! {
    Boolean: BooleanBuilder, ScalarValue::Boolean(Some(value)) => value;
    Int16: Int16Builder, ScalarValue::Int16(Some(value)) => value;
    Int32: Int32Builder, ScalarValue::Int32(Some(value)) => value;
    Int64: Int64Builder, ScalarValue::Int64(Some(value)) => value;
    Float32: Float32Builder, ScalarValue::Float32(Some(value)) => value;
    Float64: Float64Builder, ScalarValue::Float64(Some(value)) => value;
    Date: Date32Builder, ScalarValue::Date32(Some(value)) => value;
    Time: Time64MicrosecondBuilder, ScalarValue::Time64Microsecond(Some(value)) => value;
    Timestamp: TimestampMicrosecondBuilder, ScalarValue::TimestampMicrosecond(Some(value), _) => value;
    Bytes: BinaryBuilder, ScalarValue::Binary(Some(value)) => value;
    Uuid: FixedSizeBinaryBuilder, ScalarValue::FixedSizeBinary(_, Some(value)) => value;
    Text: StringBuilder, ScalarValue::Utf8(Some(value)) => value;
}

impl Builder {
    /// For an arrow type; what is none of these comes as text.
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Int16 => Self::Int16(Int16Builder::new()),
            DataType::Int32 => Self::Int32(Int32Builder::new()),
            DataType::Int64 => Self::Int64(Int64Builder::new()),
            DataType::Float32 => Self::Float32(Float32Builder::new()),
            DataType::Float64 => Self::Float64(Float64Builder::new()),
            DataType::Date32 => Self::Date(Date32Builder::new()),
            DataType::Time64(_) => Self::Time(Time64MicrosecondBuilder::new()),
            DataType::Timestamp(_, zone) => {
                let builder = TimestampMicrosecondBuilder::new();
                Self::Timestamp(builder.with_timezone_opt(zone.clone()))
            }
            DataType::Binary => Self::Bytes(BinaryBuilder::new()),
            DataType::FixedSizeBinary(width) => Self::Uuid(FixedSizeBinaryBuilder::new(*width)),
            _ => Self::Text(StringBuilder::new()),
        }
    }
}

#[cfg(test)]
mod tests;
