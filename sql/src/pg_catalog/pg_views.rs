//! `pg_views`: views, those of the system included.

use datafusion::error::Result;

use super::CatalogContext;
use super::image::{OWNER_NAME, RelationKind};
use super::relation::Rows;
use super::shape;
use super::value::Value;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("schemaname viewname viewowner definition");
    for shape in shape::all().iter().filter(|shape| shape.kind == "v") {
        rows.push(vec![shape.schema.into(), shape.name.into(), OWNER_NAME.into(), Value::Null]);
    }
    for relation in context.image.relations.iter().filter(|r| r.kind == RelationKind::View) {
        rows.push(vec![
            (&relation.namespace).into(),
            (&relation.name).into(),
            OWNER_NAME.into(),
            relation.definition.clone().into(),
        ]);
    }
    Ok(rows)
}
