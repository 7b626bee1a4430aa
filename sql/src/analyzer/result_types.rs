//! Postgres types of computed columns.
//!
//! A field tells in its metadata which Postgres type it has where the arrow type does not ([`PG_TYPE`]);
//! DataFusion forgets metadata in expressions that have several inputs and in most functions. Where such
//! an expression hands through what its inputs are (`CASE`, `coalesce`, `max`, `array_agg`, `a[1]`), the
//! column that it becomes gets the type back. Drivers look values up by this: asyncpg, for one, reads
//! `array_agg(atttypid)` as an array of OIDs or not at all.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field};
use datafusion::common::Column;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, Projection, Window};

use crate::types::PG_TYPE;

/// Functions whose result is one of their arguments.
const ONE_OF_THEM: &[&str] = &["coalesce", "nullif", "greatest", "least"];

/// Aggregates and window functions whose result is a value of their first argument.
const ITS_VALUE: &[&str] = &[
    "max",
    "min",
    "any_value",
    "first_value",
    "last_value",
    "nth_value",
    "lag",
    "lead",
    "mode",
    "single_value",
];

/// Gives the columns of projections their types back. Call on a new plan, before it is analyzed.
pub fn name_result_types(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Projection(projection) => named(projection),
        // What is below may say more than it did.
        node if node.inputs().is_empty() => Ok(Transformed::no(node)),
        node => Ok(Transformed::yes(node.recompute_schema()?)),
    })
    .map(|plan| plan.data)
}

fn named(projection: Projection) -> Result<Transformed<LogicalPlan>> {
    let Projection { expr, input, .. } = projection;
    let expr = expr
        .into_iter()
        .map(|expr| {
            let field = expr.to_field(input.schema())?.1;
            if field.metadata().contains_key(PG_TYPE) {
                return Ok(expr);
            }
            let Some(name) = type_of(&expr, &input).filter(|name| fits(name, field.data_type())) else {
                return Ok(expr);
            };
            let (relation, column) = expr.qualified_name();
            let metadata = FieldMetadata::from(HashMap::from([(PG_TYPE.to_string(), name)]));
            let expr = match expr {
                Expr::Alias(alias) => *alias.expr,
                expr => expr,
            };
            Ok(expr.alias_qualified_with_metadata(relation, column, Some(metadata)))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(expr, input)?)))
}

/// Types with their arrow types; what is held otherwise is of another type by now.
fn fits(name: &str, data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) => {
            name.strip_prefix('_').is_some_and(|item_name| fits(item_name, item.data_type()))
        }
        data_type => crate::types::is_named(name, data_type),
    }
}

/// `typname` of what the expression gives, where the arrow type does not tell it.
fn type_of(expr: &Expr, input: &LogicalPlan) -> Option<String> {
    if let Ok((_, field)) = expr.to_field(input.schema())
        && let Some(name) = name_of(&field)
    {
        return Some(name);
    }
    match expr {
        Expr::Alias(alias) => type_of(&alias.expr, input),
        Expr::Column(column) => of_column(column, input),
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
            common(results.chain(case.else_expr.as_deref()), input)
        }
        Expr::ScalarFunction(call) => match (call.name(), call.args.as_slice()) {
            (name, arguments) if ONE_OF_THEM.contains(&name) => common(arguments.iter(), input),
            ("make_array", items) => common(items.iter(), input).map(|item| format!("_{item}")),
            ("array_element" | "unnest", [array, ..]) => item_of(type_of(array, input)?),
            _ => None,
        },
        Expr::Unnest(unnest) => item_of(type_of(&unnest.expr, input)?),
        Expr::AggregateFunction(call) => of_aggregate(call.func.name(), &call.params.args, input),
        Expr::WindowFunction(call) => of_aggregate(call.fun.name(), &call.params.args, input),
        Expr::ScalarSubquery(subquery) => {
            subquery.subquery.schema().fields().first().and_then(|field| name_of(field))
        }
        _ => None,
    }
}

fn name_of(field: &Field) -> Option<String> {
    field.metadata().get(PG_TYPE).filter(|name| fits(name, field.data_type())).cloned()
}

