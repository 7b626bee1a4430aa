//! `information_schema.referential_constraints`: foreign keys.

use datafusion::error::Result;

use super::{database, foreign_keys};
use crate::pg_catalog::value::Value;
use crate::pg_catalog::{CatalogContext, Rows};

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "constraint_catalog constraint_schema constraint_name unique_constraint_catalog \
         unique_constraint_schema unique_constraint_name match_option update_rule delete_rule",
    );
    for (relation, key, other) in foreign_keys(context) {
        // The table that it refers to may have declared no key.
        let keyed = |value: Value| if key.index == 0 { Value::Null } else { value };
        rows.push(vec![
            database(context),
            (&relation.namespace).into(),
            (&key.name).into(),
            keyed(database(context)),
            keyed((&other.namespace).into()),
            keyed(other.key_name().into()),
            if key.match_full { "FULL" } else { "NONE" }.into(),
            key.on_update.words().into(),
            key.on_delete.words().into(),
        ]);
    }
    Ok(rows)
}
