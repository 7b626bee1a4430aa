//! Rows of RETURNING: set aside while rows are written, handed out once they are committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;

use crate::error::Error;

/// Collects the columns of RETURNING, in memory that the pool knows of.
#[derive(Debug)]
pub(super) struct Returning {
    /// Columns of the input that are the table's; those of RETURNING follow.
    columns: usize,
    schema: SchemaRef,
    kept: Arc<Mutex<Kept>>,
    inputs: AtomicUsize,
}

#[derive(Debug)]
struct Kept {
    /// With the number of the input that each came from.
    batches: Vec<(usize, RecordBatch)>,
    reservation: MemoryReservation,
}

impl Returning {
    pub fn new(columns: usize, schema: SchemaRef, context: &TaskContext) -> Self {
        let reservation = MemoryConsumer::new("RETURNING").register(context.memory_pool());
        let kept = Kept { batches: Vec::new(), reservation };
        Self { columns, schema, kept: Arc::new(Mutex::new(kept)), inputs: AtomicUsize::new(0) }
    }

    /// The table's columns of `input`; the others are kept.
    pub fn split(&self, input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let number = self.inputs.fetch_add(1, Ordering::Relaxed);
        let table: Vec<usize> = (0..self.columns).collect();
        let returned: Vec<usize> = (self.columns..input.schema().fields().len()).collect();
        let schema = match input.schema().project(&table) {
            Ok(schema) => Arc::new(schema),
            Err(_) => input.schema(),
        };
        let (kept, output) = (self.kept.clone(), self.schema.clone());
        let rows = input.map(move |batch| -> Result<RecordBatch> {
            let batch = batch?;
            let wanted = batch.project(&returned)?;
            let wanted = RecordBatch::try_new(output.clone(), wanted.columns().to_vec())
                .map_err(|e| Error::Internal(format!("RETURNING: {e}")))?;
            let mut kept = kept.lock();
            kept.reservation.try_grow(wanted.get_array_memory_size())?;
            kept.batches.push((number, wanted));
            drop(kept);
            Ok(batch.project(&table)?)
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }

    /// The table's columns of `input`; the others are dropped.
    pub fn without(&self, input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let table: Vec<usize> = (0..self.columns).collect();
        let schema = match input.schema().project(&table) {
            Ok(schema) => Arc::new(schema),
            Err(_) => input.schema(),
        };
        let rows = input.map(move |batch| Ok(batch?.project(&table)?));
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }

    /// What was kept, input after input.
    pub fn into_stream(self) -> SendableRecordBatchStream {
        let (mut batches, reservation) = {
            let mut kept = self.kept.lock();
            (std::mem::take(&mut kept.batches), kept.reservation.take())
        };
        batches.sort_by_key(|(input, _)| *input);
        let rows = futures::stream::iter(batches.into_iter().map(|(_, batch)| Ok(batch)));
        // The memory is accounted for until the last row is gone.
        let rows = rows.inspect_ok(move |_| {
            let _ = &reservation;
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema, rows))
    }
}
