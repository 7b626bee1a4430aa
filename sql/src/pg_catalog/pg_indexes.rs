//! `pg_indexes`: the indexes of primary keys, readable.

use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;
use crate::functions::catalog_information::index_definition;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("schemaname tablename indexname indexdef");
    for relation in context.image.relations.iter().filter(|r| !r.key.is_empty()) {
        rows.push(vec![
            (&relation.namespace).into(),
            (&relation.name).into(),
            relation.key_name().into(),
            index_definition(relation).into(),
        ]);
    }
    Ok(rows)
}
