//! Casts that arrow does differently from Postgres: a fractional number to an integer rounds (arrow
//! cuts off), text to `bytea`, `uuid`, dates and times is read as Postgres reads it, and written likewise.
//!
//! Runs before type coercion, and so sees only casts that the statement asks for; text is read so in
//! those of type coercion too ([`ImpliedCasts`]).

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::functions::expr_fn::round;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, cast, lit};
use datafusion::optimizer::AnalyzerRule;
use datafusion::scalar::ScalarValue;

use super::{blank_padded, json_operators};
use crate::analyzer::{is_place, place_beside};
use crate::functions::floats;
use crate::functions::math::rounded as rounded_number;
use crate::functions::text_output;
use crate::types::{bytes_output, text_input};

/// The rule.
#[derive(Debug)]
pub struct PostgresCasts;

/// The rule for what type coercion casts.
#[derive(Debug)]
pub struct ImpliedCasts;

impl AnalyzerRule for PostgresCasts {
    fn name(&self) -> &str {
        "postgres_casts"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, as_postgres)
    }
}

impl AnalyzerRule for ImpliedCasts {
    fn name(&self) -> &str {
        "implied_casts"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |expr, schema| Ok(read_or_write_text(expr, schema)))
    }
}

pub(super) fn rewrite(
    plan: LogicalPlan,
    each: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|plan| {
        let schema = merge_schema(&plan.inputs());
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| each(expr, &schema))?;
            Ok(if expr.transformed { expr.update_data(|expr| name.restore(expr)) } else { expr })
        })
    })?;
    Ok(plan.data)
}

/// A cast of or to text that arrow would read or write otherwise, or to a number that it would make another.
fn read_or_write_text(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else { return Transformed::no(expr) };
    let Ok(source) = inner.get_type(schema as &dyn ExprSchema) else { return Transformed::no(expr) };
    let items_of_text = matches!(&source, DataType::List(item) if item.data_type().is_string());
    let through = if field.data_type().is_string() && !source.is_string() {
        bytes_output::write(inner, &source).or_else(|| text_output::written(inner, &source))
    } else if source.is_string() {
        text_input::read_text(inner, field.data_type())
    } else if items_of_text {
        text_input::read(inner, field.data_type())
    } else {
        floats::by_digits(inner, &source, field.data_type())
    };
    match through {
        Some(through) => Transformed::yes(Expr::Cast(Cast { expr: Box::new(through), field: field.clone() })),
        None => Transformed::no(expr),
    }
}

/// `u IN ('…', '…')`: what is compared with a uuid or a time is one, and with a `char(n)` has no blanks at its
/// end.
fn listed(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::InList(mut list) = expr else { return Transformed::no(expr) };
    if blank_padded::is_padded(&list.expr, schema) {
        for item in &mut list.list {
            if let Some(text) = blank_padded::with_blanks(item) {
                *item = lit(text);
            }
        }
        return Transformed::yes(Expr::InList(list));
    }
    let is_read = |t: &DataType| *t == DataType::FixedSizeBinary(16) || t.is_temporal();
    let Some(listed) = list.expr.get_type(schema as &dyn ExprSchema).ok().filter(is_read) else {
        return Transformed::no(Expr::InList(list));
    };
    for item in &mut list.list {
        let is_text = item.get_type(schema as &dyn ExprSchema).is_ok_and(|item| item.is_string());
        if let Some(read) = text_input::read(item, &listed).filter(|_| is_text) {
            *item = read;
        }
    }
    Transformed::yes(Expr::InList(list))
}

/// `tid IN ('…', '…')`, `tid BETWEEN '…' AND '…'`.
fn with_places(mut expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let (value, literals): (&Expr, Vec<&mut Expr>) = match &mut expr {
        Expr::InList(list) => (list.expr.as_ref(), list.list.iter_mut().collect()),
        Expr::Between(between) => (between.expr.as_ref(), vec![&mut between.low, &mut between.high]),
        _ => return Ok(expr),
    };
    if !is_place(value, schema) {
        return Ok(expr);
    }
    for literal in literals {
        if let Some(read) = place_beside(literal, value, schema) {
            *literal = read?;
        }
    }
    Ok(expr)
}

fn as_postgres(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let expr = with_places(expr, schema)?;
    if matches!(expr, Expr::InList(_)) {
        return Ok(listed(expr, schema));
    }
    let Expr::Cast(Cast { expr: inner, field }) = &expr else {
        return Ok(Transformed::no(expr));
    };
    if let (Expr::Literal(ScalarValue::Int64(Some(number)), None), DataType::Int32) =
        (inner.as_ref(), field.data_type())
        && let Ok(number) = i32::try_from(*number)
    {
        return Ok(Transformed::yes(lit(number)));
    }
    if let Some(scalar) = json_operators::scalar_of(inner, field.data_type(), schema) {
        let mut scalar = scalar?;
        // Rounded, as numbers are.
        if field.data_type().is_integer() {
            scalar = round(vec![cast(scalar, DataType::Decimal128(38, 10))]);
        }
        return Ok(Transformed::yes(Expr::Cast(Cast { expr: Box::new(scalar), field: field.clone() })));
    }
    let Ok(source) = inner.get_type(schema as &dyn ExprSchema) else {
        return Ok(Transformed::no(expr));
    };
    if source.is_string() || source.is_list() || !field.data_type().is_integer() {
        return Ok(read_or_write_text(expr, schema));
    }
    Ok(rounded(expr, &source))
}

/// A fractional number is rounded before it becomes an integer.
fn rounded(expr: Expr, source: &DataType) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else {
        return Transformed::no(expr);
    };
    if !field.data_type().is_integer() || is_rounded(inner) {
        return Transformed::no(expr);
    }
    match source {
        DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => {
            let inner = rounded_number(inner.as_ref().clone());
            Transformed::yes(Expr::Cast(Cast { expr: Box::new(inner), field: field.clone() }))
        }
        _ => Transformed::no(expr),
    }
}

fn is_rounded(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == "round")
}
