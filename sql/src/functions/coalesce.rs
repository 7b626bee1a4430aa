//! `coalesce`, whose untyped texts take the type of a date, time, boolean or array beside them; else
//! DataFusion's.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::functions::core::coalesce;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Coalesce {
    native: Arc<ScalarUDF>,
    signature: Signature,
}

impl Default for Coalesce {
    fn default() -> Self {
        Self { native: coalesce(), signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Coalesce {
    fn name(&self) -> &str {
        self.native.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.native.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.native.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_read = |t: &&DataType| t.is_temporal() || matches!(t, DataType::Boolean | DataType::List(_));
        let read = |t: &DataType, typed: &DataType| if t.is_string() { typed.clone() } else { t.clone() };
        match types.iter().find(is_read) {
            Some(typed) if types.iter().any(DataType::is_string) => {
                let types: Vec<_> = types.iter().map(|t| read(t, typed)).collect();
                self.native.coerce_types(&types)
            }
            _ => self.native.coerce_types(types),
        }
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.native.simplify(args, info)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.native.invoke_with_args(args)
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.native.conditional_arguments(args)
    }

    fn short_circuits(&self) -> bool {
        self.native.short_circuits()
    }
}
