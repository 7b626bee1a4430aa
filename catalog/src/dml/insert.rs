//! INSERT: write the rows, append the files.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;

use crate::registry::Table;

/// Plan that writes `input` (columns in the order of the table's schema) into `table`, commits, and
/// returns one row: `count`, the number of rows written. A staged table is created by the commit.
pub fn plan(
    _table: &Table,
    _state: &dyn Session,
    _input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    Err(crate::Error::Internal("not written".into()).into())
}
