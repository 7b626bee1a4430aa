//! Arrow types of SQL type names.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType as Sql, ExactNumberInfo, TimezoneInfo};

use super::PG_TYPE;
use crate::error::{Error, Result, SqlState};

/// Precision and scale of a `numeric` that names none: the widest that both formats store.
const NUMERIC_DEFAULT: (u8, i8) = (38, 10);

/// Arrow type of a type name. Fails with 42704 for unknown names and 0A000 for known ones that
/// have no counterpart.
pub fn from_sql(sql: &Sql) -> Result<DataType> {
    Ok(match sql {
        Sql::Boolean | Sql::Bool => DataType::Boolean,
        Sql::TinyInt(_) | Sql::SmallInt(_) | Sql::Int2(_) => DataType::Int16,
        Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) | Sql::MediumInt(_) | Sql::Int32 => DataType::Int32,
        Sql::BigInt(_) | Sql::Int8(_) | Sql::Int64 => DataType::Int64,
        Sql::Real | Sql::Float4 | Sql::Float32 => DataType::Float32,
        Sql::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => DataType::Float32,
        Sql::Float(_) | Sql::Double(_) | Sql::DoublePrecision | Sql::Float8 | Sql::Float64 => {
            DataType::Float64
        }
        Sql::Numeric(info) | Sql::Decimal(info) | Sql::Dec(info) => numeric(*info)?,
        Sql::Text
        | Sql::String(_)
        | Sql::Varchar(_)
        | Sql::Nvarchar(_)
        | Sql::Char(_)
        | Sql::Character(_)
        | Sql::CharacterVarying(_)
        | Sql::CharVarying(_)
        | Sql::Clob(_)
        | Sql::JSON
        | Sql::JSONB => DataType::Utf8View,
        Sql::Bytea | Sql::Binary(_) | Sql::Varbinary(_) | Sql::Blob(_) | Sql::Bytes(_) => {
            DataType::BinaryView
        }
        Sql::Uuid => DataType::FixedSizeBinary(16),
        Sql::Date | Sql::Date32 => DataType::Date32,
        Sql::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Time64(TimeUnit::Microsecond)
        }
        Sql::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
        | Sql::TimestampNtz(_)
        | Sql::Datetime(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
        Sql::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => timestamptz(),
        Sql::Interval { .. } => DataType::Interval(IntervalUnit::MonthDayNano),
        Sql::Regclass => DataType::Int64,
        Sql::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => {
            list_of(element)?
        }
        Sql::Struct(fields, _) => DataType::Struct(
            fields
                .iter()
                .enumerate()
                .map(|(i, field)| {
                    let name =
                        field.field_name.as_ref().map_or_else(|| format!("f{}", i + 1), |n| n.value.clone());
                    Ok(Field::new(name, from_sql(&field.field_type)?, true))
                })
                .collect::<Result<Fields>>()?,
        ),
        Sql::Custom(name, modifiers) => {
            let last = name.0.last().and_then(|part| part.as_ident());
            named(last.map(|ident| ident.value.as_str()).unwrap_or_default(), modifiers, sql)?
        }
        other => return Err(unsupported(other)),
    })
}

fn unsupported(sql: &Sql) -> Error {
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("type {sql} is not supported"))
}

fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

fn list_of(element: &Sql) -> Result<DataType> {
    // Postgres has one array type over an element, whatever the number of dimensions.
    let inner = from_sql(element)?;
    Ok(DataType::List(Arc::new(Field::new_list_field(inner, true))))
}

/// Types of Postgres that mean more than their text, and that nothing here knows.
const OTHER_TYPES: &[&str] = &[
    "aclitem",
    "bit",
    "box",
    "cidr",
    "circle",
    "datemultirange",
    "daterange",
    "inet",
    "int4multirange",
    "int4range",
    "int8multirange",
    "int8range",
    "jsonpath",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "money",
    "nummultirange",
    "numrange",
    "path",
    "pg_lsn",
    "pg_snapshot",
    "point",
    "polygon",
    "refcursor",
    "tid",
    "timetz",
    "tsmultirange",
    "tsquery",
    "tsrange",
    "tstzmultirange",
    "tstzrange",
    "tsvector",
    "txid_snapshot",
    "varbit",
    "xid8",
    "xml",
];

