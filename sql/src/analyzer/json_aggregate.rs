//! `json_agg(x ORDER BY y) FILTER (…)` as `json_agg_final(array_agg(json_agg_item(x) ORDER BY y) FILTER
//! (…))`, and the like: all that an aggregate call can have is `array_agg`'s.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, VisitorMut};

use super::ast::{call, parts};

/// Aggregates: what is done with each row's arguments, and with the array of these.
const AGGREGATES: &[(&str, &str, &str)] = &[
    ("json_agg", "json_agg_item", "json_agg_final"),
    ("jsonb_agg", "json_agg_item", "jsonb_agg_final"),
    ("json_object_agg", "json_object_agg_item", "json_object_agg_final"),
    ("jsonb_object_agg", "json_object_agg_item", "jsonb_object_agg_final"),
];

/// The rewrite.
pub struct JsonAggregates;

impl VisitorMut for JsonAggregates {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = parts(&function.name).unwrap_or_default();
        let known = |(aggregate, ..): &&(&str, &str, &str)| {
            name.len() == 1 && name.first().is_some_and(|n| n == aggregate)
        };
        let Some((_, item, last)) = AGGREGATES.iter().find(known) else { return ControlFlow::Continue(()) };
        let mut inner = function.clone();
        let FunctionArguments::List(list) = &mut inner.args else { return ControlFlow::Continue(()) };
        let args = list.args.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        });
        let Some(args) = args.collect::<Option<Vec<_>>>() else { return ControlFlow::Continue(()) };
        list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(call(item, args)))];
        inner.name = vec!["array_agg".into()].into();
        *expr = call(last, vec![Expr::Function(inner)]);
        ControlFlow::Continue(())
    }
}
