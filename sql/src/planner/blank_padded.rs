//! Comparisons of `char(n)`: blanks at the end mean nothing (manual 8.3). Values are held without them, so
//! that only literals have any.

use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, lit};
use datafusion::scalar::ScalarValue;

use crate::analyzer::compares;
use crate::types::PG_TYPE;

/// The planner extension.
#[derive(Debug)]
pub struct BlankPadded;

impl ExprPlanner for BlankPadded {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if compares(&expr.op) {
            if let Some(text) = with_blanks(&expr.right).filter(|_| is_padded(&expr.left, schema)) {
                expr.right = lit(text);
            } else if let Some(text) = with_blanks(&expr.left).filter(|_| is_padded(&expr.right, schema)) {
                expr.left = lit(text);
            }
        }
        Ok(PlannerResult::Original(expr))
    }
}

/// A literal that ends in blanks, without them.
pub(super) fn with_blanks(expr: &Expr) -> Option<String> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) = expr else {
        return None;
    };
    text.ends_with(' ').then(|| text.trim_end_matches(' ').to_string())
}

pub(super) fn is_padded(expr: &Expr, schema: &DFSchema) -> bool {
    let field = expr.to_field(schema);
    field.is_ok_and(|(_, field)| field.metadata().get(PG_TYPE).is_some_and(|name| name == "bpchar"))
}
