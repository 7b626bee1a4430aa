//! Rows into a table: committed at once, or by the COMMIT of the transaction.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use auric_catalog::dml::insert;
use auric_catalog::registry::Table;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;

use super::super::rows;
use crate::error::{Error, Result, SqlState};
use crate::planner::Scope;

/// Adds the rows of `input` (the table's columns in order) to a table. Returns their number.
pub async fn append(scope: &Scope, table: &Table, input: Arc<dyn ExecutionPlan>) -> Result<u64> {
    let publish = scope.tables.publish(table)?;
    let plan =
        insert::plan_published(table, scope.state.as_ref(), input, publish).map_err(|e| Error::from(&e))?;
    let mut stream = rows::stream(scope, plan)?;
    let mut count = None;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|e| Error::from(&e))?;
        if batch.num_rows() > 0 && batch.num_columns() > 0 {
            let counts = batch.column(0).as_primitive_opt::<UInt64Type>();
            count = counts.map(|counts| counts.values().iter().sum());
        }
    }
    count.ok_or_else(|| Error::new(SqlState::INTERNAL_ERROR, "the write reported no row count"))
}
