//! Casts that arrow does differently from Postgres: a fractional number to an integer rounds (arrow
//! cuts off), text to `bytea` or `uuid` is read (arrow takes the text's bytes).
//!
//! Runs before type coercion, and so sees only casts that the statement asks for.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::functions::expr_fn::round;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, lit};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use crate::types::text_input;

/// The rule.
#[derive(Debug)]
pub struct PostgresCasts;

impl AnalyzerRule for PostgresCasts {
    fn name(&self) -> &str {
        "postgres_casts"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| Ok(as_postgres(expr, &schema)))?;
                Ok(if expr.transformed { expr.update_data(|expr| name.restore(expr)) } else { expr })
            })
        })?;
        Ok(plan.data)
    }
}

fn as_postgres(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else {
        return Transformed::no(expr);
    };
    if let (Expr::Literal(ScalarValue::Int64(Some(number)), None), DataType::Int32) =
        (inner.as_ref(), field.data_type())
        && let Ok(number) = i32::try_from(*number)
    {
        return Transformed::yes(lit(number));
    }
    let Ok(source) = inner.get_type(schema as &dyn ExprSchema) else {
        return Transformed::no(expr);
    };
    if source.is_string() {
        return match text_input::read(inner, field.data_type()) {
            Some(read) => Transformed::yes(Expr::Cast(Cast { expr: Box::new(read), field: field.clone() })),
            None => Transformed::no(expr),
        };
    }
    if !field.data_type().is_integer() || is_rounded(inner) {
        return Transformed::no(expr);
    }
    match source {
        DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => {
            let inner = round(vec![inner.as_ref().clone()]);
            Transformed::yes(Expr::Cast(Cast { expr: Box::new(inner), field: field.clone() }))
        }
        _ => Transformed::no(expr),
    }
}

fn is_rounded(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == "round")
}
