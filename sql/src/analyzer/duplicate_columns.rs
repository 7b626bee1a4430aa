//! `SELECT NULL, NULL`: DataFusion wants different names for the columns of a projection, Postgres
//! does not. Repeated unnamed expressions get an alias; the names that clients see are taken from the
//! statement as it was written.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, Select, SelectItem, VisitorMut};

use crate::parser::walk::WalkMut;

/// The rewrite.
pub struct DuplicateColumns;

impl VisitorMut for DuplicateColumns {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut seen = HashSet::new();
        for (i, item) in select.projection.iter_mut().enumerate() {
            let name = match &*item {
                SelectItem::UnnamedExpr(expr) => name_of(expr),
                SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
                _ => continue,
            };
            if seen.insert(name.clone()) {
                continue;
            }
            let unique = Ident::with_quote('"', format!("{name}:{i}"));
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let expr = expr.clone();
                    *item = SelectItem::ExprWithAlias { expr, alias: unique };
                }
                SelectItem::ExprWithAlias { alias, .. } => *alias = unique,
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// The name that decides whether two columns clash: for columns their own, else the expression.
fn name_of(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => ident.value.clone(),
        other => {
            // DataFusion's names leave casts out, and know one name of each function.
            let mut plain = other.clone();
            let _ = plain.walk_mut(&mut Plain);
            // `ceil(x)` has a syntax of its own, `ceiling(x)` is the call of a function.
            plain.to_string().to_lowercase()
        }
    }
}

struct Plain;

impl VisitorMut for Plain {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { expr: inner, .. } | Expr::Nested(inner) => {
                let inner = std::mem::replace(&mut **inner, super::ast::null());
                *expr = inner;
            }
            Expr::BinaryOp { left, op: BinaryOperator::PGExp, right } => {
                let take = |side: &mut Box<Expr>| std::mem::replace(&mut **side, super::ast::null());
                *expr = super::ast::call("power", vec![take(left), take(right)]);
            }
            Expr::Function(function) => {
                let name = function.name.to_string().to_lowercase();
                let clock = ["now", "current_timestamp", "transaction_timestamp", "localtimestamp"];
                if clock.contains(&name.as_str()) {
                    *expr = super::ast::call("now", Vec::new());
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
