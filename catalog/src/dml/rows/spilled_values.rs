//! Updated values that have no room in memory while they wait.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, UInt64Type};
use datafusion::execution::{SpillFile, TaskContext};
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use futures::StreamExt;
use futures::stream::BoxStream;

use super::updated::Updated;
use crate::error::{Error, Result};
use crate::write::batch_bytes;

/// Rows that are written at a time.
const BATCH_ROWS: usize = 8_192;

/// Keeps values on disk, together with the positions of their rows.
#[derive(Debug)]
pub struct ValueSpill {
    files: SpillManager,
    /// Position, and values.
    schema: SchemaRef,
}

/// Values of rows of one file.
pub struct SpilledValues {
    file: Arc<dyn SpillFile>,
    bytes: usize,
}

impl ValueSpill {
    pub fn new(values: &SchemaRef, context: &TaskContext) -> Result<Self> {
        let mut fields: Vec<FieldRef> = vec![Arc::new(Field::new("position", DataType::UInt64, false))];
        fields.extend(values.fields().iter().cloned());
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        let files = SpillManager::new(context.runtime_env(), metrics, schema.clone());
        Ok(Self { files, schema })
    }

    /// Fails if there is no room on disk, or none is configured.
    pub fn write(&self, updated: &Updated) -> Result<SpilledValues> {
        let positions: ArrayRef = Arc::new(UInt64Array::from(updated.positions.clone()));
        let columns = std::iter::once(positions).chain(updated.values.columns().iter().cloned());
        let rows = RecordBatch::try_new(self.schema.clone(), columns.collect()).map_err(internal)?;
        let starts = (0..rows.num_rows()).step_by(BATCH_ROWS);
        let batches: Vec<RecordBatch> =
            starts.map(|start| rows.slice(start, BATCH_ROWS.min(rows.num_rows() - start))).collect();
        let file = self.files.spill_record_batch_and_finish(&batches, "updated values")?;
        let file = file.ok_or_else(|| Error::Internal("no updated values were spilled".into()))?;
        Ok(SpilledValues { file, bytes: batch_bytes(&rows) })
    }

    /// The values in the order of their file.
    pub fn read(&self, values: SpilledValues) -> Result<BoxStream<'static, Result<Updated>>> {
        let batches = self.files.read_spill_as_stream_unbuffered(values.file, None)?;
        let updated = batches.map(|batch| {
            let mut rows = batch?;
            let positions = rows.remove_column(0);
            let positions = positions.as_primitive_opt::<UInt64Type>();
            let positions =
                positions.ok_or_else(|| Error::Internal("spilled positions are no numbers".into()))?;
            Ok(Updated::new(positions.values().to_vec(), rows))
        });
        Ok(updated.boxed())
    }
}

impl SpilledValues {
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn internal(e: arrow::error::ArrowError) -> Error {
    Error::Internal(e.to_string())
}
