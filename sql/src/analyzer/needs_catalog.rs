//! Which plans look into the catalog, and so need its contents before they are optimized and run.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::functions::function::Function;
use crate::pg_catalog::SystemRelation;

/// `true` when a plan reads system relations or calls functions that look something up.
pub fn plan_needs_catalog(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        found = found || scans_system_relation(node);
        node.apply_expressions(|expr| {
            found = found || expr.exists(is_lookup).unwrap_or(true);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || walked.is_err()
}

/// `true` when a plan reads at most system relations and makes no rows by itself.
pub fn plan_reads_catalog_only(plan: &LogicalPlan) -> bool {
    let mut other = false;
    let walked = plan.apply_with_subqueries(|node| {
        other |= match node {
            LogicalPlan::TableScan(_) => !scans_system_relation(node),
            LogicalPlan::RecursiveQuery(_) | LogicalPlan::Unnest(_) => true,
            _ => false,
        };
        Ok(TreeNodeRecursion::Continue)
    });
    walked.is_ok() && !other
}

fn scans_system_relation(node: &LogicalPlan) -> bool {
    let LogicalPlan::TableScan(scan) = node else { return false };
    source_as_provider(&scan.source).is_ok_and(|provider| provider.is::<SystemRelation>())
}

fn is_lookup(expr: &Expr) -> datafusion::error::Result<bool> {
    Ok(
        matches!(expr, Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<Function>().is_some_and(Function::looks_up)),
    )
}
