//! Types of number literals (Postgres manual 4.1.2.6): a whole number is `integer` where it fits, else
//! `bigint`, else `numeric`. DataFusion's planner makes every whole number 64 bits wide.
//!
//! Numbers stay bare where they are no values: `ORDER BY 1`, `LIMIT 1`, bounds of window frames,
//! subscripts, items of rows.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, LimitClause, NamedWindowExpr, OrderByKind, Query, Select, SetExpr,
    Subscript, TableFactor, TableFunctionArgs, TableVersion, UnaryOperator, Value, VisitorMut,
    WindowFrameBound, WindowSpec, WindowType,
};

use super::ast::{cast, number, parts};

/// The rewrite.
pub struct NumberLiterals;

impl VisitorMut for NumberLiterals {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        // The sign is part of the literal, so that -2147483648 is an integer.
        if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = expr
            && let Some(digits) = whole_number(inner)
            && !digits.starts_with('-')
        {
            *expr = number(format!("-{digits}"));
        }
        if let Expr::Value(value) = expr
            && let Value::Number(text, _) = &value.value
            && text.contains(['e', 'E'])
        {
            *expr = match without_exponent(text) {
                Some(plain) => numeric(plain),
                // More digits than a decimal has.
                None => cast(super::ast::string(text.clone()), DataType::DoublePrecision),
            };
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Value(_) => {
                if let Some(data_type) = whole_number(expr).and_then(type_of) {
                    let literal = std::mem::replace(expr, super::ast::null());
                    *expr = typed(literal, data_type);
                }
            }
            Expr::Cast { expr: inner, .. } => bare(inner),
            // DataFusion makes rows of columns and literals only.
            Expr::Tuple(items) => items.iter_mut().for_each(bare),
            Expr::Interval(interval) => bare(&mut interval.value),
            Expr::Function(function) => of_function(function),
            Expr::CompoundFieldAccess { access_chain, .. } => {
                for access in access_chain {
                    if let AccessExpr::Subscript(subscript) = access {
                        of_subscript(subscript);
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(of_grouping);
        }
        for window in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &mut window.1 {
                of_window(spec);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(exprs) = &mut order_by.kind
        {
            exprs.iter_mut().for_each(|order| bare(&mut order.expr));
        }
        match &mut query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                limit.iter_mut().chain(limit_by).for_each(bare);
                offset.iter_mut().for_each(|offset| bare(&mut offset.value));
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                bare(offset);
                bare(limit);
            }
            None => {}
        }
        if let Some(quantity) = query.fetch.as_mut().and_then(|fetch| fetch.quantity.as_mut()) {
            bare(quantity);
        }
        ControlFlow::Continue(())
    }

    /// Functions in FROM take constants, which are cast where they are called.
    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { args, name, version, .. } = factor {
            if let Some(TableFunctionArgs { args, .. }) = args
                && parts(name).is_none_or(|parts| parts != ["generate_series"])
            {
                args.iter_mut().for_each(of_argument);
            }
            match version {
                Some(
                    TableVersion::VersionAsOf(version)
                    | TableVersion::TimestampAsOf(version)
                    | TableVersion::ForSystemTimeAsOf(version),
                ) => bare(version),
                Some(TableVersion::Function(Expr::Function(function))) => {
                    if let FunctionArguments::List(list) = &mut function.args {
                        list.args.iter_mut().for_each(of_argument);
                    }
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// Literals of a VALUES list whose columns have types already stay bare: each takes that of its column.
pub fn leave_to_columns(query: &mut Query) {
    if let SetExpr::Values(values) = query.body.as_mut() {
        values.rows.iter_mut().flat_map(|row| row.content.iter_mut()).for_each(bare);
    }
}

/// The digits of a whole number.
fn whole_number(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _)
                if text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Some(text)
            }
            _ => None,
        },
        _ => None,
    }
}

/// `1.5e3` as `1500`. `None`: it would have more than 38 digits.
pub fn without_exponent(text: &str) -> Option<String> {
    const MOST: usize = 38;
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return Some(text.to_string()) };
    let exponent: i64 = exponent.parse().ok()?;
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Where the point is, counted from the first digit.
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    if point.unsigned_abs() > MOST as u64 {
        return None;
    }
    let plain = match usize::try_from(point) {
        Ok(point) if point >= digits.len() => format!("{digits}{}", "0".repeat(point - digits.len())),
        Ok(point) if point > 0 => format!("{}.{}", digits.get(..point)?, digits.get(point..)?),
        _ => format!("0.{}{digits}", "0".repeat(usize::try_from(-point).unwrap_or(0))),
    };
    let significant = plain.trim_start_matches(['0', '.']).bytes().filter(u8::is_ascii_digit).count();
    let after = plain.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let trimmed = if plain.contains('.') { plain.as_str() } else { plain.trim_start_matches('0') };
    let trimmed = if trimmed.is_empty() { "0" } else { trimmed };
    (significant <= MOST && after <= MOST).then(|| format!("{sign}{trimmed}"))
}

