//! `ALTER TABLE | VIEW … RENAME TO`, `… SET SCHEMA`.

use auric_catalog::TableIdent;
use auric_catalog::registry::Table;
use datafusion::sql::sqlparser::ast::ObjectName;

use super::super::{CommandTag, Output};
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::{Rename, RenameTo};
use crate::parser::{Parsed, folded};
use crate::planner::Scope;
use crate::session::Session;

pub async fn execute(session: &mut Session, rename: &Rename, parsed: &Parsed) -> Result<Output> {
    let verb = if rename.view { "ALTER VIEW" } else { "ALTER TABLE" };
    let done = Output::Complete(CommandTag::Plain(verb));
    session.check_writable(verb)?;
    let scope = session.scope().await?;
    if let Some(view) = scope.view(&rename.name).await? {
        let to = new_name(&rename.to, view.ident())?;
        view.catalog.rename_view(view.ident(), &to).await?;
        return Ok(done);
    }
    match scope.table(&rename.name, parsed).await {
        Ok(found) if rename.view => {
            let message = format!("\"{}\" is not a view", found.ident.name);
            Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message))
        }
        // As in Postgres, a materialized view too.
        Ok(found) => {
            table(session, &scope, &found, &rename.to).await?;
            Ok(done)
        }
        Err(e) if e.code == SqlState::UNDEFINED_TABLE && rename.if_exists => {
            let message = format!("relation \"{}\" does not exist, skipping", rename.name);
            session.notice("NOTICE", SqlState::SUCCESSFUL_COMPLETION, message);
            Ok(done)
        }
        Err(e) => Err(e),
    }
}

/// Gives a table, or that of a materialized view, another name.
pub async fn table(session: &Session, scope: &Scope, table: &Table, to: &RenameTo) -> Result<()> {
    let to = new_name(to, &table.ident)?;
    require_free(scope, &table.catalog, &to).await?;
    if table.catalog.is_temporary() != (to.namespace == session.temporary.schema()) {
        let message = "cannot move objects into or out of temporary schemas";
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    table.catalog.rename_table(&table.ident, &to).await?;
    Ok(())
}

async fn require_free(
    scope: &Scope,
    catalog: &std::sync::Arc<auric_catalog::registry::Catalog>,
    to: &TableIdent,
) -> Result<()> {
    match scope.tables.get(catalog, to).await? {
        Some(_) => Err(auric_catalog::Error::TableExists(to.clone()).into()),
        None => Ok(()),
    }
}

/// The whole name that the relation gets.
fn new_name(to: &RenameTo, from: &TableIdent) -> Result<TableIdent> {
    let parts = |name: &ObjectName| -> Vec<String> {
        name.0.iter().filter_map(|part| part.as_ident().cloned().map(folded)).collect()
    };
    Ok(match to {
        RenameTo::Schema(schema) => TableIdent::new(schema, &from.name),
        RenameTo::Name(name) => match parts(name).as_slice() {
            [name] => TableIdent::new(&from.namespace, name),
            [schema, name] => TableIdent::new(schema, name),
            _ => {
                let message = format!("improper qualified name (too many dotted names): {name}");
                return Err(Error::new(SqlState::SYNTAX_ERROR, message));
            }
        },
    })
}
