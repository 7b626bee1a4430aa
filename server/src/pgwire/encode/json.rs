//! Rows, maps and unions: as JSON text, which every client can show.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use auric_sql::{Error, Result, SqlState};
use bytes::BufMut;
use postgres_types::Type;

use super::{Encoder, ValueEncoder};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A whole value as a document.
pub(super) fn document(array: &ArrayRef, pg: &Type, binary: bool) -> Result<Encoder> {
    let node = Node::new(array)?;
    Ok(Box::new(Document { node, versioned: binary && *pg == Type::JSONB }))
}

struct Document {
    node: Node,
    /// Binary `jsonb` begins with a version.
    versioned: bool,
}

impl ValueEncoder for Document {
    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.versioned {
            out.put_u8(1);
        }
        self.node.put(row, out)
    }
}

/// A column of any type as JSON values.
struct Node {
    nulls: Option<NullBuffer>,
    kind: Kind,
}

enum Kind {
    /// Numbers and booleans: the text as it is, unless it is no JSON number (`NaN`).
    Bare(Encoder),
    /// Anything else with a text form; `true`: a timestamp, which JSON writes with a `T`.
    Quoted(Encoder, bool),
    List(Vec<Range<usize>>, Box<Node>),
    Map(Vec<Range<usize>>, Encoder, Box<Node>),
    /// Names, already quoted, and values.
    Object(Vec<(Vec<u8>, Node)>),
}

impl Node {
    fn new(array: &ArrayRef) -> Result<Self> {
        Ok(Self { nulls: array.logical_nulls(), kind: Self::kind(array)? })
    }

    fn kind(array: &ArrayRef) -> Result<Kind> {
        Ok(match array.data_type() {
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns();
                let members = fields.iter().zip(columns).map(|(field, column)| {
                    let mut name = Vec::new();
                    put_string(field.name().as_bytes(), &mut name);
                    Ok((name, Self::new(column)?))
                });
                Kind::Object(members.collect::<Result<_>>()?)
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let ranges = map.value_offsets().windows(2).map(|w| w[0] as usize..w[1] as usize).collect();
                Kind::Map(ranges, text_encoder(map.keys())?, Box::new(Self::new(map.values())?))
            }
            DataType::List(_)
            | DataType::LargeList(_)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::FixedSizeList(_, _) => {
                let (ranges, values) = super::array::parts_of(array)
                    .ok_or_else(|| Error::new(SqlState("XX000"), "list without values"))?;
                Kind::List(ranges, Box::new(Self::new(&values)?))
            }
            DataType::Boolean => Kind::Bare(super::number::boolean(array, &Type::JSON, false)?),
            data_type if data_type.is_numeric() => Kind::Bare(text_encoder(array)?),
            data_type => Kind::Quoted(text_encoder(array)?, matches!(data_type, DataType::Timestamp(_, _))),
        })
    }

    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.kind {
            Kind::Bare(encoder) => {
                let start = out.len();
                encoder.put(row, out)?;
                let text = &out[start..];
                if text.iter().any(|b| matches!(b, b'N' | b'I')) {
                    let text = out.split_off(start);
                    put_string(&text, out);
                }
                Ok(())
            }
            Kind::Quoted(encoder, timestamp) => {
                let mut text = Vec::new();
                encoder.put(row, &mut text)?;
                if let Some(space) = text.iter_mut().find(|b| *timestamp && **b == b' ') {
                    *space = b'T';
                }
                put_string(&text, out);
                Ok(())
            }
            Kind::List(ranges, values) => {
                put_items(b"[]", ranges[row].clone(), out, |item, out| values.put(item, out))
            }
            Kind::Map(ranges, keys, values) => put_items(b"{}", ranges[row].clone(), out, |item, out| {
                let mut key = Vec::new();
                keys.put(item, &mut key)?;
                put_string(&key, out);
                out.put_u8(b':');
                values.put(item, out)
            }),
            Kind::Object(members) => put_items(b"{}", 0..members.len(), out, |item, out| {
                let (name, value) = &members[item];
                out.extend_from_slice(name);
                out.put_u8(b':');
                value.put(row, out)
            }),
        }
    }
}

/// Items between brackets, separated by commas.
fn put_items(
    brackets: &[u8; 2],
    items: Range<usize>,
    out: &mut Vec<u8>,
    put: impl Fn(usize, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    out.put_u8(brackets[0]);
    let first = items.start;
    for item in items {
        if item > first {
            out.put_u8(b',');
        }
        put(item, out)?;
    }
    out.put_u8(brackets[1]);
    Ok(())
}

/// The text form of a column, whatever it is.
fn text_encoder(array: &ArrayRef) -> Result<Encoder> {
    if matches!(array.data_type(), DataType::Union(_, _)) {
        let text = arrow::compute::cast(array, &DataType::Utf8).map_err(super::arrow_error)?;
        return super::encoder(&text, &Type::TEXT, false);
    }
    let field = arrow::datatypes::Field::new("", array.data_type().clone(), true);
    super::encoder(array, &auric_sql::types::pg_type(&field).0, false)
}

/// A JSON string.
fn put_string(text: &[u8], out: &mut Vec<u8>) {
    out.put_u8(b'"');
    for byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=31 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.put_u8(*byte),
        }
    }
    out.put_u8(b'"');
}
