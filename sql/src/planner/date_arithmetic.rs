//! Operators on dates, times and intervals that DataFusion lacks or types otherwise (manual 9.9,
//! table 9.32), `extract`, and `&&` of arrays.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::functions_nested::expr_fn::array_has_any;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF, binary_expr, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::analyzer::compares;
use crate::functions::columnar::{ColumnarFunction, TIMESTAMP};
use crate::functions::{date_part as part, interval, session_time};

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

/// What an interval is compared by.
pub(super) fn span(interval: &Expr) -> Option<Expr> {
    call("interval_span", vec![interval.clone()])
}

/// `+` and `-` of dates and timestamps with intervals, and differences of timestamps.
fn of_moments(expr: &RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Expr> {
    use BinaryOperator::{Minus, Plus};
    let is_interval = interval::is_interval;
    let is_date = |t: &DataType| matches!(t, DataType::Date32);
    let is_local = |t: &DataType| matches!(t, DataType::Timestamp(_, None));
    let is_zoned = |t: &DataType| matches!(t, DataType::Timestamp(_, Some(_)));
    let is_moment = |t: &DataType| matches!(t, DataType::Timestamp(..));
    let midnight = |date: &Expr| cast(date.clone(), TIMESTAMP);
    let (first, second) = (&expr.left, &expr.right);
    match expr.op {
        Plus if is_date(left) && is_interval(right) => {
            Some(binary_expr(midnight(first), Operator::Plus, second.clone()))
        }
        Minus if is_date(left) && is_interval(right) => {
            Some(binary_expr(midnight(first), Operator::Minus, second.clone()))
        }
        Plus if is_interval(left) && is_date(right) => {
            Some(binary_expr(midnight(second), Operator::Plus, first.clone()))
        }
        Plus if is_interval(left) && is_local(right) => {
            Some(binary_expr(second.clone(), Operator::Plus, first.clone()))
        }
        Plus if is_zoned(left) && is_interval(right) => zoned("timestamptz_pl_interval", first, second),
        Plus if is_interval(left) && is_zoned(right) => zoned("timestamptz_pl_interval", second, first),
        Minus if is_zoned(left) && is_interval(right) => zoned("timestamptz_mi_interval", first, second),
        Minus
            if (is_moment(left) && (is_moment(right) || is_date(right)))
                || (is_date(left) && is_moment(right)) =>
        {
            session_time::call("timestamp_mi", vec![first.clone(), second.clone()])
        }
        _ => None,
    }
}

/// A function of a time with zone and an interval.
fn zoned(function: &str, time: &Expr, interval: &Expr) -> Option<Expr> {
    session_time::call(function, vec![time.clone(), interval.clone()])
}

impl ExprPlanner for DateArithmetic {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        let is_interval = interval::is_interval;
        let is_time = |t: &DataType| matches!(t, DataType::Time32(_) | DataType::Time64(_));
        // By their length, where arrow compares their parts.
        if is_interval(&left) && is_interval(&right) && compares(&expr.op) {
            let (Some(left), Some(right)) = (span(&expr.left), span(&expr.right)) else {
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
            _ => of_moments(&expr, &left, &right),
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
