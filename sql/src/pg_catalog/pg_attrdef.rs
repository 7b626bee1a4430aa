//! `pg_attrdef`: defaults of columns. `adbin` holds the SQL text itself; `pg_get_expr` returns it.

use datafusion::error::Result;

use super::CatalogContext;
use super::relation::Rows;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("oid adrelid adnum adbin");
    for relation in &context.image.relations {
        for (number, column) in relation.numbered_columns() {
            if let Some(default) = &column.default {
                rows.push(vec![
                    relation.default_oid(number).into(),
                    relation.oid.into(),
                    number.into(),
                    default.into(),
                ]);
            }
        }
    }
    Ok(rows)
}