/// Types whose names are not keywords.
fn named(name: &str, modifiers: &[String], sql: &Sql) -> Result<DataType> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "text" | "name" | "bpchar" | "varchar" | "char" | "json" | "jsonb" | "string" | "unknown"
        | "cstring" | "regtype" | "regproc" | "regprocedure" | "regnamespace" | "regrole"
        | "pg_node_tree" => DataType::Utf8View,
        "int2" | "byte" | "short" | "tinyint" => DataType::Int16,
        "int4" | "int" | "integer" | "xid" | "cid" => DataType::Int32,
        "int8" | "long" | "oid" | "regclass" => DataType::Int64,
        "float4" => DataType::Float32,
        "float8" => DataType::Float64,
        "bool" => DataType::Boolean,
        "bytea" => DataType::BinaryView,
        "uuid" => DataType::FixedSizeBinary(16),
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp" | "timestamp_ntz" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamptz" | "timestamp_ltz" => timestamptz(),
        "interval" => DataType::Interval(IntervalUnit::MonthDayNano),
        "smallserial" | "serial" | "bigserial" | "serial2" | "serial4" | "serial8" => {
            // As in Postgres it is none: a column clause of CREATE TABLE has the word for itself.
            return Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist")));
        }
        "numeric" => match modifiers {
            [] => numeric(ExactNumberInfo::None)?,
            [p] => numeric(ExactNumberInfo::Precision(modifier(p, sql)?))?,
            [p, s, ..] => {
                let scale = i64::try_from(modifier(s, sql)?).map_err(|_| unsupported(sql))?;
                numeric(ExactNumberInfo::PrecisionAndScale(modifier(p, sql)?, scale))?
            }
        },
        other if OTHER_TYPES.contains(&other.trim_start_matches('_')) => return Err(unsupported(sql)),
        _ => return Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"))),
    })
}

fn modifier(text: &str, sql: &Sql) -> Result<u64> {
    text.parse().map_err(|_| unsupported(sql))
}

fn numeric(info: ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (u64::from(NUMERIC_DEFAULT.0), i64::from(NUMERIC_DEFAULT.1)),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s)) if s >= 0 && i16::from(s) <= i16::from(p) => Ok(DataType::Decimal128(p, s)),
        _ => Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!(
                "NUMERIC precision {precision}, scale {scale} must be between 1 and 38, and the scale at most the precision"
            ),
        )),
    }
}

fn named_field(pg_type: &str, data_type: DataType) -> Field {
    Field::new("", data_type, true).with_metadata(HashMap::from([(PG_TYPE.to_string(), pg_type.to_string())]))
}

/// A nullable field of the type, which says which Postgres type it is where the arrow type does not.
pub fn field_of(sql: &Sql, data_type: DataType) -> Field {
    let (prefix, element) = match sql {
        Sql::Array(ArrayElemTypeDef::SquareBracket(element, _)) => ("_", element.as_ref()),
        other => ("", other),
    };
    let name = match element {
        Sql::JSON => "json".to_string(),
        Sql::JSONB => "jsonb".to_string(),
        Sql::Varchar(_) | Sql::CharacterVarying(_) | Sql::CharVarying(_) => "varchar".to_string(),
        Sql::Custom(name, _) => name
            .0
            .last()
            .and_then(|part| part.as_ident())
            .map(|ident| ident.value.to_lowercase())
            .unwrap_or_default(),
        _ => String::new(),
    };
    match format!("{prefix}{name}") {
        name if matches!(
            name.as_str(),
            "oid" | "_oid" | "name" | "_name" | "char" | "_char" | "varchar" | "json" | "jsonb"
        ) =>
        {
            named_field(&name, data_type)
        }
        _ => Field::new("", data_type, true),
    }
}

/// Gives the SQL planner our types instead of DataFusion's own choice.
#[derive(Debug)]
pub struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, sql: &Sql) -> datafusion::error::Result<Option<FieldRef>> {
        let data_type = from_sql(sql).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let mut field = field_of(sql, data_type);
        // It says so, as what only has a type inherits what its operand is (`jsonb`, `name`).
        if *field.data_type() == DataType::Utf8View && field.metadata().is_empty() {
            field = named_field("text", DataType::Utf8View);
        }
        Ok(Some(Arc::new(field)))
    }
}
