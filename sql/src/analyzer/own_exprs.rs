//! The expressions of a node that are its own: those in queries within it are those queries' own.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Visit, VisitMut, Visitor, VisitorMut};

use crate::parser::walk::{Walk, WalkMut};

/// Is one of the node's own expressions, or a part of one, like this?
pub fn any_own_expr(node: &impl Visit, is: impl FnMut(&Expr) -> bool) -> bool {
    node.walk(&mut Find { depth: 0, is }).is_break()
}

/// Changes all of the node's own expressions, the parts of each before the whole.
pub fn change_own_exprs(node: &mut impl VisitMut, change: impl FnMut(&mut Expr)) {
    let _ = node.walk_mut(&mut Change { depth: 0, change });
}

struct Find<F> {
    /// Queries around the expression, within the node.
    depth: usize,
    is: F,
}

impl<F: FnMut(&Expr) -> bool> Visitor for Find<F> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match self.depth == 0 && (self.is)(expr) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

struct Change<F> {
    /// Queries around the expression, within the node.
    depth: usize,
    change: F,
}

impl<F: FnMut(&mut Expr)> VisitorMut for Change<F> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0 {
            (self.change)(expr);
        }
        ControlFlow::Continue(())
    }
}
