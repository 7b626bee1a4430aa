//! Rows into a table: committed at once, or kept by the transaction until COMMIT.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use auric_catalog::registry::Table;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;

use super::super::rows;
use crate::error::{Error, Result, SqlState};
use crate::planner::Scope;

/// Adds the rows of `input` (the table's columns in order) to a table. Returns their number.
pub async fn append(
    scope: &Scope,
    table: &Table,
    input: Arc<dyn ExecutionPlan>,
    in_block: bool,
) -> Result<u64> {
    if in_block { keep(scope, table, input).await } else { commit(scope, table, input).await }
}

/// Writes and commits.
pub async fn commit(scope: &Scope, table: &Table, input: Arc<dyn ExecutionPlan>) -> Result<u64> {
    let plan = table
        .provider()
        .insert_into(scope.state.as_ref(), input, InsertOp::Append)
        .await
        .map_err(|e| Error::from(&e))?;
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

async fn keep(scope: &Scope, table: &Table, input: Arc<dyn ExecutionPlan>) -> Result<u64> {
    scope.tables.check_append(table, &scope.engine.runtime)?;
    let schema = table.snapshot.schema.arrow.clone();
    // The rows may come from the very table: nothing is added before all is read.
    let mut stream = rows::stream(scope, input)?;
    let mut batches = Vec::new();
    let mut count = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|e| Error::from(&e))?;
        if batch.num_rows() == 0 {
            continue;
        }
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            if !field.is_nullable() && column.null_count() > 0 {
                return Err(auric_catalog::Error::NotNullViolation {
                    table: table.ident.name.clone(),
                    column: field.name().clone(),
                }
                .into());
            }
        }
        count += batch.num_rows() as u64;
        let batch =
            RecordBatch::try_new(schema.clone(), batch.columns().to_vec()).map_err(|e| Error::from(&e))?;
        batches.push(batch);
    }
    for batch in batches {
        scope.tables.append(table, batch, &scope.engine.runtime)?;
    }
    Ok(count)
}
