//! Functions by chapter of the Postgres manual.

use datafusion::error::Result;
use datafusion::logical_expr::registry::FunctionRegistry;

/// Registers all functions of this crate.
pub fn register(_registry: &mut dyn FunctionRegistry) -> Result<()> {
    Ok(())
}
