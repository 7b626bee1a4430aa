//! DROP TABLE.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output};
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::session::Session;

pub async fn execute(
    session: &mut Session,
    names: &[ObjectName],
    if_exists: bool,
    parsed: &Parsed,
) -> Result<Output> {
    session.check_writable("DROP TABLE")?;
    let scope = session.scope().await?;
    let mut tables = Vec::new();
    for name in names {
        // A table whose metadata cannot be read can still be dropped.
        match scope.table(name, parsed).await {
            Ok(table) => tables.push((table.catalog.clone(), table.ident.clone(), Some(table))),
            Err(e) if e.code == SqlState::UNDEFINED_TABLE && if_exists => {
                let shown = name.to_string();
                session.notice(
                    "NOTICE",
                    SqlState::SUCCESSFUL_COMPLETION,
                    format!("table \"{shown}\" does not exist, skipping"),
                );
            }
            Err(e) if e.code == SqlState::UNDEFINED_TABLE => {
                return Err(Error {
                    message: e.message.replacen("relation", "table", 1),
                    position: None,
                    ..e
                });
            }
            Err(e) => {
                let (catalog, ident) = scope.new_table(name)?;
                if catalog.backend().table(&ident).await?.is_none() {
                    return Err(e);
                }
                tables.push((catalog, ident, None));
            }
        }
    }
    for (catalog, ident, table) in tables {
        match (session.block.is_some(), table) {
            (true, Some(table)) => scope.tables.drop_table(&table)?,
            _ => catalog.drop_table(&ident).await?,
        }
    }
    Ok(Output::Complete(CommandTag::Plain("DROP TABLE")))
}
