//! A correlated scalar subquery taken apart: what it reads, and the predicates on outer columns, lifted
//! out of its filters, joins and derived tables.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::logical_plan::RecursiveQuery;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, FetchType, LogicalPlan, LogicalPlanBuilder, Projection, SkipType, SortExpr, SubqueryAlias,
};

use super::recursive_subquery;

/// A subquery taken apart.
pub struct Parts {
    /// What is joined, without outer references if it is `lifted`.
    pub source: LogicalPlan,
    pub lifted: bool,
    /// Predicates with outer references.
    pub correlation: Vec<Expr>,
    /// Aggregates of the subquery with the columns they become; none: a plain select.
    pub aggregates: Vec<(Column, Expr)>,
    /// The subquery's only expression, over `source` or over the aggregates' columns.
    pub value: Expr,
    /// Of a subquery with `LIMIT 1`: which row is the first.
    pub first_by: Option<Vec<SortExpr>>,
}

/// A comparison that DataFusion can pull over an aggregate: equality of a column and an outer one.
pub fn is_equality(predicate: &Expr) -> bool {
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

/// `None`: it has a shape that is left to DataFusion.
pub fn take_apart(plan: &LogicalPlan) -> Result<Option<Parts>> {
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
    let (source, lifted, correlation) = lifted(below)?;
    Ok(Some(Parts { source, lifted, correlation, aggregates, value, first_by: None }))
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
    let (source, lifted, correlation) = lifted(below)?;
    Ok(Some(Parts { source, lifted, correlation, aggregates: Vec::new(), value, first_by: Some(order) }))
}

/// The plan without its predicates on outer columns, if that can be; and these.
fn lifted(plan: &LogicalPlan) -> Result<(LogicalPlan, bool, Vec<Expr>)> {
    let mut correlation = Vec::new();
    Ok(match lift(plan, &mut correlation)? {
        Some(source) => (source, true, correlation),
        None => (plan.clone(), false, Vec::new()),
    })
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
