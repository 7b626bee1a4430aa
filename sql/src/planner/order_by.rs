//! `ORDER BY name` where a result column has that name without an alias (`SELECT oid::int8 … ORDER BY oid`):
//! Postgres orders by the result column (manual, SELECT, ORDER BY), DataFusion would look for another.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, OrderByKind, Query, Select, SelectItem, SetExpr, Value, VisitMut, VisitorMut,
};

use super::names;
use crate::analyzer::number;

/// Puts the number of the column in the place of its name.
pub fn rewrite(query: &mut Query) {
    let _ = VisitMut::visit(query, &mut Ordered);
}

struct Ordered;

impl VisitorMut for Ordered {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let SetExpr::Select(select) = query.body.as_ref() else { return ControlFlow::Continue(()) };
        let Some(OrderByKind::Expressions(keys)) = query.order_by.as_mut().map(|order| &mut order.kind)
        else {
            return ControlFlow::Continue(());
        };
        for key in keys {
            if let Expr::Identifier(ident) = &key.expr
                && let Some(position) = computed_column(select, &names::folded(ident))
            {
                key.expr = number(position);
            }
        }
        ControlFlow::Continue(())
    }
}

/// The number, from 1, of the only column of that name, if it is computed and has no alias.
fn computed_column(select: &Select, name: &str) -> Option<usize> {
    let mut found = None;
    for (position, item) in (1..).zip(&select.projection) {
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

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Value(value) => matches!(value.value, Value::Placeholder(_)),
        _ => false,
    }
}
