//! The system catalog, one relation per file.
//!
//! [`shape`] knows the columns of every relation of Postgres' system schemas; [`source`] says which
//! of them have rows here and where these come from; [`SystemRelation`] shows one to DataFusion.
//! What rows are made of is a [`CatalogImage`], loaded before planning.
//!
//! Invariants: nothing here waits or does I/O except [`load`]; an OID means the same object in every
//! relation, on every server of a catalog and after every restart.

pub mod foreign_key;
pub mod image;
pub mod key_index;
pub mod keys;
pub mod load;
pub mod relation;
pub mod shape;
pub mod static_rows;
pub mod types;
pub mod value;

mod pg_attrdef;
mod pg_attribute;
mod pg_authid;
mod pg_class;
mod pg_constraint;
mod pg_cursors;
mod pg_database;
mod pg_depend;
mod pg_description;
mod pg_index;
mod pg_indexes;
mod pg_matviews;
mod pg_namespace;
mod pg_prepared_statements;
mod pg_rewrite;
pub(crate) mod pg_roles;
mod pg_settings;
mod pg_stat_activity;
mod pg_stat_gssapi;
mod pg_stat_ssl;
mod pg_stat_user_tables;
mod pg_tables;
mod pg_tablespace;
mod pg_timezone_names;
mod pg_views;

use std::sync::Arc;

use datafusion::catalog::TableProvider;

pub use self::image::CatalogImage;
pub use self::pg_roles::{Role, roles};
pub use self::relation::{Rows, Source, SystemRelation};
use crate::session::carried::Carried;
use crate::session::info::SessionInfo;

/// What system relations and catalog functions see: the session and the catalog's contents.
#[derive(Debug, Clone)]
pub struct CatalogContext {
    pub info: Arc<SessionInfo>,
    pub image: Arc<CatalogImage>,
}

impl CatalogContext {
    /// Schemas that unqualified names are looked up in: that of temporary tables and `pg_catalog`
    /// (implicitly first) included.
    pub fn path(&self) -> Vec<String> {
        let explicit = &self.info.search_path;
        let mut path = Vec::with_capacity(explicit.len() + 2);
        path.extend(self.info.temporary_schema().map(str::to_string));
        if !explicit.iter().any(|schema| schema == "pg_catalog") {
            path.push("pg_catalog".to_string());
        }
        path.extend(explicit.iter().cloned());
        path
    }

    /// `true` when the relation is what its unqualified name means (`pg_table_is_visible`).
    pub fn is_visible(&self, oid: u32) -> bool {
        let Some(found) = self.image.relation_by_oid(oid) else { return false };
        self.path()
            .iter()
            .find_map(|schema| self.image.relation_by_name(schema, &found.name()))
            .is_some_and(|first| first.oid() == oid)
    }
}

impl Carried for CatalogContext {
    const PREFIX: &'static str = "auric_catalog";
}

/// Where the rows of a relation of `pg_catalog` come from.
fn source(name: &str) -> Source {
    match name {
        "pg_am" => Source::Image(static_rows::pg_am),
        "pg_attrdef" => Source::Image(pg_attrdef::rows),
        "pg_attribute" => Source::Image(pg_attribute::rows),
        "pg_authid" => Source::Session(pg_authid::rows),
        "pg_cast" => Source::Image(static_rows::pg_cast),
        "pg_class" => Source::Image(pg_class::rows),
        "pg_collation" => Source::Image(static_rows::pg_collation),
        "pg_constraint" => Source::Image(pg_constraint::rows),
        "pg_cursors" => Source::Session(pg_cursors::rows),
        "pg_database" => Source::Image(pg_database::rows),
        "pg_depend" => Source::Image(pg_depend::rows),
        "pg_description" => Source::Image(pg_description::rows),
        "pg_index" => Source::Image(pg_index::rows),
        "pg_indexes" => Source::Image(pg_indexes::rows),
        "pg_language" => Source::Image(static_rows::pg_language),
        "pg_matviews" => Source::Image(pg_matviews::rows),
        "pg_namespace" => Source::Image(pg_namespace::rows),
        "pg_opclass" => Source::Image(static_rows::pg_opclass),
        "pg_operator" => Source::Image(static_rows::pg_operator),
        "pg_opfamily" => Source::Image(static_rows::pg_opfamily),
        "pg_prepared_statements" => Source::Session(pg_prepared_statements::rows),
        "pg_proc" => Source::Image(static_rows::pg_proc),
        "pg_range" => Source::Image(static_rows::pg_range),
        "pg_rewrite" => Source::Image(pg_rewrite::rows),
        "pg_roles" => Source::Session(pg_roles::rows),
        "pg_settings" => Source::Session(pg_settings::rows),
        "pg_stat_activity" => Source::Session(pg_stat_activity::rows),
        "pg_stat_all_tables" | "pg_stat_user_tables" => Source::Image(pg_stat_user_tables::rows),
        "pg_stat_gssapi" => Source::Session(pg_stat_gssapi::rows),
        "pg_stat_ssl" => Source::Session(pg_stat_ssl::rows),
        "pg_tables" => Source::Image(pg_tables::rows),
        "pg_tablespace" => Source::Image(pg_tablespace::rows),
        "pg_timezone_names" => Source::Session(pg_timezone_names::rows),
        "pg_type" => Source::Image(static_rows::pg_type),
        "pg_user" => Source::Session(pg_authid::pg_user),
        "pg_views" => Source::Image(pg_views::rows),
        _ => Source::Empty,
    }
}

/// The relation of `pg_catalog` with that name.
pub fn relation(name: &str, context: &Arc<CatalogContext>) -> Option<Arc<dyn TableProvider>> {
    let shape = shape::find("pg_catalog", name)?;
    Some(Arc::new(SystemRelation::new(shape, source(name), context.clone())))
}

/// Names of the relations of a system schema.
pub fn relation_names(schema: &str) -> Vec<&'static str> {
    shape::all().iter().filter(|shape| shape.schema == schema).map(|shape| shape.name).collect()
}

/// `true` for a system relation that never has rows, because Auric has no such objects.
pub fn is_always_empty(schema: &str, name: &str) -> bool {
    let source = match schema {
        "pg_catalog" => source(name),
        "information_schema" => crate::information_schema::source(name),
        _ => return false,
    };
    shape::find(schema, name).is_some() && matches!(source, Source::Empty)
}

#[cfg(test)]
mod tests;
