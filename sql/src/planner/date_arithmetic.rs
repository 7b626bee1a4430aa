//! Operators on dates, times and intervals that DataFusion lacks or types otherwise (manual 9.9,
//! table 9.32), `extract`, and `&&` of arrays.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::functions_nested::expr_fn::array_has_any;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::functions::columnar::ColumnarFunction;
use crate::functions::{date_part as part, interval};

/// The planner extension.
#[derive(Debug)]
pub struct DateArithmetic;

static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    let definitions = interval::FUNCTIONS.iter().chain(part::FUNCTIONS);
    definitions
        .map(|definition| Arc::new(ScalarUDF::new_from_impl(ColumnarFunction::new(definition))))
        .collect()
});

fn call(name: &str, args: Vec<Expr>) -> Option<Expr> {
    let function = FUNCTIONS.iter().find(|function| function.name() == name)?;
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(function.clone(), args)))
}

/// Comparisons: of intervals by their length, where arrow compares their parts.
fn compares(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

impl ExprPlanner for DateArithmetic {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        let is_interval = interval::is_interval;
        let is_time = |t: &DataType| matches!(t, DataType::Time32(_) | DataType::Time64(_));
        if is_interval(&left) && is_interval(&right) && compares(&expr.op) {
            let span = |expr: Expr| call("interval_span", vec![expr]);
            let (Some(left), Some(right)) = (span(expr.left.clone()), span(expr.right.clone())) else {
                return Ok(PlannerResult::Original(expr));
            };
            return Ok(PlannerResult::Original(RawBinaryExpr { op: expr.op, left, right }));
        }
        let planned = match expr.op {
            BinaryOperator::Multiply if is_interval(&left) && right.is_numeric() => {
                call("interval_mul", vec![expr.left.clone(), expr.right.clone()])
            }
            BinaryOperator::Multiply if left.is_numeric() && is_interval(&right) => {
                call("interval_mul", vec![expr.right.clone(), expr.left.clone()])
            }
            BinaryOperator::Divide if is_interval(&left) && right.is_numeric() => {
                call("interval_div", vec![expr.left.clone(), expr.right.clone()])
            }
            BinaryOperator::Plus if is_time(&left) && is_interval(&right) => {
                call("time_pl_interval", vec![expr.left.clone(), expr.right.clone()])
            }
            BinaryOperator::Plus if is_interval(&left) && is_time(&right) => {
                call("time_pl_interval", vec![expr.right.clone(), expr.left.clone()])
            }
            BinaryOperator::Minus if is_time(&left) && is_interval(&right) => {
                call("time_mi_interval", vec![expr.left.clone(), expr.right.clone()])
            }
            BinaryOperator::PGOverlap
                if matches!((&left, &right), (DataType::List(_), DataType::List(_))) =>
            {
                Some(array_has_any(expr.left.clone(), expr.right.clone()))
            }
            _ => None,
        };
        Ok(match planned {
            Some(planned) => PlannerResult::Planned(planned),
            None => PlannerResult::Original(expr),
        })
    }

    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let planned = call("extract", args.clone());
        Ok(match planned {
            Some(planned) => PlannerResult::Planned(planned),
            None => PlannerResult::Original(args),
        })
    }
}
