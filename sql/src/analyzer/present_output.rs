//! Result columns of the object identifier types: held as OIDs, shown as names.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use crate::types::PG_TYPE;

/// Types whose values are shown by a function of the name with `out` appended.
const TYPES: &[&str] = &["regclass", "regtype", "regproc", "regprocedure", "regnamespace", "regrole"];

/// Puts output functions over the columns of a query's plan that need them. `registry`: where
/// [`functions::register`](crate::functions::register) put the functions.
pub fn present_output(plan: LogicalPlan, registry: &dyn FunctionRegistry) -> Result<LogicalPlan> {
    if matches!(
        plan,
        LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Copy(_)
    ) {
        return Ok(plan);
    }
    let schema = Arc::clone(plan.schema());
    let shown = |field: &arrow::datatypes::Field| {
        field.metadata().get(PG_TYPE).filter(|name| TYPES.contains(&name.as_str())).cloned()
    };
    if schema.fields().iter().all(|field| shown(field).is_none()) {
        return Ok(plan);
    }
    let columns = schema
        .iter()
        .map(|(qualifier, field)| {
            let column = Expr::Column(Column::from((qualifier, field)));
            Ok(match shown(field) {
                Some(name) => registry
                    .udf(&format!("{name}out"))?
                    .call(vec![column])
                    .alias_qualified(qualifier.cloned(), field.name()),
                None => column,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
