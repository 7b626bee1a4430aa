//! Correlated scalar subqueries that DataFusion's own decorrelation refuses: those that do not
//! aggregate, and those whose correlation is more than equality of columns.
//!
//! `SELECT …, (SELECT e FROM s WHERE p(s, outer)) FROM outer` becomes: number the outer rows, left join
//! them with `s` on `p`, group by the outer row, and take the single value of `e` over the rows that
//! matched (error 21000 when there are several). What reads functions of outer columns is put beside the outer rows
//! instead of being joined with them ([`beside`]). A subquery that aggregates without GROUP BY keeps its
//! aggregates, restricted to the rows that matched, which gives `count` its 0; of one with `LIMIT 1` it is
//! the first value in its order. A subquery that has one row at most for each outer row ([`matches_once`])
//! needs neither numbers nor groups.
//!
//! Of one that is not correlated and selects what is never null, DataFusion believes that it is never null
//! either, though it may have no row: such a one is the single value too.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, SortExpr, Subquery, lit, when,
};
use datafusion::optimizer::AnalyzerRule;

use super::single_match::matches_once;
use super::subquery_parts::{Parts, is_equality, take_apart};
use super::subquery_rows::{Rows, beside};
use crate::functions::single_value::SingleValue;

/// The rule.
#[derive(Debug)]
pub struct DecorrelateScalarSubquery;

impl AnalyzerRule for DecorrelateScalarSubquery {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut names = Names::default();
        plan.transform_up_with_subqueries(|node| rewrite_node(node, &mut names)).map(|t| t.data)
    }

    fn name(&self) -> &str {
        "decorrelate_scalar_subquery"
    }
}

/// Names of the columns that the rewrite adds; unique within a statement.
#[derive(Default)]
struct Names {
    next: usize,
}

impl Names {
    fn unique(&mut self, what: &str) -> String {
        self.next += 1;
        format!("__{what}_{}", self.next)
    }
}

fn rewrite_node(node: LogicalPlan, names: &mut Names) -> Result<Transformed<LogicalPlan>> {
    let (input, is_filter) = match &node {
        LogicalPlan::Projection(projection) => (Arc::clone(&projection.input), false),
        LogicalPlan::Filter(filter) => (Arc::clone(&filter.input), true),
        LogicalPlan::Join(join) => return rewrite_join(join, names),
        _ => return Ok(Transformed::no(node)),
    };
    if !node.expressions().iter().any(|e| e.exists(is_candidate).unwrap_or(false)) {
        return Ok(Transformed::no(node));
    }
    let preserver = NamePreserver::new(&node);
    let mut plan = input.as_ref().clone();
    let mut changed = false;
    let mut rewritten = Vec::new();
    for expr in node.expressions() {
        let saved = preserver.save(&expr);
        let replaced = expr.transform_down(|expr| match &expr {
            Expr::ScalarSubquery(subquery) if !subquery.outer_ref_columns.is_empty() => {
                match decorrelate(&plan, subquery, names)? {
                    Some((joined, value)) => {
                        plan = joined;
                        changed = true;
                        Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
                    }
                    None => Ok(Transformed::no(expr)),
                }
            }
            Expr::ScalarSubquery(subquery) if may_be_missing(subquery) => {
                changed = true;
                let single = single_row(subquery)?;
                Ok(Transformed::new(Expr::ScalarSubquery(single), true, TreeNodeRecursion::Jump))
            }
            _ => Ok(Transformed::no(expr)),
        })?;
        rewritten.push(saved.restore(replaced.data));
    }
    if !changed {
        return Ok(Transformed::no(node));
    }
    let builder = LogicalPlanBuilder::from(plan);
    let plan = if is_filter {
        let predicate = conjunction(rewritten).unwrap_or_else(|| lit(true));
        let columns = input.schema().columns().into_iter().map(Expr::Column);
        builder.filter(predicate)?.project(columns)?.build()?
    } else {
        builder.project(rewritten)?.build()?
    };
    Ok(Transformed::yes(plan))
}

/// The condition of a join: a subquery that is correlated with one side becomes a column of that side.
fn rewrite_join(join: &Join, names: &mut Names) -> Result<Transformed<LogicalPlan>> {
    let equalities = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
    let condition: Vec<Expr> = equalities.chain(join.filter.clone()).collect();
    let both_sides =
        matches!(join.join_type, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full);
    let unchanged = || Ok(Transformed::no(LogicalPlan::Join(join.clone())));
    if !both_sides || !condition.iter().any(|e| e.exists(is_candidate).unwrap_or(false)) {
        return unchanged();
    }
    let mut sides = [join.left.as_ref().clone(), join.right.as_ref().clone()];
    let mut changed = false;
    let mut rewritten = Vec::with_capacity(condition.len());
    for expr in condition {
        let replaced = expr.transform_down(|expr| {
            let Expr::ScalarSubquery(subquery) = &expr else { return Ok(Transformed::no(expr)) };
            if subquery.outer_ref_columns.is_empty() {
                return Ok(Transformed::no(expr));
            }
            for side in &mut sides {
                if all_visible(side, subquery)
                    && let Some((joined, value)) = decorrelate(side, subquery, names)?
                {
                    *side = joined;
                    changed = true;
                    return Ok(Transformed::new(value, true, TreeNodeRecursion::Jump));
                }
            }
            Ok(Transformed::no(expr))
        })?;
        rewritten.push(replaced.data);
    }
    if !changed {
        return unchanged();
    }
    let [left, right] = sides;
    let columns = join.schema.columns().into_iter().map(Expr::Column);
    let plan = LogicalPlanBuilder::from(left).join_on(right, join.join_type, rewritten)?.project(columns)?;
    Ok(Transformed::yes(plan.build()?))
}

