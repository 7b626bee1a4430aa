//! Correlated scalar subqueries that DataFusion's own decorrelation refuses: those that do not
//! aggregate, and those whose correlation is more than equality of columns.
//!
//! `SELECT …, (SELECT e FROM s WHERE p(s, outer)) FROM outer` becomes: number the outer rows, left join
//! them with `s` on `p`, group by the outer row, and take the single value of `e` over the rows that
//! matched (error 21000 when there are several). A subquery that aggregates without GROUP BY keeps its
//! aggregates, restricted to the rows that matched, which gives `count` its 0; of one with `LIMIT 1` it is
//! the first value in its order.
//!
//! Of one that is not correlated and selects what is never null, DataFusion believes that it is never null
//! either, though it may have no row: such a one is the single value too.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::RecursiveQuery;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    AggregateUDF, Expr, FetchType, Join, LogicalPlan, LogicalPlanBuilder, Projection, SkipType, SortExpr,
    Subquery, SubqueryAlias, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::recursive_subquery;
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

/// A subquery taken apart.
struct Parts {
    /// What is joined, without outer references.
    source: LogicalPlan,
    /// Predicates with outer references.
    correlation: Vec<Expr>,
    /// Aggregates of the subquery with the columns they become; none: a plain select.
    aggregates: Vec<(Column, Expr)>,
    /// The subquery's only expression, over `source` or over the aggregates' columns.
    value: Expr,
    /// Of a subquery with `LIMIT 1`: which row is the first.
    first_by: Option<Vec<SortExpr>>,
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
    let outer_columns: Vec<Expr> = outer.schema().columns().into_iter().map(Expr::Column).collect();
    let row = names.unique("row");
    let numbered = LogicalPlanBuilder::from(outer.clone()).window(vec![row_number()])?.build()?;
    let Some(number) = numbered.schema().columns().pop() else { return Ok(None) };
    let mut with_number = outer_columns.clone();
    with_number.push(Expr::Column(number).alias(&row));
    let numbered = LogicalPlanBuilder::from(numbered).project(with_number)?.build()?;

    // Columns of the subquery get names of their own: both sides may read the same table.
    let matched = names.unique("matched");
    let mut renamed = HashMap::new();
    let mut projected = vec![lit(true).alias(&matched)];
    for column in parts.source.schema().columns() {
        let name = names.unique("column");
        projected.push(Expr::Column(column.clone()).alias(&name));
        renamed.insert(column, Column::new_unqualified(name));
    }
    let source = LogicalPlanBuilder::from(parts.source).project(projected)?.build()?;
    let correlation = parts
        .correlation
        .into_iter()
        .map(|predicate| bind(predicate, &renamed))
        .collect::<Result<Vec<_>>>()?;
    let correlation = if correlation.is_empty() { vec![lit(true)] } else { correlation };
    let joined = LogicalPlanBuilder::from(numbered).join_on(source, JoinType::Left, correlation)?.build()?;

    let matched = Expr::Column(Column::new_unqualified(matched));
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

/// A comparison that DataFusion can pull over an aggregate: equality of a column and an outer one.
fn is_equality(predicate: &Expr) -> bool {
    let is_column = |e: &Expr| matches!(e, Expr::Column(_));
    let is_outer = |e: &Expr| matches!(e, Expr::OuterReferenceColumn(..));
    match predicate {
        Expr::BinaryExpr(binary) if binary.op == datafusion::logical_expr::Operator::Eq => {
            (is_column(&binary.left) && is_outer(&binary.right))
                || (is_outer(&binary.left) && is_column(&binary.right))
        }
        _ => false,
    }
}

fn take_apart(plan: &LogicalPlan) -> Result<Option<Parts>> {
    if let LogicalPlan::Limit(limit) = plan {
        let one = matches!(limit.get_fetch_type()?, FetchType::Literal(Some(1)));
        return if one && matches!(limit.get_skip_type()?, SkipType::Literal(0)) {
            take_first(&limit.input)
        } else {
            Ok(None)
        };
    }
    let (value, below) = match plan {
        LogicalPlan::Projection(projection) => match projection.expr.as_slice() {
            [value] => (value.clone().unalias(), projection.input.as_ref()),
            _ => return Ok(None),
        },
        LogicalPlan::SubqueryAlias(alias) => return take_apart(&alias.input),
        _ => return Ok(None),
    };
    let (aggregates, below) = match below {
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
            let columns = aggregate.schema.columns();
            let aggregates = columns.into_iter().zip(aggregate.aggr_expr.iter().cloned()).collect();
            (aggregates, aggregate.input.as_ref())
        }
        other => (Vec::new(), other),
    };
    let mut correlation = Vec::new();
    let Some(source) = lift(below, &mut correlation)? else { return Ok(None) };
    Ok(Some(Parts { source, correlation, aggregates, value, first_by: None }))
}

/// What is below a `LIMIT 1`: rows in some order, or in none.
fn take_first(plan: &LogicalPlan) -> Result<Option<Parts>> {
    let (value, below) = match plan {
        LogicalPlan::Projection(projection) => match projection.expr.as_slice() {
            [value] => (Some(value.clone().unalias()), projection.input.as_ref()),
            _ => return Ok(None),
        },
        other => (None, other),
    };
    let (order, below) = match below {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => (sort.expr.clone(), sort.input.as_ref()),
        other => (Vec::new(), other),
    };
    let columns = below.schema().columns();
    let value = match (value, columns.as_slice()) {
        (Some(value), _) => value,
        (None, [column]) => Expr::Column(column.clone()),
        _ => return Ok(None),
    };
    if value.contains_outer() || order.iter().any(|sort| sort.expr.contains_outer()) {
        return Ok(None);
    }
    let mut correlation = Vec::new();
    let Some(source) = lift(below, &mut correlation)? else { return Ok(None) };
    Ok(Some(Parts { source, correlation, aggregates: Vec::new(), value, first_by: Some(order) }))
}

