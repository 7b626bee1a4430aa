//! Which rows of a query's result a change of its tables may touch, as queries.
//!
//! For a plan over tables of which some have changed there are the rows of its result now and those of
//! before. [`Changed::touched`] gives plans whose rows hold every row that is in one of them and not, or not
//! as often, in the other; they may hold more. [`Changed::additions`] gives exactly the rows that the result
//! has now and had not before, where tables were only added to.

use std::collections::BTreeMap;
use std::sync::Arc;

use auric_catalog::scan::LakeTable;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{
    Distinct, Expr, Join, JoinConstraint, LogicalPlan, LogicalPlanBuilder, TableScan, TableSource,
};

use super::Refusal;
use super::shape::{group_keys, partition_keys};
use crate::materialize::sources::full_name;

/// A version of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Now,
    Before,
}

/// Where the rows of a table that has changed are to be found.
#[derive(Clone)]
pub struct ChangedTable {
    pub added: Arc<dyn TableSource>,
    /// `None`: none were removed.
    pub removed: Option<Arc<dyn TableSource>>,
    pub before: Arc<dyn TableSource>,
}

/// The tables that have changed, by `catalog.schema.table`.
#[derive(Clone, Default)]
pub struct Changed(pub BTreeMap<String, ChangedTable>);

type Result<T> = std::result::Result<T, Refusal>;

/// Names of the columns of keys.
pub fn key_name(i: usize) -> String {
    format!("__auric_key_{i}")
}

impl Changed {
    fn of_scan(&self, scan: &TableScan) -> Result<Option<&ChangedTable>> {
        let provider = source_as_provider(&scan.source)?;
        let Some(table) = provider.downcast_ref::<LakeTable>() else { return Ok(None) };
        Ok(self.0.get(&full_name(table.table())))
    }

