//! `pg_prepared_statements`: the session's prepared statements. How often plans were chosen is not counted
//! (`generic_plans`, `custom_plans` are null).

use datafusion::error::Result;
use postgres_types::Type;

use super::CatalogContext;
use super::relation::Rows;
use super::types::format_type;
use super::value::Value;
use crate::session::prepared::MadeBy;

pub fn rows(context: &CatalogContext) -> Result<Rows> {
    let mut rows = Rows::new("name statement prepare_time parameter_types result_types from_sql");
    for (name, statement) in context.info.prepared.read().iter() {
        let prepared = &statement.prepared;
        let results = prepared.columns.as_ref();
        rows.push(vec![
            name.into(),
            (&statement.text).into(),
            statement.prepared_at.into(),
            names(prepared.parameters.iter()),
            results.map_or(Value::Null, |columns| names(columns.iter().map(|column| &column.pg_type))),
            (statement.made_by == MadeBy::Sql).into(),
        ]);
    }
    Ok(rows)
}

/// As `regtype` shows them.
fn names<'a>(types: impl Iterator<Item = &'a Type>) -> Value {
    Value::List(types.map(|pg| format_type(pg.oid(), None).into()).collect())
}
