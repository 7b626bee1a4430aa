//! `information_schema.schemata`.

use datafusion::error::Result;

use super::database;
use crate::pg_catalog::image::OWNER_NAME;
use crate::pg_catalog::{CatalogContext, Rows};

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("catalog_name schema_name schema_owner");
    for (_, name, _) in context.image.all_namespaces() {
        rows.push(vec![database(context), name.into(), OWNER_NAME.into()]);
    }
    Ok(rows)
}
