//! `merge_action()`: what a MERGE did to the row that RETURNING describes.

use arrow::datatypes::DataType;
use auric_catalog::dml::rows::RowAction;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use crate::error::{Error, SqlState};

/// The function; it has a value only where [`replace`] puts one.
pub fn function() -> ScalarUDF {
    let signature = Signature::nullary(Volatility::Volatile);
    ScalarUDF::new_from_impl(MergeAction { signature })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MergeAction {
    signature: Signature,
}

impl ScalarUDFImpl for MergeAction {
    fn name(&self) -> &str {
        "merge_action"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::from(misplaced()))
    }
}

/// The error for a call anywhere else.
pub fn misplaced() -> Error {
    let message = "merge_action() can only be used in the RETURNING list of a MERGE command";
    Error::new(SqlState::SYNTAX_ERROR, message)
}

/// Whether an expression calls the function.
pub fn is_called(expr: &Expr) -> bool {
    expr.exists(|e| Ok(is_call(e))).unwrap_or(false)
}

fn is_call(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.inner().is::<MergeAction>())
}

/// Puts the name of the action whose number `action` is in place of the function.
pub fn replace(expr: Expr, action: &Expr) -> Result<Expr> {
    let name = || {
        let branches =
            [(RowAction::Insert, "INSERT"), (RowAction::Update, "UPDATE"), (RowAction::Delete, "DELETE")];
        let branches = branches
            .map(|(number, name)| (Box::new(action.clone().eq(lit(number as i8))), Box::new(lit(name))));
        Expr::Case(Case::new(None, branches.to_vec(), None))
    };
    expr.transform(|e| Ok(if is_call(&e) { Transformed::yes(name()) } else { Transformed::no(e) }))
        .map(|transformed| transformed.data)
}