fn item_of(array: String) -> Option<String> {
    array.strip_prefix('_').map(str::to_string)
}

fn of_aggregate(function: &str, arguments: &[Expr], input: &LogicalPlan) -> Option<String> {
    let value = type_of(arguments.first()?, input)?;
    match function {
        "array_agg" => Some(format!("_{value}")),
        // Postgres has no `max(name)`: it is that of text.
        "max" | "min" if !matches!(value.as_str(), "oid" | "tid") => None,
        function if ITS_VALUE.contains(&function) => Some(value),
        _ => None,
    }
}

/// The type that all have in common; literals take that of the others.
fn common<'a>(exprs: impl Iterator<Item = &'a Expr>, input: &LogicalPlan) -> Option<String> {
    let mut types = exprs.filter(|expr| !is_literal(expr)).map(|expr| type_of(expr, input));
    let first = types.next()??;
    types.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

fn is_literal(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Cast(cast) => {
            matches!(cast.expr.as_ref(), Expr::Literal(..)) && cast.field.metadata().is_empty()
        }
        _ => false,
    }
}

/// The type of a column that a node below computes without saying so.
fn of_column(column: &Column, input: &LogicalPlan) -> Option<String> {
    let index = input.schema().maybe_index_of_column(column)?;
    match input {
        LogicalPlan::Aggregate(Aggregate { input, group_expr, aggr_expr, .. }) => {
            type_of(group_expr.iter().chain(aggr_expr).nth(index)?, input)
        }
        LogicalPlan::Window(Window { input, window_expr, .. }) => {
            match index.checked_sub(input.schema().fields().len()) {
                Some(index) => type_of(window_expr.get(index)?, input),
                None => of_column(column, input),
            }
        }
        LogicalPlan::Filter(filter) => of_column(column, &filter.input),
        LogicalPlan::Sort(sort) => of_column(column, &sort.input),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::functions::expr_fn::coalesce;
    use datafusion::functions_aggregate::expr_fn::{array_agg, max};
    use datafusion::logical_expr::{LogicalPlanBuilder, col, lit, table_scan, when};
    use datafusion::prelude::cast;

    use super::*;
    use crate::pg_catalog::value::field;

    fn types(select: Vec<Expr>, aggregates: Vec<Expr>) -> Vec<Option<String>> {
        let schema = arrow::datatypes::Schema::new(vec![
            field("oid", "oid"),
            field("name", "name"),
            field("ids", "_oid"),
        ]);
        let mut plan = table_scan(Some("t"), &schema, None).unwrap();
        if !aggregates.is_empty() {
            plan = plan.aggregate(Vec::<Expr>::new(), aggregates).unwrap();
        }
        let plan = LogicalPlanBuilder::from(plan.build().unwrap()).project(select).unwrap().build().unwrap();
        name_result_types(plan).unwrap().schema().fields().iter().map(|field| name_of(field)).collect()
    }

    #[test]
    fn expressions_that_hand_values_through_keep_their_type() {
        let case = |other: Expr| when(col("oid").gt(lit(1_i64)), col("oid")).otherwise(other).unwrap();
        assert_eq!(types(vec![case(lit(0_i64))], vec![]), [Some("oid".into())]);
        assert_eq!(types(vec![case(cast(col("name"), DataType::Int64))], vec![]), [None]);
        assert_eq!(types(vec![coalesce(vec![col("name"), lit("x")])], vec![]), [Some("name".into())]);
        assert_eq!(types(vec![col("oid") + lit(1_i64)], vec![]), [None]);
    }

    #[test]
    fn aggregates_over_oids_are_oids() {
        let (all, most, last) = (array_agg(col("t.oid")), max(col("t.oid")), max(col("t.name")));
        let columns = [&all, &most, &last].map(|expr| col(Column::from_name(expr.schema_name().to_string())));
        assert_eq!(
            types(columns.to_vec(), vec![all, most, last]),
            [Some("_oid".into()), Some("oid".into()), None]
        );
    }
}
