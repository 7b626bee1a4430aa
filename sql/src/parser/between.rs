//! `x [NOT] BETWEEN {SYMMETRIC | ASYMMETRIC} a AND b`: limits in any order, as Postgres reads it: between the one
//! and the other, or between the other and the one.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};
use datafusion::sql::sqlparser::dialect::{Dialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use super::AuricDialect;
use super::dml::word_is;

/// What follows `left`. `None`: something else; the parser is where it was.
pub(super) fn symmetric(parser: &mut Parser, left: &Expr) -> Option<Result<Expr, ParserError>> {
    let negated = word_is(parser, 0, "not");
    let place = usize::from(negated);
    let symmetric = word_is(parser, place + 1, "symmetric");
    if !word_is(parser, place, "between") || !(symmetric || word_is(parser, place + 1, "asymmetric")) {
        return None;
    }
    for _ in 0..place + 2 {
        parser.next_token();
    }
    Some(limits(parser).map(|(low, high)| {
        let between = |low: Expr, high: Expr| {
            let (expr, low, high) = (Box::new(left.clone()), Box::new(low), Box::new(high));
            Expr::Between { expr, negated, low, high }
        };
        if !symmetric {
            return between(low, high);
        }
        let op = if negated { BinaryOperator::And } else { BinaryOperator::Or };
        let (one, other) = (between(low.clone(), high.clone()), between(high, low));
        Expr::Nested(Box::new(Expr::BinaryOp { left: Box::new(one), op, right: Box::new(other) }))
    }))
}

fn limits(parser: &mut Parser) -> Result<(Expr, Expr), ParserError> {
    let precedence = AuricDialect::default().prec_value(Precedence::Between);
    let low = parser.parse_subexpr(precedence)?;
    parser.expect_keyword(Keyword::AND)?;
    Ok((low, parser.parse_subexpr(precedence)?))
}
