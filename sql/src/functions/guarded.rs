//! DataFusion's own functions with something done before or after: what they refuse, or should have.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// What is done.
pub trait Guard: Debug + Default + PartialEq + Eq + Hash + Send + Sync + 'static {
    /// Calls the function.
    fn call(&self, native: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue>;
}

/// The functions, guarded; their names stay.
pub fn guarded<G: Guard>(functions: impl IntoIterator<Item = Arc<ScalarUDF>>) -> Vec<ScalarUDF> {
    let guarded = |native| ScalarUDF::new_from_impl(Guarded { native, guard: G::default() });
    functions.into_iter().map(guarded).collect()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Guarded<G> {
    native: Arc<ScalarUDF>,
    guard: G,
}

impl<G: Guard> ScalarUDFImpl for Guarded<G> {
    fn name(&self) -> &str {
        self.native.name()
    }

    fn signature(&self) -> &Signature {
        self.native.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.native.inner().coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.native.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.native.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.guard.call(&self.native, args)
    }
}
