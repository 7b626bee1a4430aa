//! Operators of `json` and `jsonb` (manual 9.16), planned as functions. What one of them is to mean is
//! decided by the types that fields carry; on text they work as on `json`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::functions::expr_fn::named_struct;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, Operator, ScalarUDF, binary_expr, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator as Op;

use crate::analyzer::whole_row::WHOLE_ROW;
use crate::functions::function::error;
use crate::functions::json;
use crate::types::PG_TYPE;

/// The planner extension.
#[derive(Debug)]
pub struct JsonOperators;

static FUNCTIONS: LazyLock<HashMap<String, Arc<ScalarUDF>>> =
    LazyLock::new(|| json::functions().map(|function| (function.name().to_string(), function)).collect());

fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let function = FUNCTIONS
        .get(name)
        .ok_or_else(|| datafusion::error::DataFusionError::Internal(format!("{name} is no JSON function")))?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function.clone(), args)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Json,
    Jsonb,
    /// A text of its own type.
    Text,
    /// A literal, a parameter or NULL.
    Untyped,
    Other,
}

fn side(expr: &Expr, schema: &DFSchema) -> Side {
    if matches!(expr, Expr::Literal(value, _) if value.data_type().is_string() || value.is_null())
        || matches!(expr, Expr::Placeholder(_))
    {
        let named = expr.to_field(schema).ok().and_then(|(_, field)| document_type(field.metadata()));
        return named.unwrap_or(Side::Untyped);
    }
    match expr.to_field(schema) {
        Ok((_, field)) if field.data_type().is_string() => {
            document_type(field.metadata()).unwrap_or(Side::Text)
        }
        _ => Side::Other,
    }
}

fn document_type(metadata: &HashMap<String, String>) -> Option<Side> {
    match metadata.get(PG_TYPE)?.as_str() {
        "json" => Some(Side::Json),
        "jsonb" => Some(Side::Jsonb),
        _ => None,
    }
}

/// Whether an expression is a `jsonb` by its type.
pub fn is_jsonb(expr: &Expr, schema: &DFSchema) -> bool {
    side(expr, schema) == Side::Jsonb
}

/// An operand that has to be `jsonb`.
fn jsonb(expr: Expr, side: Side) -> Result<Expr> {
    match side {
        Side::Jsonb | Side::Other => Ok(expr),
        Side::Json | Side::Text | Side::Untyped => call("jsonb", vec![expr]),
    }
}

fn comparison(op: &Op) -> Option<Operator> {
    Some(match op {
        Op::Eq => Operator::Eq,
        Op::NotEq => Operator::NotEq,
        Op::Lt => Operator::Lt,
        Op::LtEq => Operator::LtEq,
        Op::Gt => Operator::Gt,
        Op::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// By the type of the left operand: a document of the same type.
fn inside(expr: RawBinaryExpr, side: Side, json: &str, jsonb: &str) -> Result<Expr> {
    let name = if side == Side::Jsonb { jsonb } else { json };
    call(name, vec![expr.left, expr.right])
}

fn planned(expr: &RawBinaryExpr, schema: &DFSchema) -> Result<Option<Expr>> {
    let (left, right) = (side(&expr.left, schema), side(&expr.right, schema));
    let document = |side: Side| matches!(side, Side::Json | Side::Jsonb | Side::Text | Side::Untyped);
    let any_jsonb = left == Side::Jsonb || right == Side::Jsonb;
    let texts = document(left) && document(right);
    let both =
        |name: &str| call(name, vec![jsonb(expr.left.clone(), left)?, jsonb(expr.right.clone(), right)?]);
    let with_document = |name: &str| call(name, vec![jsonb(expr.left.clone(), left)?, expr.right.clone()]);
    Ok(Some(match &expr.op {
        Op::Arrow if document(left) => inside(expr.clone(), left, "json_get", "jsonb_get")?,
        Op::LongArrow if document(left) => {
            call("json_get_text", vec![expr.left.clone(), expr.right.clone()])?
        }
        Op::HashArrow if document(left) => inside(expr.clone(), left, "json_get_path", "jsonb_get_path")?,
        Op::HashLongArrow if document(left) => {
            call("json_get_path_text", vec![expr.left.clone(), expr.right.clone()])?
        }
        Op::AtArrow if texts => both("jsonb_contains")?,
        Op::ArrowAt if texts => both("jsonb_contained")?,
        Op::Question if document(left) => with_document("jsonb_exists")?,
        Op::QuestionPipe if document(left) => with_document("jsonb_exists_any")?,
        Op::QuestionAnd if document(left) => with_document("jsonb_exists_all")?,
        Op::HashMinus if document(left) => with_document("jsonb_delete_path")?,
        Op::Minus if left == Side::Jsonb => with_document("jsonb_delete")?,
        Op::StringConcat if any_jsonb && left != Side::Text && right != Side::Text && texts => {
            both("jsonb_concat")?
        }
        op => match comparison(op) {
            Some(operator) if any_jsonb && texts => {
                if left == Side::Json || right == Side::Json {
                    return Err(error("42883", format!("operator does not exist: json {op} jsonb")));
                }
                binary_expr(both("jsonb_cmp")?, operator, lit(0_i32))
            }
            Some(_) if left == Side::Json && right == Side::Json => {
                return Err(error("42883", format!("operator does not exist: json {op} json")));
            }
            _ => return Ok(None),
        },
    }))
}

/// The row of the relation that an argument names; a column of that name comes first.
fn whole_row(expr: &RawBinaryExpr, schema: &DFSchema) -> Option<Expr> {
    let Op::PGCustomBinaryOperator(name) = &expr.op else { return None };
    let Expr::Literal(relation, _) = &expr.left else { return None };
    let relation = relation.try_as_str().flatten().filter(|_| name.as_slice() == [WHOLE_ROW])?;
    if let Some((qualifier, field)) = schema.iter().find(|(_, field)| field.name() == relation) {
        return Some(Expr::Column(Column::from((qualifier, field))));
    }
    let columns = schema.iter().filter(|(qualifier, _)| qualifier.is_some_and(|q| q.table() == relation));
    let fields = columns.flat_map(|(qualifier, field)| {
        [lit(field.name().clone()), Expr::Column(Column::from((qualifier, field)))]
    });
    Some(named_struct(fields.collect()))
}

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        if let Some(row) = whole_row(&expr, schema) {
            return Ok(PlannerResult::Planned(row));
        }
        Ok(match planned(&expr, schema)? {
            Some(planned) => PlannerResult::Planned(planned),
            None => PlannerResult::Original(expr),
        })
    }

    /// `document['key']`.
    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        if !is_jsonb(&expr.expr, schema) {
            return Ok(PlannerResult::Original(expr));
        }
        let key = match &expr.field_access {
            GetFieldAccess::NamedStructField { name } => lit(name.clone()),
            GetFieldAccess::ListIndex { key } => key.as_ref().clone(),
            GetFieldAccess::ListRange { .. } => {
                return Err(error("42804", "jsonb subscript does not support slices"));
            }
        };
        Ok(PlannerResult::Planned(call("jsonb_get", vec![expr.expr, key])?))
    }
}

/// The number or truth value of a `jsonb` as text, to be cast to `to` afterwards. `None`: of no such type.
pub fn scalar_of(inner: &Expr, to: &DataType, schema: &DFSchema) -> Option<Result<Expr>> {
    if !is_jsonb(inner, schema) || !(to.is_numeric() || *to == DataType::Boolean) {
        return None;
    }
    let name = crate::functions::columnar::type_name(to);
    Some(call("jsonb_scalar", vec![inner.clone(), lit(name)]))
}
