//! `information_schema.key_column_usage`: columns of primary keys.

use datafusion::error::Result;

use super::{database, keyed};
use crate::pg_catalog::{CatalogContext, Rows};

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema \
         table_name column_name ordinal_position",
    );
    for relation in keyed(context) {
        for (position, column) in (1_i32..).zip(relation.key_columns()) {
            rows.push(vec![
                database(context),
                (&relation.namespace).into(),
                relation.key_name().into(),
                database(context),
                (&relation.namespace).into(),
                (&relation.name).into(),
                column.into(),
                position.into(),
            ]);
        }
    }
    Ok(rows)
}
