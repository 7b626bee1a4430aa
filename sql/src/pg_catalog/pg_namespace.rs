//! `pg_namespace`: schemas.

use datafusion::error::Result;

use super::CatalogContext;
use super::image::OWNER;
use super::relation::Rows;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("oid nspname nspowner");
    for (oid, name, _) in context.image.all_namespaces() {
        rows.push(vec![oid.into(), name.into(), OWNER.into()]);
    }
    Ok(rows)
}
