//! Functions that DataFusion knows by another name, or gives another type of number.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    JsonNullClause, JsonReturningClause, TimezoneInfo, Value, VisitorMut,
};

use super::ast::{array_of, call, cast, parts, string};

/// Postgres' name, DataFusion's name.
const NAMES: &[(&str, &str)] = &[
    ("ceiling", "ceil"),
    ("every", "bool_and"),
    ("pow", "power"),
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
        if let Expr::Value(value) = expr
            && let Value::UnicodeStringLiteral(text) = &value.value
        {
            *expr = string(text.clone());
            return ControlFlow::Continue(());
        }
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let Some(name) = bare_name(function) else { return ControlFlow::Continue(()) };
        if let Some(converted) = conversion(&name, function) {
            *expr = converted;
            return ControlFlow::Continue(());
        }
        if let Some((_, known)) = NAMES.iter().find(|(second, _)| *second == name) {
            function.name = vec![(*known).into()].into();
        }
        let without = matches!(function.args, FunctionArguments::None);
        match name.as_str() {
            // DataFusion's has nanoseconds, in which only three centuries have a place.
            "now" | "current_timestamp" | "transaction_timestamp" if arguments(function) == 0 => {
                *expr = cast(call("now", Vec::new()), DataType::Timestamp(None, TimezoneInfo::Tz));
            }
            "localtime" if without => {
                *expr = cast(call("now", Vec::new()), DataType::Time(None, TimezoneInfo::None));
            }
            "gen_random_uuid" => {
                function.name = vec!["uuid".into()].into();
                *expr = cast(expr.clone(), DataType::Uuid);
            }
            "current_timestamp" | "localtimestamp" | "localtime" if !without => {
                if let Some(rounded) = with_precision(&name, function) {
                    *expr = rounded;
                }
            }
            "json_array" => with_nulls(function),
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

/// `JSON_ARRAY(a, b NULL ON NULL)`: the array of all of them. Without that clause NULLs would be left out: what
/// is no such call stays, and is refused.
fn with_nulls(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    let name = match list.clauses.as_slice() {
        [FunctionArgumentClause::JsonNullClause(JsonNullClause::NullOnNull)] => "json_build_array",
        [
            FunctionArgumentClause::JsonNullClause(JsonNullClause::NullOnNull),
            FunctionArgumentClause::JsonReturningClause(JsonReturningClause { data_type: DataType::JSONB }),
        ] => "jsonb_build_array",
        _ => return,
    };
    list.clauses.clear();
    function.name = vec![name.into()].into();
}

/// `date(x)`: a cast by the name of a type (manual 4.2.9).
fn conversion(name: &str, function: &Function) -> Option<Expr> {
    let data_type = match name {
        "date" => DataType::Date,
        "text" => DataType::Text,
        "bool" => DataType::Boolean,
        "int2" => DataType::SmallInt(None),
        "int4" => DataType::Integer(None),
        "int8" => DataType::BigInt(None),
        "float4" => DataType::Real,
        "float8" => DataType::DoublePrecision,
        "timestamptz" => DataType::Timestamp(None, TimezoneInfo::Tz),
        _ => return None,
    };
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] = list.args.as_slice() else { return None };
    let mut converted = cast(value.clone(), data_type);
    super::casts::rewrite(&mut converted);
    Some(converted)
}

/// `current_timestamp(3)`. `None`: it has no such argument.
fn with_precision(name: &str, function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(digits))] = list.args.as_slice() else { return None };
    let now = call("now", Vec::new());
    let value = match name {
        "localtimestamp" => cast(now, DataType::Timestamp(None, TimezoneInfo::None)),
        "localtime" => cast(now, DataType::Time(None, TimezoneInfo::None)),
        _ => now,
    };
    Some(call("time_scale", vec![value, digits.clone()]))
}

fn arguments(function: &Function) -> usize {
    match &function.args {
        FunctionArguments::None => 0,
        FunctionArguments::List(list) => list.args.len(),
        FunctionArguments::Subquery(_) => 1,
    }
}

fn bare_name(function: &Function) -> Option<String> {
    match parts(&function.name)?.as_slice() {
        [name] => Some(name.clone()),
        [schema, name] if schema == "pg_catalog" => Some(name.clone()),
        _ => None,
    }
}
