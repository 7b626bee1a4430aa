//! Subscripts of `int2vector` and `oidvector` (`indkey[0]`), which count from 0; those of arrays from 1.

use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, GetFieldAccess, lit};

use crate::types::PG_TYPE;

/// The planner extension.
#[derive(Debug)]
pub struct VectorSubscripts;

impl ExprPlanner for VectorSubscripts {
    fn plan_field_access(
        &self,
        mut expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        if let GetFieldAccess::ListIndex { key } = &mut expr.field_access
            && let Expr::Column(column) = &expr.expr
            && let Ok(field) = schema.field_from_column(column)
            && field.metadata().get(PG_TYPE).is_some_and(|name| name == "int2vector" || name == "oidvector")
        {
            **key = std::mem::take(key.as_mut()) + lit(1_i64);
        }
        Ok(PlannerResult::Original(expr))
    }
}
