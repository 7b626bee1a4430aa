//! The type in common of values that are to have one (manual 10.5), where DataFusion takes another:
//!
//! - of floating point numbers and decimals, `double precision`: in decimals small numbers are 0 and large ones
//!   do not fit. `real` beside an integer is compared as that too;
//! - of dates or timestamps and those with time zone, the latter;
//! - of a text literal and anything else, the type of that, in CASE also of what it is compared with.
//!
//! And intervals are compared by their length where they are compared with several.
//!
//! Runs on the plan as the SQL planner makes it, so that types are right before anybody asks for them.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, BinaryExpr, Case, Cast, InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Union, Values, cast,
};
use datafusion::scalar::ScalarValue;
use std::collections::HashMap;
use std::sync::Arc;

use super::date_arithmetic;
use crate::functions::columnar::timestamptz;
use crate::functions::interval;

/// Functions whose arguments have a type in common.
const OF_ONE_TYPE: &[&str] = &["coalesce", "nullif", "greatest", "least", "make_array"];

/// The plan with casts to these types.
pub fn resolve(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut changed = false;
    let plan = plan.transform_up_with_subqueries(|node| {
        let node = match node {
            LogicalPlan::Values(values) => of_values(values)?,
            LogicalPlan::Union(_) => of_union(node)?,
            node => {
                let mut schema = merge_schema(&node.inputs());
                if let LogicalPlan::TableScan(scan) = &node {
                    schema.merge(&DFSchema::try_from_qualified_schema(
                        scan.table_name.clone(),
                        &scan.source.schema(),
                    )?);
                }
                let names = NamePreserver::new(&node);
                node.map_expressions(|expr| {
                    let name = names.save(&expr);
                    let expr = expr.transform_up(|expr| Ok(of_expr(expr, &schema)))?;
                    Ok(if expr.transformed { expr.update_data(|expr| name.restore(expr)) } else { expr })
                })?
            }
        };
        changed |= node.transformed;
        if changed { Ok(Transformed::yes(node.data.recompute_schema()?)) } else { Ok(node) }
    })?;
    Ok(plan.data)
}

/// Which types there are among some.
#[derive(Debug, Default, Clone)]
struct Kinds {
    float: bool,
    decimal: bool,
    real: bool,
    integer: bool,
    local: bool,
    zoned: bool,
    literal: bool,
    /// The first that is none of a text.
    other: Option<DataType>,
}

impl Kinds {
    fn add(mut self, data_type: &DataType) -> Self {
        self.float |= data_type.is_floating();
        self.real |= *data_type == DataType::Float32;
        self.decimal |= data_type.is_decimal();
        self.integer |= data_type.is_integer();
        self.zoned |= matches!(data_type, DataType::Timestamp(_, Some(_)));
        self.local |= matches!(data_type, DataType::Date32 | DataType::Timestamp(_, None));
        let plain = data_type.is_numeric() || data_type.is_temporal() || *data_type == DataType::Boolean;
        if self.other.is_none() {
            self.other = if plain { Some(data_type.clone()) } else { plain_list(data_type) };
        }
        self
    }

    fn add_literal(mut self) -> Self {
        self.literal = true;
        self
    }

    fn of<'e>(exprs: impl IntoIterator<Item = &'e Expr>, schema: &DFSchema) -> Self {
        exprs.into_iter().fold(Self::default(), |kinds, expr| {
            if is_text_literal(expr) {
                return kinds.add_literal();
            }
            match expr.get_type(schema as &dyn ExprSchema) {
                Ok(data_type) => kinds.add(&data_type),
                Err(_) => kinds,
            }
        })
    }

    /// Compared as `double precision`.
    fn mixed(&self) -> bool {
        (self.float && self.decimal) || (self.real && self.integer)
    }

    /// What values of a type become.
    fn common(&self, data_type: &DataType) -> Option<DataType> {
        let inexact = data_type.is_decimal() || *data_type == DataType::Float32;
        let local = matches!(data_type, DataType::Date32 | DataType::Timestamp(_, None));
        if self.float && self.decimal && inexact {
            Some(DataType::Float64)
        } else if matches!(data_type, DataType::List(_)) {
            self.other.clone().filter(|other| self.literal && other != data_type)
        } else if self.zoned && local {
            Some(timestamptz())
        } else {
            None
        }
    }

    /// What a text literal becomes. A decimal keeps its digits.
    fn of_literal(&self, literal: &Expr) -> Option<DataType> {
        let other = self.other.as_ref()?;
        let common = self.common(other).unwrap_or_else(|| other.clone());
        Some(if common.is_decimal() { decimal_of(literal).unwrap_or(common) } else { common })
    }

    /// Whether values of some types become others.
    fn converts(&self) -> bool {
        (self.float && self.decimal) || (self.zoned && self.local) || (self.literal && self.other.is_some())
    }

    fn convert(&self, expr: &mut Expr, schema: &DFSchema) {
        let wanted = match is_text_literal(expr) {
            true => self.of_literal(expr),
            false => expr.get_type(schema as &dyn ExprSchema).ok().and_then(|t| self.common(&t)),
        };
        if let Some(wanted) = wanted {
            *expr = cast(expr.clone(), wanted);
        }
    }
}

fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Alias(alias) => text_of(&alias.expr),
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => Some(text),
        _ => None,
    }
}

fn is_text_literal(expr: &Expr) -> bool {
    text_of(expr).is_some()
}

/// The type with the digits of a number as it is written. `None`: it is not written plainly.
fn decimal_of(literal: &Expr) -> Option<DataType> {
    let text = text_of(literal)?.trim().trim_start_matches(['-', '+']);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let plain = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    let scale = i8::try_from(fraction.len()).ok()?;
    let precision = u8::try_from(whole.len() + fraction.len()).ok()?;
    (plain(whole) && plain(fraction) && (1..=38).contains(&precision))
        .then_some(DataType::Decimal128(precision, scale))
}

/// A date beside a timestamp, of whose resolution it becomes one: in nanoseconds only three centuries have a
/// place. `false`: it is none.
fn as_moment(date: &mut Expr, other: &Expr, schema: &DFSchema) -> bool {
    let of = |expr: &Expr| expr.get_type(schema as &dyn ExprSchema);
    let literals = [&*date, other].into_iter().any(|expr| matches!(expr, Expr::Literal(..)));
    match (of(date), of(other)) {
        (Ok(DataType::Date32), Ok(moment @ DataType::Timestamp(..))) if !literals => {
            *date = cast(date.clone(), moment);
            true
        }
        _ => false,
    }
}

/// For a comparison.
fn to_float(expr: &mut Expr, schema: &DFSchema) {
    let known = expr.get_type(schema as &dyn ExprSchema);
    if known.is_ok_and(|t| t.is_decimal() || t.is_integer() || t == DataType::Float32) {
        *expr = cast(expr.clone(), DataType::Float64);
    }
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema as &dyn ExprSchema).is_ok_and(|t| interval::is_interval(&t))
}

/// Intervals as what they are compared by.
fn to_spans<'e>(intervals: impl IntoIterator<Item = &'e mut Expr>) {
    for interval in intervals {
        if let Some(span) = date_arithmetic::span(interval) {
            *interval = span;
        }
    }
}

fn compares(op: Operator) -> bool {
    use Operator::*;
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn of_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(comparison) if compares(comparison.op) => of_comparison(comparison, schema),
        Expr::Between(Between { mut expr, negated, mut low, mut high })
            if Kinds::of([expr.as_ref(), low.as_ref(), high.as_ref()], schema).mixed() =>
        {
            [&mut expr, &mut low, &mut high].into_iter().for_each(|e| to_float(e, schema));
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::InList(InList { mut expr, mut list, negated })
            if Kinds::of(list.iter().chain([expr.as_ref()]), schema).mixed() =>
        {
            list.iter_mut().chain([expr.as_mut()]).for_each(|e| to_float(e, schema));
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        Expr::Between(Between { mut expr, negated, mut low, mut high })
            if [&expr, &low, &high].into_iter().all(|e| is_interval(e, schema)) =>
        {
            to_spans([expr.as_mut(), low.as_mut(), high.as_mut()]);
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        Expr::InList(InList { mut expr, mut list, negated })
            if list.iter().chain([expr.as_ref()]).all(|e| is_interval(e, schema)) =>
        {
            to_spans(list.iter_mut().chain([expr.as_mut()]));
            Transformed::yes(Expr::InList(InList { expr, list, negated }))
        }
        Expr::Case(case) => of_case(case, schema),
        Expr::ScalarFunction(ScalarFunction { func, mut args }) if OF_ONE_TYPE.contains(&func.name()) => {
            let kinds = Kinds::of(&args, schema);
            if !kinds.converts() {
                return Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }));
            }
            args.iter_mut().for_each(|e| kinds.convert(e, schema));
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
        }
        expr => Transformed::no(expr),
    }
}

fn of_comparison(mut comparison: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
    let (left, right) = (comparison.left.as_mut(), comparison.right.as_mut());
    let changed = match Kinds::of([&*left, &*right], schema).mixed() {
        true => {
            [left, right].into_iter().for_each(|side| to_float(side, schema));
            true
        }
        false => as_moment(left, right, schema) || as_moment(right, left, schema),
    };
    Transformed::new(Expr::BinaryExpr(comparison), changed, TreeNodeRecursion::Continue)
}

