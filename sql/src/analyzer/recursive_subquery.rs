//! Recursive queries inside of correlated subqueries.
//!
//! `WITH RECURSIVE r AS (SELECT e FROM s WHERE p(s, outer) UNION ALL …)` starts from rows that depend on
//! the outer row. Decorrelated, it starts from all rows of `s`, and each row carries along the columns of
//! its start that `p` needs: what came from other starts is filtered out by `p` at the end.

use std::sync::Arc;

use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::logical_plan::RecursiveQuery;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection};

/// The query over `start`, its first part with more columns than it had. `None`: the recursive part cannot
/// take them along.
pub fn carry(query: &RecursiveQuery, start: LogicalPlan) -> Result<Option<LogicalPlan>> {
    let carried: Vec<String> = start
        .schema()
        .fields()
        .iter()
        .skip(query.schema.fields().len())
        .map(|field| field.name().clone())
        .collect();
    let mut scans = 0;
    let mut passes = true;
    query.recursive_term.apply(|node| {
        scans += usize::from(is_work_table(node, &query.name));
        passes &= matches!(
            node,
            LogicalPlan::TableScan(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::Join(_)
                | LogicalPlan::Projection(_)
                | LogicalPlan::EmptyRelation(_)
        );
        Ok(TreeNodeRecursion::Continue)
    })?;
    // Rows that two others made would have two starts.
    if scans != 1 || !passes {
        return Ok(None);
    }
    let step = query.recursive_term.as_ref().clone().transform_up(|node| {
        if is_work_table(&node, &query.name) {
            return work_table(&query.name, start.schema()).map(Transformed::yes);
        }
        match node {
            LogicalPlan::Projection(projection) => with_carried(projection, &carried),
            LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) => Ok(Transformed::no(node)),
            node => Ok(Transformed::yes(node.recompute_schema()?)),
        }
    })?;
    let plan = LogicalPlanBuilder::from(start).to_recursive_query(
        query.name.clone(),
        step.data,
        query.is_distinct,
    )?;
    plan.build().map(Some)
}

fn is_work_table(node: &LogicalPlan, name: &str) -> bool {
    matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == name
        && scan.source.get_logical_plan().is_none()
        && scan.projection.is_none()
        && datafusion::datasource::source_as_provider(&scan.source).is_ok_and(|provider| provider.is::<CteWorkTable>()))
}

fn work_table(name: &str, schema: &DFSchema) -> Result<LogicalPlan> {
    let fields: Vec<_> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let table = CteWorkTable::new(name, Arc::new(arrow::datatypes::Schema::new(fields)));
    LogicalPlanBuilder::scan(name.to_string(), provider_as_source(Arc::new(table)), None)?.build()
}

/// Adds the carried columns that its input has.
fn with_carried(projection: Projection, carried: &[String]) -> Result<Transformed<LogicalPlan>> {
    let Projection { mut expr, input, .. } = projection;
    for name in carried {
        let found = input.schema().iter().find(|(_, field)| field.name() == name);
        if let Some((relation, _)) = found {
            expr.push(Expr::Column(Column::new(relation.cloned(), name)).alias(name));
        }
    }
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(expr, input)?)))
}
