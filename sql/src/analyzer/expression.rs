//! Rewrites of single expressions, bottom up.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Subscript, TableAlias, TableAliasColumnDef, TableFactor, TableFunctionArgs,
    TimezoneInfo, TypedString, UnaryOperator, Value, ValueWithSpan, VisitorMut,
};

use super::ast::{call, cast, folded, number, parts, string, strip_pg_catalog};
use super::{array_subquery, casts, null_offset};
use crate::pg_catalog::value::parse_array_literal;

/// Functions that are called without parentheses and that the parser takes for columns.
const BARE_FUNCTIONS: &[&str] =
    &["current_schema", "current_role", "current_catalog", "current_user", "session_user", "user"];

/// The rewrite.
pub struct Expressions;

impl VisitorMut for Expressions {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let ordinality = matches!(factor, TableFactor::Table { with_ordinality: true, .. });
        match factor {
            TableFactor::Table { name, args: Some(TableFunctionArgs { args, .. }), alias, .. }
            | TableFactor::Function { name, args, alias, .. } => {
                strip_pg_catalog(name);
                if parts(name).is_some_and(|parts| parts == ["generate_series"]) {
                    args.iter_mut().for_each(widen);
                    if !ordinality {
                        name_column(alias, "generate_series");
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    /// Top down, because the function is recognised by how its subquery was written.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(Function { name, args: FunctionArguments::Subquery(query), .. }) = expr
            && parts(name).is_some_and(|parts| parts == ["array"])
        {
            *expr = array_subquery::rewrite((**query).clone());
        }
        if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = expr
            && is_power(inner)
        {
            let mut power = std::mem::replace(&mut **inner, super::ast::null());
            negate_base(&mut power);
            *expr = power;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Collate { expr: inner, collation } => {
                let name = parts(collation).unwrap_or_default();
                let last = name.last().map(String::as_str);
                // Text is always compared bytewise, which is what these mean here.
                if matches!(last, Some("default" | "C" | "c" | "POSIX" | "posix" | "ucs_basic")) {
                    *expr = (**inner).clone();
                }
            }
            Expr::BinaryOp { op, .. } => rewrite_operator(op),
            Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } if is_untyped(inner) => {
                **inner = cast((**inner).clone(), DataType::Boolean);
            }
            // DataFusion puts the sign before the literal's text, where only its first part has it.
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } if is_interval(inner) => {
                let inner = std::mem::replace(&mut **inner, super::ast::null());
                *expr = call("interval_um", vec![inner]);
            }
            Expr::AnyOp { compare_op, right, .. } | Expr::AllOp { compare_op, right, .. } => {
                rewrite_operator(compare_op);
                rewrite_array_literal(right);
            }
            Expr::Function(function) => {
                strip_pg_catalog(&mut function.name);
                name_interval_parts(function);
                null_offset::rewrite(function);
                if let Some(rest) = modulo(function) {
                    *expr = rest;
                    return ControlFlow::Continue(());
                }
                let bare = matches!(function.args, FunctionArguments::None);
                if bare && parts(&function.name).is_some_and(|parts| parts == ["localtimestamp"]) {
                    let timestamp = DataType::Timestamp(None, TimezoneInfo::None);
                    *expr = cast(call("now", Vec::new()), timestamp);
                } else if let Some(signed) = signed_type(function) {
                    let dimension = is_dimension(function);
                    *expr = cast(expr.clone(), signed);
                    if dimension {
                        *expr = call("nullif", vec![expr.clone(), number(0)]);
                    }
                }
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                let take = |expr: &mut Box<Expr>| std::mem::replace(&mut **expr, super::ast::null());
                *expr = call("timezone", vec![take(time_zone), take(timestamp)]);
            }
            Expr::Cast { .. } => casts::rewrite(expr),
            Expr::TypedString(TypedString { data_type, value, .. }) => {
                if let Some(function) = casts::function_of(data_type) {
                    let argument = Expr::Value(value.clone());
                    *expr = call(function, vec![argument]);
                } else if casts::precision(data_type).is_some() {
                    *expr = cast(Expr::Value(value.clone()), data_type.clone());
                    casts::rewrite(expr);
                }
            }
            Expr::Identifier(ident) if ident.quote_style.is_none() => {
                let name = folded(ident);
                if BARE_FUNCTIONS.contains(&name.as_str()) {
                    *expr = call(&name, Vec::new());
                }
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                access_chain.iter_mut().for_each(bound);
                if let Some(fields) = field_names(access_chain) {
                    let root = std::mem::replace(&mut **root, super::ast::null());
                    *expr = fields
                        .into_iter()
                        .fold(root, |row, field| call("get_field", vec![row, string(field)]));
                }
            }
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                if let Some(escape) = escape_char.take() {
                    rewrite_escape(pattern, &escape);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn is_power(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::PGExp, .. })
}

/// The minus of `-2 ^ 2` binds more tightly than the power, the parser thinks otherwise.
fn negate_base(power: &mut Expr) {
    match power {
        Expr::BinaryOp { left, op: BinaryOperator::PGExp, .. } => negate_base(left),
        base => {
            let inner = Box::new(std::mem::replace(base, super::ast::null()));
            *base = Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner };
        }
    }
}

/// A literal or a parameter.
fn is_untyped(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_untyped(inner),
        Expr::Value(value) => matches!(value.value, Value::SingleQuotedString(_) | Value::Placeholder(_)),
        _ => false,
    }
}

fn is_interval(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_interval(inner),
        expr => matches!(expr, Expr::Interval(_) | Expr::Cast { data_type: DataType::Interval { .. }, .. }),
    }
}

