//! Conditions that may fail, after those that keep them from it: `x <> 0 AND 10 / x > 1`,
//! `kind = 'n' AND value::int > 5`. DataFusion computes both sides of AND and OR for all rows of a batch and
//! may change their order; Postgres, as a rule, asks one after the other. Here what may fail is computed in
//! a CASE, for the rows that it is asked of.
//!
//! In WHERE, HAVING and the like only, where NULL and false are the same. Runs last, and may run twice.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{BinaryExpr, Case, Cast};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan, Operator, cast, lit, when};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

/// The rule.
#[derive(Debug)]
pub struct GuardedConditions;

impl AnalyzerRule for GuardedConditions {
    fn name(&self) -> &str {
        "guarded_conditions"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Filter(filter) if may_fail(&filter.predicate, filter.input.schema())? => {
                let predicate = guarded(filter.predicate, filter.input.schema())?;
                Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
            }
            node => Ok(Transformed::no(node)),
        })?;
        Ok(plan.data)
    }
}

/// A condition of which NULL means false.
fn guarded(condition: Expr, schema: &DFSchema) -> Result<Expr> {
    if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) = condition {
        let (left, right) = (guarded(*left, schema)?, guarded(*right, schema)?);
        return Ok(match may_fail(&right, schema)? && !has_subquery(&left)? {
            true => left.clone().or(asked_if(left.is_not_true(), right)?),
            false => left.or(right),
        });
    }
    let mut before: Vec<Expr> = Vec::new();
    let mut all = Vec::new();
    for part in split_conjunction_owned(condition) {
        let part = match &part {
            Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => guarded(part, schema)?,
            _ => part,
        };
        let unsure = may_fail(&part, schema)?;
        if !unsure && !has_subquery(&part)? {
            before.push(part.clone());
        }
        all.push(match conjunction(before.iter().cloned()).filter(|_| unsure) {
            Some(before) => asked_if(before, part)?,
            None => part,
        });
    }
    Ok(conjunction(all).unwrap_or_else(|| lit(true)))
}

/// `part` where `before` is true, else false. A CASE of booleans would become an AND again.
fn asked_if(before: Expr, part: Expr) -> Result<Expr> {
    let number = when(before, cast(part, DataType::Int8)).otherwise(lit(0_i8))?;
    Ok(number.eq(lit(1_i8)))
}

/// Whether an expression divides, or reads text as something else. What is in a CASE is guarded already.
fn may_fail(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    let mut found = false;
    expr.apply(|expr| {
        found |= match expr {
            Expr::Case(Case { .. }) => return Ok(TreeNodeRecursion::Jump),
            Expr::ScalarFunction(call) => match call.func.name() {
                "checked_divide" | "numeric_div" => call.args.last().is_none_or(may_be_zero),
                "numeric" => call.args.first().is_none_or(|arg| is_computed(arg) && is_text(arg, schema)),
                "uuid_in" | "date_in" | "time_in" | "timestamp_in" | "timestamptz_in" | "interval_in" => {
                    call.args.first().is_none_or(is_computed)
                }
                _ => false,
            },
            Expr::BinaryExpr(BinaryExpr { op: Operator::Divide | Operator::Modulo, right, .. }) => {
                may_be_zero(right)
            }
            Expr::Cast(Cast { expr, field }) => {
                field.data_type().is_numeric() && is_computed(expr) && is_text(expr, schema)
            }
            _ => false,
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Not a constant other than zero.
fn may_be_zero(divisor: &Expr) -> bool {
    match divisor {
        Expr::Literal(value, _) => ScalarValue::new_zero(&value.data_type()).is_ok_and(|zero| zero == *value),
        Expr::Cast(Cast { expr, .. }) => may_be_zero(expr),
        _ => true,
    }
}

fn is_computed(expr: &Expr) -> bool {
    !matches!(expr, Expr::Literal(..) | Expr::Placeholder(_))
}

fn is_text(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema as &dyn ExprSchema).is_ok_and(|t| t.is_string())
}

/// Whether it would be run twice, or would be another one the second time.
fn has_subquery(expr: &Expr) -> Result<bool> {
    let subquery = |expr: &Expr| {
        matches!(
            expr,
            Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_)
        )
    };
    Ok(expr.is_volatile() || expr.exists(|expr| Ok(subquery(expr)))?)
}
