//! Functions that DataFusion knows by another name, or gives another type of number.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, OrderByExpr, OrderByOptions, TimezoneInfo, VisitorMut,
};

use super::ast::{array_of, call, cast, parts};

/// Postgres' name, DataFusion's name.
const NAMES: &[(&str, &str)] = &[
    ("every", "bool_and"),
    ("array_remove", "array_remove_all"),
    ("array_replace", "array_replace_all"),
    ("approx_count_distinct", "approx_distinct"),
    ("approx_percentile", "approx_percentile_cont"),
    ("transaction_timestamp", "now"),
];

/// The rewrite.
pub struct SecondNames;

impl VisitorMut for SecondNames {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(ident) = expr
            && ident.quote_style.is_none()
            && ident.value.eq_ignore_ascii_case("localtime")
        {
            *expr = cast(call("now", Vec::new()), DataType::Time(None, TimezoneInfo::None));
            return ControlFlow::Continue(());
        }
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let Some(name) = bare_name(function) else { return ControlFlow::Continue(()) };
        if let Some((_, known)) = NAMES.iter().find(|(second, _)| *second == name) {
            function.name = vec![(*known).into()].into();
        }
        if matches!(name.as_str(), "array_agg" | "string_agg") {
            order_distinct(function);
        }
        let without = matches!(function.args, FunctionArguments::None);
        match name.as_str() {
            "localtime" if without => {
                *expr = cast(call("now", Vec::new()), DataType::Time(None, TimezoneInfo::None));
            }
            "gen_random_uuid" => {
                function.name = vec!["uuid".into()].into();
                *expr = cast(expr.clone(), DataType::Uuid);
            }
            "array_position" => *expr = cast(expr.clone(), DataType::Integer(None)),
            "array_positions" => *expr = cast(expr.clone(), array_of(DataType::Integer(None))),
            "regr_count" | "approx_distinct" | "approx_count_distinct" => {
                *expr = cast(expr.clone(), DataType::BigInt(None));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Distinct values come in their order, which is how Postgres finds them.
fn order_distinct(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = list.args.first() else { return };
    if list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
        && list.clauses.is_empty()
        && function.over.is_none()
    {
        let options = OrderByOptions { asc: None, nulls_first: None };
        let by = OrderByExpr { expr: first.clone(), options, with_fill: None };
        list.clauses.push(FunctionArgumentClause::OrderBy(vec![by]));
    }
}

fn bare_name(function: &Function) -> Option<String> {
    match parts(&function.name)?.as_slice() {
        [name] => Some(name.clone()),
        [schema, name] if schema == "pg_catalog" => Some(name.clone()),
        _ => None,
    }
}
