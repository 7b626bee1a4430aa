//! `FROM t, f(t.x)` and `FROM t, LATERAL (SELECT t.x + 1)`: what is on the right is computed from each row
//! of the left and reads no relation of its own. It is put on top of the left instead of being joined
//! with it, which DataFusion only does where the right reads a relation.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, TableReference, UnnestOptions};
use datafusion::error::Result;
use datafusion::functions_nested::expr_fn::cardinality;
use datafusion::logical_expr::{
    Expr, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, Unnest, lit, when,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

/// The rule.
#[derive(Debug)]
pub struct LateralRows;

impl AnalyzerRule for LateralRows {
    fn name(&self) -> &str {
        "lateral_rows"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|plan| {
            if let LogicalPlan::Join(join) = &plan
                && let Some(rows) = over_left(join)?
            {
                return Ok(Transformed::yes(rows));
            }
            Ok(Transformed::no(plan))
        })?;
        Ok(plan.data)
    }
}

/// Columns of the right: how expressions call them, and the name that they really have.
type Columns = Vec<(Column, String)>;

struct Graft<'a> {
    left: &'a LogicalPlan,
    /// Rows of the left stay where the right gives none.
    keep: bool,
    names: usize,
}

fn over_left(join: &Join) -> Result<Option<LogicalPlan>> {
    let keep = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Ok(None),
    };
    let always = matches!(join.filter, None | Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _)));
    if !join.on.is_empty() || (keep && !always) {
        return Ok(None);
    }
    let (right, alias) = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(alias) => (alias.input.as_ref(), Some(alias.alias.clone())),
        other => (other, None),
    };
    let LogicalPlan::Subquery(subquery) = right else { return Ok(None) };
    let mut graft = Graft { left: &join.left, keep, names: 0 };
    let Some((plan, columns)) = graft.over(&subquery.subquery)? else { return Ok(None) };
    let mut exprs = graft.left_columns();
    for (called, name) in columns {
        let qualifier = alias.clone().or(called.relation);
        exprs.push(Expr::Column(Column::from_name(name)).alias_qualified(qualifier, called.name));
    }
    let mut plan = LogicalPlanBuilder::from(plan).project(exprs)?;
    if let Some(filter) = join.filter.as_ref().filter(|_| !always) {
        plan = plan.filter(filter.clone())?;
    }
    Ok(Some(plan.build()?))
}

impl Graft<'_> {
    fn left_columns(&self) -> Vec<Expr> {
        self.left.schema().iter().map(|column| Expr::Column(Column::from(column))).collect()
    }

    fn new_name(&mut self) -> String {
        self.names += 1;
        format!("\u{1}lateral{}", self.names)
    }

    /// The plan over the left's rows, which it keeps all columns of. `None`: it is more than this rule does.
    fn over(&mut self, plan: &LogicalPlan) -> Result<Option<(LogicalPlan, Columns)>> {
        match plan {
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => {
                Ok(Some((self.left.clone(), Vec::new())))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let Some((plan, columns)) = self.over(&alias.input)? else { return Ok(None) };
                let called = |(column, name): (Column, String)| {
                    (Column::new(Some(alias.alias.clone()), column.name), name)
                };
                Ok(Some((plan, columns.into_iter().map(called).collect())))
            }
            LogicalPlan::Subquery(subquery) => self.over(&subquery.subquery),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Filter(filter) if !self.keep => {
                let Some((plan, columns)) = self.over(&filter.input)? else { return Ok(None) };
                let predicate = resolved(filter.predicate.clone(), &columns)?;
                let filter = Filter::try_new(predicate, Arc::new(plan))?;
                Ok(Some((LogicalPlan::Filter(filter), columns)))
            }
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            _ => Ok(None),
        }
    }

    fn projection(&mut self, projection: &Projection) -> Result<Option<(LogicalPlan, Columns)>> {
        let Some((input, columns)) = self.over(&projection.input)? else { return Ok(None) };
        if projection.expr.iter().any(has_subquery) {
            return Ok(None);
        }
        let mut exprs = self.left_columns();
        let mut own = Columns::new();
        for (expr, (qualifier, field)) in projection.expr.iter().zip(projection.schema.iter()) {
            let name = self.new_name();
            exprs.push(resolved(expr.clone().unalias(), &columns)?.alias(&name));
            own.push((Column::new(qualifier.cloned(), field.name()), name));
        }
        let plan = LogicalPlanBuilder::from(input).project(exprs)?.build()?;
        Ok(Some((plan, own)))
    }

    fn unnest(&mut self, unnest: &Unnest) -> Result<Option<(LogicalPlan, Columns)>> {
        let Some((input, columns)) = self.over(&unnest.input)? else { return Ok(None) };
        let deep = unnest.options.recursions.iter().any(|recursion| recursion.depth > 1);
        if deep || !unnest.struct_type_columns.is_empty() {
            return Ok(None);
        }
        let mut lists = Vec::new();
        let mut own = Columns::new();
        for (called, name) in columns {
            if !unnest.exec_columns.contains(&called) {
                own.push((called, name));
                continue;
            }
            let outputs =
                unnest.options.recursions.iter().filter(|recursion| recursion.input_column == called);
            let output = outputs.map(|recursion| recursion.output_column.clone()).next();
            own.push((output.unwrap_or_else(|| Column::from_name(called.name)), name.clone()));
            lists.push(name);
        }
        let input = if self.keep { self.null_for_empty(input, &own, &lists)? } else { input };
        let options = UnnestOptions::new().with_preserve_nulls(self.keep);
        let lists = lists.into_iter().map(Column::from_name).collect();
        let plan = LogicalPlanBuilder::from(input).unnest_columns_with_options(lists, options)?.build()?;
        Ok(Some((plan, own)))
    }

    /// An empty array gives no row, but NULL one, which is what the row of the left is kept with.
    fn null_for_empty(&self, input: LogicalPlan, own: &Columns, lists: &[String]) -> Result<LogicalPlan> {
        let mut exprs = self.left_columns();
        for (_, name) in own {
            let column = Expr::Column(Column::from_name(name));
            if !lists.contains(name) {
                exprs.push(column);
                continue;
            }
            let field = input.schema().field_with_unqualified_name(name)?;
            let empty = cardinality(column.clone()).eq(lit(0_u64));
            let null = match field.data_type() {
                DataType::Null => lit(ScalarValue::Null),
                data_type => lit(ScalarValue::try_from(data_type)?),
            };
            exprs.push(when(empty, null).otherwise(column)?.alias(name));
        }
        LogicalPlanBuilder::from(input).project(exprs)?.build()
    }
}

fn has_subquery(expr: &Expr) -> bool {
    let subquery =
        |expr: &Expr| Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)));
    expr.exists(subquery).unwrap_or(true)
}

/// With the left's columns as columns, and those of the right by their real names.
fn resolved(expr: Expr, columns: &Columns) -> Result<Expr> {
    let resolve = |expr: Expr| {
        Ok(match expr {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            Expr::Column(column) => match own_name(&column, columns) {
                Some(name) => Transformed::yes(Expr::Column(Column::from_name(name))),
                None => Transformed::no(Expr::Column(column)),
            },
            other => Transformed::no(other),
        })
    };
    Ok(expr.transform_down(resolve)?.data)
}

fn own_name<'a>(column: &Column, columns: &'a Columns) -> Option<&'a str> {
    let fits =
        |qualifier: &Option<TableReference>| column.relation.is_none() || column.relation == *qualifier;
    let found = columns.iter().find(|(called, _)| called.name == column.name && fits(&called.relation));
    found.map(|(_, name)| name.as_str())
}
