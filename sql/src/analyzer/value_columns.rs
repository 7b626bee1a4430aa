//! `VALUES ('a'), (cast(null as text))`, `VALUES ('{}'::jsonb), ('[]')`: what has no type of its own in a
//! column has that of the others (manual 10.5). The planner finds a common arrow type itself, but wants
//! the Postgres type that a cast adds to it on every row or on none.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Query, SetExpr, Value, ValueWithSpan, Values, VisitorMut,
};

use super::ast::cast;
use crate::types::sql_type;

/// The rewrite; to run while casts are casts, not calls.
pub struct ValueColumns;

impl VisitorMut for ValueColumns {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        body(&mut query.body);
        ControlFlow::Continue(())
    }
}

fn body(set: &mut SetExpr) {
    match set {
        SetExpr::Values(values) if values.rows.len() > 1 => columns(values),
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
        let types: Vec<DataType> =
            values.rows.iter().filter_map(|row| row.get(column).and_then(tagged)).collect();
        let Some(common) = common(&types) else { continue };
        for cell in cells_of(values, column) {
            if becomes(cell, &common) && tagged(cell).as_ref() != Some(&common) {
                *cell = cast(cell.clone(), common.clone());
            }
        }
    }
}

/// Of several text types `text` is the preferred one.
fn common(types: &[DataType]) -> Option<DataType> {
    let first = types.first()?;
    if types.iter().all(|other| other == first) {
        Some(first.clone())
    } else if types.iter().all(|other| is_text(other) && !is_document(other)) {
        Some(DataType::Text)
    } else {
        None
    }
}

/// Whether the type of the column can be that of a cell without a cast.
fn becomes(cell: &Expr, common: &DataType) -> bool {
    if is_document(common) { literal(cell) } else { !is_text(common) || !number_or_boolean(cell) }
}

fn cells_of(values: &mut Values, column: usize) -> impl Iterator<Item = &mut Expr> {
    values.rows.iter_mut().filter_map(move |row| row.get_mut(column))
}

/// The type of a cast that says which of the Postgres types with the same arrow type it is to.
fn tagged(expr: &Expr) -> Option<DataType> {
    let Expr::Cast { data_type, .. } = expr else { return None };
    let arrow = sql_type::from_sql(data_type).ok()?;
    let tagged = arrow.is_string() || !sql_type::field_of(data_type, arrow).metadata().is_empty();
    tagged.then(|| data_type.clone())
}

fn is_text(data_type: &DataType) -> bool {
    sql_type::from_sql(data_type).is_ok_and(|arrow| arrow.is_string())
}

fn is_document(data_type: &DataType) -> bool {
    matches!(data_type, DataType::JSON | DataType::JSONB)
}

fn literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_) | Value::Null, .. }))
}

fn number_or_boolean(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(ValueWithSpan { value: Value::Number(..) | Value::Boolean(_), .. }))
}
