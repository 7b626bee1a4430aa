//! Column defaults as they are declared.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field};
use auric_catalog::table::{ColumnDefault, TableFormat};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility};
use datafusion::sql::sqlparser::ast::{self, Value};

use super::super::dml::assign;
use super::portable::Portable;
use crate::error::{Error, Result, SqlState};
use crate::parser::walk::WalkMut;
use crate::planner::Scope;

/// The default of a column of this stored type. `None`: it is null.
///
/// Fails with 42804 if no such value can be assigned to the column, 0A000 for what a default cannot
/// hold, and with what computing it fails with.
pub fn declared(
    scope: &Scope,
    format: TableFormat,
    column: &str,
    data_type: &DataType,
    expr: &ast::Expr,
) -> Result<Option<ColumnDefault>> {
    if matches!(expr, ast::Expr::Value(value) if value.value == Value::Null) {
        return Ok(None);
    }
    let mut portable = expr.clone();
    if let ControlFlow::Break(error) = portable.walk_mut(&mut Portable::constant(format)) {
        return Err(error);
    }
    let row = DFSchema::empty();
    let planned = scope.constant_expr(expr)?;
    let uses = |kind: fn(&Expr) -> bool| planned.exists(|e| Ok(kind(e))).unwrap_or(true);
    if uses(|e| matches!(e, Expr::AggregateFunction(_))) {
        let message = "aggregate functions are not allowed in DEFAULT expressions";
        return Err(Error::new(SqlState::GROUPING_ERROR, message));
    }
    if uses(|e| matches!(e, Expr::WindowFunction(_))) {
        let message = "window functions are not allowed in DEFAULT expressions";
        return Err(Error::new(SqlState("42P20"), message));
    }
    let (_, from) = planned.to_field(&row).map_err(|e| Error::from(&e))?;
    let to = Field::new(column, data_type.clone(), true);
    let value =
        assign::convert(planned.clone(), assign::Given::of(&planned), (&from, &to), &row).map_err(|e| {
            Error { message: e.message.replacen("but expression", "but default expression", 1), ..e }
        })?;
    // A default that can never be computed is one of no use: it fails now.
    let now = scope.evaluate(value)?;
    let changes = |e: &Expr| matches!(e, Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable);
    let changes = planned.exists(|e| Ok(changes(e))).unwrap_or(true);
    Ok(Some(ColumnDefault { sql: portable.to_string(), constant: (!changes).then_some(now) }))
}
