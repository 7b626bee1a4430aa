//! Queries over the rows of a statement under the name that its text knows them by.
//!
//! What a statement says of a row (RETURNING, a predicate, an assignment) is planned as a query
//! over a relation that is not in any catalog, so that names, casts, functions and subqueries mean
//! what they mean in a SELECT.

use std::sync::Arc;

use auric_catalog::registry::Table;
use datafusion::catalog::view::ViewTable;
use datafusion::common::TableReference;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr};
use datafusion::sql::sqlparser::parser::Parser;

use crate::error::{Error, Result, SqlState};
use crate::parser::AuricDialect;
use crate::parser::statement::Insert;

/// Names of the relations of a template, which the statement's text cannot contain by chance.
pub const NEW_ROWS: &str = "__auric_new_rows";
pub const TARGET: &str = "__auric_target";

/// A quoted identifier.
pub fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// The name by which a statement refers to the table's rows.
pub fn alias(table: &Table, insert: &Insert) -> Ident {
    insert.alias.clone().unwrap_or_else(|| quoted(&table.ident.name))
}

/// `relation.column`.
pub fn column(relation: &Ident, name: &str) -> Expr {
    Expr::CompoundIdentifier(vec![relation.clone(), quoted(name)])
}

pub fn item(expr: Expr, name: impl AsRef<str>) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: quoted(name.as_ref()) }
}

/// `SELECT … FROM <from> [WHERE …]`, where `from` is text of our own making.
pub fn select(items: Vec<SelectItem>, from: &str, selection: Option<Expr>) -> Result<Query> {
    let dialect = AuricDialect::default();
    let template = Parser::new(&dialect)
        .try_with_sql(&format!("SELECT 1 FROM {from}"))
        .and_then(|mut parser| parser.parse_query())
        .map_err(|e| Error::new(SqlState::INTERNAL_ERROR, e.to_string()))?;
    let mut query = *template;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items;
        select.selection = selection;
    }
    Ok(query)
}

/// An expression of our own making.
pub fn expression(text: &str) -> Result<Expr> {
    let dialect = AuricDialect::default();
    Parser::new(&dialect)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr())
        .map_err(|e| Error::new(SqlState::INTERNAL_ERROR, e.to_string()))
}

/// A plan as a relation of this name.
pub fn relation(name: &'static str, plan: LogicalPlan) -> (TableReference, Arc<dyn TableSource>) {
    (TableReference::bare(name), provider_as_source(Arc::new(ViewTable::new(plan, None))))
}
