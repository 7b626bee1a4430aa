//! Small results that are already in memory, and running plans.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use postgres_types::Type;

use super::interrupt::interruptible;
use super::{CommandTag, Output, OutputColumn, RowOutput};
use crate::error::{Error, Result};
use crate::planner::Scope;

/// A column of type text.
pub fn text_column(name: impl Into<String>) -> OutputColumn {
    OutputColumn {
        name: name.into(),
        pg_type: Type::TEXT,
        type_modifier: -1,
        quotient_scale: None,
        origin: None,
    }
}

/// Rows of text columns.
pub fn text_rows(
    columns: Vec<OutputColumn>,
    rows: &[Vec<Option<String>>],
    tag: CommandTag,
) -> Result<Output> {
    let fields: Vec<Field> =
        columns.iter().map(|column| Field::new(&column.name, DataType::Utf8, true)).collect();
    let arrays = (0..columns.len())
        .map(|i| {
            let values = rows.iter().map(|row| row.get(i).and_then(Option::as_deref));
            Arc::new(values.collect::<StringArray>()) as ArrayRef
        })
        .collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|e| Error::from(&e))?;
    Ok(batches(Arc::new(columns), batch.schema(), vec![batch], tag))
}

/// Rows that are in memory.
pub fn batches(
    columns: Arc<Vec<OutputColumn>>,
    schema: arrow::datatypes::SchemaRef,
    batches: Vec<RecordBatch>,
    tag: CommandTag,
) -> Output {
    let stream = futures::stream::iter(batches.into_iter().map(Ok));
    let stream = Box::pin(RecordBatchStreamAdapter::new(schema, stream));
    Output::Rows(RowOutput { columns, stream, tag, binary: false, collecting: None })
}

/// Physical plan of a logical one.
pub async fn physical(scope: &Scope, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    let state = scope.state_for(plan).await?;
    state.create_physical_plan(plan).await.map_err(|e| Error::from(&e))
}

/// The context plans run in. Functions are in the plans already.
pub fn task_context(scope: &Scope) -> Arc<TaskContext> {
    Arc::new(TaskContext::new(
        None,
        scope.state.session_id().to_string(),
        scope.state.config().clone(),
        Default::default(),
        Default::default(),
        Default::default(),
        Default::default(),
        scope.state.runtime_env().clone(),
    ))
}

/// Starts a plan.
pub fn stream(scope: &Scope, plan: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream> {
    let plan = match &scope.abandoned {
        Some(abandoned) => interruptible(plan, abandoned).map_err(|e| Error::from(&e))?,
        None => plan,
    };
    execute_stream(plan, task_context(scope)).map_err(|e| Error::from(&e))
}
