//! `information_schema.tables`: tables and views. Materialized views are not in it, as in Postgres.

use datafusion::error::Result;

use super::{database, yes_or_no};
use crate::pg_catalog::image::RelationKind;
use crate::pg_catalog::{CatalogContext, Rows, shape};

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("table_catalog table_schema table_name table_type is_insertable_into is_typed");
    let mut push = |schema: &str, name: &str, is_table: bool, insertable: bool| {
        rows.push(vec![
            database(context),
            schema.into(),
            name.into(),
            if is_table { "BASE TABLE".into() } else { "VIEW".into() },
            yes_or_no(insertable),
            yes_or_no(false),
        ]);
    };
    for shape in shape::all() {
        push(shape.schema, shape.name, shape.kind == "r", false);
    }
    for relation in &context.image.relations {
        let is_table = relation.kind == RelationKind::Table;
        if relation.kind != RelationKind::MaterializedView {
            push(&relation.namespace, &relation.name, is_table, is_table);
        }
    }
    Ok(rows)
}
