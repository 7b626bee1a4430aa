//! `DROP MATERIALIZED VIEW`.

use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::ddl::dependents::{self, Relation};
use super::super::{CommandTag, Output};
use super::find;
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::session::Session;

pub async fn execute(
    session: &mut Session,
    names: &[ObjectName],
    if_exists: bool,
    cascade: bool,
    parsed: &Parsed,
) -> Result<Output> {
    session.check_writable("DROP MATERIALIZED VIEW")?;
    let scope = session.scope().await?;
    let mut dropped: Vec<Relation> = Vec::new();
    for name in names {
        match find(&scope, name, parsed).await {
            Ok((table, _)) => {
                let relation = Relation::materialized_view(table.catalog.clone(), table.ident.clone());
                if !dropped.contains(&relation) {
                    dropped.push(relation);
                }
            }
            Err(e) if e.code == SqlState::UNDEFINED_TABLE && if_exists => {
                let message = format!("materialized view \"{name}\" does not exist, skipping");
                session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
            }
            Err(e) if e.code == SqlState::UNDEFINED_TABLE => {
                let message = e.message.replacen("relation", "materialized view", 1);
                return Err(Error { message, position: None, ..e });
            }
            Err(e) if e.code == SqlState::WRONG_OBJECT_TYPE => {
                let hint = match e.hint.is_some() {
                    true => "Use DROP VIEW to remove a view.",
                    false => "Use DROP TABLE to remove a table.",
                };
                return Err(Error { hint: Some(hint.to_string()), ..e });
            }
            Err(e) => return Err(e),
        }
    }
    let dependents = dependents::of(&dropped, cascade).await?;
    for relation in dependents::announced(session, dependents).iter().chain(&dropped) {
        relation.drop().await?;
    }
    Ok(Output::Complete(CommandTag::Plain("DROP MATERIALIZED VIEW")))
}
