//! Set-returning functions in a select list: our functions give arrays, `unnest` makes rows of them.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Select, VisitorMut};

use super::ast::{call, parts};
use super::function_in_from::of_one_column;
use super::own_exprs::change_own_exprs;

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
