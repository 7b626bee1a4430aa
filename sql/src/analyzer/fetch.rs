//! `FETCH FIRST n ROWS ONLY` as LIMIT, and `WITH TIES` as a condition on ranks. An untyped text in LIMIT is
//! a number.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, LimitClause, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr,
    Value, VisitorMut, WindowSpec, WindowType,
};

use super::ast::{call, folded, number};

/// The rewrite. What it cannot do stays, and is refused by the planner.
pub struct Fetch;

impl VisitorMut for Fetch {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
            limit.iter_mut().for_each(number_of);
            offset.iter_mut().for_each(|offset| number_of(&mut offset.value));
        }
        let Some(fetch) = &query.fetch else { return ControlFlow::Continue(()) };
        if fetch.percent {
            return ControlFlow::Continue(());
        }
        let quantity = fetch.quantity.clone().unwrap_or_else(|| number(1));
        let offset = match &query.limit_clause {
            None => None,
            Some(LimitClause::LimitOffset { limit: None, offset, limit_by }) if limit_by.is_empty() => {
                offset.clone()
            }
            Some(_) => return ControlFlow::Continue(()),
        };
        if !fetch.with_ties {
            query.fetch = None;
            query.limit_clause =
                Some(LimitClause::LimitOffset { limit: Some(quantity), offset, limit_by: Vec::new() });
            return ControlFlow::Continue(());
        }
        let order = match query.order_by.as_ref().map(|order| &order.kind) {
            Some(OrderByKind::Expressions(order)) => order.clone(),
            _ => return ControlFlow::Continue(()),
        };
        if let SetExpr::Select(select) = query.body.as_mut()
            && ranked(select, &order, quantity, offset.map(|offset| offset.value))
        {
            query.fetch = None;
            query.limit_clause = None;
        }
        ControlFlow::Continue(())
    }
}

/// `LIMIT '5'`.
fn number_of(expr: &mut Expr) {
    if let Expr::Value(value) = expr
        && let Value::SingleQuotedString(text) = &value.value
        && let Ok(count) = text.trim().parse::<i64>()
    {
        *expr = number(count);
    }
}

/// Keeps the rows up to the rank of the last one wanted. `false`: the query is not that plain.
fn ranked(select: &mut Select, order: &[OrderByExpr], quantity: Expr, offset: Option<Expr>) -> bool {
    if select.distinct.is_some() || select.qualify.is_some() {
        return false;
    }
    let order: Option<Vec<OrderByExpr>> = order.iter().map(|by| meant(by, &select.projection)).collect();
    let Some(order) = order else { return false };
    let over = |name: &str| {
        let mut ranking = call(name, Vec::new());
        if let Expr::Function(function) = &mut ranking {
            function.over = Some(WindowType::WindowSpec(WindowSpec {
                window_name: None,
                partition_by: Vec::new(),
                order_by: order.clone(),
                window_frame: None,
            }));
        }
        ranking
    };
    let binary = |left: Expr, op: BinaryOperator, right: Expr| Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    };
    let last = match &offset {
        Some(offset) => binary(offset.clone(), BinaryOperator::Plus, quantity),
        None => quantity,
    };
    let mut condition = binary(over("rank"), BinaryOperator::LtEq, Expr::Nested(Box::new(last)));
    if let Some(offset) = offset {
        let after = binary(over("row_number"), BinaryOperator::Gt, offset);
        condition = binary(condition, BinaryOperator::And, after);
    }
    select.qualify = Some(condition);
    true
}

/// A key by its number or by the name of a result column is what that column is.
fn meant(by: &OrderByExpr, items: &[SelectItem]) -> Option<OrderByExpr> {
    let mut by = by.clone();
    by.expr = match &by.expr {
        Expr::Value(value) => {
            let Value::Number(position, _) = &value.value else { return None };
            let at = position.parse::<usize>().ok()?.checked_sub(1)?;
            match items.get(at)? {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
                _ => return None,
            }
        }
        Expr::Identifier(ident) => aliased(ident, items).unwrap_or_else(|| by.expr.clone()),
        other => other.clone(),
    };
    Some(by)
}

fn aliased(ident: &Ident, items: &[SelectItem]) -> Option<Expr> {
    items.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } if folded(alias) == folded(ident) => Some(expr.clone()),
        _ => None,
    })
}
