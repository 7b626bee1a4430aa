//! Result columns of the object identifier types: held as OIDs, shown as names.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::metadata::FieldMetadata;
use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};

use crate::types::PG_TYPE;

/// Types whose values are shown by a function of the name with `out` appended: those of objects, and of
/// places of rows, which are held as numbers too.
pub const OBJECT_IDENTIFIERS: &[&str] =
    &["regclass", "regtype", "regproc", "regprocedure", "regnamespace", "regrole", "tid"];

/// Who sees the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presentation {
    /// Another statement, a file: names.
    Names,
    /// A client, which asks for names (text format) or OIDs (binary format): rows of both.
    NamesAndOids,
}

/// Puts output functions over the columns of a query's plan that need them. `registry`: where
/// [`functions::register`](crate::functions::register) put the functions.
pub fn present_output(
    plan: LogicalPlan,
    registry: &dyn FunctionRegistry,
    presentation: Presentation,
) -> Result<LogicalPlan> {
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
        field.metadata().get(PG_TYPE).filter(|name| OBJECT_IDENTIFIERS.contains(&name.as_str())).cloned()
    };
    if schema.fields().iter().all(|field| shown(field).is_none()) {
        return Ok(plan);
    }
    let columns = schema
        .iter()
        .map(|(qualifier, field)| {
            let column = Expr::Column(Column::from((qualifier, field)));
            Ok(match shown(field) {
                Some(type_name) => {
                    let name = registry.udf(&format!("{type_name}out"))?.call(vec![column.clone()]);
                    let (value, metadata) = match presentation {
                        Presentation::Names => (name, None),
                        Presentation::NamesAndOids => {
                            let both = named_struct(vec![lit("oid"), column, lit("name"), name]);
                            let metadata = HashMap::from([(PG_TYPE.to_string(), type_name)]);
                            (both, Some(FieldMetadata::from(metadata)))
                        }
                    };
                    value.alias_qualified_with_metadata(qualifier.cloned(), field.name(), metadata)
                }
                None => column,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
