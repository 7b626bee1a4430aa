//! `pg_description`: comments on schemas, tables and columns.

use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;

/// OIDs of `pg_class` and `pg_namespace`, the catalogs that comments refer into.
pub const PG_CLASS: u32 = 1259;
pub const PG_NAMESPACE: u32 = 2615;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("objoid classoid objsubid description");
    for (oid, _, comment) in context.image.all_namespaces() {
        if let Some(comment) = comment {
            rows.push(vec![oid.into(), PG_NAMESPACE.into(), 0.into(), comment.into()]);
        }
    }
    for relation in &context.image.relations {
        if let Some(comment) = &relation.comment {
            rows.push(vec![relation.oid.into(), PG_CLASS.into(), 0.into(), comment.into()]);
        }
        for (number, column) in relation.numbered_columns() {
            if let Some(comment) = &column.comment {
                rows.push(vec![relation.oid.into(), PG_CLASS.into(), number.into(), comment.into()]);
            }
        }
    }
    Ok(rows)
}
