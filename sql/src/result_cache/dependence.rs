//! What the value of an expression depends on beside the rows.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction, WindowFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility, WindowFunctionDefinition};
use datafusion::scalar::ScalarValue;

use crate::functions::depends_on_settings_alone;
use crate::types::text_input;

/// From nothing to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependence {
    /// Rows, parameters and settings.
    Settings,
    /// The time, the session, what is in the catalogs: a constant in the optimized plan, if rows have no
    /// part in it.
    Session,
    /// It may differ between two calls.
    Nothing,
}

/// What a plan with its subqueries depends on. It must be analyzed: before, `'today'` is a text that is cast.
pub fn of_plan(plan: &LogicalPlan) -> Result<Dependence> {
    let mut found = Dependence::Settings;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                found = found.max(of_expr(expr));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// What the outermost operation of an expression depends on.
pub(crate) fn of_expr(expr: &Expr) -> Dependence {
    match expr {
        Expr::ScalarFunction(function) => of_function(function),
        Expr::AggregateFunction(AggregateFunction { func, .. }) => of_volatility(func.signature().volatility),
        Expr::WindowFunction(function) => {
            let WindowFunction { fun, .. } = function.as_ref();
            of_volatility(match fun {
                WindowFunctionDefinition::AggregateUDF(function) => function.signature().volatility,
                WindowFunctionDefinition::WindowUDF(function) => function.signature().volatility,
            })
        }
        Expr::HigherOrderFunction(function) => of_volatility(function.func.signature().volatility),
        Expr::ScalarVariable(..) => Dependence::Session,
        _ => Dependence::Settings,
    }
}

fn of_volatility(volatility: Volatility) -> Dependence {
    match volatility {
        Volatility::Immutable => Dependence::Settings,
        Volatility::Stable => Dependence::Session,
        Volatility::Volatile => Dependence::Nothing,
    }
}

fn of_function(function: &ScalarFunction) -> Dependence {
    let ScalarFunction { func, args } = function;
    match func.signature().volatility {
        Volatility::Stable if text_input::is_input(func) => match args.as_slice() {
            // Other texts may be `today`.
            [Expr::Literal(ScalarValue::Utf8(Some(text)), _)] if !names_the_time(text) => {
                Dependence::Settings
            }
            _ => Dependence::Session,
        },
        // The age of something now.
        Volatility::Stable if func.name() == "age" && args.len() == 1 => Dependence::Session,
        Volatility::Stable if depends_on_settings_alone(func) => Dependence::Settings,
        volatility => of_volatility(volatility),
    }
}

/// `now`, `today`, `tomorrow`, `yesterday`.
fn names_the_time(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["now", "today", "tomorrow", "yesterday"].into_iter().any(|word| text.contains(word))
}