/// The plan without its predicates on outer columns, which are collected. `None`: some outer
/// reference is elsewhere than in a predicate that may move up.
fn lift(plan: &LogicalPlan, correlation: &mut Vec<Expr>) -> Result<Option<LogicalPlan>> {
    if plan.all_out_ref_exprs().is_empty() {
        return Ok(Some(plan.clone()));
    }
    match plan {
        LogicalPlan::Filter(filter) => {
            let Some(input) = lift(&filter.input, correlation)? else { return Ok(None) };
            let (outer, own): (Vec<_>, Vec<_>) =
                split_conjunction_owned(filter.predicate.clone()).into_iter().partition(Expr::contains_outer);
            if outer.iter().any(has_subquery) {
                return Ok(None);
            }
            correlation.extend(outer);
            match conjunction(own) {
                Some(own) => LogicalPlanBuilder::from(input).filter(own)?.build().map(Some),
                None => Ok(Some(input)),
            }
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            let filters = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
            if join.on.iter().any(|(l, r)| l.contains_outer() || r.contains_outer()) {
                return Ok(None);
            }
            let (Some(left), Some(right)) = (lift(&join.left, correlation)?, lift(&join.right, correlation)?)
            else {
                return Ok(None);
            };
            let (outer, mut own): (Vec<_>, Vec<_>) = filters.into_iter().partition(Expr::contains_outer);
            if outer.iter().any(has_subquery) {
                return Ok(None);
            }
            correlation.extend(outer);
            own.extend(join.on.iter().map(|(l, r)| l.clone().eq(r.clone())));
            let builder = LogicalPlanBuilder::from(left);
            let joined = if own.is_empty() {
                builder.cross_join(right)?
            } else {
                builder.join_on(right, JoinType::Inner, own)?
            };
            joined.build().map(Some)
        }
        LogicalPlan::SubqueryAlias(alias) => lift_alias(alias, correlation),
        LogicalPlan::Projection(projection) => lift_projection(projection, None, correlation),
        LogicalPlan::RecursiveQuery(query) => lift_recursive(query, correlation),
        _ => Ok(None),
    }
}

/// A recursive query of which the first part depends on outer columns.
fn lift_recursive(query: &RecursiveQuery, correlation: &mut Vec<Expr>) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Projection(start) = query.static_term.as_ref() else { return Ok(None) };
    if !query.recursive_term.all_out_ref_exprs().is_empty() {
        return Ok(None);
    }
    let mut predicates = Vec::new();
    let Some(start) = lift_projection(start, None, &mut predicates)? else { return Ok(None) };
    // With UNION, rows of several starts would be one.
    if query.is_distinct && !predicates.iter().all(is_equality) {
        return Ok(None);
    }
    let lifted = recursive_subquery::carry(query, start)?;
    if lifted.is_some() {
        correlation.extend(predicates);
    }
    Ok(lifted)
}

fn lift_alias(alias: &SubqueryAlias, correlation: &mut Vec<Expr>) -> Result<Option<LogicalPlan>> {
    let relation: TableReference = alias.alias.clone();
    let lifted = match alias.input.as_ref() {
        LogicalPlan::Projection(projection) => lift_projection(projection, Some(&relation), correlation)?,
        LogicalPlan::RecursiveQuery(query) => {
            let columns = query.schema.columns().into_iter().map(Expr::Column).collect();
            let all = Projection::try_new(columns, Arc::clone(&alias.input))?;
            lift_projection(&all, Some(&relation), correlation)?
        }
        _ => return Ok(None),
    };
    lifted.map(|plan| LogicalPlanBuilder::from(plan).alias(relation)?.build()).transpose()
}

/// A derived table, called `relation`: its predicates move up, and the columns that they use with them.
fn lift_projection(
    projection: &Projection,
    relation: Option<&TableReference>,
    correlation: &mut Vec<Expr>,
) -> Result<Option<LogicalPlan>> {
    if projection.expr.iter().any(Expr::contains_outer) {
        return Ok(None);
    }
    let mut inner = Vec::new();
    let Some(input) = lift(&projection.input, &mut inner)? else { return Ok(None) };
    let mut exprs = projection.expr.clone();
    let mut renamed = HashMap::new();
    for column in inner.iter().flat_map(Expr::column_refs) {
        let name = format!("__lifted_{}", renamed.len());
        if !renamed.contains_key(column) {
            exprs.push(Expr::Column(column.clone()).alias(&name));
            renamed.insert(column.clone(), Column::new(relation.cloned(), name));
        }
    }
    let plan = LogicalPlanBuilder::from(input).project(exprs)?.build()?;
    for predicate in inner {
        correlation.push(rename(predicate, &renamed)?);
    }
    Ok(Some(plan))
}

fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|e| {
        Ok(matches!(
            e,
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
        ))
    })
    .unwrap_or(true)
}

fn rename(expr: Expr, columns: &HashMap<Column, Column>) -> Result<Expr> {
    expr.transform(|expr| match &expr {
        Expr::Column(column) => match columns.get(column) {
            Some(renamed) => Ok(Transformed::yes(Expr::Column(renamed.clone()))),
            None => Ok(Transformed::no(expr)),
        },
        _ => Ok(Transformed::no(expr)),
    })
    .map(|t| t.data)
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
