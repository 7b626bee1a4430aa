//! `ROW(a, b)`: its columns are called `f1`, `f2` and so on, which shows where rows become documents.

use datafusion::error::Result;
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult};
use datafusion::logical_expr::{Expr, lit};

/// The planner extension.
#[derive(Debug)]
pub struct RowConstructor;

impl ExprPlanner for RowConstructor {
    fn plan_struct_literal(
        &self,
        args: Vec<Expr>,
        is_named_struct: bool,
    ) -> Result<PlannerResult<Vec<Expr>>> {
        if is_named_struct {
            return Ok(PlannerResult::Original(args));
        }
        let named = args.into_iter().enumerate().flat_map(|(i, value)| [lit(format!("f{}", i + 1)), value]);
        Ok(PlannerResult::Planned(named_struct(named.collect())))
    }
}
