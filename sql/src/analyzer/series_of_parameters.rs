//! `FROM generate_series(1, $1)`: a table function is called while a statement is planned, when its
//! parameters have no values yet. As a subquery with the function in its select list, it is called when
//! the statement runs.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, Ident, Query, SelectItem, SetExpr, TableFactor, Value, Visit, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::ast::{self, parts};
use crate::parser::dialect::AuricDialect;

/// The rewrite, to be done before that of functions in select lists.
pub struct SeriesOfParameters;

impl VisitorMut for SeriesOfParameters {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let Some(derived) = as_subquery(factor) {
            *factor = derived;
        }
        ControlFlow::Continue(())
    }
}

fn as_subquery(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Table { name, alias, args: Some(args), with_ordinality: false, .. } = factor else {
        return None;
    };
    let name = parts(name)?.pop().filter(|name| name == "generate_series")?;
    if args.visit(&mut Placeholders).is_continue() {
        return None;
    }
    let mut call = ast::function(&name, Vec::new(), Vec::new());
    let FunctionArguments::List(list) = &mut call.args else { return None };
    list.args = args.args.clone();
    let alias = alias.clone();
    // The column of a function without a name of its own has that of its relation.
    let column = alias.as_ref().map_or_else(|| Ident::new(name), |alias| alias.name.clone());
    let item = SelectItem::ExprWithAlias { expr: Expr::Function(call), alias: column };
    Some(TableFactor::Derived { lateral: false, subquery: Box::new(select(item)?), alias, sample: None })
}

fn select(item: SelectItem) -> Option<Query> {
    let mut query = Parser::new(&AuricDialect::default()).try_with_sql("select 1").ok()?.parse_query().ok()?;
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    select.projection = vec![item];
    Some(*query)
}

/// Stops at a parameter.
struct Placeholders;

impl Visitor for Placeholders {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}
