//! Expressions that a table's metadata keeps, for engines of other SQL dialects to read.

use std::ops::ControlFlow;

use arrow::datatypes::Schema;
use auric_catalog::table::TableFormat;
use datafusion::sql::sqlparser::ast::{self, Ident, Query, Value, VisitorMut};

use super::super::not_supported;
use crate::error::{Error, SqlState};
use crate::parser::folded;

/// Makes an expression one that means the same to other engines, or says what stands against it.
pub struct Portable<'a> {
    /// What the expression is of, in messages.
    what: &'static str,
    /// The table's name and columns; `None`: the expression has no columns.
    row: Option<(&'a str, &'a Schema)>,
    /// Only the expression's value is kept, not its text.
    evaluated: bool,
}

impl<'a> Portable<'a> {
    /// For a CHECK constraint.
    pub fn over_row(table: &'a str, schema: &'a Schema) -> Self {
        Self { what: "check constraint", row: Some((table, schema)), evaluated: false }
    }

    /// For a column default.
    pub fn constant(format: TableFormat) -> Self {
        Self { what: "DEFAULT expression", row: None, evaluated: format == TableFormat::Iceberg }
    }

    fn refuse(&self, what: &str) -> ControlFlow<Error> {
        let message = format!("cannot use {what} in {}", self.what);
        ControlFlow::Break(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message))
    }

    fn name(&self, ident: &mut Ident) {
        let name = folded(ident.clone());
        let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        // What Postgres quotes with a double quote is text to Spark.
        *ident = if plain && ident.quote_style.is_none() {
            Ident::new(name)
        } else {
            Ident::with_quote('`', name)
        };
    }
}

impl Portable<'_> {
    /// The table's own name, perhaps with its schema's, goes without saying.
    fn strip_table(&self, parts: &mut Vec<Ident>) {
        let Some((table, schema)) = self.row else { return };
        let is_column = |part: &Ident| schema.index_of(&folded(part.clone())).is_ok();
        let is_table = |part: Option<&Ident>| part.is_some_and(|part| folded(part.clone()) == table);
        let own = match parts.first().is_some_and(is_column) {
            true => 0,
            false if is_table(parts.first()) => 1,
            false if is_table(parts.get(1)) => 2,
            false => 0,
        };
        parts.drain(..own);
        parts.iter_mut().for_each(|part| self.name(part));
    }

    fn literal(&self, value: &Value) -> ControlFlow<Error> {
        match value {
            Value::Placeholder(name) => {
                let message = format!("there is no parameter {name}");
                ControlFlow::Break(Error::new(SqlState::UNDEFINED_PARAMETER, message))
            }
            _ if self.evaluated => ControlFlow::Continue(()),
            Value::SingleQuotedString(text) if text.contains(['\'', '\\']) => ControlFlow::Break(
                not_supported(format!("a quote or backslash in a literal of a {}", self.what))
                    .with_detail("Engines that read the table disagree on what it means."),
            ),
            Value::Number(..) | Value::SingleQuotedString(_) | Value::Boolean(_) | Value::Null => {
                ControlFlow::Continue(())
            }
            other => ControlFlow::Break(not_supported(format!("the literal {other} in a {}", self.what))),
        }
    }
}

impl VisitorMut for Portable<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Error> {
        self.refuse("subquery")
    }

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<Error> {
        match expr {
            ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) if self.row.is_none() => {
                return self.refuse("column reference");
            }
            ast::Expr::Identifier(ident) => self.name(ident),
            ast::Expr::CompoundIdentifier(parts) => {
                self.strip_table(parts);
                if let [only] = parts.as_slice() {
                    *expr = ast::Expr::Identifier(only.clone());
                }
            }
            ast::Expr::Value(value) => return self.literal(&value.value),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
