//! Rows into a table: committed at once, or kept by the transaction until COMMIT.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use auric_catalog::dml::impact::Impact;
use auric_catalog::registry::Table;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use super::super::{CommandTag, Output, OutputColumn, RowOutput, rows};
use super::returning::Returned;
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

/// Runs a plan that writes, and waits until it has committed. `returning`: the columns of its rows;
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
        return Ok(Output::Complete(CommandTag::Insert(impact.rows_inserted)));
    };
    let schema = stream.schema();
    let all = futures::stream::iter(first.map(Ok)).chain(stream);
    let stream = Box::pin(RecordBatchStreamAdapter::new(schema, all));
    Ok(Output::Rows(RowOutput { columns, stream, tag: inserted() }))
}

/// `INSERT 0 n` with the number of rows returned.
fn inserted() -> CommandTag {
    CommandTag::Rows { verb: "INSERT 0", counted: true }
}

/// Keeps the rows of `input` (the table's columns, then those of RETURNING) until COMMIT.
pub async fn keep_returning(
    scope: &Scope,
    table: &Table,
    input: Arc<dyn ExecutionPlan>,
    returned: &Returned,
) -> Result<Output> {
    let all: Vec<usize> = (0..input.schema().fields().len()).collect();
    let (own, others) = all.split_at(table.snapshot.schema.arrow.fields().len().min(all.len()));
    let schema = input.schema().project(others).map_err(|e| Error::from(&e))?;
    let (mut new, mut shown) = (Vec::new(), Vec::new());
    for batch in collect(scope, table, input).await? {
        shown.push(batch.project(others).map_err(|e| Error::from(&e))?);
        new.push(batch.project(own).map_err(|e| Error::from(&e))?);
    }
    add(scope, table, new)?;
    Ok(rows::batches(returned.columns.clone(), Arc::new(schema), shown, inserted()))
}

async fn keep(scope: &Scope, table: &Table, input: Arc<dyn ExecutionPlan>) -> Result<u64> {
    let batches = collect(scope, table, input).await?;
    let count = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    add(scope, table, batches)?;
    Ok(count)
}

/// All rows of `input`, which begin with the table's columns. They may come from the very table:
/// nothing is added before all is read.
async fn collect(scope: &Scope, table: &Table, input: Arc<dyn ExecutionPlan>) -> Result<Vec<RecordBatch>> {
    scope.tables.check_append(table, &scope.engine.runtime)?;
    let mut stream = rows::stream(scope, input)?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|e| Error::from(&e))?;
        for (field, column) in table.snapshot.schema.arrow.fields().iter().zip(batch.columns()) {
            if !field.is_nullable() && column.null_count() > 0 {
                return Err(auric_catalog::Error::NotNullViolation {
                    table: table.ident.name.clone(),
                    column: field.name().clone(),
                }
                .into());
            }
        }
        if batch.num_rows() > 0 {
            batches.push(batch);
        }
    }
    Ok(batches)
}

fn add(scope: &Scope, table: &Table, batches: Vec<RecordBatch>) -> Result<()> {
    let schema = &table.snapshot.schema.arrow;
    for batch in batches {
        let batch =
            RecordBatch::try_new(schema.clone(), batch.columns().to_vec()).map_err(|e| Error::from(&e))?;
        scope.tables.append(table, batch, &scope.engine.runtime)?;
    }
    Ok(())
}
