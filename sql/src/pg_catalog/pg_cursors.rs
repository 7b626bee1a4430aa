//! `pg_cursors`: the session's open cursors, and the portals of the protocol that have a name.

use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("name statement is_holdable is_binary is_scrollable creation_time");
    for cursor in &context.info.cursors {
        rows.push(vec![
            cursor.name.clone().into(),
            cursor.statement.clone().into(),
            cursor.options.hold.into(),
            cursor.options.binary.into(),
            cursor.is_scrollable.into(),
            cursor.created.into(),
        ]);
    }
    Ok(rows)
}
