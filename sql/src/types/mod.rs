//! Postgres types of arrow types, and back.

pub mod array_input;
pub mod bytes_output;
pub mod datetime;
pub mod literal;
pub mod sql_type;
pub mod text_input;
pub mod text_output;
pub mod text_style;
pub mod text_type;

use arrow::datatypes::{DataType, Field, TimeUnit};
use postgres_types::Type;

use crate::functions::numeric::INEXACT;

/// Arrow field metadata key: `typname` of the Postgres type, where the arrow type alone does not
/// tell it (`oid`, `name`, `char`, `regclass`, `int2vector`, …).
pub use auric_catalog::table::schema::PG_TYPE;
use auric_catalog::table::schema::TEXT_LENGTH;

/// Arrow field metadata key of a `numeric` that is a quotient: the fewest digits after the point that it is
/// shown with. Postgres keeps as many as make 16 significant digits, arrow always the same.
pub const QUOTIENT: &str = "auric.quotient";

/// Instead of a number of digits: as many as the value needs.
pub const ALL_DIGITS: u8 = u8::MAX;

/// [`QUOTIENT`] of a field; [`ALL_DIGITS`] for what was cast to `numeric` without saying how many. Metadata survives casts, so it counts only beside the types that quotients have.
pub fn quotient_scale(field: &Field) -> Option<u8> {
    if *field.data_type() == INEXACT && !field.metadata().contains_key(QUOTIENT) {
        return Some(ALL_DIGITS);
    }
    let quotient = matches!(field.data_type(),
        DataType::Decimal128(p, s) if *s == 20 || (*p, *s) == (38, 19))
        || matches!(field.data_type(), DataType::Decimal256(76, 20..));
    field.metadata().get(QUOTIENT).filter(|_| quotient).and_then(|scale| scale.parse().ok())
}

/// Postgres type and `atttypmod` of an arrow field.
pub fn pg_type(field: &Field) -> (Type, i32) {
    let named = field.metadata().get(PG_TYPE).and_then(|name| named(name, field.data_type()));
    match named {
        Some(pg_type @ (Type::VARCHAR | Type::BPCHAR)) => {
            let length = field.metadata().get(TEXT_LENGTH).and_then(|length| length.parse::<i32>().ok());
            (pg_type, length.map_or(-1, |length| length.saturating_add(4)))
        }
        Some(pg_type) => (pg_type, -1),
        None if quotient_scale(field).is_some() => (Type::NUMERIC, -1),
        None => of_data_type(field.data_type()),
    }
}

/// Whether metadata that names this type counts beside that arrow type.
pub fn is_named(name: &str, data_type: &DataType) -> bool {
    named(name, data_type).is_some()
}

/// The types that a field's metadata may name; the rest follow from their arrow type. Metadata
/// survives casts, so a name counts only beside the arrow type that it belongs to.
fn named(name: &str, data_type: &DataType) -> Option<Type> {
    match data_type {
        DataType::Int64 => Some(match name {
            "oid" => Type::OID,
            "xid" => Type::XID,
            "cid" => Type::CID,
            "tid" => Type::TID,
            "regproc" => Type::REGPROC,
            "regprocedure" => Type::REGPROCEDURE,
            "regclass" => Type::REGCLASS,
            "regtype" => Type::REGTYPE,
            "regnamespace" => Type::REGNAMESPACE,
            "regrole" => Type::REGROLE,
            _ => return None,
        }),
        // Both name and OID.
        DataType::Struct(_) => Some(match name {
            "tid" => Type::TID,
            "regproc" => Type::REGPROC,
            "regprocedure" => Type::REGPROCEDURE,
            "regclass" => Type::REGCLASS,
            "regtype" => Type::REGTYPE,
            "regnamespace" => Type::REGNAMESPACE,
            "regrole" => Type::REGROLE,
            _ => return None,
        }),
        DataType::Utf8 | DataType::Utf8View => Some(match name {
            "name" => Type::NAME,
            "char" => Type::CHAR,
            "varchar" => Type::VARCHAR,
            "bpchar" => Type::BPCHAR,
            "inet" => Type::INET,
            "json" => Type::JSON,
            "jsonb" => Type::JSONB,
            "pg_node_tree" => Type::PG_NODE_TREE,
            "pg_lsn" => Type::PG_LSN,
            "void" => Type::VOID,
            _ => return None,
        }),
        DataType::List(_) => Some(match name {
            "_oid" => Type::OID_ARRAY,
            "oidvector" => Type::OID_VECTOR,
            "int2vector" => Type::INT2_VECTOR,
            "_name" => Type::NAME_ARRAY,
            "_char" => Type::CHAR_ARRAY,
            "_aclitem" => Type::ACLITEM_ARRAY,
            _ => return None,
        }),
        _ => None,
    }
}

