//! `information_schema.views`.

use datafusion::error::Result;

use super::{database, yes_or_no};
use crate::pg_catalog::image::RelationKind;
use crate::pg_catalog::{CatalogContext, Rows};

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "table_catalog table_schema table_name view_definition check_option is_updatable \
         is_insertable_into is_trigger_updatable is_trigger_deletable is_trigger_insertable_into",
    );
    for relation in context.image.relations.iter().filter(|r| r.kind == RelationKind::View) {
        rows.push(vec![
            database(context),
            (&relation.namespace).into(),
            (&relation.name).into(),
            relation.definition.clone().into(),
            "NONE".into(),
            yes_or_no(false),
            yes_or_no(false),
            yes_or_no(false),
            yes_or_no(false),
            yes_or_no(false),
        ]);
    }
    Ok(rows)
}
