//! `(a, b) IN (SELECT x, y …)`, which DataFusion has for one column only, by `EXISTS`.
//!
//! Rows are equal if all columns are, unequal if one of them is, and else the comparison is null (Postgres
//! manual 9.24). So `IN` is true if an equal row exists, else null if one exists that is not unequal. Where
//! nothing tells null from false, as in a condition, it is the first question alone, and `NOT IN` the second
//! one negated: these become joins.
//!
//! `x < ANY (SELECT …)` and `x < ALL (SELECT …)` likewise, by the rows for which the comparison is true, or
//! null; `= ANY` and `<> ALL` are `IN` and `NOT IN`.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, Query, Select, SelectItem, SetExpr, TableFactor, UnaryOperator,
    VisitorMut,
};

use super::select_items;
use crate::analyzer::{boolean, null, number, row};
use crate::error::{Error, Result, SqlState};
use crate::parser::row_target;
use crate::parser::walk::WalkMut;

/// Rewrites all of a query. Fails with 42601 if a subquery has another number of columns than its row.
pub(super) fn rewrite(query: &mut Query) -> Result<()> {
    let mut rows = Rows { failed: None };
    let _ = query.walk_mut(&mut rows);
    rows.failed.map_or(Ok(()), Err)
}

struct Rows {
    failed: Option<Error>,
}

