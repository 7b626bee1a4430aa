//! `pg_attribute`: columns of all relations.

use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;
use super::types;
use super::value::Value;
use super::{shape, types::TypeRow};

const COLUMNS: &str = "attrelid attname atttypid attnum atttypmod attnotnull atthasdef attlen \
    attbyval attalign attstorage attcollation attndims attstattarget attcacheoff attcompression \
    atthasmissing attidentity attgenerated attisdropped attislocal attinhcount";

struct Attribute<'a> {
    relation: u32,
    name: &'a str,
    pg_type: Option<&'static TypeRow>,
    number: i16,
    modifier: i32,
    not_null: bool,
    has_default: bool,
    /// `a`: GENERATED ALWAYS, `d`: BY DEFAULT.
    identity: &'static str,
}

impl Attribute<'_> {
    fn into_row(self) -> Vec<Value> {
        let pg_type = self.pg_type;
        vec![
            self.relation.into(),
            self.name.into(),
            pg_type.map_or(25, |t| t.oid).into(),
            self.number.into(),
            self.modifier.into(),
            self.not_null.into(),
            self.has_default.into(),
            pg_type.map_or(-1, |t| t.length).into(),
            pg_type.is_some_and(|t| t.by_value).into(),
            pg_type.map_or("i", |t| t.align).into(),
            pg_type.map_or("x", |t| t.storage).into(),
            pg_type.map_or(0, |t| t.collation).into(),
            i32::from(pg_type.is_some_and(|t| t.is_array)).into(),
            (-1).into(),
            (-1).into(),
            "".into(),
            false.into(),
            self.identity.into(),
            "".into(),
            false.into(),
            true.into(),
            0.into(),
        ]
    }
}

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(COLUMNS);
    for shape in shape::all() {
        for (number, column) in (1..).zip(&shape.columns) {
            rows.push(
                Attribute {
                    relation: shape.oid,
                    name: column.name,
                    pg_type: types::by_name(column.pg_type),
                    number,
                    modifier: -1,
                    not_null: column.not_null,
                    has_default: false,
                    identity: "",
                }
                .into_row(),
            );
        }
    }
    for relation in &context.image.relations {
        for (number, column) in relation.numbered_columns() {
            rows.push(
                Attribute {
                    relation: relation.oid,
                    name: &column.name,
                    pg_type: types::by_oid(column.type_oid),
                    number,
                    modifier: column.type_modifier,
                    not_null: !column.nullable,
                    has_default: column.default.is_some(),
                    identity: match &column.identity {
                        None => "",
                        Some(identity) if identity.allow_explicit_insert => "d",
                        Some(_) => "a",
                    },
                }
                .into_row(),
            );
        }
        let key = relation.numbered_columns().filter(|(n, _)| relation.key.contains(n));
        for (number, (_, column)) in (1..).zip(key) {
            rows.push(
                Attribute {
                    relation: relation.key_index_oid(),
                    name: &column.name,
                    pg_type: types::by_oid(column.type_oid),
                    number,
                    modifier: column.type_modifier,
                    not_null: false,
                    has_default: false,
                    identity: "",
                }
                .into_row(),
            );
        }
    }
    Ok(rows)
}
