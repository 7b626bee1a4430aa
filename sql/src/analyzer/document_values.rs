//! `VALUES ('{}'::jsonb), ('[]')`: a column's type is that of its first document, and what else is in it
//! without a type is one too.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, SetExpr, Value, ValueWithSpan, Values, VisitorMut};

use super::ast::{call, function_name};

/// The rewrite; casts to `json` and `jsonb` are calls by then.
pub struct DocumentValues;

impl VisitorMut for DocumentValues {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        body(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn body(set: &mut SetExpr) {
    match set {
        SetExpr::Values(values) => columns(values),
        SetExpr::SetOperation { left, right, .. } => {
            body(left);
            body(right);
        }
        _ => {}
    }
}

fn columns(values: &mut Values) {
    let width = values.rows.first().map_or(0, |row| row.len());
    for column in 0..width {
        let casts = values.rows.iter().filter_map(|row| row.get(column).and_then(function_name));
        let Some(cast) = casts.into_iter().find(|name| name == "json" || name == "jsonb") else { continue };
        for row in &mut values.rows {
            if let Some(expr) = row.get_mut(column).filter(|expr| untyped(expr)) {
                *expr = call(&cast, vec![expr.clone()]);
            }
        }
    }
}

fn untyped(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_) | Value::Null, .. }))
}
