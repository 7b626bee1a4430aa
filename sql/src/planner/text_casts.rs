//! A cast to text is text. What DataFusion casts keeps what its field's metadata says, by which a `jsonb`
//! cast to text would still be shown as `jsonb`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use crate::types::PG_TYPE;

/// Gives such casts a field of their own. To be done before the types of results are told.
pub fn named(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let node = node.map_expressions(|expr| expr.transform_up(|expr| Ok(named_cast(expr, &schema))))?;
        changed |= node.transformed;
        // What is above a changed node has its columns' fields too.
        if changed { Ok(Transformed::yes(node.data.recompute_schema()?)) } else { Ok(node) }
    })?;
    Ok(plan.data)
}

fn named_cast(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    if let Expr::Cast(Cast { expr: inner, field }) = &expr
        && field.data_type().is_string()
        && field.metadata().is_empty()
        && let Ok((_, source)) = inner.to_field(schema as &dyn ExprSchema)
        && matches!(
            source.metadata().get(PG_TYPE).map(String::as_str),
            Some("json" | "jsonb" | "varchar" | "bpchar")
        )
    {
        let metadata = HashMap::from([(PG_TYPE.to_string(), "text".to_string())]);
        let field = Field::new("", field.data_type().clone(), true).with_metadata(metadata);
        return Transformed::yes(Expr::Cast(Cast { expr: inner.clone(), field: Arc::new(field) }));
    }
    Transformed::no(expr)
}
