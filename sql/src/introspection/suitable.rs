//! Which plans show nothing but the catalog image, and what finds the kept plan.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::functions::follows_catalog;
use crate::pg_catalog::SystemRelation;
use crate::result_cache::{Dependence, of_expr};

/// Whether a plan gives the same rows for the same image, user, search path, settings and parameters, and can
/// be run many times. To be asked before the plan is optimized: constants hide what they were made of.
pub fn is_suitable(plan: &LogicalPlan) -> Result<bool> {
    let mut suitable = true;
    plan.apply_with_subqueries(|node| {
        suitable &= match node {
            LogicalPlan::TableScan(scan) => source_as_provider(&scan.source).is_ok_and(|provider| {
                provider.downcast_ref::<SystemRelation>().is_some_and(SystemRelation::follows_image)
            }),
            // A parameter would have to be a number when the plan is made.
            LogicalPlan::Limit(limit) => {
                let mut bounds = limit.skip.iter().chain(&limit.fetch);
                bounds.all(|bound| matches!(bound.as_ref(), Expr::Literal(..)))
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Unnest(_) => true,
            LogicalPlan::Repartition(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_)
            | LogicalPlan::RecursiveQuery(_) => false,
        };
        node.apply_expressions(|expr| {
            suitable &= !expr.exists(|expr| Ok(!is_known(expr)))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if suitable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(suitable)
}

fn is_known(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if follows_catalog(&call.func))
        || of_expr(expr) == Dependence::Settings
}
