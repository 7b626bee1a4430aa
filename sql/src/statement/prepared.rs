//! PREPARE, EXECUTE, DEALLOCATE.

use std::sync::Arc;

use datafusion::logical_expr::cast;
use datafusion::sql::sqlparser::ast;
use postgres_types::Type;

use super::{CommandTag, Output, OutputColumn, Prepared};
use crate::error::{Error, Result, SqlState};
use crate::parser::{Parsed, Statement};
use crate::session::Session;
use crate::session::prepared::{MadeBy, PreparedStatement};
use crate::types::{self, sql_type};

fn find(session: &Session, name: &str) -> Result<Arc<Prepared>> {
    let found = session.prepared.read().get(name).map(|statement| statement.prepared.clone());
    found.ok_or_else(|| {
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
    if session.has_named(name) {
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
    let statement = PreparedStatement {
        prepared: Arc::new(prepared),
        text: parsed.text.clone(),
        prepared_at: session.engine.clock.now(),
        made_by: MadeBy::Sql,
    };
    session.prepared.write().insert(name.to_string(), statement);
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
        let prepared = find(self, name).ok()?;
        let (text, immediate) = (prepared.parsed.text.clone(), self.answers_at_once(&prepared.parsed));
        Some((prepared, text, immediate))
    }

    pub fn has_named(&self, name: &str) -> bool {
        self.prepared.read().contains_key(name)
    }

    /// Lets EXECUTE find a statement that the protocol has prepared: both are of one space of names.
    pub fn keep_named(&mut self, name: &str, prepared: Arc<Prepared>) {
        let text = prepared.parsed.text.clone();
        let prepared_at = self.engine.clock.now();
        let statement = PreparedStatement { prepared, text, prepared_at, made_by: MadeBy::Protocol };
        self.prepared.write().insert(name.to_string(), statement);
    }

    /// The protocol closes a statement. There may be none of that name.
    pub fn forget_named(&mut self, name: &str) {
        self.prepared.write().remove(name);
    }
}

pub fn deallocate(session: &mut Session, name: Option<&str>) -> Result<Output> {
    match name {
        None => {
            session.prepared.write().clear();
            Ok(Output::Complete(CommandTag::Plain("DEALLOCATE ALL")))
        }
        Some(name) => {
            find(session, name)?;
            session.prepared.write().remove(name);
            Ok(Output::Complete(CommandTag::Plain("DEALLOCATE")))
        }
    }
}
