//! Strings, `bytea`, `uuid`.

use std::net::IpAddr;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, FixedSizeBinaryArray, GenericByteArray, StringArray,
    StringViewArray,
};
use arrow::datatypes::{BinaryType, ByteArrayType, DataType, LargeBinaryType, LargeUtf8Type, Utf8Type};
use auric_sql::{Error, Result, SqlState};
use bytes::BufMut;
use postgres_types::Type;

use super::{Encoder, ValueEncoder, numeric};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Types whose binary form is their text.
pub(super) fn is_text(pg: &Type) -> bool {
    matches!(
        *pg,
        Type::TEXT
            | Type::VARCHAR
            | Type::BPCHAR
            | Type::NAME
            | Type::JSON
            | Type::XML
            | Type::UNKNOWN
            | Type::CHAR
            | Type::PG_NODE_TREE
            | Type::VOID
            // Without a binary form in Postgres; nothing here has a value of it.
            | Type::ACLITEM
    )
}

/// Bytes of a row, whatever the array's layout.
trait ByteSource: Send {
    fn bytes(&self, row: usize) -> &[u8];
}

impl<T: ByteArrayType> ByteSource for GenericByteArray<T> {
    fn bytes(&self, row: usize) -> &[u8] {
        self.value(row).as_ref()
    }
}

impl ByteSource for StringViewArray {
    fn bytes(&self, row: usize) -> &[u8] {
        self.value(row).as_bytes()
    }
}

impl ByteSource for BinaryViewArray {
    fn bytes(&self, row: usize) -> &[u8] {
        self.value(row)
    }
}

impl ByteSource for FixedSizeBinaryArray {
    fn bytes(&self, row: usize) -> &[u8] {
        self.value(row)
    }
}

/// A column of bytes and how one value is written.
struct ByteColumn<S> {
    source: S,
    write: fn(&[u8], &mut Vec<u8>) -> Result<()>,
}

impl<S: ByteSource> ValueEncoder for ByteColumn<S> {
    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        (self.write)(self.source.bytes(row), out)
    }
}

/// Types whose text is the name of an object and whose binary form is its OID.
pub(super) fn is_object_identifier(pg: &Type) -> bool {
    matches!(
        *pg,
        Type::REGCLASS
            | Type::REGTYPE
            | Type::REGPROC
            | Type::REGPROCEDURE
            | Type::REGNAMESPACE
            | Type::REGROLE
            | Type::TID
    )
}

/// Rows of OID and name.
pub(super) fn object_identifier(array: &ArrayRef, pg: &Type, binary: bool) -> Result<Encoder> {
    let missing = || Error::new(SqlState("XX000"), "an object identifier without OID or name");
    match (array.as_struct().columns(), binary) {
        ([oids, _], true) => super::number::integer(oids, pg, true).ok_or_else(missing),
        ([_, names], false) => Ok(column(names, |text, out| {
            out.extend_from_slice(text);
            Ok(())
        })),
        _ => Err(missing()),
    }
}

/// `char(n)`: text filled up with blanks to `length` characters.
pub(super) fn padded(array: &ArrayRef, length: usize) -> Result<Encoder> {
    let text = arrow::compute::cast(array, &DataType::Utf8).map_err(super::arrow_error)?;
    Ok(Box::new(Padded { text: text.as_string::<i32>().clone(), length }))
}

struct Padded {
    text: StringArray,
    length: usize,
}

impl ValueEncoder for Padded {
    fn put(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        let text = self.text.value(row);
        out.extend_from_slice(text.as_bytes());
        out.put_bytes(b' ', self.length.saturating_sub(text.chars().count()));
        Ok(())
    }
}

