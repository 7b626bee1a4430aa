//! Set-returning functions in a select list: our functions give arrays, `unnest` makes rows of them.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Select, VisitorMut};

use super::ast::{call, parts};
use super::own_exprs::change_own_exprs;

/// Functions that return sets in Postgres and arrays here.
const FUNCTIONS: &[&str] = &["generate_subscripts", "generate_series", "_pg_expandarray"];

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
        && let Some(last) = name.last().filter(|last| FUNCTIONS.contains(&last.as_str()))
    {
        let qualified = name.len() > 1;
        if qualified && name.first().map(String::as_str) != Some("information_schema") {
            return;
        }
        let mut inner = function.clone();
        inner.name = vec![last.as_str().into()].into();
        *expr = call("unnest", vec![Expr::Function(inner)]);
    }
}
