//! Subscripts of arrays: those that are not positive have no item (DataFusion counts them from the end).

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, lit, when};
use datafusion::scalar::ScalarValue;

/// The planner extension.
#[derive(Debug)]
pub struct ArraySubscripts;

impl ExprPlanner for ArraySubscripts {
    fn plan_field_access(
        &self,
        mut expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        if let GetFieldAccess::ListIndex { key } = &mut expr.field_access
            && matches!(expr.expr.get_type(schema), Ok(DataType::List(_)))
        {
            **key = positive((**key).clone(), schema)?;
        }
        Ok(PlannerResult::Original(expr))
    }
}

fn positive(key: Expr, schema: &DFSchema) -> Result<Expr> {
    let nothing = lit(ScalarValue::Int64(None));
    match key.as_literal() {
        Some(ScalarValue::Int64(Some(1..)) | ScalarValue::Int32(Some(1..))) => Ok(key),
        Some(ScalarValue::Int64(_) | ScalarValue::Int32(_)) => Ok(nothing),
        None if key.get_type(schema).is_ok_and(|t| t.is_integer()) => {
            when(key.clone().gt(lit(0_i64)), key).end()
        }
        _ => Ok(key),
    }
}