fn column(array: &ArrayRef, write: fn(&[u8], &mut Vec<u8>) -> Result<()>) -> Encoder {
    match array.data_type() {
        DataType::Utf8 => Box::new(ByteColumn { source: array.as_bytes::<Utf8Type>().clone(), write }),
        DataType::LargeUtf8 => {
            Box::new(ByteColumn { source: array.as_bytes::<LargeUtf8Type>().clone(), write })
        }
        DataType::Utf8View => Box::new(ByteColumn { source: array.as_string_view().clone(), write }),
        DataType::Binary => Box::new(ByteColumn { source: array.as_bytes::<BinaryType>().clone(), write }),
        DataType::LargeBinary => {
            Box::new(ByteColumn { source: array.as_bytes::<LargeBinaryType>().clone(), write })
        }
        DataType::BinaryView => Box::new(ByteColumn { source: array.as_binary_view().clone(), write }),
        DataType::FixedSizeBinary(_) => {
            Box::new(ByteColumn { source: array.as_fixed_size_binary().clone(), write })
        }
        _ => Box::new(super::Nothing),
    }
}

pub(super) fn string(array: &ArrayRef, pg: &Type, binary: bool) -> Result<Encoder> {
    let write: fn(&[u8], &mut Vec<u8>) -> Result<()> = match (binary, pg) {
        (true, &Type::JSONB) => |bytes, out| {
            out.put_u8(1);
            put_plain(bytes, out)
        },
        (true, &Type::NUMERIC) => |bytes, out| numeric::text_to_binary(bytes, out),
        (true, &Type::UUID) => put_parsed_uuid,
        (true, &Type::INET) => put_address,
        (true, &Type::PG_LSN) => put_log_position,
        (true, pg) if !is_text(pg) => {
            return Err(Error::new(SqlState("0A000"), format!("no binary output format for text as {pg}"))
                .with_hint("Ask for the text format."));
        }
        _ => put_plain,
    };
    Ok(column(array, write))
}

pub(super) fn bytes(array: &ArrayRef, pg: &Type, binary: bool) -> Encoder {
    column(
        array,
        match (binary, pg) {
            (true, _) => put_plain,
            (false, &Type::UUID) => put_uuid,
            (false, _) => put_hex,
        },
    )
}

fn put_plain(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(bytes);
    Ok(())
}

fn put_hex_digits(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

fn put_hex(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.reserve(2 + 2 * bytes.len());
    out.extend_from_slice(b"\\x");
    put_hex_digits(bytes, out);
    Ok(())
}

fn put_uuid(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    if bytes.len() != 16 {
        return Err(Error::new(SqlState("22P03"), "a uuid has 16 bytes"));
    }
    for (i, group) in [0..4, 4..6, 6..8, 8..10, 10..16].into_iter().enumerate() {
        if i > 0 {
            out.put_u8(b'-');
        }
        put_hex_digits(&bytes[group], out);
    }
    Ok(())
}

/// `inet_send` of Postgres' sources: family, bits of the network, whether it is a network, length, address.
fn put_address(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let text = String::from_utf8_lossy(text);
    let invalid = || Error::new(SqlState("22P02"), format!("invalid input syntax for type inet: \"{text}\""));
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| invalid())?)),
        None => (&*text, None),
    };
    match address.parse().map_err(|_| invalid())? {
        IpAddr::V4(address) => {
            out.extend_from_slice(&[2, bits.unwrap_or(32), 0, 4]);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            out.extend_from_slice(&[3, bits.unwrap_or(128), 0, 16]);
            out.extend_from_slice(&address.octets());
        }
    }
    Ok(())
}

/// `16/B374D848`: a number of 64 bits.
fn put_log_position(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let text = String::from_utf8_lossy(text);
    let half = |text: &str| u32::from_str_radix(text, 16).ok();
    match text.split_once('/').and_then(|(high, low)| Some((half(high)?, half(low)?))) {
        Some((high, low)) => {
            out.put_u32(high);
            out.put_u32(low);
            Ok(())
        }
        None => {
            let message = format!("invalid input syntax for type pg_lsn: \"{text}\"");
            Err(Error::new(SqlState("22P02"), message))
        }
    }
}

fn put_parsed_uuid(bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(&auric_sql::types::text_input::uuid(&String::from_utf8_lossy(bytes))?);
    Ok(())
}