fn is_candidate(expr: &Expr) -> Result<bool> {
    Ok(matches!(expr, Expr::ScalarSubquery(s) if !s.outer_ref_columns.is_empty() || may_be_missing(s)))
}

/// An uncorrelated subquery that may have no row, though its column is never null.
fn may_be_missing(subquery: &Subquery) -> bool {
    let [field] = subquery.subquery.schema().fields().as_ref() else { return false };
    subquery.outer_ref_columns.is_empty() && !field.is_nullable() && !has_a_row(&subquery.subquery)
}

fn has_a_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_a_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_a_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

fn single_row(subquery: &Subquery) -> Result<Subquery> {
    let plan = subquery.subquery.as_ref().clone();
    let values = plan.schema().columns().into_iter().map(|column| {
        let name = column.name.clone();
        single_value(Expr::Column(column), lit(true)).alias(name)
    });
    let values: Vec<Expr> = values.collect();
    let plan = LogicalPlanBuilder::from(plan).aggregate(Vec::<Expr>::new(), values)?.build()?;
    Ok(Subquery { subquery: Arc::new(plan), ..subquery.clone() })
}

/// Joins the subquery to the plan; the expression is its value. `None`: left to DataFusion.
fn decorrelate(
    outer: &LogicalPlan,
    subquery: &Subquery,
    names: &mut Names,
) -> Result<Option<(LogicalPlan, Expr)>> {
    let Some(parts) = take_apart(&subquery.subquery)? else { return Ok(None) };
    let pulls_up = !parts.correlation.is_empty()
        && !parts.value.contains_outer()
        && parts.correlation.iter().all(is_equality);
    let pulls_up = pulls_up && !below_alias(&subquery.subquery);
    if (!parts.aggregates.is_empty() && pulls_up) || !all_visible(outer, subquery) {
        return Ok(None);
    }
    if parts.lifted && parts.aggregates.is_empty() && matches_once(&parts.source, &parts.correlation) {
        return join_once(outer, parts, names).map(Some);
    }
    let outer_columns: Vec<Expr> = outer.schema().columns().into_iter().map(Expr::Column).collect();
    let row = names.unique("row");
    let numbered = LogicalPlanBuilder::from(outer.clone()).window(vec![row_number()])?.build()?;
    let Some(number) = numbered.schema().columns().pop() else { return Ok(None) };
    let mut with_number = outer_columns.clone();
    with_number.push(Expr::Column(number).alias(&row));
    let numbered = LogicalPlanBuilder::from(numbered).project(with_number)?.build()?;

    let (joined, matched, renamed) = if parts.lifted {
        let Joined { plan, matched, renamed } =
            Joined::new(numbered, parts.source, parts.correlation, names)?;
        (plan, matched, renamed)
    } else {
        match beside(&numbered, &parts.source, &names.unique("rows"))? {
            Some(Rows { plan, matched, renamed }) => (plan, matched, renamed),
            None => return Ok(None),
        }
    };
    let mut group = outer_columns;
    group.push(Expr::Column(Column::new_unqualified(row)));
    let mut results = Vec::new();
    let value = if parts.aggregates.is_empty() {
        let name = names.unique("value");
        let value = bind(parts.value, &renamed)?;
        let value = match parts.first_by {
            None => single_value(value, matched.is_true()),
            Some(order) => first_value(value, matched.is_true(), bind_order(order, &renamed)?),
        };
        results.push(value.alias(&name));
        Expr::Column(Column::new_unqualified(name))
    } else {
        let mut columns = HashMap::new();
        for (column, aggregate) in parts.aggregates {
            let name = names.unique("aggregate");
            let aggregate = restrict(bind(aggregate, &renamed)?, &matched.clone().is_true());
            results.push(aggregate.alias(&name));
            columns.insert(column, Column::new_unqualified(name));
        }
        bind(parts.value, &columns)?
    };
    let grouped = LogicalPlanBuilder::from(joined).aggregate(group, results)?.build()?;
    Ok(Some((grouped, value)))
}

