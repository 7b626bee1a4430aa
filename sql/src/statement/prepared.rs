//! PREPARE, EXECUTE, DEALLOCATE.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::scalar::ScalarValue;
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
        let value = scope.constant(argument)?;
        values.push(value.cast_to(&types::arrow_type(pg_type)).map_err(|e| Error::from(&e))?);
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

impl crate::planner::Scope {
    /// Value of an expression without columns.
    pub fn constant(&self, expr: &ast::Expr) -> Result<ScalarValue> {
        self.evaluate(self.constant_expr(expr)?)
    }

    /// Value of an expression without columns that was rewritten as part of its statement.
    pub fn rewritten_constant(&self, expr: &ast::Expr) -> Result<ScalarValue> {
        self.evaluate(self.rewritten_constant_expr(expr.clone())?)
    }

    /// Value of a planned expression without columns.
    pub fn evaluate(&self, expr: Expr) -> Result<ScalarValue> {
        // `now()` exists only for the simplifier, which puts the transaction's time in its place.
        let simplifier = ExprSimplifier::new(
            SimplifyContext::builder()
                .with_config_options(Arc::clone(self.state.config_options()))
                .with_query_execution_start_time(self.state.execution_props().query_execution_start_time)
                .build(),
        );
        let simplified =
            simplifier.coerce(expr, &DFSchema::empty()).and_then(|expr| simplifier.simplify(expr));
        let expr = simplified.map_err(|e| Error::from(&e))?;
        let physical =
            self.state.create_physical_expr(expr, &DFSchema::empty()).map_err(|e| Error::from(&e))?;
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(1));
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        let row = arrow::record_batch::RecordBatch::try_new_with_options(schema, vec![], &options)
            .map_err(|e| Error::from(&e))?;
        let value = physical.evaluate(&row).map_err(|e| Error::from(&e))?;
        let array = value.into_array(1).map_err(|e| Error::from(&e))?;
        ScalarValue::try_from_array(&array, 0).map_err(|e| Error::from(&e))
    }
}
