//! `pg_matviews`: materialized views.

use datafusion::error::Result;

use super::CatalogContext;
use super::image::{OWNER_NAME, RelationKind};
use super::relation::Rows;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("schemaname matviewname matviewowner hasindexes ispopulated definition");
    let relations = context.image.relations.iter();
    for relation in relations.filter(|r| r.kind == RelationKind::MaterializedView) {
        rows.push(vec![
            (&relation.namespace).into(),
            (&relation.name).into(),
            OWNER_NAME.into(),
            (!relation.key.is_empty()).into(),
            relation.populated.into(),
            relation.definition.clone().into(),
        ]);
    }
    Ok(rows)
}
