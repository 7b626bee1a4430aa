//! A text literal has no type of its own: beside an array it is an array literal
//! (`conkey = '{1}'`), beside a boolean a boolean (`indisprimary = 'f'`), beside a date, a time, an
//! interval or a uuid one of these, or what can be added to it (`day + '1 week'`).

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::ast::compares;
use crate::functions::columnar::INTERVAL;
use crate::functions::function::error;
use crate::functions::object_identifier::invalid_tid;
use crate::pg_catalog::value::{Value, parse_array_literal};
use crate::types::{PG_TYPE, text_input};

/// The planner extension.
#[derive(Debug)]
pub struct UntypedLiteralPlanner;

impl ExprPlanner for UntypedLiteralPlanner {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if compares(&expr.op) {
            if let Some(read) = place_beside(&expr.right, &expr.left, schema) {
                expr.right = read?;
            } else if let Some(read) = place_beside(&expr.left, &expr.right, schema) {
                expr.left = read?;
            }
        }
        if let Some(read) = value_beside(&expr.right, &expr.left, &expr.op, schema) {
            expr.right = read;
        } else if let Some(read) = value_beside(&expr.left, &expr.right, &expr.op, schema) {
            expr.left = read;
        }
        let takes_arrays = compares(&expr.op)
            || matches!(
                expr.op,
                BinaryOperator::AtArrow
                    | BinaryOperator::ArrowAt
                    | BinaryOperator::PGOverlap
                    | BinaryOperator::StringConcat
            );
        if takes_arrays {
            let concatenates = expr.op == BinaryOperator::StringConcat;
            let boolean_beside = |literal: &Expr, other: &Expr| {
                (!concatenates).then(|| boolean_beside(literal, other, schema)).flatten()
            };
            if let Some(value) = boolean_beside(&expr.right, &expr.left) {
                expr.right = value?;
            } else if let Some(value) = boolean_beside(&expr.left, &expr.right) {
                expr.left = value?;
            } else if let Some(text) = text_literal(&expr.right)
                && let Some(item) = item_type(&expr.left, schema)
                && (expr.op != BinaryOperator::StringConcat || text.starts_with('{'))
            {
                expr.right = array(text, &item)?;
            } else if let Some(text) = text_literal(&expr.left)
                && let Some(item) = item_type(&expr.right, schema)
                && (expr.op != BinaryOperator::StringConcat || text.starts_with('{'))
            {
                expr.left = array(text, &item)?;
            }
        }
        Ok(PlannerResult::Original(expr))
    }
}

fn text_literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => Some(text),
        _ => None,
    }
}

/// The `tid` that a text literal means beside another.
pub fn place_beside(literal: &Expr, other: &Expr, schema: &dyn ExprSchema) -> Option<Result<Expr>> {
    let text = text_literal(literal)?;
    is_place(other, schema).then(|| text_input::tid(text).map(lit).ok_or_else(|| invalid_tid(text)))
}

/// Whether an expression is a `tid`.
pub fn is_place(expr: &Expr, schema: &dyn ExprSchema) -> bool {
    let is_tid = |field: &FieldRef| {
        let name = field.metadata().get(PG_TYPE);
        name.is_some_and(|name| name == "tid") && *field.data_type() == DataType::Int64
    };
    expr.to_field(schema).is_ok_and(|(_, field)| is_tid(&field))
}

/// The date, time, interval or uuid that a text literal means beside another: of the same type where the two
/// are compared or subtracted, an interval where one is added.
fn value_beside(literal: &Expr, other: &Expr, op: &BinaryOperator, schema: &DFSchema) -> Option<Expr> {
    text_literal(literal)?;
    let is_read = |other: &DataType| other.is_temporal() || *other == DataType::FixedSizeBinary(16);
    let other = other.get_type(schema).ok().filter(is_read)?;
    let wanted = match op {
        BinaryOperator::Plus | BinaryOperator::Minus if !other.is_temporal() => return None,
        BinaryOperator::Plus if !matches!(other, DataType::Date32) => &INTERVAL,
        BinaryOperator::Plus => return None,
        BinaryOperator::Minus => &other,
        op if compares(op) => &other,
        _ => return None,
    };
    text_input::read(literal, wanted)
}

/// The boolean that a text literal means beside a boolean expression.
fn boolean_beside(literal: &Expr, other: &Expr, schema: &DFSchema) -> Option<Result<Expr>> {
    let text = text_literal(literal)?;
    if !matches!(other.get_type(schema), Ok(DataType::Boolean)) {
        return None;
    }
    Some(match Value::from(text).as_bool() {
        Some(value) => Ok(lit(value)),
        None => Err(error("22P02", format!("invalid input syntax for type boolean: \"{text}\""))),
    })
}

fn item_type(expr: &Expr, schema: &DFSchema) -> Option<FieldRef> {
    match expr.get_type(schema) {
        Ok(DataType::List(item)) => Some(item),
        _ => None,
    }
}

/// `item`: as the array beside it has it, names and all, so that both are of one type.
fn array(text: &str, item: &FieldRef) -> Result<Expr> {
    let malformed = || error("22P02", format!("malformed array literal: \"{text}\""));
    let items = parse_array_literal(text).ok_or_else(malformed)?;
    let texts: ArrayRef = Arc::new(StringArray::from(items));
    let items = arrow::compute::cast(&texts, item.data_type()).map_err(|_| malformed())?;
    let item = Arc::new(item.as_ref().clone().with_nullable(true));
    let list = ListArray::try_new(item, OffsetBuffer::from_lengths([items.len()]), items, None)?;
    Ok(Expr::Literal(ScalarValue::List(Arc::new(list)), None))
}
