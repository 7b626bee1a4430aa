//! `percentile_disc(0.5) WITHIN GROUP (ORDER BY x) FILTER (…)` as `percentile_disc_of(array_agg(x) FILTER
//! (…), 0.5, descending)`, and the like.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, VisitorMut};

use super::ast::{boolean, call, parts};

const AGGREGATES: &[(&str, &str)] = &[
    ("percentile_cont", "percentile_cont_of"),
    ("percentile_disc", "percentile_disc_of"),
    ("mode", "mode_of"),
];

/// The rewrite.
pub struct OrderedSets;

impl VisitorMut for OrderedSets {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = parts(&function.name).and_then(|mut parts| parts.pop()).unwrap_or_default();
        let Some((_, of_array)) = AGGREGATES.iter().find(|(aggregate, _)| *aggregate == name) else {
            return ControlFlow::Continue(());
        };
        let ([order], None) = (function.within_group.as_slice(), &function.over) else {
            return ControlFlow::Continue(());
        };
        let FunctionArguments::List(list) = &function.args else { return ControlFlow::Continue(()) };
        let arguments = list.args.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
            _ => None,
        });
        let Some(fractions) = arguments.collect::<Option<Vec<_>>>() else { return ControlFlow::Continue(()) };
        let descending = order.options.asc == Some(false);
        let mut values = call("array_agg", vec![order.expr.clone()]);
        if let Expr::Function(aggregate) = &mut values {
            aggregate.filter = function.filter.clone();
        }
        let arguments = [vec![values], fractions, vec![boolean(descending)]].concat();
        *expr = call(of_array, arguments);
        ControlFlow::Continue(())
    }
}
