//! Shapes (name, OID, columns) of all relations of `pg_catalog` and `information_schema`, as
//! Postgres 16 has them. A shape alone makes a relation that exists and is empty.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{Schema, SchemaRef};
use auric_catalog::backend::Oid;

use super::value::field;

/// One line per relation: OID, schema, name, `relkind`, then column names and types; `!` marks NOT NULL.
const DATA: &str = include_str!("data/relations.tsv");

/// A column of a system relation.
#[derive(Debug)]
pub struct ShapeColumn {
    pub name: &'static str,
    /// `typname`.
    pub pg_type: &'static str,
    pub not_null: bool,
}

/// A system relation without its rows.
#[derive(Debug)]
pub struct Shape {
    pub oid: Oid,
    pub schema: &'static str,
    pub name: &'static str,
    /// `r` or `v`.
    pub kind: &'static str,
    pub columns: Vec<ShapeColumn>,
    pub arrow: SchemaRef,
}

impl Shape {
    /// Position of a column.
    pub fn index_of(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }
}

static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| DATA.lines().filter_map(parse).collect());

static BY_NAME: LazyLock<HashMap<(&'static str, &'static str), &'static Shape>> =
    LazyLock::new(|| SHAPES.iter().map(|shape| ((shape.schema, shape.name), shape)).collect());

static BY_OID: LazyLock<HashMap<Oid, &'static Shape>> =
    LazyLock::new(|| SHAPES.iter().map(|shape| (shape.oid, shape)).collect());

fn parse(line: &'static str) -> Option<Shape> {
    let mut parts = line.split('\t');
    let oid = parts.next()?.parse().ok()?;
    let (schema, name, kind) = (parts.next()?, parts.next()?, parts.next()?);
    let mut words = parts.next()?.split(' ');
    let mut columns = Vec::new();
    while let (Some(name), Some(pg_type)) = (words.next(), words.next()) {
        let not_null = pg_type.ends_with('!');
        columns.push(ShapeColumn { name, pg_type: pg_type.trim_end_matches('!'), not_null });
    }
    let fields: Vec<_> = columns.iter().map(|c| field(c.name, held_as(c.pg_type))).collect();
    Some(Shape { oid, schema, name, kind, columns, arrow: Arc::new(Schema::new(fields)) })
}

/// The type that the values of a column are held and sent as.
fn held_as(pg_type: &'static str) -> &'static str {
    match pg_type {
        // Their names: an array of numbers would be shown as such.
        "_regtype" => "_text",
        other => other,
    }
}

/// All shapes, by schema and name.
pub fn all() -> &'static [Shape] {
    &SHAPES
}

/// The relation of that name.
pub fn find(schema: &str, name: &str) -> Option<&'static Shape> {
    BY_NAME.get(&(schema, name)).copied()
}

/// The relation with that OID.
pub fn find_by_oid(oid: Oid) -> Option<&'static Shape> {
    BY_OID.get(&oid).copied()
}