/// A subquery with one row at most: its value is that of the row.
fn join_once(outer: &LogicalPlan, parts: Parts, names: &mut Names) -> Result<(LogicalPlan, Expr)> {
    let Joined { plan, matched, renamed } =
        Joined::new(outer.clone(), parts.source, parts.correlation, names)?;
    let name = names.unique("value");
    let value = bind(parts.value, &renamed)?;
    let value = match &value {
        Expr::Column(_) => value.alias(&name),
        // A condition forgets of which type it is in Postgres.
        _ => {
            let metadata = FieldMetadata::from(value.to_field(plan.schema())?.1.as_ref());
            let metadata = Some(metadata).filter(|metadata| !metadata.is_empty());
            when(matched.is_true(), value).end()?.alias_with_metadata(&name, metadata)
        }
    };
    let mut columns: Vec<Expr> = outer.schema().columns().into_iter().map(Expr::Column).collect();
    columns.push(value);
    let plan = LogicalPlanBuilder::from(plan).project(columns)?.build()?;
    Ok((plan, Expr::Column(Column::new_unqualified(name))))
}

/// The outer query with all rows of the subquery that it matches.
struct Joined {
    plan: LogicalPlan,
    /// Whether there is such a row.
    matched: Expr,
    /// Columns of the subquery get names of their own: both sides may read the same table.
    renamed: HashMap<Column, Column>,
}

impl Joined {
    fn new(
        outer: LogicalPlan,
        source: LogicalPlan,
        correlation: Vec<Expr>,
        names: &mut Names,
    ) -> Result<Self> {
        let matched = names.unique("matched");
        let mut renamed = HashMap::new();
        let mut projected = vec![lit(true).alias(&matched)];
        for column in source.schema().columns() {
            let name = names.unique("column");
            projected.push(Expr::Column(column.clone()).alias(&name));
            renamed.insert(column, Column::new_unqualified(name));
        }
        let source = LogicalPlanBuilder::from(source).project(projected)?.build()?;
        let correlation = correlation.into_iter().map(|predicate| bind(predicate, &renamed));
        let mut correlation = correlation.collect::<Result<Vec<_>>>()?;
        if correlation.is_empty() {
            correlation.push(lit(true));
        }
        let plan = LogicalPlanBuilder::from(outer).join_on(source, JoinType::Left, correlation)?.build()?;
        Ok(Self { plan, matched: Expr::Column(Column::new_unqualified(matched)), renamed })
    }
}

/// Whether outer references are inside of a derived table: DataFusion adds the columns that it lifts
/// them by to the table's query, but not to the table.
fn below_alias(subquery: &LogicalPlan) -> bool {
    subquery
        .exists(|node| {
            Ok(match node {
                LogicalPlan::SubqueryAlias(alias) => !alias.input.all_out_ref_exprs().is_empty(),
                _ => false,
            })
        })
        .unwrap_or(true)
}

/// `true` when all outer references are columns of this plan (and not of a query further out).
fn all_visible(outer: &LogicalPlan, subquery: &Subquery) -> bool {
    subquery.outer_ref_columns.iter().all(|reference| match reference {
        Expr::OuterReferenceColumn(_, column) => outer.schema().has_column(column),
        _ => false,
    })
}

/// Renames the subquery's columns and makes outer references plain columns.
fn bind(expr: Expr, columns: &HashMap<Column, Column>) -> Result<Expr> {
    expr.transform_down(|expr| match &expr {
        Expr::Column(column) => match columns.get(column) {
            Some(renamed) => Ok(Transformed::yes(Expr::Column(renamed.clone()))),
            None => Ok(Transformed::no(expr)),
        },
        Expr::OuterReferenceColumn(_, column) => {
            Ok(Transformed::new(Expr::Column(column.clone()), true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(expr)),
    })
    .map(|t| t.data)
}

fn bind_order(order: Vec<SortExpr>, columns: &HashMap<Column, Column>) -> Result<Vec<SortExpr>> {
    order.into_iter().map(|sort| Ok(SortExpr { expr: bind(sort.expr, columns)?, ..sort })).collect()
}

fn first_value(value: Expr, filter: Expr, order: Vec<SortExpr>) -> Expr {
    let filter = Some(Box::new(filter));
    Expr::AggregateFunction(AggregateFunction::new_udf(
        first_value_udaf(),
        vec![value],
        false,
        filter,
        order,
        None,
    ))
}

fn single_value(value: Expr, filter: Expr) -> Expr {
    Expr::AggregateFunction(AggregateFunction::new_udf(
        Arc::new(AggregateUDF::new_from_impl(SingleValue::default())),
        vec![value],
        false,
        Some(Box::new(filter)),
        Vec::new(),
        None::<NullTreatment>,
    ))
}

/// Adds a filter to the aggregates of an expression.
fn restrict(expr: Expr, filter: &Expr) -> Expr {
    match expr {
        Expr::AggregateFunction(mut aggregate) => {
            let own = aggregate.params.filter.take();
            let both = match own {
                Some(own) => own.and(filter.clone()),
                None => filter.clone(),
            };
            aggregate.params.filter = Some(Box::new(both));
            Expr::AggregateFunction(aggregate)
        }
        Expr::Alias(alias) => restrict(*alias.expr, filter),
        other => other,
    }
}
