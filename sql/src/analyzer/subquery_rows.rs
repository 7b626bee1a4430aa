//! Rows of a subquery that reads functions of outer columns (`(SELECT count(*) FROM unnest(t.a))`), beside the
//! outer rows that they are of. Every outer row stays, at least once; a column tells the subquery's rows from
//! those that are there for their outer row alone. Columns are only ever added; the optimizer takes away what
//! nobody reads.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, TableReference, UnnestOptions};
use datafusion::error::Result;
use datafusion::functions_nested::expr_fn::cardinality;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Projection, Unnest, lit, when};
use datafusion::scalar::ScalarValue;

/// Both.
pub struct Rows {
    pub plan: LogicalPlan,
    /// The subquery's columns by their real names.
    pub renamed: HashMap<Column, Column>,
    /// Whether a row is one of the subquery.
    pub matched: Expr,
}

/// `None`: the subquery has a form that this does not know.
pub fn beside(outer: &LogicalPlan, source: &LogicalPlan, number: &str) -> Result<Option<Rows>> {
    let mut walk = Walk { prefix: number, names: 0, matched: Vec::new() };
    let Some((plan, scope)) = walk.over(outer.clone(), source, &Vec::new(), Vec::new())? else {
        return Ok(None);
    };
    let columns = source.schema().columns().into_iter();
    let renamed = columns.filter_map(|column| Some((column.clone(), own_name(&column, &scope)?)));
    let renamed = renamed.collect();
    let matched = conjunction(walk.matched).unwrap_or_else(|| lit(true));
    Ok(Some(Rows { plan, renamed, matched }))
}

/// Columns: what expressions call them, and what they are.
type Scope = Vec<(Column, Column)>;

struct Walk<'a> {
    /// Makes names unique.
    prefix: &'a str,
    names: usize,
    /// Columns of the plan that are true in rows of the subquery.
    matched: Vec<Expr>,
}

type Found = Option<(LogicalPlan, Scope)>;

