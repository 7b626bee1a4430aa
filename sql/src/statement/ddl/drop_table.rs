//! DROP TABLE.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output};
use super::dependents::{self, Relation};
use super::foreign_key;
use crate::error::{Error, Result, SqlState};
use crate::materialize::definition::is_materialized_view;
use crate::parser::Parsed;
use crate::session::Session;

pub async fn execute(
    session: &mut Session,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
    parsed: &Parsed,
) -> Result<Output> {
    session.check_writable("DROP TABLE")?;
    let scope = session.scope().await?;
    let mut tables = Vec::new();
    for name in names {
        // A table whose metadata cannot be read can still be dropped.
        match scope.table(name, parsed).await {
            Ok(table) if is_materialized_view(&table.snapshot.properties) => {
                let message = format!("\"{}\" is not a table", table.ident.name);
                return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message)
                    .with_hint("Use DROP MATERIALIZED VIEW to remove a materialized view."));
            }
            Ok(table) => tables.push((table.catalog.clone(), table.ident.clone())),
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
            Err(e) if e.code == SqlState::WRONG_OBJECT_TYPE => {
                let message = e.message.replacen("is a view, not a table", "is not a table", 1);
                return Err(Error { message, ..e }.with_hint("Use DROP VIEW to remove a view."));
            }
            Err(e) => {
                let (catalog, ident) = scope.new_table(name)?;
                if catalog.backend().table(&ident).await?.is_none() {
                    return Err(e);
                }
                tables.push((catalog, ident));
            }
        }
    }
    let dropped: Vec<Relation> =
        tables.iter().map(|(catalog, ident)| Relation::table(catalog.clone(), ident.clone())).collect();
    let dependents = dependents::of(&dropped, cascade).await?;
    for view in dependents::announced(session, dependents) {
        view.drop().await?;
    }
    for key in foreign_key::referring(&dropped).await? {
        let message = format!("drop cascades to {}", key.shown());
        session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
        key.drop(&scope).await?;
    }
    for (catalog, ident) in tables {
        match session.block.is_some() && catalog.is_temporary() {
            true => session.temporary.drop_in_block(&ident).await?,
            false => catalog.drop_table(&ident).await?,
        }
    }
    Ok(Output::Complete(CommandTag::Plain("DROP TABLE")))
}
