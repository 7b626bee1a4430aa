//! Set-returning functions in a select list: our functions give arrays, `unnest` makes rows of them.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Select, VisitMut, VisitorMut};

use super::ast::{call, parts};

/// Functions that return sets in Postgres and arrays here.
const FUNCTIONS: &[&str] = &["generate_subscripts", "generate_series", "_pg_expandarray"];

/// The rewrite.
pub struct SetReturning;

impl VisitorMut for SetReturning {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        select.projection.visit(&mut Unnest { depth: 0 })
    }
}

/// Wraps calls; those in subqueries are their own select's.
struct Unnest {
    depth: usize,
}

impl VisitorMut for Unnest {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut datafusion::sql::sqlparser::ast::Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut datafusion::sql::sqlparser::ast::Query) -> ControlFlow<()> {
        self.depth = self.depth.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Function(function) = expr
            && let Some(name) = parts(&function.name)
            && let Some(last) = name.last().filter(|last| FUNCTIONS.contains(&last.as_str()))
        {
            let qualified = name.len() > 1;
            if qualified && name.first().map(String::as_str) != Some("information_schema") {
                return ControlFlow::Continue(());
            }
            let mut inner = function.clone();
            inner.name = vec![last.as_str().into()].into();
            *expr = call("unnest", vec![Expr::Function(inner)]);
        }
        ControlFlow::Continue(())
    }
}
