//! PREPARE, EXECUTE, DEALLOCATE.

use std::sync::Arc;

use datafusion::logical_expr::cast;
use datafusion::sql::sqlparser::ast;
use postgres_types::Type;

use super::{CommandTag, Output, OutputColumn, Prepared};
use crate::error::{Error, Result, SqlState};
use crate::parser::{Parsed, Statement};
use crate::session::Session;
use crate::types::{self, sql_type};

fn find(session: &Session, name: &str) -> Result<Arc<Prepared>> {
    session.prepared.get(name).cloned().ok_or_else(|| {
        Error::new(SqlState::INVALID_STATEMENT_NAME, format!("prepared statement \"{name}\" does not exist"))
    })
}

pub async fn prepare(
    session: &mut Session,
    name: &str,
    declared: &[ast::DataType],
    statement: &Statement,
    text: &str,
    parsed: &Parsed,
) -> Result<Output> {
    if session.prepared.contains_key(name) {
        let message = format!("prepared statement \"{name}\" already exists");
        return Err(Error::new(SqlState::DUPLICATE_PREPARED_STATEMENT, message));
    }
    let declared = declared
        .iter()
        .map(|t| {
            let field = arrow::datatypes::Field::new("", sql_type::from_sql(t)?, true);
            Ok(Some(types::pg_type(&field).0))
        })
        .collect::<Result<Vec<Option<Type>>>>()?;
    let inner = Parsed {
        text: text.to_string(),
        statement: Arc::new(statement.clone()),
        source: parsed.source.clone(),
    };
    let prepared = Box::pin(super::prepare(session, &inner, &declared)).await?;
    session.prepared.insert(name.to_string(), Arc::new(prepared));
    Ok(Output::Complete(CommandTag::Plain("PREPARE")))
}

pub fn columns(session: &Session, name: &str) -> Result<Option<Vec<OutputColumn>>> {
    Ok(find(session, name)?.columns.clone())
}

pub async fn execute(session: &mut Session, name: &str, arguments: &[ast::Expr]) -> Result<Output> {
    let prepared = find(session, name)?;
    if arguments.len() != prepared.parameters.len() {
        let message = format!("wrong number of parameters for prepared statement \"{name}\"");
        return Err(Error::new(SqlState::SYNTAX_ERROR, message).with_detail(format!(
            "Expected {} parameters but got {}.",
            prepared.parameters.len(),
            arguments.len()
        )));
    }
    let scope = session.scope().await?;
    let mut values = Vec::with_capacity(arguments.len());
    for (argument, pg_type) in arguments.iter().zip(&prepared.parameters) {
        let argument = scope.constant_expr(argument)?;
        values.push(scope.evaluate(cast(argument, types::arrow_type(pg_type)))?);
    }
    Box::pin(super::execute(session, &prepared, values)).await
}

pub fn deallocate(session: &mut Session, name: Option<&str>) -> Result<Output> {
    match name {
        None => {
            session.prepared.clear();
            Ok(Output::Complete(CommandTag::Plain("DEALLOCATE ALL")))
        }
        Some(name) => {
            find(session, name)?;
            session.prepared.remove(name);
            Ok(Output::Complete(CommandTag::Plain("DEALLOCATE")))
        }
    }
}
