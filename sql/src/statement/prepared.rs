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
            let field = sql_type::field_of(t, sql_type::from_sql(t)?);
            Ok(Some(types::pg_type(&field).0))
        })
        .collect::<Result<Vec<Option<Type>>>>()?;
    let inner = Parsed::new(text.to_string(), Arc::new(statement.clone()), parsed.source.clone());
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

impl Session {
    /// A statement that was prepared under that name, its text, and whether it is answered at once.
    pub fn named(&self, name: &str) -> Option<(Arc<Prepared>, String, bool)> {
        let prepared = self.prepared.get(name)?;
        let (text, immediate) = (prepared.parsed.text.clone(), self.answers_at_once(&prepared.parsed));
        Some((prepared.clone(), text, immediate))
    }

    pub fn has_named(&self, name: &str) -> bool {
        self.prepared.contains_key(name)
    }

    /// Lets EXECUTE find a statement that the protocol has prepared: both are of one space of names.
    pub fn keep_named(&mut self, name: &str, prepared: Arc<Prepared>) {
        self.prepared.insert(name.to_string(), prepared);
    }

    /// The protocol closes a statement. There may be none of that name.
    pub fn forget_named(&mut self, name: &str) {
        self.prepared.remove(name);
    }
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
