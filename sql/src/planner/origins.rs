//! Which column of which table a result column shows, as RowDescription tells it (manual 55.7): drivers look
//! up there whether it may be null, what it is called in its table, and whether they could change it.
//!
//! Columns of views, of UNION and its like, and of tables at earlier versions come from no table.

use auric_catalog::scan::LakeTable;
use datafusion::common::Column;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, TableScan};

use crate::pg_catalog::SystemRelation;
use crate::statement::Origin;

/// The origin of the column at `index` of a plan's result.
pub fn origin(plan: &LogicalPlan, index: usize) -> Option<Origin> {
    match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan, index),
        LogicalPlan::Projection(node) => through(&node.input, node.expr.get(index)?),
        LogicalPlan::Aggregate(node) => through(&node.input, node.group_expr.get(index)?),
        LogicalPlan::Filter(node) => origin(&node.input, index),
        LogicalPlan::Sort(node) => origin(&node.input, index),
        LogicalPlan::Limit(node) => origin(&node.input, index),
        LogicalPlan::Distinct(datafusion::logical_expr::Distinct::All(input)) => origin(input, index),
        LogicalPlan::SubqueryAlias(node) => origin(&node.input, index),
        LogicalPlan::Subquery(node) => origin(&node.subquery, index),
        LogicalPlan::Window(node) if index < node.input.schema().fields().len() => origin(&node.input, index),
        LogicalPlan::Join(node) => {
            let of_left = node.left.schema().fields().len();
            match node.join_type {
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
                    match index.checked_sub(of_left) {
                        None => origin(&node.left, index),
                        Some(index) => origin(&node.right, index),
                    }
                }
                JoinType::LeftSemi | JoinType::LeftAnti => origin(&node.left, index),
                _ => None,
            }
        }
        _ => None,
    }
}

fn through(input: &LogicalPlan, expr: &Expr) -> Option<Origin> {
    match expr {
        Expr::Alias(alias) => through(input, &alias.expr),
        Expr::Column(Column { relation, name, .. }) => {
            origin(input, input.schema().index_of_column_by_name(relation.as_ref(), name)?)
        }
        _ => None,
    }
}

fn of_scan(scan: &TableScan, index: usize) -> Option<Origin> {
    let index = match &scan.projection {
        Some(columns) => *columns.get(index)?,
        None => index,
    };
    let column = i16::try_from(index + 1).ok()?;
    let provider = source_as_provider(&scan.source).ok()?;
    if let Some(relation) = provider.downcast_ref::<SystemRelation>() {
        return Some(Origin { relation: relation.oid(), column });
    }
    let table = provider.downcast_ref::<LakeTable>()?.table();
    // The name of an earlier version says which.
    let is_current = scan.table_name.table() == table.ident.name;
    is_current.then_some(Origin { relation: table.entry.as_ref()?.oid, column })
}
