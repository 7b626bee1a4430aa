//! Set-returning functions in a select list: our functions give arrays, `unnest` makes rows of them.
//!
//! Beside `unnest`, DataFusion carries all columns that other expressions are made of, which one of these may
//! have the name of: `SELECT unnest(t.a), t.b + 1 AS b`. Such a select list is computed under other names.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins, VisitorMut,
};

use super::ast::{call, folded, parts};
use super::function_in_from::of_one_column;
use super::own_exprs::{any_own_expr, change_own_exprs};
use crate::parser::row_target;

/// The function that gives the array of what a function returns a set of, and that which gives the items
/// their type.
fn array_of(name: &str) -> Option<(&'static str, &'static str)> {
    if name == "_pg_expandarray" { Some(("_pg_expandarray", "")) } else { of_one_column(name) }
}

/// The rewrite.
pub struct SetReturning;

impl VisitorMut for SetReturning {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        change_own_exprs(&mut select.projection, unnest);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if query.order_by.is_none()
            && let SetExpr::Select(select) = query.body.as_mut()
            && let Some(around) = under_other_names(select)
        {
            *query.body = *around.body;
        }
        ControlFlow::Continue(())
    }
}

/// Wraps a call of such a function.
fn unnest(expr: &mut Expr) {
    if let Expr::Function(function) = expr
        && let Some(name) = parts(&function.name)
        && let Some((array, typed)) = name.last().and_then(|last| array_of(last))
    {
        let qualified = name.len() > 1;
        if qualified && name.first().map(String::as_str) != Some("information_schema") {
            return;
        }
        let mut inner = function.clone();
        inner.name = vec![array.into()].into();
        let items = call("unnest", vec![Expr::Function(inner)]);
        *expr = if typed.is_empty() { items } else { call(typed, vec![items]) };
    }
}

fn is_unnest(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function) if parts(&function.name).is_some_and(|name| name == ["unnest"]))
}

fn column(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(names) => names.last(),
        _ => None,
    }
}

/// Whether an expression has the name of a column that is carried.
fn clashes(select: &Select) -> bool {
    if !any_own_expr(&select.projection, is_unnest) {
        return false;
    }
    let named =
        |name: &str| any_own_expr(&select.projection, |e| column(e).map(folded).as_deref() == Some(name));
    select.projection.iter().any(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => column(expr).is_none() && named(&folded(alias)),
        _ => false,
    })
}

/// `None`: there is no need to, or a name is not plain.
fn under_other_names(select: &mut Select) -> Option<Query> {
    if !clashes(select) {
        return None;
    }
    let named = select.projection.iter().enumerate().map(|(number, item)| {
        let (expr, name) = match item {
            SelectItem::ExprWithAlias { expr, alias } => (expr, alias),
            SelectItem::UnnamedExpr(expr) => (expr, column(expr)?),
            _ => return None,
        };
        let inner = Ident::with_quote('"', format!("\u{1}item{number}"));
        let item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: inner.clone() };
        Some((item, SelectItem::ExprWithAlias { expr: Expr::Identifier(inner), alias: name.clone() }))
    });
    let (inner, outer): (Vec<_>, Vec<_>) = named.collect::<Option<Vec<_>>>()?.into_iter().unzip();
    let mut subquery = row_target::select(None, Vec::new(), Vec::new(), None).ok()?;
    let mut computed = select.clone();
    computed.projection = inner;
    *subquery.body = SetExpr::Select(Box::new(computed));
    let name = Ident::with_quote('"', "\u{1}items");
    let alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
    let relation = TableFactor::Derived { lateral: false, subquery: Box::new(subquery), alias, sample: None };
    row_target::select(None, outer, vec![TableWithJoins { relation, joins: Vec::new() }], None).ok()
}
