//! `information_schema.character_sets`: UTF8, the only one.

use datafusion::error::Result;

use super::database;
use crate::pg_catalog::{CatalogContext, Rows};

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new(
        "character_set_name character_repertoire form_of_use default_collate_catalog \
         default_collate_schema default_collate_name",
    );
    rows.push(vec![
        "UTF8".into(),
        "UCS".into(),
        "UTF8".into(),
        database(context),
        "pg_catalog".into(),
        "C.UTF-8".into(),
    ]);
    Ok(rows)
}
