//! Casts that lose something: different values become the same. DataFusion moves a cast from one side of a
//! comparison to the constant on the other, which is right only for those that lose nothing:
//! `n::numeric(5,1) = 2.3` would be `n = 2.3`. As functions they stay where they are.
//!
//! Runs last, when all casts are there.

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ExprSchema};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use super::postgres_casts::rewrite;

/// The rule.
#[derive(Debug)]
pub struct LossyCasts;

impl AnalyzerRule for LossyCasts {
    fn name(&self) -> &str {
        "lossy_casts"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, |expr, schema| Ok(hidden(expr, schema)))
    }
}

fn hidden(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else { return Transformed::no(expr) };
    let source = inner.get_type(schema as &dyn ExprSchema);
    // A constant is cast once, whatever the cast is.
    if matches!(inner.as_ref(), Expr::Literal(..)) || !source.is_ok_and(|t| is_lossy(&t, field.data_type())) {
        return Transformed::no(expr);
    }
    let function =
        LossyCast { target: field.data_type().clone(), signature: Signature::any(1, Volatility::Immutable) };
    let call = ScalarUDF::new_from_impl(function).call(vec![inner.as_ref().clone()]);
    // The field may tell more than the type.
    Transformed::yes(Expr::Cast(Cast { expr: Box::new(call), field: field.clone() }))
}

fn is_lossy(from: &DataType, to: &DataType) -> bool {
    let scale = |t: &DataType| match t {
        DataType::Decimal32(_, s)
        | DataType::Decimal64(_, s)
        | DataType::Decimal128(_, s)
        | DataType::Decimal256(_, s) => Some(*s),
        _ => None,
    };
    match (from, to) {
        (DataType::Timestamp(..), DataType::Time32(_) | DataType::Time64(_)) => true,
        (DataType::Float64, DataType::Float32 | DataType::Float16) => true,
        _ => scale(from).zip(scale(to)).is_some_and(|(from, to)| to < from),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LossyCast {
    target: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for LossyCast {
    fn name(&self) -> &str {
        "lossy_cast"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.target.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let value = args.args.first();
        let value = value.ok_or_else(|| DataFusionError::Internal("lossy_cast needs an argument".into()))?;
        value.cast_to(&self.target, None)
    }
}