/// `mod(a, b)` is `a % b`.
fn modulo(function: &Function) -> Option<Expr> {
    if parts(&function.name)? != ["mod"] {
        return None;
    }
    let FunctionArguments::List(list) = &function.args else { return None };
    let [
        FunctionArg::Unnamed(FunctionArgExpr::Expr(left)),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(right)),
    ] = list.args.as_slice()
    else {
        return None;
    };
    let operand = |expr: &Expr| Box::new(Expr::Nested(Box::new(expr.clone())));
    let rest = Expr::BinaryOp { left: operand(left), op: BinaryOperator::Modulo, right: operand(right) };
    Some(Expr::Nested(Box::new(rest)))
}

/// `make_interval(days => 10)`: the arguments in their places, with zeros for those that are missing.
fn name_interval_parts(function: &mut Function) {
    const NAMES: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    let FunctionArguments::List(list) = &mut function.args else { return };
    if parts(&function.name).is_none_or(|parts| parts != ["make_interval"]) {
        return;
    }
    let mut values: Vec<Expr> = Vec::new();
    for argument in &list.args {
        let (at, value) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (values.len(), value),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                let Some(at) = NAMES.iter().position(|known| *known == folded(name)) else { return };
                (at, value)
            }
            _ => return,
        };
        while values.len() <= at {
            values.push(number("0".to_string()));
        }
        if let Some(place) = values.get_mut(at) {
            *place = value.clone();
        }
    }
    list.args = values.into_iter().map(|value| FunctionArg::Unnamed(FunctionArgExpr::Expr(value))).collect();
}

/// `array[:2]` and `array[2:]`: the bounds that are left out.
fn bound(access: &mut AccessExpr) {
    if let AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, .. }) = access {
        lower_bound.get_or_insert_with(|| number(1));
        upper_bound.get_or_insert_with(|| number(i32::MAX));
    }
}

/// `(row).a.b`: the fields; `None`: some of it is an array subscript.
fn field_names(access_chain: &[AccessExpr]) -> Option<Vec<String>> {
    access_chain
        .iter()
        .map(|access| match access {
            AccessExpr::Dot(Expr::Identifier(field)) => Some(folded(field)),
            _ => None,
        })
        .collect()
}

/// The only column of a function in FROM has the name of its alias, else of the function.
fn name_column(alias: &mut Option<TableAlias>, function: &str) {
    let alias = alias.get_or_insert_with(|| TableAlias {
        explicit: true,
        name: function.into(),
        columns: Vec::new(),
        at: None,
    });
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

/// Functions that give NULL, not 0, of an empty array: it has no dimensions.
fn is_dimension(function: &Function) -> bool {
    matches!(parts(&function.name).as_deref(), Some([name]) if name == "array_length" || name == "array_ndims")
}

/// Postgres' type of what DataFusion counts without sign, which would be shown as numeric.
fn signed_type(function: &Function) -> Option<DataType> {
    match *parts(&function.name)?.as_slice() {
        [ref name] if function.over.is_some() => match name.as_str() {
            "row_number" | "rank" | "dense_rank" => Some(DataType::BigInt(None)),
            "ntile" => Some(DataType::Integer(None)),
            _ => None,
        },
        [ref name] if matches!(name.as_str(), "array_length" | "cardinality" | "array_ndims") => {
            Some(DataType::Integer(None))
        }
        _ => None,
    }
}

/// `generate_series` in FROM takes 64-bit constants only, while these functions give 32-bit ones.
fn widen(argument: &mut FunctionArg) {
    const INTEGERS: &[&str] = &["array_length", "array_lower", "array_upper", "cardinality"];
    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument
        && let Expr::Function(function) = &*expr
        && let Some(name) = parts(&function.name)
        && name.last().is_some_and(|last| INTEGERS.contains(&last.as_str()))
    {
        *expr = cast(expr.clone(), DataType::BigInt(None));
    }
}

/// `OPERATOR(pg_catalog.~)` is the operator itself.
fn rewrite_operator(operator: &mut BinaryOperator) {
    let BinaryOperator::PGCustomBinaryOperator(name) = operator else { return };
    let symbol = match name.as_slice() {
        [symbol] => symbol,
        [schema, symbol] if schema.eq_ignore_ascii_case("pg_catalog") => symbol,
        _ => return,
    };
    *operator = match symbol.as_str() {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "||" => BinaryOperator::StringConcat,
        "@>" => BinaryOperator::AtArrow,
        "<@" => BinaryOperator::ArrowAt,
        "&&" => BinaryOperator::PGOverlap,
        _ => return,
    };
}

/// DataFusion's LIKE knows the backslash only.
fn rewrite_escape(pattern: &mut Expr, escape: &ValueWithSpan) {
    let is_backslash = matches!(
        &escape.value,
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) if text == "\\"
    );
    if !is_backslash {
        let plain = std::mem::replace(pattern, Expr::Value(escape.clone()));
        *pattern = call("like_escape", vec![plain, Expr::Value(escape.clone())]);
    }
}

/// `= ANY('{a,b}')`: the text is an array. Items that are numbers become numbers, because the other side
/// decides the type and DataFusion looks for the text otherwise.
fn rewrite_array_literal(expr: &mut Expr) {
    if let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = expr
        && let Some(items) = parse_array_literal(text)
    {
        *expr = array(items);
    }
}

/// `ARRAY[…]` of the items of an array literal.
pub(super) fn array(items: Vec<Option<String>>) -> Expr {
    let numeric = items.iter().flatten().all(|item| item.parse::<i64>().is_ok());
    let elem = items
        .into_iter()
        .map(|item| match item {
            None => super::ast::null(),
            Some(item) if numeric => number(item),
            Some(item) => string(item),
        })
        .collect();
    Expr::Array(Array { elem, named: true })
}