impl Rows {
    fn replace(&mut self, expr: &mut Expr, by: fn(&RowIn<'_>) -> Result<Expr>) -> ControlFlow<()> {
        let Some(replaced) = RowIn::of(expr).map(|row| by(&row)) else {
            return ControlFlow::Continue(());
        };
        match replaced {
            Ok(replaced) => {
                *expr = replaced;
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// What a condition is true for stays the same if its nulls become false.
    fn condition(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Nested(inner) => self.condition(inner),
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                self.condition(left)?;
                self.condition(right)
            }
            _ => {
                to_in(expr);
                self.replace(expr, |row| row.is_true())
            }
        }
    }
}

impl VisitorMut for Rows {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        match &mut select.selection {
            Some(condition) => self.condition(condition),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        to_in(expr);
        self.replace(expr, |row| row.value())
    }
}

/// `x = ANY (SELECT …)` is IN, `x <> ALL (SELECT …)` is NOT IN.
fn to_in(expr: &mut Expr) {
    let (left, right, negated) = match expr {
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => (left, right, false),
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => (left, right, true),
        _ => return,
    };
    if let Expr::Subquery(subquery) = right.as_ref() {
        *expr = Expr::InSubquery { expr: left.clone(), subquery: subquery.clone(), negated };
    }
}

/// Whether the subquery has a row like this one.
struct RowIn<'a> {
    row: Vec<&'a Expr>,
    subquery: &'a Query,
    like: Like<'a>,
    negated: bool,
}

/// What makes a row of the subquery one of those that are asked for.
enum Like<'a> {
    Equal,
    /// The comparison with it is true.
    True(&'a BinaryOperator),
    /// It is false.
    False(&'a BinaryOperator),
}

/// Which rows count.
#[derive(Clone, Copy)]
enum Which {
    Alike,
    /// Those of which nobody knows too.
    NotUnlike,
}

impl<'a> RowIn<'a> {
    fn of(expr: &'a Expr) -> Option<Self> {
        let (left, op, right) = match expr {
            Expr::InSubquery { expr, subquery, negated } => {
                return Some(Self { row: row(expr)?, subquery, like: Like::Equal, negated: *negated });
            }
            Expr::AnyOp { left, compare_op, right, .. } => (left, Like::True(compare_op), right),
            Expr::AllOp { left, compare_op, right } => (left, Like::False(compare_op), right),
            _ => return None,
        };
        let Expr::Subquery(subquery) = right.as_ref() else { return None };
        let negated = matches!(op, Like::False(_));
        Some(Self { row: vec![left], subquery, like: op, negated })
    }

    /// For a condition.
    fn is_true(&self) -> Result<Expr> {
        match self.negated {
            false => self.exists(Which::Alike, false),
            true => self.exists(Which::NotUnlike, true),
        }
    }

    fn compare(&self, which: Which, of: Expr, item: Expr) -> Expr {
        let (op, not) = match self.like {
            Like::Equal => {
                return match which {
                    Which::Alike => equal(of, item),
                    Which::NotUnlike => not_unequal(of, item),
                };
            }
            Like::True(op) => (op, false),
            Like::False(op) => (op, true),
        };
        let compared = Box::new(Expr::Nested(Box::new(binary(item, op.clone(), of))));
        match (which, not) {
            (Which::Alike, false) => *compared,
            (Which::Alike, true) => Expr::UnaryOp { op: UnaryOperator::Not, expr: compared },
            (Which::NotUnlike, false) => Expr::IsNotFalse(compared),
            (Which::NotUnlike, true) => Expr::IsNotTrue(compared),
        }
    }

    /// With its three values.
    fn value(&self) -> Result<Expr> {
        let when = |condition: Expr, result: Expr| CaseWhen { condition, result };
        let value = Expr::Case {
            case_token: AttachedToken::empty(),
            end_token: AttachedToken::empty(),
            operand: None,
            conditions: vec![
                when(self.exists(Which::Alike, false)?, boolean(true)),
                when(self.exists(Which::NotUnlike, false)?, null()),
            ],
            else_result: Some(Box::new(boolean(false))),
        };
        let value = Expr::Nested(Box::new(value));
        Ok(match self.negated {
            true => Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(value) },
            false => value,
        })
    }

    /// Whether the subquery has such a row: one that is so in all columns.
    fn exists(&self, which: Which, negated: bool) -> Result<Expr> {
        let names: Vec<Ident> =
            (0..self.row.len()).map(|i| Ident::with_quote('"', format!("\u{1}of{i}"))).collect();
        let mut subquery = self.subquery.clone();
        check_count(&subquery, names.len())?;
        let plain = select_items::rename(&mut subquery, &names);
        let mut from = row_target::derived(subquery, Ident::with_quote('"', "\u{1}in"), names.clone());
        if plain && let TableFactor::Derived { alias, .. } = &mut from.relation {
            // Without an alias, which DataFusion could not lift a correlation over.
            *alias = None;
        }
        let pairs = names.into_iter().map(Expr::Identifier).zip(&self.row);
        let compared =
            pairs.map(|(of, item)| self.compare(which, of, Expr::Nested(Box::new((*item).clone()))));
        let condition = compared.reduce(|left, right| binary(left, BinaryOperator::And, right));
        let item = SelectItem::UnnamedExpr(number(1));
        let subquery = row_target::select(None, vec![item], vec![from], condition)?;
        Ok(Expr::Exists { subquery: Box::new(subquery), negated })
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn equal(of: Expr, item: Expr) -> Expr {
    binary(of, BinaryOperator::Eq, item)
}

/// Equal or null, in a form that is plain equality again where neither side can be null.
fn not_unequal(of: Expr, item: Expr) -> Expr {
    let is_null = |expr: &Expr| Expr::IsNull(Box::new(expr.clone()));
    let nulls = binary(is_null(&of), BinaryOperator::Or, is_null(&item));
    Expr::Nested(Box::new(binary(equal(of, item), BinaryOperator::Or, nulls)))
}

/// Fails with 42601 if as many columns are not selected.
fn check_count(query: &Query, count: usize) -> Result<()> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(()) };
    let too = match select_items::exprs(select).map(|exprs| exprs.len().cmp(&count)) {
        Some(Ordering::Greater) => "many",
        Some(Ordering::Less) => "few",
        Some(Ordering::Equal) | None => return Ok(()),
    };
    Err(Error::new(SqlState::SYNTAX_ERROR, format!("subquery has too {too} columns")))
}
