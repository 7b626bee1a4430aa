//! Floating point numbers beside decimals: Postgres makes `double precision` of both, DataFusion decimals,
//! in which small numbers are 0 and large ones do not fit. And untyped texts in CASE, which have the type of
//! what is beside them.
//!
//! Runs on the plan as the SQL planner makes it, so that types are right before anybody asks for them.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, BinaryExpr, Case, Cast, InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Union, Values, cast,
};
use std::sync::Arc;

/// Functions whose arguments have a type in common.
const OF_ONE_TYPE: &[&str] = &["coalesce", "nullif", "greatest", "least", "make_array"];

/// The plan with casts to `double precision` where it is the type in common.
pub fn floats_first(plan: LogicalPlan) -> Result<LogicalPlan> {
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

/// Which kinds of numbers there are among some.
#[derive(Debug, Default, Clone, Copy)]
struct Kinds {
    float: bool,
    decimal: bool,
}

impl Kinds {
    fn add(mut self, data_type: &DataType) -> Self {
        self.float |= data_type.is_floating();
        self.decimal |= data_type.is_decimal();
        self
    }

    fn of<'e>(exprs: impl IntoIterator<Item = &'e Expr>, schema: &DFSchema) -> Self {
        exprs.into_iter().fold(Self::default(), |kinds, expr| {
            match expr.get_type(schema as &dyn ExprSchema) {
                Ok(data_type) => kinds.add(&data_type),
                Err(_) => kinds,
            }
        })
    }

    fn mixed(self) -> bool {
        self.float && self.decimal
    }
}

fn to_float(expr: &mut Expr, schema: &DFSchema) {
    let known = expr.get_type(schema as &dyn ExprSchema);
    if known.is_ok_and(|t| t.is_decimal() || t == DataType::Float32) {
        *expr = cast(expr.clone(), DataType::Float64);
    }
}

fn compares(op: Operator) -> bool {
    use Operator::*;
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn of_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right })
            if compares(op) && Kinds::of([left.as_ref(), right.as_ref()], schema).mixed() =>
        {
            to_float(&mut left, schema);
            to_float(&mut right, schema);
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
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
        Expr::Case(case) => of_case(case, schema),
        Expr::ScalarFunction(ScalarFunction { func, mut args })
            if OF_ONE_TYPE.contains(&func.name()) && Kinds::of(&args, schema).mixed() =>
        {
            args.iter_mut().for_each(|e| to_float(e, schema));
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
        }
        expr => Transformed::no(expr),
    }
}

/// The results have a type in common, and so have the operand and what it is compared with.
fn of_case(mut case: Case, schema: &DFSchema) -> Transformed<Expr> {
    let literals = read_literals(&mut case, schema);
    let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
    let results = Kinds::of(results.chain(case.else_expr.as_deref()), schema).mixed();
    let compared = match &case.expr {
        Some(operand) => {
            let whens = case.when_then_expr.iter().map(|(when, _)| when.as_ref());
            Kinds::of(whens.chain([operand.as_ref()]), schema).mixed()
        }
        None => false,
    };
    if results {
        let thens = case.when_then_expr.iter_mut().map(|(_, then)| then);
        thens.chain(&mut case.else_expr).for_each(|e| to_float(e, schema));
    }
    if compared {
        let whens = case.when_then_expr.iter_mut().map(|(when, _)| when);
        whens.chain(&mut case.expr).for_each(|e| to_float(e, schema));
    }
    if results || compared || literals {
        Transformed::yes(Expr::Case(case))
    } else {
        Transformed::no(Expr::Case(case))
    }
}

/// Untyped texts take the type of a boolean, array, date or time that they are compared with or that stands
/// beside them: `CASE indisunique WHEN 't' THEN …`. Whether there were any.
fn read_literals(case: &mut Case, schema: &DFSchema) -> bool {
    let typed = |expr: &Expr| {
        let found = expr.get_type(schema as &dyn ExprSchema).ok();
        found.filter(|t| t.is_temporal() || matches!(t, DataType::Boolean | DataType::List(_)))
    };
    let is_text = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.data_type().is_string());
    let mut changed = false;
    let mut read = |expr: &mut Box<Expr>, to: &DataType| {
        if is_text(expr) {
            **expr = cast(expr.as_ref().clone(), to.clone());
            changed = true;
        }
    };
    if let Some(to) = case.expr.as_deref().and_then(typed) {
        case.when_then_expr.iter_mut().for_each(|(when, _)| read(when, &to));
    }
    let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref()).chain(case.else_expr.as_deref());
    if let Some(to) = results.into_iter().find_map(typed) {
        case.when_then_expr.iter_mut().for_each(|(_, then)| read(then, &to));
        case.else_expr.iter_mut().for_each(|otherwise| read(otherwise, &to));
    }
    changed
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
        for (kind, field) in kinds.iter_mut().zip(input.schema().fields()) {
            *kind = kind.add(field.data_type());
        }
    }
    let first = union.inputs.first().map(|input| input.schema().clone());
    let stale = first.is_some_and(|first| {
        first.fields().iter().zip(union.schema.fields()).any(|(a, b)| a.data_type() != b.data_type())
    });
    if !kinds.iter().any(|kinds| kinds.mixed()) {
        return match stale {
            true => Ok(Transformed::yes(loose_union(union.inputs.clone())?)),
            false => Ok(Transformed::no(node)),
        };
    }
    let mut inputs = union.inputs.clone();
    for input in &mut inputs {
        let columns = input.schema().iter().zip(&kinds).map(|((qualifier, field), kinds)| {
            let column = Expr::from((qualifier, field));
            let float =
                kinds.mixed() && (field.data_type().is_decimal() || *field.data_type() == DataType::Float32);
            match float {
                true => cast(column, DataType::Float64).alias_qualified(qualifier.cloned(), field.name()),
                false => column,
            }
        });
        let columns: Vec<Expr> = columns.collect();
        let plan = LogicalPlanBuilder::from(input.as_ref().clone()).project(columns)?.build()?;
        *input = Arc::new(plan);
    }
    Ok(Transformed::yes(loose_union(inputs)?))
}

/// The types of its branches are made equal by type coercion.
fn loose_union(inputs: Vec<Arc<LogicalPlan>>) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
}
