//! `information_schema.constraint_column_usage`: columns that primary keys use, and that foreign keys refer to.

use datafusion::error::Result;

use super::{database, foreign_keys, keyed};
use crate::pg_catalog::image::Relation;
use crate::pg_catalog::{CatalogContext, Rows};

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "table_catalog table_schema table_name column_name constraint_catalog constraint_schema \
         constraint_name",
    );
    let mut push = |relation: &Relation, column: &str, schema: &str, name: String| {
        rows.push(vec![
            database(context),
            (&relation.namespace).into(),
            (&relation.name).into(),
            column.into(),
            database(context),
            schema.into(),
            name.into(),
        ]);
    };
    for relation in keyed(context) {
        for column in relation.key_columns() {
            push(relation, column, &relation.namespace, relation.key_name());
        }
    }
    for (relation, key, other) in foreign_keys(context) {
        for column in other.column_names(&key.referenced) {
            push(other, column, &relation.namespace, key.name.clone());
        }
    }
    Ok(rows)
}
