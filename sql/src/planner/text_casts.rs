//! A cast to text is text. What DataFusion casts keeps what its field's metadata says, by which a `jsonb`
//! cast to text would still be shown as `jsonb`. The text of an object identifier is the object's name.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use crate::analyzer::OBJECT_IDENTIFIERS;
use crate::types::PG_TYPE;

/// Gives such casts a field of their own. To be done before the types of results are told.
/// `registry`: where the functions are that give names.
pub fn named(plan: LogicalPlan, registry: &dyn FunctionRegistry) -> Result<LogicalPlan> {
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            // What is above knows the column by the name that it has.
            let casts = expr.exists(|expr| Ok(matches!(expr, Expr::Cast(_))))?;
            if !casts {
                return Ok(Transformed::no(expr));
            }
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| named_cast(expr, &schema, registry))?;
            Ok(if expr.transformed { expr.update_data(|expr| name.restore(expr)) } else { expr })
        })?;
        changed |= node.transformed;
        // What is above a changed node has its columns' fields too.
        if changed { Ok(Transformed::yes(node.data.recompute_schema()?)) } else { Ok(node) }
    })?;
    Ok(plan.data)
}

fn named_cast(expr: Expr, schema: &DFSchema, registry: &dyn FunctionRegistry) -> Result<Transformed<Expr>> {
    if let Expr::Cast(Cast { expr: inner, field }) = &expr
        && field.data_type().is_string()
        && let Ok((_, source)) = inner.to_field(schema as &dyn ExprSchema)
        && let Some(name) = source.metadata().get(PG_TYPE)
    {
        let inner = match name.as_str() {
            "json" | "jsonb" | "varchar" | "bpchar" if field.metadata().is_empty() => inner.clone(),
            name if OBJECT_IDENTIFIERS.contains(&name) && *source.data_type() == DataType::Int64 => {
                Box::new(registry.udf(&format!("{name}out"))?.call(vec![inner.as_ref().clone()]))
            }
            _ => return Ok(Transformed::no(expr)),
        };
        let metadata = HashMap::from([(PG_TYPE.to_string(), "text".to_string())]);
        let field = Field::new("", field.data_type().clone(), true).with_metadata(metadata);
        return Ok(Transformed::yes(Expr::Cast(Cast { expr: inner, field: Arc::new(field) })));
    }
    Ok(Transformed::no(expr))
}
