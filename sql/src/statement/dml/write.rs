//! Rows into a table: committed at once, or by the COMMIT of the transaction.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use auric_catalog::dml::impact::Impact;
use auric_catalog::dml::insert;
use auric_catalog::registry::Table;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use super::super::{CommandTag, Output, OutputColumn, RowOutput, rows};
use crate::error::{Error, Result, SqlState};
use crate::planner::Scope;

/// Adds the rows of `input` (the table's columns in order) to a table. Returns their number.
pub async fn append(scope: &Scope, table: &Table, input: Arc<dyn ExecutionPlan>) -> Result<u64> {
    let publish = scope.tables.publish(table)?;
    let plan =
        insert::plan_published(table, scope.state.as_ref(), input, publish).map_err(|e| Error::from(&e))?;
    count(scope, plan).await
}

/// Runs a plan that writes and tells how many rows.
pub async fn count(scope: &Scope, plan: Arc<dyn ExecutionPlan>) -> Result<u64> {
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

/// Runs a plan that writes, and waits until it has committed (or handed its change over). `returning`: the columns of its rows;
/// otherwise it tells its impact.
pub async fn run(
    scope: &Scope,
    plan: Arc<dyn ExecutionPlan>,
    returning: Option<Arc<Vec<OutputColumn>>>,
) -> Result<Output> {
    let mut stream = rows::stream(scope, plan)?;
    let first = stream.next().await.transpose().map_err(|e| Error::from(&e))?;
    let Some(columns) = returning else {
        let impact = first.as_ref().and_then(Impact::from_batch);
        let impact = impact
            .ok_or_else(|| Error::new(SqlState::INTERNAL_ERROR, "the write did not report what it did"))?;
        return Ok(Output::Complete(CommandTag::Insert(impact.rows_inserted + impact.rows_updated)));
    };
    let schema = stream.schema();
    let all = futures::stream::iter(first.map(Ok)).chain(stream);
    let stream = Box::pin(RecordBatchStreamAdapter::new(schema, all));
    Ok(Output::Rows(RowOutput { columns, stream, tag: inserted(), binary: false, collecting: None }))
}

/// `INSERT 0 n` with the number of rows returned.
fn inserted() -> CommandTag {
    CommandTag::Rows { verb: "INSERT 0", counted: true }
}
