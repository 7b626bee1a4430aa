//! Parameters of a physical plan that is run many times.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::scalar::ScalarValue;
use parking_lot::RwLock;

use crate::planner::Parameter;

/// The values of one plan's parameters, for as long as it runs.
#[derive(Debug, Default)]
pub struct Values(RwLock<Vec<ScalarValue>>);

impl Values {
    pub fn set(&self, values: Vec<ScalarValue>) {
        *self.0.write() = values;
    }

    fn get(&self, index: usize) -> Option<ScalarValue> {
        self.0.read().get(index).cloned()
    }
}

/// The plan with a look into `values` in the place of each placeholder. Nothing folds it: it has no
/// arguments that could be constants. Where the placeholder does not say of what type it is (in an array that
/// is cast), it is that of the parameter.
pub fn bind(plan: &LogicalPlan, parameters: &[Parameter], values: &Arc<Values>) -> Result<LogicalPlan> {
    let bound = |expr: Expr| {
        expr.transform_up(|expr| {
            let Expr::Placeholder(placeholder) = &expr else { return Ok(Transformed::no(expr)) };
            let missing = || DataFusionError::Plan(format!("{} has no type", placeholder.id));
            let number: usize = placeholder.id.trim_start_matches('$').parse().map_err(|_| missing())?;
            let index = number.checked_sub(1).ok_or_else(missing)?;
            let field = match (&placeholder.field, parameters.get(index)) {
                (Some(field), _) => Field::clone(field).with_name(&placeholder.id).with_nullable(true),
                (None, Some(parameter)) => Field::new(&placeholder.id, parameter.data_type.clone(), true),
                (None, None) => return Err(missing()),
            };
            let field = Arc::new(field);
            let function = ScalarUDF::new_from_impl(Bound::new(index, field, values.clone()));
            Ok(Transformed::yes(function.call(Vec::new())))
        })
    };
    plan.clone().transform_up_with_subqueries(|node| node.map_expressions(bound)).data()
}

/// The value of one parameter.
#[derive(Debug)]
struct Bound {
    index: usize,
    field: FieldRef,
    values: Arc<Values>,
    signature: Signature,
}

impl Bound {
    fn new(index: usize, field: FieldRef, values: Arc<Values>) -> Self {
        Self { index, field, values, signature: Signature::nullary(Volatility::Stable) }
    }
}

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && Arc::ptr_eq(&self.values, &other.values)
    }
}

impl Eq for Bound {}

impl Hash for Bound {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.index.hash(state);
    }
}

impl ScalarUDFImpl for Bound {
    fn name(&self) -> &str {
        self.field.name()
    }

    /// That of the placeholder, so that columns keep their names.
    fn schema_name(&self, _: &[Expr]) -> Result<String> {
        Ok(self.field.name().clone())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(self.field.clone())
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let unset = || DataFusionError::Internal(format!("{} has no value", self.field.name()));
        self.values.get(self.index).map(ColumnarValue::Scalar).ok_or_else(unset)
    }
}
