//! `pg_tables`: tables, those of the system included.

use datafusion::error::Result;

use super::CatalogContext;
use super::image::{OWNER_NAME, RelationKind};
use super::relation::Rows;
use super::shape;
use super::value::Value;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("schemaname tablename tableowner hasindexes hasrules hastriggers rowsecurity");
    let mut push = |schema: &str, name: &str, indexes: bool, triggers: bool| {
        let no = || Value::Bool(false);
        let row =
            vec![schema.into(), name.into(), OWNER_NAME.into(), indexes.into(), no(), triggers.into(), no()];
        rows.push(row);
    };
    for shape in shape::all().iter().filter(|shape| shape.kind == "r") {
        push(shape.schema, shape.name, false, false);
    }
    for relation in context.image.relations.iter().filter(|r| r.kind == RelationKind::Table) {
        push(&relation.namespace, &relation.name, !relation.key.is_empty(), relation.has_triggers());
    }
    Ok(rows)
}