impl Walk<'_> {
    fn new_name(&mut self) -> String {
        self.names += 1;
        format!("{}_{}", self.prefix, self.names)
    }

    /// `plan` over the rows of `base`. `around`: columns of relations beside it; `conditions`: what else its rows
    /// have to fulfil, in terms of `base` and its own columns.
    fn over(
        &mut self,
        base: LogicalPlan,
        plan: &LogicalPlan,
        around: &Scope,
        conditions: Vec<Expr>,
    ) -> Result<Found> {
        match plan {
            LogicalPlan::Filter(filter) => {
                if has_subquery(&filter.predicate) {
                    return Ok(None);
                }
                let mut conditions = conditions;
                conditions.push(filter.predicate.clone());
                self.over(base, &filter.input, around, conditions)
            }
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
                self.join(base, join, around, conditions)
            }
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => {
                self.fulfilled(base, Vec::new(), around, conditions)
            }
            plan if plan.all_out_ref_exprs().is_empty() => self.free(base, plan, around, conditions),
            other => {
                let found = match other {
                    LogicalPlan::SubqueryAlias(alias) => {
                        let found = self.over(base, &alias.input, around, Vec::new())?;
                        found.map(|(plan, scope)| (plan, called(scope, &alias.alias)))
                    }
                    LogicalPlan::Subquery(subquery) => {
                        self.over(base, &subquery.subquery, around, Vec::new())?
                    }
                    LogicalPlan::Projection(projection) => self.projection(base, projection, around)?,
                    LogicalPlan::Unnest(unnest) => self.unnest(base, unnest, around)?,
                    _ => None,
                };
                let Some((plan, scope)) = found else { return Ok(None) };
                self.fulfilled(plan, scope, around, conditions)
            }
        }
    }

    /// Rows that do not fulfil the conditions are not of the subquery.
    fn fulfilled(
        &mut self,
        plan: LogicalPlan,
        scope: Scope,
        around: &Scope,
        conditions: Vec<Expr>,
    ) -> Result<Found> {
        let all = [scope.as_slice(), around.as_slice()].concat();
        let Some(condition) = conjunction(conditions) else { return Ok(Some((plan, scope))) };
        let condition = resolved(condition, &all)?;
        let plan = self.matching(plan, condition)?;
        Ok(Some((plan, scope)))
    }

    /// The plan with one more column that is true in rows of the subquery.
    fn matching(&mut self, plan: LogicalPlan, condition: Expr) -> Result<LogicalPlan> {
        let name = self.new_name();
        self.matched.push(Expr::Column(Column::from_name(&name)).is_true());
        // Not `IS TRUE`, of which the physical plan does not know that it is never null.
        with(plan, vec![when(condition, lit(true)).end()?.alias(name)])
    }

    /// A relation of its own.
    fn free(
        &mut self,
        base: LogicalPlan,
        plan: &LogicalPlan,
        around: &Scope,
        conditions: Vec<Expr>,
    ) -> Result<Found> {
        let here = self.new_name();
        let mut exprs = vec![lit(true).alias(&here)];
        let mut scope = Scope::new();
        for column in plan.schema().columns() {
            let name = self.new_name();
            exprs.push(Expr::Column(column.clone()).alias(&name));
            scope.push((column, Column::from_name(name)));
        }
        let right = LogicalPlanBuilder::from(plan.clone()).project(exprs)?.build()?;
        let all = [scope.as_slice(), around.as_slice()].concat();
        let mut on = conditions.into_iter().map(|e| resolved(e, &all)).collect::<Result<Vec<_>>>()?;
        on.extend(self.matched.iter().cloned());
        if on.is_empty() {
            on.push(lit(true));
        }
        let plan = LogicalPlanBuilder::from(base).join_on(right, JoinType::Left, on)?.build()?;
        self.matched = vec![Expr::Column(Column::from_name(here)).is_true()];
        Ok(Some((plan, scope)))
    }

    /// One side after the other: first the one that is of the outer row.
    fn join(
        &mut self,
        base: LogicalPlan,
        join: &Join,
        around: &Scope,
        conditions: Vec<Expr>,
    ) -> Result<Found> {
        let (mut first, mut second) = (&join.left, &join.right);
        let of_base = |expr: &Expr| match expr {
            Expr::OuterReferenceColumn(_, column) => base.schema().has_column(column),
            _ => false,
        };
        if first.all_out_ref_exprs().is_empty() && second.all_out_ref_exprs().iter().all(of_base) {
            std::mem::swap(&mut first, &mut second);
        }
        let mut conditions = conditions;
        conditions.extend(join.on.iter().map(|(left, right)| left.clone().eq(right.clone())));
        conditions.extend(join.filter.clone());
        if conditions.iter().any(has_subquery) {
            return Ok(None);
        }
        let Some((plan, scope)) = self.over(base, first, around, Vec::new())? else { return Ok(None) };
        let all = [scope.as_slice(), around.as_slice()].concat();
        let Some((plan, more)) = self.over(plan, second, &all, conditions)? else { return Ok(None) };
        Ok(Some((plan, [scope, more].concat())))
    }

    fn projection(&mut self, base: LogicalPlan, projection: &Projection, around: &Scope) -> Result<Found> {
        let Some((plan, scope)) = self.over(base, &projection.input, around, Vec::new())? else {
            return Ok(None);
        };
        if projection.expr.iter().any(has_subquery) {
            return Ok(None);
        }
        let all = [scope.as_slice(), around.as_slice()].concat();
        let (mut exprs, mut own) = (Vec::new(), Scope::new());
        for (expr, column) in projection.expr.iter().zip(projection.schema.columns()) {
            let name = self.new_name();
            exprs.push(resolved(expr.clone().unalias(), &all)?.alias(&name));
            own.push((column, Column::from_name(name)));
        }
        Ok(Some((with(plan, exprs)?, own)))
    }

    /// A row of the outer query stays for arrays without items.
    fn unnest(&mut self, base: LogicalPlan, unnest: &Unnest, around: &Scope) -> Result<Found> {
        let Some((plan, scope)) = self.over(base, &unnest.input, around, Vec::new())? else {
            return Ok(None);
        };
        let recursions = &unnest.options.recursions;
        if recursions.iter().any(|recursion| recursion.depth > 1) || !unnest.struct_type_columns.is_empty() {
            return Ok(None);
        }
        let (mut lists, mut own, mut exprs, mut filled) = (Vec::new(), Scope::new(), Vec::new(), Vec::new());
        for (called, column) in scope {
            if !unnest.exec_columns.contains(&called) {
                own.push((called, column));
                continue;
            }
            let list = Expr::Column(column.clone());
            let (_, field) = plan.schema().qualified_field_from_column(&column)?;
            let null = match field.data_type() {
                DataType::Null => lit(ScalarValue::Null),
                data_type => lit(ScalarValue::try_from(data_type)?),
            };
            let some = cardinality(list.clone()).gt(lit(0_u64));
            let name = self.new_name();
            exprs.push(when(some.clone(), list).otherwise(null)?.alias(&name));
            filled.push(some);
            let output = recursions.iter().find(|recursion| recursion.input_column == called);
            let output = output.map_or_else(
                || Column::from_name(called.name.clone()),
                |recursion| recursion.output_column.clone(),
            );
            own.push((output, Column::from_name(&name)));
            lists.push(Column::from_name(name));
        }
        let Some(filled) = filled.into_iter().reduce(Expr::or) else { return Ok(None) };
        let plan = self.matching(with(plan, exprs)?, filled)?;
        let options = UnnestOptions::new().with_preserve_nulls(true);
        let plan = LogicalPlanBuilder::from(plan).unnest_columns_with_options(lists, options)?.build()?;
        Ok(Some((plan, own)))
    }
}

/// The plan with more columns.
fn with(plan: LogicalPlan, more: Vec<Expr>) -> Result<LogicalPlan> {
    let columns = plan.schema().columns().into_iter().map(Expr::Column);
    let exprs: Vec<Expr> = columns.chain(more).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

fn called(scope: Scope, alias: &TableReference) -> Scope {
    scope.into_iter().map(|(column, is)| (Column::new(Some(alias.clone()), column.name), is)).collect()
}

fn has_subquery(expr: &Expr) -> bool {
    let subquery = |expr: &Expr| {
        Ok(matches!(
            expr,
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
        ))
    };
    expr.exists(subquery).unwrap_or(true)
}

/// With the real names of columns: of the subquery, and else of the outer query.
fn resolved(expr: Expr, scope: &Scope) -> Result<Expr> {
    let resolve = |expr: Expr| {
        Ok(match &expr {
            Expr::OuterReferenceColumn(_, column) | Expr::Column(column) => {
                let name = own_name(column, scope).unwrap_or_else(|| column.clone());
                Transformed::yes(Expr::Column(name))
            }
            _ => Transformed::no(expr),
        })
    };
    Ok(expr.transform_up(resolve)?.data)
}

fn own_name(column: &Column, scope: &Scope) -> Option<Column> {
    let fits = |called: &Column| column.relation.is_none() || column.relation == called.relation;
    scope.iter().find(|(called, _)| called.name == column.name && fits(called)).map(|(_, is)| is.clone())
}