    /// Whether a plan reads a table that has changed.
    pub fn touches(&self, plan: &LogicalPlan) -> Result<bool> {
        let mut found = false;
        let mut failed = None;
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                match self.of_scan(scan) {
                    Ok(changed) => found |= changed.is_some(),
                    Err(e) => failed = Some(e),
                }
            }
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        failed.map_or(Ok(found), Err)
    }

    /// The plan over the tables as they are, or were.
    fn at(&self, plan: &LogicalPlan, side: Side) -> Result<LogicalPlan> {
        if side == Side::Now {
            return Ok(plan.clone());
        }
        let mut failed = None;
        let plan = plan.clone().transform_down_with_subqueries(|node| {
            let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
            match self.of_scan(scan) {
                Ok(Some(changed)) => Ok(Transformed::yes(over(scan, changed.before.clone()))),
                Ok(None) => Ok(Transformed::no(node)),
                Err(e) => {
                    failed = Some(e);
                    Ok(Transformed::no(node))
                }
            }
        })?;
        failed.map_or(Ok(plan.data), Err)
    }

    /// Plans with the schema of `plan`; none: nothing is touched.
    pub fn touched(&self, plan: &LogicalPlan, side: Side) -> Result<Vec<LogicalPlan>> {
        if !self.touches(plan)? {
            return Ok(Vec::new());
        }
        self.refuse_subqueries(plan)?;
        match plan {
            LogicalPlan::TableScan(scan) => self.of_table(scan, side),
            LogicalPlan::Union(union) => {
                let mut all = Vec::new();
                for input in &union.inputs {
                    for branch in self.touched(input, side)? {
                        all.push(renamed(branch, plan)?);
                    }
                }
                Ok(all)
            }
            LogicalPlan::Join(join) => self.of_join(join, side),
            LogicalPlan::Aggregate(aggregate) => {
                let keys = group_keys(aggregate)?;
                let input = self.at(&aggregate.input, side)?;
                let input = restricted_to(input, &keys, self.keys(&aggregate.input, &keys)?)?;
                Ok(vec![plan.with_new_exprs(plan.expressions(), vec![input])?])
            }
            LogicalPlan::Window(window) => {
                let keys = partition_keys(window)?;
                let input = self.at(&window.input, side)?;
                let input = restricted_to(input, &keys, self.keys(&window.input, &keys)?)?;
                Ok(vec![plan.with_new_exprs(plan.expressions(), vec![input])?])
            }
            LogicalPlan::Distinct(Distinct::All(input)) => self.touched(input, side),
            _ => self.of_rows(plan, |changed, input| changed.touched(input, side)),
        }
    }

    /// The keys of all rows of a plan's result that a change may touch, now and before.
    pub fn keys(&self, plan: &LogicalPlan, keys: &[Expr]) -> Result<LogicalPlan> {
        let mut branches = self.touched(plan, Side::Now)?;
        branches.extend(self.touched(plan, Side::Before)?);
        let named = |branch: LogicalPlan| {
            let named = keys.iter().enumerate().map(|(i, key)| key.clone().alias(key_name(i)));
            LogicalPlanBuilder::from(branch).project(named.collect::<Vec<_>>())
        };
        let mut all: Option<LogicalPlanBuilder> = None;
        for branch in branches {
            let branch = named(branch)?;
            all = Some(match all {
                None => branch,
                Some(all) => all.union(branch.build()?)?,
            });
        }
        let all = match all {
            Some(all) => all,
            None => named(plan.clone())?.filter(datafusion::logical_expr::lit(false))?,
        };
        Ok(all.distinct()?.build()?)
    }

    fn of_table(&self, scan: &TableScan, side: Side) -> Result<Vec<LogicalPlan>> {
        let changed = self.of_scan(scan)?;
        let rows = changed.and_then(|changed| match side {
            Side::Now => Some(changed.added.clone()),
            Side::Before => changed.removed.clone(),
        });
        Ok(rows.map(|rows| over(scan, rows)).into_iter().collect())
    }

    fn of_join(&self, join: &Join, side: Side) -> Result<Vec<LogicalPlan>> {
        // Rows of the right side go when they get a partner.
        if matches!(join.join_type, JoinType::RightAnti | JoinType::RightMark) && self.touches(&join.left)? {
            return Err(Refusal::cannot(format!("of a join of kind {}", join.join_type)));
        }
        let (left, right) = (self.at(&join.left, side)?, self.at(&join.right, side)?);
        // Of a touched row of one side: with its partners, or without, where that side is kept.
        let (of_left, of_right) = match join.join_type {
            JoinType::Inner => (JoinType::Inner, Some(JoinType::Inner)),
            JoinType::Left => (JoinType::Left, Some(JoinType::Inner)),
            JoinType::Right => (JoinType::Inner, Some(JoinType::Right)),
            JoinType::Full => (JoinType::Left, Some(JoinType::Right)),
            other => (other, None),
        };
        let mut plans = Vec::new();
        for branch in self.touched(&join.left, side)? {
            plans.push(joined(join, branch, right.clone(), of_left)?);
        }
        if let Some(of_right) = of_right {
            for branch in self.touched(&join.right, side)? {
                plans.push(joined(join, left.clone(), branch, of_right)?);
            }
        }
        let (keeps_left, keeps_right) = match join.join_type {
            JoinType::Inner => (false, false),
            JoinType::Left => (true, false),
            JoinType::Right => (false, true),
            JoinType::Full => (true, true),
            JoinType::LeftSemi | JoinType::LeftAnti if !join.null_aware => (true, false),
            other => {
                return match self.touches(&join.right)? {
                    true => Err(Refusal::cannot(format!("of a join of kind {other}"))),
                    false => Ok(plans),
                };
            }
        };
        // A row that is kept and whose partners come or go is one without a partner before, or after.
        if keeps_left {
            for partners in self.touched_ever(&join.right)? {
                let found = joined(join, left.clone(), partners, JoinType::LeftSemi)?;
                plans.push(joined(join, found, right.clone(), of_left)?);
            }
        }
        if keeps_right {
            for partners in self.touched_ever(&join.left)? {
                let found = joined(join, partners, right.clone(), JoinType::RightSemi)?;
                plans.push(joined(join, left.clone(), found, JoinType::Right)?);
            }
        }
        Ok(plans)
    }

    fn touched_ever(&self, plan: &LogicalPlan) -> Result<Vec<LogicalPlan>> {
        let mut all = self.touched(plan, Side::Now)?;
        all.extend(self.touched(plan, Side::Before)?);
        Ok(all)
    }

    /// Of a node that gives each row of its input for itself.
    fn of_rows(
        &self,
        plan: &LogicalPlan,
        of_input: impl Fn(&Self, &LogicalPlan) -> Result<Vec<LogicalPlan>>,
    ) -> Result<Vec<LogicalPlan>> {
        let by_row = match plan {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::Repartition(_) => true,
            LogicalPlan::Sort(sort) => sort.fetch.is_none(),
            _ => false,
        };
        let [input] = plan.inputs()[..] else { return Err(refused(plan)) };
        if !by_row {
            return Err(refused(plan));
        }
        let mut plans = Vec::new();
        for branch in of_input(self, input)? {
            plans.push(plan.with_new_exprs(plan.expressions(), vec![branch])?);
        }
        Ok(plans)
    }

    /// What a row is, is decided by its subqueries too.
    pub fn refuse_subqueries(&self, plan: &LogicalPlan) -> Result<()> {
        let mut outcome = Ok(());
        plan.apply_subqueries(|subquery| {
            match self.touches(subquery) {
                Ok(false) => {}
                Ok(true) => outcome = Err(Refusal::cannot("of a subquery in an expression")),
                Err(e) => outcome = Err(e),
            }
            // What is inside has been looked at.
            Ok(TreeNodeRecursion::Jump)
        })?;
        outcome
    }

    /// Exactly the rows that are added to a plan's result, in plans with its schema. Fails with a refusal
    /// where something but additions can follow from a change.
    pub fn additions(&self, plan: &LogicalPlan) -> Result<Vec<LogicalPlan>> {
        if !self.touches(plan)? {
            return Ok(Vec::new());
        }
        self.refuse_subqueries(plan)?;
        match plan {
            LogicalPlan::TableScan(scan) => match self.of_scan(scan)? {
                Some(changed) if changed.removed.is_some() => {
                    Err(Refusal::cannot("of rows that were deleted or updated"))
                }
                _ => self.of_table(scan, Side::Now),
            },
            LogicalPlan::Union(union) => {
                let mut all = Vec::new();
                for input in &union.inputs {
                    for branch in self.additions(input)? {
                        all.push(renamed(branch, plan)?);
                    }
                }
                Ok(all)
            }
            LogicalPlan::Join(join) => {
                let (by_left, by_right) = match join.join_type {
                    JoinType::Inner => (true, true),
                    JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => (true, false),
                    JoinType::Right => (false, true),
                    _ => (false, false),
                };
                let mut plans = Vec::new();
                for branch in self.additions(&join.left)? {
                    let right = join.right.as_ref().clone();
                    plans.push(joined(join, branch, right, join.join_type)?);
                }
                let of_left = plans.len();
                for branch in self.additions(&join.right)? {
                    // Those with new rows of the left side are there already.
                    let left = self.at(&join.left, Side::Before)?;
                    plans.push(joined(join, left, branch, join.join_type)?);
                }
                match (of_left == 0 || by_left) && (plans.len() == of_left || by_right) {
                    true => Ok(plans),
                    false => Err(Refusal::cannot("of the side of an outer join that may have no rows")),
                }
            }
            _ => self.of_rows(plan, Self::additions),
        }
    }
}

