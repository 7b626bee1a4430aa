//! `pg_constraint`: primary keys (identifier fields). NOT NULL is no constraint of its own in Postgres 15.

use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "oid conname connamespace contype condeferrable condeferred convalidated conrelid contypid \
         conindid conparentid confrelid confupdtype confdeltype confmatchtype conislocal \
         coninhcount connoinherit conkey",
    );
    for relation in context.image.relations.iter().filter(|r| !r.key.is_empty()) {
        rows.push(vec![
            relation.key_constraint_oid().into(),
            relation.key_name().into(),
            relation.namespace_oid.into(),
            "p".into(),
            false.into(),
            false.into(),
            true.into(),
            relation.oid.into(),
            0.into(),
            relation.key_index_oid().into(),
            0.into(),
            0.into(),
            " ".into(),
            " ".into(),
            " ".into(),
            true.into(),
            0.into(),
            true.into(),
            relation.key.clone().into(),
        ]);
    }
    Ok(rows)
}
