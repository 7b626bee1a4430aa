//! Driver chatter: a SELECT of literals and of facts about the session, answered without a plan.
//!
//! Recognised by the shape of the syntax tree: one row, no FROM, nothing but such items. All other
//! queries take the ordinary way.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, GroupByExpr, ObjectName, Query, Select, SelectItem, SetExpr, Value,
};

use super::OutputColumn;
use crate::error::{Error, Result};
use crate::planner::names;
use crate::session::Session;
use crate::types::PG_TYPE;

/// The one row of a trivial query. It stays the same as long as the session.
#[derive(Debug)]
pub struct TrivialAnswer {
    pub columns: Arc<Vec<OutputColumn>>,
    /// Neither times nor intervals, which settings would show in other ways.
    pub row: RecordBatch,
}

/// Whether a query is trivial.
pub fn is_trivial(session: &Session, query: &Query) -> bool {
    let is_value = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            value(session, expr).is_some()
        }
        _ => false,
    };
    bare_select(query).is_some_and(|select| select.projection.iter().all(is_value))
}

/// `None`: it is no trivial query.
pub fn answer(session: &Session, query: &Query) -> Result<Option<TrivialAnswer>> {
    let Some(select) = bare_select(query) else {
        return Ok(None);
    };
    let mut columns = Vec::new();
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for item in &select.projection {
        let (expr, name) = match item {
            SelectItem::UnnamedExpr(expr) => (expr, names::of_expr(expr)),
            SelectItem::ExprWithAlias { expr, alias } => (expr, names::folded(alias)),
            _ => return Ok(None),
        };
        let Some((value, pg_type)) = value(session, expr) else {
            return Ok(None);
        };
        let mut field = Field::new(&name, value.data_type(), true);
        if let Some(pg_type) = pg_type {
            field.set_metadata(HashMap::from([(PG_TYPE.to_string(), pg_type.to_string())]));
        }
        columns.push(OutputColumn::of(name, &field));
        arrays.push(value.to_array().map_err(|e| Error::from(&e))?);
        fields.push(field);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|e| Error::from(&e))?;
    Ok(Some(TrivialAnswer { columns: Arc::new(columns), row }))
}

fn bare_select(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let plain_query = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
        && query.pipe_operators.is_empty();
    let plain_select = select.distinct.is_none()
        && select.top.is_none()
        && select.into.is_none()
        && select.from.is_empty()
        && select.lateral_views.is_empty()
        && select.selection.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.named_window.is_empty()
        && matches!(&select.group_by, GroupByExpr::Expressions(exprs, modifiers) if exprs.is_empty() && modifiers.is_empty());
    (plain_query && plain_select && !select.projection.is_empty()).then_some(select.as_ref())
}

/// A value, and the name of its type where arrow's does not tell.
fn value(session: &Session, expr: &Expr) -> Option<(ScalarValue, Option<&'static str>)> {
    let plain = |value| (value, None);
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits
                .parse::<i32>()
                .map(|n| ScalarValue::Int32(Some(n)))
                .ok()
                .or_else(|| digits.parse::<i64>().map(|n| ScalarValue::Int64(Some(n))).ok()),
            Value::SingleQuotedString(text) => Some(ScalarValue::Utf8(Some(text.clone()))),
            Value::Boolean(value) => Some(ScalarValue::Boolean(Some(*value))),
            Value::Null => Some(ScalarValue::Utf8(None)),
            _ => None,
        }
        .map(plain),
        Expr::Function(function) if function.over.is_none() && function.filter.is_none() => {
            let no_arguments = match &function.args {
                FunctionArguments::None => true,
                FunctionArguments::List(list) => list.args.is_empty() && list.clauses.is_empty(),
                FunctionArguments::Subquery(_) => false,
            };
            if no_arguments { fact(session, &function.name) } else { None }
        }
        _ => None,
    }
}

fn fact(session: &Session, name: &ObjectName) -> Option<(ScalarValue, Option<&'static str>)> {
    let mut parts = name.0.iter().filter_map(|part| part.as_ident()).map(names::folded);
    let (first, second) = (parts.next()?, parts.next());
    let name = match second {
        None => first,
        Some(second) if first == "pg_catalog" => second,
        Some(_) => return None,
    };
    let text = |value: &str| Some((ScalarValue::Utf8(Some(value.to_string())), Some("name")));
    match name.as_str() {
        "current_database" | "current_catalog" => text(&session.parameters.database),
        "current_user" | "session_user" | "user" | "current_role" => text(&session.parameters.user),
        "pg_backend_pid" => Some((ScalarValue::Int32(Some(session.parameters.pid)), None)),
        _ => None,
    }
}
