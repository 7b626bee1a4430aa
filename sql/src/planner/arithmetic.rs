//! Integer `+`, `-` and `*` that fail with 22003 instead of wrapping around; `+`, `-`, `*` and `/` of
//! floating point numbers that fail with 22003 and 22012 instead of giving infinity or NaN.
//!
//! DataFusion's own operators wrap; every operator on two integers is planned as one of these
//! functions instead, constant folding included. So are two dates, and a date and a number of days, which DataFusion
//! makes an interval of nanoseconds, for less than three centuries.
//!
//! Quotients of `numeric`, and products that need more than 38 digits: `functions/numeric.rs`.

use arrow::array::{Array, Datum};
use arrow::compute::{cast, kernels::numeric};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    cast as cast_expr,
};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::error::{Error, SqlState};
use crate::functions::floats::{self, Arithmetic};
use crate::functions::numeric::{digits, quotient, wide_product};

/// Plans arithmetic as checked.
#[derive(Debug)]
pub struct CheckedArithmetic;

impl ExprPlanner for CheckedArithmetic {
    fn plan_binary_op(
        &self,
        mut expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        as_numbers(&mut expr, schema);
        let operation = match expr.op {
            BinaryOperator::Plus => Arithmetic::Add,
            BinaryOperator::Minus => Arithmetic::Subtract,
            BinaryOperator::Multiply => Arithmetic::Multiply,
            BinaryOperator::Divide => Arithmetic::Divide,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        if is_floating(&expr, schema) {
            return Ok(PlannerResult::Planned(operation.of(expr.left, expr.right)));
        }
        if operation == Arithmetic::Divide {
            return Ok(of_quotient(expr, schema));
        }
        let is_integer = |e: &Expr| matches!(e.get_type(schema), Ok(t) if t.is_signed_integer());
        let is_date = |e: &Expr| matches!(e.get_type(schema), Ok(DataType::Date32));
        let (left, right) = (&expr.left, &expr.right);
        if is_integer(left) && is_integer(right) {
            return Ok(PlannerResult::Planned(operation.of(expr.left, expr.right)));
        }
        if operation == Arithmetic::Multiply
            && let (Ok(left), Ok(right)) = (left.get_type(schema), right.get_type(schema))
            && let Some(product) = wide_product(&left, &right)
        {
            return Ok(PlannerResult::Planned(product.call(vec![expr.left, expr.right])));
        }
        let days = |e: Expr| cast_expr(e, DataType::Int32);
        let number = match operation {
            Arithmetic::Add | Arithmetic::Subtract if is_date(left) && is_integer(right) => {
                operation.of(days(expr.left), expr.right)
            }
            Arithmetic::Subtract if is_date(left) && is_date(right) => {
                return Ok(PlannerResult::Planned(operation.of(days(expr.left), days(expr.right))));
            }
            Arithmetic::Add if is_integer(left) && is_date(right) => {
                operation.of(expr.left, days(expr.right))
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        Ok(PlannerResult::Planned(cast_expr(days(number), DataType::Date32)))
    }
}

/// Two numbers, one of them a floating point number.
fn is_floating(expr: &RawBinaryExpr, schema: &DFSchema) -> bool {
    match (expr.left.get_type(schema), expr.right.get_type(schema)) {
        (Ok(left), Ok(right)) => {
            left.is_numeric() && right.is_numeric() && (left.is_floating() || right.is_floating())
        }
        _ => false,
    }
}

/// A text literal beside a number is a number of the same type; `real` beside a number of another type is
/// `double precision`.
fn as_numbers(expr: &mut RawBinaryExpr, schema: &DFSchema) {
    use BinaryOperator::{Divide, Minus, Modulo, Multiply, Plus};
    if !matches!(expr.op, Plus | Minus | Multiply | Divide | Modulo) {
        return;
    }
    let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else { return };
    let is_literal = |e: &Expr| matches!(e, Expr::Literal(value, _) if value.data_type().is_string());
    let real = |t: &DataType| *t == DataType::Float32;
    let other = |t: &DataType| t.is_integer() || t.is_decimal();
    if is_literal(&expr.right) && left.is_numeric() {
        expr.right = cast_expr(expr.right.clone(), left);
    } else if is_literal(&expr.left) && right.is_numeric() {
        expr.left = cast_expr(expr.left.clone(), right);
    } else if real(&left) && other(&right) {
        expr.left = cast_expr(expr.left.clone(), DataType::Float64);
    } else if other(&left) && real(&right) {
        expr.right = cast_expr(expr.right.clone(), DataType::Float64);
    }
}

/// A quotient of decimals, or of a decimal and an integer.
fn of_quotient(expr: RawBinaryExpr, schema: &DFSchema) -> PlannerResult<RawBinaryExpr> {
    let exact = match (expr.left.get_type(schema), expr.right.get_type(schema)) {
        (Ok(left), Ok(right)) => {
            (left.is_decimal() || right.is_decimal())
                && [&left, &right].into_iter().all(|t| digits(t).is_some())
        }
        _ => false,
    };
    if exact {
        PlannerResult::Planned(quotient(expr.left, expr.right))
    } else {
        PlannerResult::Original(expr)
    }
}

impl Arithmetic {
    fn of(self, left: Expr, right: Expr) -> Expr {
        let function = ScalarUDF::new_from_impl(Checked::new(self));
        Expr::ScalarFunction(ScalarFunction::new_udf(function.into(), vec![left, right]))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Arithmetic,
    signature: Signature,
}

impl Checked {
    fn new(operation: Arithmetic) -> Self {
        Self { operation, signature: Signature::any(2, Volatility::Immutable) }
    }
}

fn wider(left: &DataType, right: &DataType) -> DataType {
    if left.is_floating() || right.is_floating() {
        let real = |t: &DataType| matches!(t, DataType::Float16 | DataType::Float32);
        return if real(left) && real(right) { DataType::Float32 } else { DataType::Float64 };
    }
    let bits = |t: &DataType| match t {
        DataType::Int8 | DataType::Int16 => 16,
        DataType::Int32 => 32,
        _ => 64,
    };
    match bits(left).max(bits(right)) {
        16 => DataType::Int16,
        32 => DataType::Int32,
        _ => DataType::Int64,
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operation {
            Arithmetic::Add => "checked_add",
            Arithmetic::Subtract => "checked_subtract",
            Arithmetic::Multiply => "checked_multiply",
            Arithmetic::Divide => "checked_divide",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [left, right] => Ok(wider(left, right)),
            _ => Err(DataFusionError::Internal("two operands expected".into())),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let target = args.return_field.data_type().clone();
        let [left, right] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("two operands expected".into()));
        };
        let left = left.cast_to(&target, None)?;
        let right = right.cast_to(&target, None)?;
        let scalars = matches!((&left, &right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let (left, right) = (datum(&left)?, datum(&right)?);
        let result = match self.operation {
            Arithmetic::Add => numeric::add(left.as_ref(), right.as_ref()),
            Arithmetic::Subtract => numeric::sub(left.as_ref(), right.as_ref()),
            Arithmetic::Multiply => numeric::mul(left.as_ref(), right.as_ref()),
            Arithmetic::Divide => numeric::div(left.as_ref(), right.as_ref()),
        };
        let result = result.map_err(|e| out_of_range(e, &target))?;
        if target.is_floating() {
            floats::check(self.operation, left.get().0, right.get().0, &result)?;
        }
        let result = if result.data_type() == &target { result } else { cast(&result, &target)? };
        if scalars {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

fn datum(value: &ColumnarValue) -> Result<Box<dyn Datum>> {
    Ok(match value {
        ColumnarValue::Array(array) => Box::new(array.clone()),
        ColumnarValue::Scalar(scalar) => Box::new(scalar.to_scalar()?),
    })
}

fn out_of_range(e: ArrowError, target: &DataType) -> DataFusionError {
    let ArrowError::ArithmeticOverflow(_) = e else {
        return e.into();
    };
    let name = match target {
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        _ => "bigint",
    };
    Error::new(SqlState::NUMERIC_OUT_OF_RANGE, format!("{name} out of range")).into()
}
