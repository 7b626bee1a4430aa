//! `information_schema.tables`: tables and views. Materialized views are not in it, as in Postgres.

use datafusion::error::Result;

use super::{database, yes_or_no};
use crate::pg_catalog::image::RelationKind;
use crate::pg_catalog::{CatalogContext, Rows, shape};

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("table_catalog table_schema table_name table_type is_insertable_into is_typed");
    let mut push = |schema: &str, name: &str, kind: &str, insertable: bool| {
        rows.push(vec![
            database(context),
            schema.into(),
            name.into(),
            kind.into(),
            yes_or_no(insertable),
            yes_or_no(false),
        ]);
    };
    for shape in shape::all() {
        push(shape.schema, shape.name, if shape.kind == "r" { "BASE TABLE" } else { "VIEW" }, false);
    }
    for relation in &context.image.relations {
        let is_table = relation.kind == RelationKind::Table;
        if relation.kind != RelationKind::MaterializedView {
            let kind = match is_table {
                true if relation.is_temporary() => "LOCAL TEMPORARY",
                true => "BASE TABLE",
                false => "VIEW",
            };
            push(&relation.namespace, &relation.name, kind, is_table);
        }
    }
    Ok(rows)
}
