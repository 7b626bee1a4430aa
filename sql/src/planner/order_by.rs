//! `ORDER BY name` where a result column has that name without an alias (`SELECT oid::int8 … ORDER BY oid`),
//! and `ORDER BY 1` where it is computed: Postgres orders by the result column (manual, SELECT, ORDER BY),
//! DataFusion would look for another, or compute it again, which it cannot do after a GROUP BY.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, Value, VisitorMut,
};

use super::names;
use super::rewrite::SUFFIX;

use crate::parser::walk::WalkMut;

/// Gives such columns names that nothing else has, and orders by them.
pub fn rewrite(query: &mut Query) {
    let _ = query.walk_mut(&mut Ordered);
}

struct Ordered;

impl VisitorMut for Ordered {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let SetExpr::Select(select) = query.body.as_mut() else { return ControlFlow::Continue(()) };
        let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|order| &mut order.kind)
        else {
            return ControlFlow::Continue(());
        };
        for key in keys {
            let item = match &key.expr {
                Expr::Identifier(ident) => computed_column(select, &names::folded(ident)),
                Expr::Value(value) => numbered_column(select, &value.value),
                _ => None,
            };
            if let Some(name) = item.and_then(|item| named(select, item)) {
                key.expr = Expr::Identifier(name);
            }
        }
        ControlFlow::Continue(())
    }
}

/// The place of the only column of that name, if it is computed and has no alias.
fn computed_column(select: &Select, name: &str) -> Option<usize> {
    let mut found = None;
    for (position, item) in select.projection.iter().enumerate() {
        let (named, computed) = match item {
            SelectItem::UnnamedExpr(expr) => (names::of_expr(expr), !is_column(expr)),
            SelectItem::ExprWithAlias { alias, .. } => (names::folded(alias), false),
            // How many columns these are is not known yet.
            SelectItem::Wildcard(_)
            | SelectItem::QualifiedWildcard(..)
            | SelectItem::ExprWithAliases { .. } => {
                return None;
            }
        };
        if named == name {
            if found.is_some() || !computed {
                return None;
            }
            found = Some(position);
        }
    }
    found
}

/// The place of the column with this number.
fn numbered_column(select: &Select, number: &Value) -> Option<usize> {
    let Value::Number(digits, _) = number else { return None };
    let place = digits.parse::<usize>().ok()?.checked_sub(1)?;
    let before = select.projection.get(..=place)?;
    let plain = before
        .iter()
        .all(|item| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }));
    plain.then_some(place)
}

/// The name of a computed column, which it gets if it has none.
fn named(select: &mut Select, place: usize) -> Option<Ident> {
    let item = select.projection.get_mut(place)?;
    let SelectItem::UnnamedExpr(expr) = item else { return None };
    if is_column(expr) {
        return None;
    }
    let alias = Ident::with_quote('"', format!("{}{SUFFIX}{place}", names::of_expr(expr)));
    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: alias.clone() };
    Some(alias)
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Value(value) => matches!(value.value, Value::Placeholder(_)),
        _ => false,
    }
}
