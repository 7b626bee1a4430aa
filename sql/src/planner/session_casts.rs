//! Casts of times that depend on the session's time zone, and dates compared with times.
//!
//! Runs after type coercion, so that it sees the casts of operators and functions too. A comparison of a date
//! with a constant time becomes one of dates, by which files can be pruned.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, BinaryExpr, Cast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, cast};
use datafusion::optimizer::AnalyzerRule;

use crate::functions::calendar::Zone;
use crate::functions::columnar::{TIMESTAMP, timestamptz};
use crate::functions::session_time::call;

/// The rule.
#[derive(Debug)]
pub struct SessionCasts;

impl AnalyzerRule for SessionCasts {
    fn name(&self) -> &str {
        "session_casts"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let in_utc = Zone::of(config).is_utc();
        let plan = plan.transform_up_with_subqueries(|plan| {
            let mut schema = merge_schema(&plan.inputs());
            if let LogicalPlan::TableScan(scan) = &plan {
                schema.merge(&DFSchema::try_from_qualified_schema(
                    scan.table_name.clone(),
                    &scan.source.schema(),
                )?);
            }
            let casts = Casts { schema: &schema, in_utc };
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let expr = expr.transform_up(|expr| Ok(casts.rewrite(expr)))?;
                Ok(if expr.transformed { expr.update_data(|expr| name.restore(expr)) } else { expr })
            })
        })?;
        Ok(plan.data)
    }
}

struct Casts<'a> {
    schema: &'a DFSchema,
    /// Arrow's own casts are right then.
    in_utc: bool,
}

fn to(expr: Expr, from: &DataType, wanted: DataType) -> Expr {
    if *from == wanted { expr } else { cast(expr, wanted) }
}

impl Casts<'_> {
    fn rewrite(&self, expr: Expr) -> Transformed<Expr> {
        let rewritten = match &expr {
            Expr::Cast(Cast { expr: inner, field }) => self.cast(inner, field.data_type()),
            Expr::BinaryExpr(binary) => dates_compared(binary, self.schema),
            Expr::Between(between) => date_between(between, self.schema),
            _ => None,
        };
        match rewritten {
            Some(rewritten) => Transformed::yes(rewritten),
            None => Transformed::no(expr),
        }
    }

    fn cast(&self, inner: &Expr, target: &DataType) -> Option<Expr> {
        let source = inner.get_type(self.schema as &dyn ExprSchema).ok()?;
        if self.in_utc {
            return None;
        }
        match (&source, target) {
            (
                DataType::Timestamp(_, Some(_)),
                DataType::Timestamp(_, None)
                | DataType::Date32
                | DataType::Date64
                | DataType::Time64(_)
                | DataType::Time32(_),
            ) => {
                let local =
                    call("timestamptz_to_timestamp", vec![to(inner.clone(), &source, timestamptz())])?;
                Some(to(local, &TIMESTAMP, target.clone()))
            }
            (
                DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64,
                DataType::Timestamp(_, Some(_)),
            ) => {
                let instant = call("timestamp_to_timestamptz", vec![to(inner.clone(), &source, TIMESTAMP)])?;
                Some(to(instant, &timestamptz(), target.clone()))
            }
            _ => None,
        }
    }
}

/// The date that is cast to a timestamp.
fn date_in<'a>(expr: &'a Expr, schema: &DFSchema) -> Option<&'a Expr> {
    let (inner, target) = match expr {
        Expr::Cast(Cast { expr, field }) => (expr.as_ref(), field.data_type()),
        // In the session's zone, by this rule.
        Expr::ScalarFunction(function) if function.name() == "timestamp_to_timestamptz" => {
            return function.args.first().and_then(|date| date_in(date, schema));
        }
        _ => return None,
    };
    if matches!(inner, Expr::Cast(_) | Expr::ScalarFunction(_))
        && let Some(date) = date_in(inner, schema)
    {
        return Some(date);
    }
    let is_date = matches!(inner.get_type(schema), Ok(DataType::Date32));
    (is_date && matches!(target, DataType::Timestamp(..)) && !inner.column_refs().is_empty()).then_some(inner)
}

/// A constant time as local time.
fn constant_time(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    let constant = expr.column_refs().is_empty()
        && !expr.is_volatile()
        && !expr
            .exists(|e| {
                Ok(matches!(
                    e,
                    Expr::ScalarSubquery(_)
                        | Expr::InSubquery(_)
                        | Expr::Exists(_)
                        | Expr::OuterReferenceColumn(..)
                ))
            })
            .unwrap_or(true);
    match expr.get_type(schema).ok()? {
        _ if !constant => None,
        source @ DataType::Timestamp(_, None) => Some(to(expr.clone(), &source, TIMESTAMP)),
        source @ DataType::Timestamp(_, Some(_)) => {
            call("timestamptz_to_timestamp", vec![to(expr.clone(), &source, timestamptz())])
        }
        _ => None,
    }
}

fn dates_compared(binary: &BinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let (date, time, op) = match date_in(&binary.left, schema) {
        Some(date) => (date, binary.right.as_ref(), binary.op),
        None => (date_in(&binary.right, schema)?, binary.left.as_ref(), binary.op.swap()?),
    };
    // A day begins before a time if it begins before the first day that does not.
    let rounding = match op {
        Operator::Lt | Operator::GtEq => "date_ceiling",
        Operator::LtEq | Operator::Gt => "date_floor",
        _ => return None,
    };
    let limit = call(rounding, vec![constant_time(time, schema)?])?;
    Some(Expr::BinaryExpr(BinaryExpr::new(Box::new(date.clone()), op, Box::new(limit))))
}

fn date_between(between: &Between, schema: &DFSchema) -> Option<Expr> {
    let date = date_in(&between.expr, schema)?;
    let low = call("date_ceiling", vec![constant_time(&between.low, schema)?])?;
    let high = call("date_floor", vec![constant_time(&between.high, schema)?])?;
    Some(Expr::Between(Between::new(Box::new(date.clone()), between.negated, Box::new(low), Box::new(high))))
}
