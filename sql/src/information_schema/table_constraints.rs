//! `information_schema.table_constraints`: primary and foreign keys, CHECK constraints, and NOT NULL as the CHECK constraints that
//! the standard (and Postgres here) makes of it.

use datafusion::error::Result;

use super::{database, foreign_keys, keyed, yes_or_no};
use crate::pg_catalog::image::Relation;
use crate::pg_catalog::{CatalogContext, Rows};

const FOREIGN_KEY: &str = "FOREIGN KEY";

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "constraint_catalog constraint_schema constraint_name table_catalog table_schema \
         table_name constraint_type is_deferrable initially_deferred enforced",
    );
    let mut push = |relation: &Relation, name: String, kind: &str| {
        rows.push(vec![
            database(context),
            (&relation.namespace).into(),
            name.into(),
            database(context),
            (&relation.namespace).into(),
            (&relation.name).into(),
            kind.into(),
            yes_or_no(false),
            yes_or_no(false),
            yes_or_no(kind != FOREIGN_KEY),
        ]);
    };
    for relation in keyed(context) {
        push(relation, relation.key_name(), "PRIMARY KEY");
    }
    for (relation, key, _) in foreign_keys(context) {
        push(relation, key.name.clone(), FOREIGN_KEY);
    }
    for relation in &context.image.relations {
        for check in &relation.checks {
            push(relation, check.name.clone(), "CHECK");
        }
        for (number, column) in relation.numbered_columns() {
            if !column.nullable {
                let name = format!("{}_{}_{number}_not_null", relation.namespace_oid, relation.oid);
                push(relation, name, "CHECK");
            }
        }
    }
    Ok(rows)
}
