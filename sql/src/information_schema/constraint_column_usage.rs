//! `information_schema.constraint_column_usage`: columns that primary keys use.

use datafusion::error::Result;

use super::{database, keyed};
use crate::pg_catalog::{CatalogContext, Rows};

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "table_catalog table_schema table_name column_name constraint_catalog constraint_schema \
         constraint_name",
    );
    for relation in keyed(context) {
        for column in relation.key_columns() {
            rows.push(vec![
                database(context),
                (&relation.namespace).into(),
                (&relation.name).into(),
                column.into(),
                database(context),
                (&relation.namespace).into(),
                relation.key_name().into(),
            ]);
        }
    }
    Ok(rows)
}
