//! What several statements have read, together.

use datafusion::logical_expr::Operator;
use datafusion::logical_expr::utils::{conjunction, split_binary_owned};
use datafusion::logical_expr::{Expr, or};

use crate::table::change::ReadSet;

/// Most predicates that are told apart. Beyond, the statements are taken to have read everything:
/// checking the predicates of a long transaction one by one would cost more than the files it spares.
const MAX_PREDICATES: usize = 64;

/// Everything that one or the other has read, or more.
pub fn union(a: ReadSet, b: ReadSet) -> ReadSet {
    match (a, b) {
        (ReadSet::Version, _) | (_, ReadSet::Version) => ReadSet::Version,
        (ReadSet::Nothing, other) | (other, ReadSet::Nothing) => other,
        (ReadSet::Filters(a), ReadSet::Filters(b)) => filters(a, b),
        (ReadSet::Partitions(mut a), ReadSet::Partitions(b)) => {
            let new: Vec<_> = b.into_iter().filter(|partition| !a.contains(partition)).collect();
            a.extend(new);
            ReadSet::Partitions(a)
        }
        _ => everything(),
    }
}

fn everything() -> ReadSet {
    ReadSet::Filters(Vec::new())
}

fn filters(a: Vec<Expr>, b: Vec<Expr>) -> ReadSet {
    let (Some(a), Some(b)) = (conjunction(a), conjunction(b)) else { return everything() };
    let mut predicates = split_binary_owned(a, Operator::Or);
    for predicate in split_binary_owned(b, Operator::Or) {
        if !predicates.contains(&predicate) {
            predicates.push(predicate);
        }
    }
    if predicates.len() > MAX_PREDICATES {
        return everything();
    }
    ReadSet::Filters(balanced_or(predicates).into_iter().collect())
}

/// As flat as can be: what walks over expressions recurses.
fn balanced_or(mut predicates: Vec<Expr>) -> Option<Expr> {
    while predicates.len() > 1 {
        let mut pairs = Vec::with_capacity(predicates.len().div_ceil(2));
        let mut rest = predicates.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => or(left, right),
                None => left,
            });
        }
        predicates = pairs;
    }
    predicates.pop()
}