fn of_data_type(data_type: &DataType) -> (Type, i32) {
    let plain = |t| (t, -1);
    match data_type {
        DataType::Boolean => plain(Type::BOOL),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => plain(Type::INT2),
        DataType::Int32 | DataType::UInt16 => plain(Type::INT4),
        DataType::Int64 | DataType::UInt32 => plain(Type::INT8),
        DataType::UInt64 => plain(Type::NUMERIC),
        DataType::Float16 | DataType::Float32 => plain(Type::FLOAT4),
        DataType::Float64 => plain(Type::FLOAT8),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => {
            (Type::NUMERIC, ((i32::from(*p) << 16) | (i32::from(*s) & 0xffff)) + 4)
        }
        DataType::Date32 | DataType::Date64 => plain(Type::DATE),
        DataType::Time32(_) | DataType::Time64(_) => plain(Type::TIME),
        DataType::Timestamp(_, None) => plain(Type::TIMESTAMP),
        DataType::Timestamp(_, Some(_)) => plain(Type::TIMESTAMPTZ),
        DataType::Interval(_) | DataType::Duration(_) => plain(Type::INTERVAL),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => plain(Type::BYTEA),
        DataType::FixedSizeBinary(16) => plain(Type::UUID),
        DataType::FixedSizeBinary(_) => plain(Type::BYTEA),
        DataType::Dictionary(_, value) => of_data_type(value),
        DataType::List(f)
        | DataType::LargeList(f)
        | DataType::ListView(f)
        | DataType::FixedSizeList(f, _) => plain(array_of(&of_data_type(f.data_type()).0)),
        // Rows and maps travel as JSON text, which every client can show.
        DataType::Struct(_) | DataType::Map(_, _) | DataType::Union(_, _) => plain(Type::JSON),
        _ => plain(Type::TEXT),
    }
}

/// The array type over an element type. Arrays of arrays have the same type (Postgres manual 8.15).
fn array_of(element: &Type) -> Type {
    match *element {
        Type::BOOL => Type::BOOL_ARRAY,
        Type::INT2 => Type::INT2_ARRAY,
        Type::INT4 => Type::INT4_ARRAY,
        Type::INT8 => Type::INT8_ARRAY,
        Type::NUMERIC => Type::NUMERIC_ARRAY,
        Type::FLOAT4 => Type::FLOAT4_ARRAY,
        Type::FLOAT8 => Type::FLOAT8_ARRAY,
        Type::DATE => Type::DATE_ARRAY,
        Type::TIME => Type::TIME_ARRAY,
        Type::TIMESTAMP => Type::TIMESTAMP_ARRAY,
        Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
        Type::INTERVAL => Type::INTERVAL_ARRAY,
        Type::BYTEA => Type::BYTEA_ARRAY,
        Type::UUID => Type::UUID_ARRAY,
        Type::JSON => Type::JSON_ARRAY,
        ref array if matches!(array.kind(), postgres_types::Kind::Array(_)) => array.clone(),
        _ => Type::TEXT_ARRAY,
    }
}

/// Arrow type in which a parameter of this Postgres type is handed to [`Session::execute`](crate::Session::execute).
pub fn arrow_type(pg: &Type) -> DataType {
    match *pg {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::OID | Type::TID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        Type::BYTEA => DataType::Binary,
        Type::UUID => DataType::FixedSizeBinary(16),
        _ => match pg.kind() {
            postgres_types::Kind::Array(element) => DataType::new_list(arrow_type(element), true),
            _ => DataType::Utf8,
        },
    }
}