fn refused(plan: &LogicalPlan) -> Refusal {
    let what = match plan {
        LogicalPlan::Aggregate(_) => "of an aggregate",
        LogicalPlan::Window(_) => "of a window function",
        LogicalPlan::Distinct(_) => "of DISTINCT",
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => "of LIMIT",
        LogicalPlan::RecursiveQuery(_) => "of a recursive query",
        _ => "of this query",
    };
    Refusal::cannot(what)
}

/// A scan of other rows of the same table.
pub fn over(scan: &TableScan, source: Arc<dyn TableSource>) -> LogicalPlan {
    LogicalPlan::TableScan(TableScan { source, ..scan.clone() })
}

fn joined(join: &Join, left: LogicalPlan, right: LogicalPlan, join_type: JoinType) -> Result<LogicalPlan> {
    let join = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        join.on.clone(),
        join.filter.clone(),
        join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware && join_type == join.join_type,
    )?;
    Ok(LogicalPlan::Join(join))
}

/// The rows of a branch of a union under the union's names.
fn renamed(branch: LogicalPlan, union: &LogicalPlan) -> Result<LogicalPlan> {
    let named = branch.schema().iter().zip(union.schema().iter());
    let named = named.map(|((from, field), (to, name))| {
        let column = Expr::Column(Column::new(from.cloned(), field.name()));
        column.alias_qualified(to.cloned(), name.name())
    });
    let named: Vec<Expr> = named.collect();
    Ok(LogicalPlanBuilder::from(branch).project(named)?.build()?)
}

/// All rows of branches with the columns of `like`, under its names. `None`: there are no branches.
pub fn combined(branches: Vec<LogicalPlan>, like: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let mut branches = branches.into_iter();
    let Some(first) = branches.next() else { return Ok(None) };
    if branches.len() == 0 {
        return Ok(Some(first));
    }
    // Columns may differ by their relation only, which a union does not keep.
    let numbered = |branch: LogicalPlan| {
        let columns = branch.schema().columns().into_iter().enumerate();
        let named = columns.map(|(i, column)| Expr::Column(column).alias(key_name(i)));
        let named: Vec<Expr> = named.collect();
        LogicalPlanBuilder::from(branch).project(named)
    };
    let mut all = numbered(first)?;
    for branch in branches {
        all = all.union(numbered(branch)?.build()?)?;
    }
    renamed(all.build()?, like).map(Some)
}

/// The rows of `plan` whose keys are among the rows of `found`, null being equal to null.
pub fn restricted_to(plan: LogicalPlan, keys: &[Expr], found: LogicalPlan) -> Result<LogicalPlan> {
    let on = keys.iter().cloned().zip(
        found
            .schema()
            .iter()
            .map(|(relation, field)| Expr::Column(Column::new(relation.cloned(), field.name()))),
    );
    let join = Join::try_new(
        Arc::new(plan),
        Arc::new(found.clone()),
        on.collect(),
        None,
        JoinType::LeftSemi,
        JoinConstraint::On,
        NullEquality::NullEqualsNull,
        false,
    )?;
    Ok(LogicalPlan::Join(join))
}
