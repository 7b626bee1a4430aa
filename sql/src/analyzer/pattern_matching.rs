//! Pattern matching (manual 9.7) that DataFusion's planner lacks: `SIMILAR TO`, patterns in an array,
//! `substring(x FROM pattern)`, `^@`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
    ValueWithSpan, VisitorMut,
};

use super::ast::{call, null, parts, string};
use crate::pg_catalog::value::parse_array_literal;

/// The rewrite.
pub struct PatternMatching;

impl VisitorMut for PatternMatching {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(rewritten) = any_of_patterns(expr) {
            *expr = rewritten;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let rewritten = match expr {
            Expr::SimilarTo { negated, expr, pattern, escape_char } => {
                let mut arguments = vec![take(pattern)];
                arguments.extend(escape_char.take().map(Expr::Value));
                let op =
                    if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
                Some(binary(take(expr), op, call("similar_to_escape", arguments)))
            }
            Expr::BinaryOp { left, op: BinaryOperator::PGStartsWith, right } => {
                Some(call("starts_with", vec![take(left), take(right)]))
            }
            // Numbers are positions, texts regular expressions.
            Expr::Substring { expr, substring_from: Some(pattern), substring_for: None, .. }
                if is_text(pattern) =>
            {
                Some(call("textregexsubstr", vec![take(expr), take(pattern)]))
            }
            Expr::UnaryOp { op: UnaryOperator::PGSquareRoot, expr } => Some(call("sqrt", vec![take(expr)])),
            Expr::UnaryOp { op: UnaryOperator::PGCubeRoot, expr } => Some(call("cbrt", vec![take(expr)])),
            Expr::UnaryOp { op: UnaryOperator::PGAbs, expr } => Some(call("abs", vec![take(expr)])),
            _ => None,
        };
        if let Some(rewritten) = rewritten {
            *expr = rewritten;
        }
        ControlFlow::Continue(())
    }
}

fn take(expr: &mut Box<Expr>) -> Expr {
    std::mem::replace(&mut **expr, null())
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }))
}

fn is_text(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Value(ValueWithSpan {
            value: Value::SingleQuotedString(_)
                | Value::EscapedStringLiteral(_)
                | Value::DollarQuotedString(_),
            ..
        })
    )
}

/// The patterns of a literal array, and whether all of them are to match.
fn patterns(pattern: &Expr, any: bool) -> Option<(Vec<Expr>, bool)> {
    // `LIKE ALL (…)` is read as the call of a function.
    let (list, all) = match pattern {
        Expr::Function(function) => {
            let name = parts(&function.name)?;
            let all = match name.as_slice() {
                [name] if name == "all" => true,
                [name] if name == "any" || name == "some" => false,
                _ => return None,
            };
            let FunctionArguments::List(list) = &function.args else { return None };
            let [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] = list.args.as_slice() else {
                return None;
            };
            (array.clone(), all)
        }
        other if any => (other.clone(), false),
        _ => return None,
    };
    Some((items(&list)?, all))
}

fn items(list: &Expr) -> Option<Vec<Expr>> {
    match list {
        Expr::Nested(inner) => items(inner),
        Expr::Array(Array { elem, .. }) => Some(elem.clone()),
        Expr::Cast { expr, .. } => items(expr),
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => {
            let items = parse_array_literal(text)?;
            Some(items.into_iter().map(|item| item.map_or_else(null, string)).collect())
        }
        _ => None,
    }
}

/// The comparison with one pattern.
type Comparison = Box<dyn Fn(Expr) -> Expr>;

/// `x LIKE ANY (ARRAY['a', 'b'])` as `(x LIKE 'a' OR x LIKE 'b')`, and the same of operators.
fn any_of_patterns(expr: &Expr) -> Option<Expr> {
    let (patterns, all, one): (Vec<Expr>, bool, Comparison) = match expr {
        Expr::Like { negated, any, expr, pattern, escape_char } => {
            let (patterns, all) = patterns(pattern, *any)?;
            let (negated, text, escape_char) = (*negated, expr.clone(), escape_char.clone());
            let one = move |pattern| Expr::Like {
                negated,
                any: false,
                expr: text.clone(),
                pattern: Box::new(pattern),
                escape_char: escape_char.clone(),
            };
            (patterns, all, Box::new(one))
        }
        Expr::ILike { negated, any, expr, pattern, escape_char } => {
            let (patterns, all) = patterns(pattern, *any)?;
            let (negated, text, escape_char) = (*negated, expr.clone(), escape_char.clone());
            let one = move |pattern| Expr::ILike {
                negated,
                any: false,
                expr: text.clone(),
                pattern: Box::new(pattern),
                escape_char: escape_char.clone(),
            };
            (patterns, all, Box::new(one))
        }
        Expr::AnyOp { left, compare_op, right, .. } if matches(compare_op) => {
            let (text, op) = (left.clone(), compare_op.clone());
            let one = move |pattern| binary((*text).clone(), op.clone(), pattern);
            (items(right)?, false, Box::new(one))
        }
        Expr::AllOp { left, compare_op, right } if matches(compare_op) => {
            let (text, op) = (left.clone(), compare_op.clone());
            let one = move |pattern| binary((*text).clone(), op.clone(), pattern);
            (items(right)?, true, Box::new(one))
        }
        _ => return None,
    };
    let op = if all { BinaryOperator::And } else { BinaryOperator::Or };
    let mut matched = patterns.into_iter().map(one);
    let first = matched.next().unwrap_or_else(|| super::ast::boolean(all));
    Some(Expr::Nested(Box::new(matched.fold(first, |left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: op.clone(),
        right: Box::new(right),
    }))))
}

/// Operators that match patterns.
fn matches(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::PGRegexMatch
            | BinaryOperator::PGRegexIMatch
            | BinaryOperator::PGRegexNotMatch
            | BinaryOperator::PGRegexNotIMatch
            | BinaryOperator::PGLikeMatch
            | BinaryOperator::PGILikeMatch
            | BinaryOperator::PGNotLikeMatch
            | BinaryOperator::PGNotILikeMatch
    )
}
