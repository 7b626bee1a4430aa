//! `information_schema.columns`.

use auric_catalog::table::IdentityColumn;
use datafusion::error::Result;

use super::{database, yes_or_no};
use crate::pg_catalog::image::{Column, RelationKind};
use crate::pg_catalog::types::{self, TypeRow};
use crate::pg_catalog::value::Value;
use crate::pg_catalog::{CatalogContext, Rows, shape};

const COLUMNS: &str = "table_catalog table_schema table_name column_name ordinal_position \
    column_default is_nullable data_type character_maximum_length character_octet_length \
    numeric_precision numeric_precision_radix numeric_scale datetime_precision udt_catalog \
    udt_schema udt_name dtd_identifier is_self_referencing is_identity identity_generation identity_start \
    identity_increment identity_maximum identity_minimum identity_cycle is_generated \
    is_updatable";

/// Greatest number of bytes of a text value, as Postgres reports it.
const TEXT_OCTETS: i32 = 1 << 30;

/// Precision, radix and scale of numbers.
fn numeric(pg_type: &TypeRow, modifier: i32) -> [Value; 3] {
    let binary = |bits: i32, scale: Option<i32>| [bits.into(), 2.into(), scale.into()];
    match pg_type.name {
        "int2" => binary(16, Some(0)),
        "int4" => binary(32, Some(0)),
        "int8" => binary(64, Some(0)),
        "float4" => binary(24, None),
        "float8" => binary(53, None),
        "numeric" if modifier >= 4 => {
            let packed = modifier - 4;
            let scale = ((packed & 0x7ff) ^ 1024) - 1024;
            [((packed >> 16) & 0xffff).into(), 10.into(), scale.into()]
        }
        "numeric" => [Value::Null, 10.into(), Value::Null],
        _ => [Value::Null, Value::Null, Value::Null],
    }
}

fn datetime_precision(pg_type: &TypeRow) -> Value {
    match pg_type.name {
        "date" => 0.into(),
        "time" | "timetz" | "timestamp" | "timestamptz" | "interval" => 6.into(),
        _ => Value::Null,
    }
}

/// A column of any relation.
struct Entry<'a> {
    schema: &'a str,
    table: &'a str,
    name: &'a str,
    position: i32,
    pg_type: Option<&'static TypeRow>,
    modifier: i32,
    nullable: bool,
    default: Option<&'a String>,
    updatable: bool,
    identity: Option<&'a IdentityColumn>,
}

/// From `identity_generation` to `identity_minimum`: how values are given out, and between which bounds.
fn identity(column: Option<&IdentityColumn>, pg_type: Option<&TypeRow>) -> [Value; 5] {
    let Some(column) = column else { return [const { Value::Null }; 5] };
    let (least, most) = match pg_type.map(|t| t.name) {
        Some("int2") => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Some("int4") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let generation = if column.allow_explicit_insert { "BY DEFAULT" } else { "ALWAYS" };
    let text = |number: i64| Value::from(number.to_string());
    [generation.into(), text(column.start), text(column.step), text(most), text(least)]
}

impl Entry<'_> {
    fn into_row(self, context: &CatalogContext) -> Vec<Value> {
        let pg_type = self.pg_type;
        let name = pg_type.map_or("text", |t| t.name);
        let data_type = match pg_type {
            Some(t) if t.is_array => "ARRAY".to_string(),
            Some(t) if t.name == "bpchar" => "character".to_string(),
            Some(t) => types::format_type(t.oid, None),
            None => "text".to_string(),
        };
        let length = (matches!(name, "varchar" | "bpchar") && self.modifier >= 4).then(|| self.modifier - 4);
        let is_text = matches!(name, "text" | "varchar" | "bpchar");
        let octets = is_text.then(|| length.map_or(TEXT_OCTETS, |n| n.saturating_mul(4)));
        let [precision, radix, scale] = match pg_type {
            Some(t) => numeric(t, self.modifier),
            None => [Value::Null, Value::Null, Value::Null],
        };
        let [generation, start, increment, maximum, minimum] = identity(self.identity, pg_type);
        vec![
            database(context),
            self.schema.into(),
            self.table.into(),
            self.name.into(),
            self.position.into(),
            self.default.into(),
            yes_or_no(self.nullable),
            data_type.into(),
            length.into(),
            octets.into(),
            precision,
            radix,
            scale,
            pg_type.map_or(Value::Null, datetime_precision),
            database(context),
            "pg_catalog".into(),
            name.into(),
            self.position.to_string().into(),
            yes_or_no(false),
            yes_or_no(self.identity.is_some()),
            generation,
            start,
            increment,
            maximum,
            minimum,
            yes_or_no(false),
            "NEVER".into(),
            yes_or_no(self.updatable),
        ]
    }
}

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(COLUMNS);
    for shape in shape::all() {
        for (position, column) in (1..).zip(&shape.columns) {
            let entry = Entry {
                schema: shape.schema,
                table: shape.name,
                name: column.name,
                position,
                pg_type: types::by_name(column.pg_type),
                modifier: -1,
                nullable: !column.not_null,
                default: None,
                updatable: false,
                identity: None,
            };
            rows.push(entry.into_row(context));
        }
    }
    let relations = context.image.relations.iter();
    for relation in relations.filter(|r| r.kind != RelationKind::MaterializedView) {
        for (number, column) in relation.numbered_columns() {
            let Column { name, type_oid, type_modifier, nullable, default, identity, .. } = column;
            let entry = Entry {
                schema: &relation.namespace,
                table: &relation.name,
                name,
                position: number.into(),
                pg_type: types::by_oid(*type_oid),
                modifier: *type_modifier,
                nullable: *nullable,
                default: default.as_ref(),
                updatable: relation.kind == RelationKind::Table,
                identity: identity.as_ref(),
            };
            rows.push(entry.into_row(context));
        }
    }
    Ok(rows)
}
