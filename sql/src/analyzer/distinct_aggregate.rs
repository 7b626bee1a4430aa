//! `array_agg(DISTINCT x)` and `string_agg(DISTINCT x, ',')`: distinct values come in their order, which is
//! how Postgres finds them. The order is made afterwards: DataFusion lets another aggregate with an ORDER BY
//! decide about that of distinct ones.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, OrderByExpr, VisitorMut,
};

use super::ast::{boolean, call, parts};

/// The rewrite.
pub struct DistinctAggregates;

impl VisitorMut for DistinctAggregates {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && let Some(sorted) = sorted(function)
        {
            *expr = sorted;
        }
        ControlFlow::Continue(())
    }
}

/// `None`: it is none of these, or its order is not that of its values.
fn sorted(function: &Function) -> Option<Expr> {
    let name = parts(&function.name)?.pop()?;
    let FunctionArguments::List(list) = &function.args else { return None };
    if list.duplicate_treatment != Some(DuplicateTreatment::Distinct) || function.over.is_some() {
        return None;
    }
    let args: Option<Vec<&Expr>> = list
        .args
        .iter()
        .map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect();
    let args = args?;
    let by = match list.clauses.as_slice() {
        [] => None,
        [FunctionArgumentClause::OrderBy(order)] => match order.as_slice() {
            [by] if Some(&&by.expr) == args.first() => Some(by),
            _ => return None,
        },
        _ => return None,
    };
    let descending = by.is_some_and(|by| by.options.asc == Some(false));
    let nulls_first = |by: &OrderByExpr| by.options.nulls_first;
    let nulls_first = by.and_then(nulls_first).unwrap_or(descending);
    let array = |value: &Expr| {
        let mut aggregate = function.clone();
        aggregate.name = vec!["array_agg".into()].into();
        if let FunctionArguments::List(list) = &mut aggregate.args {
            list.clauses.clear();
            list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(value.clone()))];
        }
        Expr::Function(aggregate)
    };
    match (name.as_str(), args.as_slice()) {
        ("array_agg", [value]) => {
            Some(call("sorted_of", vec![array(value), boolean(descending), boolean(nulls_first)]))
        }
        ("string_agg", [value, delimiter]) => {
            Some(call("joined_of", vec![array(value), (*delimiter).clone(), boolean(descending)]))
        }
        _ => None,
    }
}
