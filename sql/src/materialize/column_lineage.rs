//! Which columns of which tables the values of a query's columns are made of. What only decides which rows
//! there are (conditions, keys of joins and groups) is not among them.

use std::collections::BTreeMap;

use auric_catalog::scan::LakeTable;
use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan, TableScan};

use super::sources::full_name;

/// How a value follows from a column: the subtypes of direct lineage of OpenLineage's column lineage facet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transformation {
    /// As it is.
    Identity,
    /// Computed of the values of one row.
    Transformation,
    /// Of many rows.
    Aggregation,
}

impl Transformation {
    pub fn word(self) -> &'static str {
        match self {
            Self::Identity => "IDENTITY",
            Self::Transformation => "TRANSFORMATION",
            Self::Aggregation => "AGGREGATION",
        }
    }
}

/// By table (`catalog.schema.table`) and column.
pub type Origins = BTreeMap<(String, String), Transformation>;

/// Of the column at `index` of a plan's result. Fails as reading the plan's own structure does.
pub fn origins(plan: &LogicalPlan, index: usize) -> Result<Origins> {
    let mut found = Origins::new();
    of_column(plan, index, Transformation::Identity, &mut found)?;
    Ok(found)
}

fn of_column(plan: &LogicalPlan, index: usize, how: Transformation, found: &mut Origins) -> Result<()> {
    match plan {
        LogicalPlan::TableScan(scan) => of_scan(scan, index, how, found),
        LogicalPlan::Projection(node) => of_item(&node.input, node.expr.get(index), how, found),
        LogicalPlan::Aggregate(node) => {
            let groups = grouping_set_to_exprlist(&node.group_expr)?;
            if let Some(group) = groups.get(index) {
                return of_item(&node.input, Some(*group), how, found);
            }
            // Behind the groups of GROUPING SETS there is the number of the set.
            let is_set = matches!(node.group_expr.as_slice(), [Expr::GroupingSet(_)]);
            let value = index.checked_sub(groups.len() + usize::from(is_set));
            of_item(&node.input, value.and_then(|i| node.aggr_expr.get(i)), how, found)
        }
        LogicalPlan::Window(node) => match index.checked_sub(node.input.schema().fields().len()) {
            None => of_column(&node.input, index, how, found),
            Some(i) => of_item(&node.input, node.window_expr.get(i), how, found),
        },
        LogicalPlan::Distinct(Distinct::On(node)) => {
            of_item(&node.input, node.select_expr.get(index), how, found)
        }
        LogicalPlan::Unnest(node) => match node.dependency_indices.get(index) {
            Some(from) => {
                let same = node.schema.field(index) == node.input.schema().field(*from);
                let own = if same { Transformation::Identity } else { Transformation::Transformation };
                of_column(&node.input, *from, how.max(own), found)
            }
            None => Ok(()),
        },
        LogicalPlan::Join(node) => {
            let of_left = node.left.schema().fields().len();
            match (node.join_type, index.checked_sub(of_left)) {
                (JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark, _) => {
                    match index < node.right.schema().fields().len() {
                        true => of_column(&node.right, index, how, found),
                        false => Ok(()),
                    }
                }
                (_, None) => of_column(&node.left, index, how, found),
                (JoinType::LeftMark, Some(_)) => Ok(()),
                (_, Some(index)) => of_column(&node.right, index, how, found),
            }
        }
        LogicalPlan::Union(_)
        | LogicalPlan::RecursiveQuery(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => {
            plan.inputs().into_iter().try_for_each(|input| of_column(input, index, how, found))
        }
        // Made of nothing that is in tables.
        _ => Ok(()),
    }
}

fn of_scan(scan: &TableScan, index: usize, how: Transformation, found: &mut Origins) -> Result<()> {
    let provider = source_as_provider(&scan.source)?;
    let Some(table) = provider.downcast_ref::<LakeTable>() else { return Ok(()) };
    let name = scan.projected_schema.field(index).name().clone();
    let known = found.entry((full_name(table.table()), name)).or_insert(how);
    *known = (*known).max(how);
    Ok(())
}

fn of_item(input: &LogicalPlan, expr: Option<&Expr>, how: Transformation, found: &mut Origins) -> Result<()> {
    let Some(expr) = expr else { return Ok(()) };
    match expr {
        Expr::Alias(alias) => of_item(input, Some(alias.expr.as_ref()), how, found),
        Expr::Column(column) => of_name(input, column, how, found),
        _ => of_expr(input, expr, how.max(Transformation::Transformation), found),
    }
}

fn of_name(input: &LogicalPlan, column: &Column, how: Transformation, found: &mut Origins) -> Result<()> {
    match input.schema().index_of_column_by_name(column.relation.as_ref(), &column.name) {
        Some(index) => of_column(input, index, how, found),
        None => Ok(()),
    }
}

fn of_expr(input: &LogicalPlan, expr: &Expr, how: Transformation, found: &mut Origins) -> Result<()> {
    let mut outcome = Ok(());
    expr.apply(|part| {
        let (visited, next) = match part {
            Expr::Column(column) => (of_name(input, column, how, found), TreeNodeRecursion::Continue),
            Expr::AggregateFunction(call) => {
                let args = call.params.args.iter();
                let all = args.map(|arg| of_expr(input, arg, Transformation::Aggregation, found));
                (all.collect(), TreeNodeRecursion::Jump)
            }
            Expr::WindowFunction(call) => {
                let args = call.params.args.iter();
                let all = args.map(|arg| of_expr(input, arg, Transformation::Aggregation, found));
                (all.collect(), TreeNodeRecursion::Jump)
            }
            Expr::ScalarSubquery(subquery) => {
                (of_column(&subquery.subquery, 0, how, found), TreeNodeRecursion::Continue)
            }
            _ => (Ok(()), TreeNodeRecursion::Continue),
        };
        outcome = visited;
        Ok(if outcome.is_err() { TreeNodeRecursion::Stop } else { next })
    })?;
    outcome
}
