//! The SQL standard's information schema (manual, chapter 37), one view per file.
//!
//! Same machinery as [`pg_catalog`](crate::pg_catalog): shapes of Postgres 16, rows from the image.

mod character_sets;
mod columns;
mod constraint_column_usage;
mod key_column_usage;
mod referential_constraints;
mod schemata;
mod table_constraints;
mod table_privileges;
mod tables;
mod views;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::error::Result;

use crate::pg_catalog::image::{ForeignKey, Found, Relation};
use crate::pg_catalog::value::Value;
use crate::pg_catalog::{CatalogContext, Rows, Source, SystemRelation, shape};

/// Where the rows of a view come from.
pub(crate) fn source(name: &str) -> Source {
    match name {
        "character_sets" => Source::Session(character_sets::rows),
        "columns" => Source::Session(columns::rows),
        "constraint_column_usage" => Source::Session(constraint_column_usage::rows),
        "information_schema_catalog_name" => Source::Session(catalog_name),
        "key_column_usage" => Source::Session(key_column_usage::rows),
        "referential_constraints" => Source::Session(referential_constraints::rows),
        "role_table_grants" | "table_privileges" => Source::Session(table_privileges::rows),
        "schemata" => Source::Session(schemata::rows),
        "table_constraints" => Source::Session(table_constraints::rows),
        "tables" => Source::Session(tables::rows),
        "views" => Source::Session(views::rows),
        _ => Source::Empty,
    }
}

/// The view of `information_schema` with that name.
pub fn relation(name: &str, context: &Arc<CatalogContext>) -> Option<Arc<dyn TableProvider>> {
    let shape = shape::find("information_schema", name)?;
    Some(Arc::new(SystemRelation::new(shape, source(name), context.clone())))
}

fn catalog_name(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("catalog_name");
    rows.push(vec![database(context)]);
    Ok(rows)
}

/// Value of the `…_catalog` columns.
fn database(context: &CatalogContext) -> Value {
    (&context.info.database).into()
}

/// `yes_or_no`.
fn yes_or_no(yes: bool) -> Value {
    if yes { "YES".into() } else { "NO".into() }
}

/// Relations with a key.
fn keyed(context: &CatalogContext) -> impl Iterator<Item = &Relation> {
    context.image.relations.iter().filter(|relation| !relation.key.is_empty())
}

/// Foreign keys with the table that has each, and the one that it refers to.
fn foreign_keys(context: &CatalogContext) -> Vec<(&Relation, &ForeignKey, &Relation)> {
    let mut all = Vec::new();
    for relation in &context.image.relations {
        for key in &relation.foreign_keys {
            if let Some(Found::User(other)) = context.image.relation_by_oid(key.table) {
                all.push((relation, key, other));
            }
        }
    }
    all
}
