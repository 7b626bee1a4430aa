//! `information_schema.key_column_usage`: columns of primary and foreign keys.

use datafusion::error::Result;

use super::{database, foreign_keys, keyed};
use crate::pg_catalog::image::Relation;
use crate::pg_catalog::value::Value;
use crate::pg_catalog::{CatalogContext, Rows};

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema \
         table_name column_name ordinal_position position_in_unique_constraint",
    );
    let mut push = |relation: &Relation, name: String, column: &str, position: i32, unique: Option<i32>| {
        rows.push(vec![
            database(context),
            (&relation.namespace).into(),
            name.into(),
            database(context),
            (&relation.namespace).into(),
            (&relation.name).into(),
            column.into(),
            position.into(),
            unique.map_or(Value::Null, Value::from),
        ]);
    };
    for relation in keyed(context) {
        for (position, column) in (1_i32..).zip(relation.key_columns()) {
            push(relation, relation.key_name(), column, position, None);
        }
    }
    for (relation, key, other) in foreign_keys(context) {
        let columns = relation.column_names(&key.columns);
        for ((position, column), referenced) in (1_i32..).zip(columns).zip(&key.referenced) {
            let unique = (1_i32..).zip(&other.key).find(|(_, number)| *number == referenced);
            push(relation, key.name.clone(), column, position, unique.map(|(at, _)| at));
        }
    }
    Ok(rows)
}
