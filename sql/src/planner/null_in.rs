//! `x IN (SELECT …)` in conditions. DataFusion makes a join of it and takes null for false there. That is
//! right only where nothing tells them apart: between the ANDs and ORs of WHERE, HAVING and QUALIFY. Under
//! NOT, CASE, IS NULL and the like, and for NOT IN beside OR, the three values are computed.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Query, Select, UnaryOperator, VisitorMut};

use super::rewrite::among;
use crate::analyzer::change_own_exprs;
use crate::parser::walk::WalkMut;

/// Rewrites all conditions of a query, those of its subqueries included.
pub(super) fn rewrite(query: &mut Query) {
    let _ = query.walk_mut(&mut Conditions);
}

struct Conditions;

impl VisitorMut for Conditions {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let conditions = [&mut select.selection, &mut select.having, &mut select.qualify];
        for condition in conditions.into_iter().flatten() {
            settle(condition, true);
        }
        ControlFlow::Continue(())
    }
}

/// `alone`: only ANDs are around this part of the condition, so that NOT IN becomes an anti join, which
/// knows nulls.
fn settle(expr: &mut Expr, alone: bool) {
    if let Some(opposite) = opposite(expr) {
        *expr = opposite;
    }
    match expr {
        Expr::Nested(inner) => settle(inner, alone),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            settle(left, alone);
            settle(right, alone);
        }
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
            settle(left, false);
            settle(right, false);
        }
        Expr::InSubquery { expr: item, negated, .. } if alone || !*negated => values(item),
        _ => values(expr),
    }
}

/// `NOT (x IN (q))` as `x NOT IN (q)`.
fn opposite(expr: &Expr) -> Option<Expr> {
    let Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } = expr else { return None };
    let mut inner = inner.as_ref();
    while let Expr::Nested(nested) = inner {
        inner = nested;
    }
    let Expr::InSubquery { expr, subquery, negated } = inner else { return None };
    Some(Expr::InSubquery { expr: expr.clone(), subquery: subquery.clone(), negated: !negated })
}

/// Gives every IN within an expression its three values.
fn values(expr: &mut Expr) {
    change_own_exprs(expr, |expr| {
        if let Expr::InSubquery { expr: item, subquery, negated } = expr
            && let Some(replaced) = among(item, subquery, *negated)
        {
            *expr = replaced;
        }
    });
}
