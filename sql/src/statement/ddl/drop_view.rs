//! `DROP VIEW`.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output};
use super::dependents::{self, Relation};
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
    session.check_writable("DROP VIEW")?;
    let scope = session.scope().await?;
    let mut views = Vec::new();
    for name in names {
        if let Some(view) = scope.view(name).await? {
            views.push(Relation::view(view.catalog.clone(), view.ident().clone()));
            continue;
        }
        match scope.table(name, parsed).await {
            Ok(table) => {
                let message = format!("\"{}\" is not a view", table.ident.name);
                return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message).with_hint(
                    match is_materialized_view(&table.snapshot.properties) {
                        true => "Use DROP MATERIALIZED VIEW to remove a materialized view.",
                        false => "Use DROP TABLE to remove a table.",
                    },
                ));
            }
            Err(e) if e.code == SqlState::UNDEFINED_TABLE && if_exists => {
                let message = format!("view \"{name}\" does not exist, skipping");
                session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
            }
            Err(e) if e.code == SqlState::UNDEFINED_TABLE => {
                let message = e.message.replacen("relation", "view", 1);
                return Err(Error { message, position: None, ..e });
            }
            Err(e) => return Err(e),
        }
    }
    let dependents = dependents::of(&views, cascade).await?;
    for view in dependents::announced(session, dependents).iter().chain(&views) {
        view.drop().await?;
    }
    Ok(Output::Complete(CommandTag::Plain("DROP VIEW")))
}
