//! Subqueries in ON of a MERGE that is an outer join, where DataFusion has none: each becomes a column of
//! the side whose columns it uses.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use super::used_columns::columns_of;
use crate::error::{Error, Result};
use crate::statement::not_supported;

/// Source, target and condition of a join.
pub struct Sides {
    pub source: LogicalPlan,
    pub target: LogicalPlan,
    pub condition: Expr,
}

/// The same join without subqueries in its condition. Fails with 0A000 for one that is correlated with
/// both sides.
pub fn lift(sides: Sides) -> Result<Sides> {
    let Sides { source, target, condition } = sides;
    let (mut of_source, mut of_target) = (Vec::new(), Vec::new());
    let mut on_both = false;
    let condition = condition
        .transform_down(|expr| {
            let Expr::ScalarSubquery(_) = &expr else { return Ok(Transformed::no(expr)) };
            let used = columns_of([&expr]);
            let all_of = |plan: &LogicalPlan| used.iter().all(|column| plan.schema().has_column(column));
            let name = format!("__auric_on_{}", of_source.len() + of_target.len());
            if all_of(&source) {
                of_source.push(expr.alias(&name));
            } else if all_of(&target) {
                of_target.push(expr.alias(&name));
            } else {
                on_both = true;
                return Ok(Transformed::new(expr, false, TreeNodeRecursion::Stop));
            }
            let column = Expr::Column(Column::new_unqualified(name));
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        })
        .map_err(|e| Error::from(&e))?
        .data;
    if on_both {
        let what = "a subquery over columns of both sides in ON of a MERGE with WHEN NOT MATCHED";
        return Err(not_supported(what).with_hint("Compute it in the source: USING (SELECT …)."));
    }
    Ok(Sides { source: with(source, of_source)?, target: with(target, of_target)?, condition })
}

fn with(plan: LogicalPlan, added: Vec<Expr>) -> Result<LogicalPlan> {
    if added.is_empty() {
        return Ok(plan);
    }
    let own = plan.schema().columns().into_iter().map(Expr::Column);
    let columns: Vec<Expr> = own.chain(added).collect();
    LogicalPlanBuilder::from(plan)
        .project(columns)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|e| Error::from(&e))
}