/// The type to cast the literal to; `None`: the one that it has.
fn type_of(digits: &str) -> Option<DataType> {
    match digits.parse::<i64>() {
        Ok(number) => i32::try_from(number).is_ok().then_some(DataType::Int32),
        // DataFusion makes numbers without sign of those that it can.
        Err(_) => digits
            .parse::<u64>()
            .is_ok()
            .then_some(DataType::Decimal(ExactNumberInfo::PrecisionAndScale(20, 0))),
    }
}

/// A number with an exponent is `numeric`, even if it is whole.
fn numeric(plain: String) -> Expr {
    let digits = plain.trim_start_matches('-').len() as u64;
    if plain.contains('.') {
        return number(plain);
    }
    cast(number(plain), DataType::Decimal(ExactNumberInfo::PrecisionAndScale(digits, 0)))
}

fn typed(literal: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(literal), data_type, array: false, format: None }
}

/// Takes the type away again from what is nothing but a literal. No statement writes this type's name.
fn bare(expr: &mut Expr) {
    if let Expr::Cast { expr: inner, data_type: DataType::Int32, .. } = expr
        && whole_number(inner).is_some()
    {
        *expr = std::mem::replace(inner, super::ast::null());
    }
}

fn of_argument(argument: &mut FunctionArg) {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
        | FunctionArg::Named { arg: FunctionArgExpr::Expr(expr), .. }
        | FunctionArg::ExprNamed { arg: FunctionArgExpr::Expr(expr), .. } => bare(expr),
        _ => {}
    }
}

fn of_function(function: &mut Function) {
    // `count(1)` counts rows, as DataFusion knows it by its own literal; lengths are parts of types.
    if parts(&function.name).is_some_and(
        |parts| matches!(parts.as_slice(), [name] if matches!(name.as_str(), "count" | "varchar" | "bpchar")),
    ) && let FunctionArguments::List(list) = &mut function.args
    {
        list.args.iter_mut().for_each(of_argument);
    }
    // The digits that are left are the scale of the result: a cast would hide them.
    if parts(&function.name).is_some_and(|parts| parts == ["round"])
        && let FunctionArguments::List(list) = &mut function.args
        && let Some(places) = list.args.get_mut(1)
    {
        of_argument(places);
    }
    if let Some(WindowType::WindowSpec(spec)) = &mut function.over {
        of_window(spec);
    }
}

fn of_window(spec: &mut WindowSpec) {
    let Some(frame) = &mut spec.window_frame else { return };
    for bound in std::iter::once(&mut frame.start_bound).chain(frame.end_bound.as_mut()) {
        if let WindowFrameBound::Preceding(Some(expr)) | WindowFrameBound::Following(Some(expr)) = bound {
            bare(expr);
        }
    }
}

fn of_subscript(subscript: &mut Subscript) {
    match subscript {
        Subscript::Index { index } => bare(index),
        Subscript::Slice { lower_bound, upper_bound, stride } => {
            [lower_bound, upper_bound, stride].into_iter().flatten().for_each(bare);
        }
    }
}

fn of_grouping(expr: &mut Expr) {
    match expr {
        Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
            sets.iter_mut().flatten().for_each(bare)
        }
        expr => bare(expr),
    }
}

#[cfg(test)]
mod tests {
    use super::without_exponent;

    #[test]
    fn exponents() {
        let plain = |text: &str| without_exponent(text);
        assert_eq!(plain("1e3").as_deref(), Some("1000"));
        assert_eq!(plain("-1.5e1").as_deref(), Some("-15"));
        assert_eq!(plain("1.25E1").as_deref(), Some("12.5"));
        assert_eq!(plain("15e-3").as_deref(), Some("0.015"));
        assert_eq!(plain(".5e0").as_deref(), Some("0.5"));
        assert_eq!(plain("1e400"), None);
        assert_eq!(plain("1e-39"), None);
    }
}