/// The results have a type in common, and so have the operand and what it is compared with; texts that are
/// compared with it are of its type (`CASE indisunique WHEN 't' THEN …`).
fn of_case(mut case: Case, schema: &DFSchema) -> Transformed<Expr> {
    let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
    let kinds = Kinds::of(results.chain(case.else_expr.as_deref()), schema);
    let mut changed = kinds.converts();
    if changed {
        let thens = case.when_then_expr.iter_mut().map(|(_, then)| then);
        thens.chain(&mut case.else_expr).for_each(|e| kinds.convert(e, schema));
    }
    if let Some(operand) = &mut case.expr {
        let compared = Kinds::of([operand.as_ref()], schema);
        let whens = case.when_then_expr.iter_mut().map(|(when, _)| when);
        for when in whens.filter(|when| is_text_literal(when)) {
            if let Some(wanted) = compared.of_literal(when) {
                **when = cast(when.as_ref().clone(), wanted);
                changed = true;
            }
        }
        let whens = case.when_then_expr.iter().map(|(when, _)| when.as_ref());
        if Kinds::of(whens.chain([operand.as_ref()]), schema).mixed() {
            let whens = case.when_then_expr.iter_mut().map(|(when, _)| when);
            whens.chain([operand]).for_each(|e| to_float(e, schema));
            changed = true;
        }
    }
    Transformed::new(Expr::Case(case), changed, TreeNodeRecursion::Continue)
}

/// The type of an array without what a table's column says of its items.
fn plain_list(data_type: &DataType) -> Option<DataType> {
    let DataType::List(item) = data_type else { return None };
    Some(DataType::List(Arc::new(item.as_ref().clone().with_metadata(HashMap::new()))))
}

/// The planner has cast all rows to the type in common already.
fn of_values(values: Values) -> Result<Transformed<LogicalPlan>> {
    let empty = DFSchema::empty();
    let mut floats = vec![false; values.schema.fields().len()];
    for row in &values.values {
        for ((expr, field), float) in row.iter().zip(values.schema.fields()).zip(&mut floats) {
            if field.data_type().is_decimal()
                && let Expr::Cast(Cast { expr: inner, .. }) = expr
            {
                *float |= inner.get_type(&empty as &dyn ExprSchema).is_ok_and(|t| t.is_floating());
            }
        }
    }
    if !floats.contains(&true) {
        return Ok(Transformed::no(LogicalPlan::Values(values)));
    }
    let to_float = |(expr, float): (Expr, &bool)| match (expr, float) {
        (Expr::Cast(Cast { expr: inner, .. }), true) => cast(*inner, DataType::Float64),
        (expr, true) => cast(expr, DataType::Float64),
        (expr, false) => expr,
    };
    let rows = values.values.into_iter().map(|row| row.into_iter().zip(&floats).map(to_float).collect());
    Ok(Transformed::yes(LogicalPlanBuilder::values(rows.collect())?.build()?))
}

fn of_union(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Union(union) = &node else { return Ok(Transformed::no(node)) };
    let count = union.schema.fields().len();
    let mut kinds = vec![Kinds::default(); count];
    for input in &union.inputs {
        for (i, (kind, field)) in kinds.iter_mut().zip(input.schema().fields()).enumerate() {
            let before = std::mem::take(kind);
            *kind = match literal_column(input, i) {
                Some(_) => before.add_literal(),
                None => before.add(field.data_type()),
            };
        }
    }
    let first = union.inputs.first().map(|input| input.schema().clone());
    let stale = first.is_some_and(|first| {
        first.fields().iter().zip(union.schema.fields()).any(|(a, b)| a.data_type() != b.data_type())
    });
    if !kinds.iter().any(Kinds::converts) {
        return match stale {
            true => Ok(Transformed::yes(loose_union(union.inputs.clone())?)),
            false => Ok(Transformed::no(node)),
        };
    }
    let mut inputs = union.inputs.clone();
    for input in &mut inputs {
        let columns =
            input.schema().iter().zip(&kinds).enumerate().map(|(i, ((qualifier, field), kinds))| {
                let column = Expr::from((qualifier, field));
                let wanted = match literal_column(input, i) {
                    Some(literal) => kinds.of_literal(literal),
                    None => kinds.common(field.data_type()),
                };
                match wanted {
                    Some(wanted) => cast(column, wanted).alias_qualified(qualifier.cloned(), field.name()),
                    None => column,
                }
            });
        let columns: Vec<Expr> = columns.collect();
        let plan = LogicalPlanBuilder::from(input.as_ref().clone()).project(columns)?.build()?;
        *input = Arc::new(plan);
    }
    Ok(Transformed::yes(loose_union(inputs)?))
}

/// The text literal that a branch gives in every row.
fn literal_column(plan: &LogicalPlan, column: usize) -> Option<&Expr> {
    match plan {
        LogicalPlan::Projection(projection) => projection.expr.get(column).filter(|e| is_text_literal(e)),
        _ => None,
    }
}

/// The types of its branches are made equal by type coercion.
fn loose_union(inputs: Vec<Arc<LogicalPlan>>) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}
