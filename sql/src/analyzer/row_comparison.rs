//! Comparisons of rows (manual 9.24.5), item by item: `(a, b) = (1, 2)`, `(a, b) IN ((1, 2), …)`,
//! `(a, b) IS NULL`. DataFusion would compare structs, which are never null and in which nulls are equal.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, VisitorMut,
};

use super::ast::{boolean, parts};

/// The rewrite.
pub struct RowComparisons;

impl VisitorMut for RowComparisons {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(compared) = compared(expr) {
            *expr = Expr::Nested(Box::new(compared));
        }
        ControlFlow::Continue(())
    }
}

/// The items of `(a, b)` or `ROW(a, …)`.
pub fn row(expr: &Expr) -> Option<Vec<&Expr>> {
    match expr {
        Expr::Tuple(items) => Some(items.iter().collect()),
        Expr::Nested(inner) => row(inner),
        Expr::Function(function) if parts(&function.name).is_some_and(|name| name == ["row"]) => {
            let FunctionArguments::List(list) = &function.args else { return None };
            let items = list.args.iter().map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            });
            items.collect()
        }
        _ => None,
    }
}

fn compared(expr: &Expr) -> Option<Expr> {
    let each = |of: &Expr, is: fn(Box<Expr>) -> Expr| {
        let items = row(of)?.into_iter().map(|item| is(nested(item)));
        items.reduce(|left, right| binary(left, BinaryOperator::And, right))
    };
    match expr {
        Expr::BinaryOp { left, op, right } => compare(left, op, right),
        Expr::IsNull(of) => each(of, Expr::IsNull),
        Expr::IsNotNull(of) => each(of, Expr::IsNotNull),
        Expr::IsDistinctFrom(left, right) => {
            let not_distinct = pairwise(left, right, BinaryOperator::And, Expr::IsNotDistinctFrom)?;
            Some(not(not_distinct))
        }
        Expr::IsNotDistinctFrom(left, right) => {
            pairwise(left, right, BinaryOperator::And, Expr::IsNotDistinctFrom)
        }
        Expr::InList { expr, list, negated } => {
            let equal = list.iter().map(|item| compare(expr, &BinaryOperator::Eq, item));
            let equal: Vec<Expr> = equal.collect::<Option<_>>()?;
            let any = equal.into_iter().map(|equal| Expr::Nested(Box::new(equal)));
            let any = any.reduce(|left, right| binary(left, BinaryOperator::Or, right))?;
            Some(if *negated { not(any) } else { any })
        }
        Expr::Between { expr, negated, low, high } => {
            let (low, high) =
                (compare(expr, &BinaryOperator::GtEq, low)?, compare(expr, &BinaryOperator::LtEq, high)?);
            let nest = |expr| Expr::Nested(Box::new(expr));
            let between = binary(nest(low), BinaryOperator::And, nest(high));
            Some(if *negated { not(between) } else { between })
        }
        _ => None,
    }
}

/// `None`: these are not two rows of as many items.
fn compare(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Expr> {
    let strict = match op {
        BinaryOperator::Eq => return pairwise(left, right, BinaryOperator::And, comparison(op)),
        BinaryOperator::NotEq => return pairwise(left, right, BinaryOperator::Or, comparison(op)),
        BinaryOperator::Lt | BinaryOperator::LtEq => BinaryOperator::Lt,
        BinaryOperator::Gt | BinaryOperator::GtEq => BinaryOperator::Gt,
        _ => return None,
    };
    let mut pairs = pairs(left, right)?.into_iter().rev();
    let (left, right) = pairs.next()?;
    let last = binary(*left, op.clone(), *right);
    // The first items that are not equal decide.
    Some(pairs.fold(last, |rest, (left, right)| {
        let equal = binary(*left.clone(), BinaryOperator::Eq, *right.clone());
        let rest = binary(equal, BinaryOperator::And, Expr::Nested(Box::new(rest)));
        binary(binary(*left, strict.clone(), *right), BinaryOperator::Or, Expr::Nested(Box::new(rest)))
    }))
}

fn comparison(op: &BinaryOperator) -> fn(Box<Expr>, Box<Expr>) -> Expr {
    match op {
        BinaryOperator::NotEq => |left, right| Expr::BinaryOp { left, op: BinaryOperator::NotEq, right },
        _ => |left, right| Expr::BinaryOp { left, op: BinaryOperator::Eq, right },
    }
}

fn pairwise(
    left: &Expr,
    right: &Expr,
    join: BinaryOperator,
    compare: fn(Box<Expr>, Box<Expr>) -> Expr,
) -> Option<Expr> {
    let compared = pairs(left, right)?.into_iter().map(|(left, right)| compare(left, right));
    Some(compared.reduce(|left, right| binary(left, join.clone(), right)).unwrap_or_else(|| boolean(true)))
}

type Pair = (Box<Expr>, Box<Expr>);

fn pairs(left: &Expr, right: &Expr) -> Option<Vec<Pair>> {
    let (left, right) = (row(left)?, row(right)?);
    let same = left.len() == right.len();
    let pairs = left.into_iter().zip(right).map(|(left, right)| (nested(left), nested(right)));
    same.then(|| pairs.collect())
}

/// An item as an operand. Plain ones stay as they are: literals take their type from the other side.
fn nested(item: &Expr) -> Box<Expr> {
    Box::new(match item {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) | Expr::Nested(_) => item.clone(),
        item => Expr::Nested(Box::new(item.clone())),
    })
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(Expr::Nested(Box::new(expr))) }
}
