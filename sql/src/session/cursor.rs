//! Cursors of DECLARE: a running query, read piece by piece.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::session::Session;
use crate::session::transaction::TransactionTables;
use crate::statement::OutputColumn;

/// An open cursor.
pub struct Cursor {
    pub columns: Arc<Vec<OutputColumn>>,
    /// Survives the end of its transaction.
    pub hold: bool,
    schema: SchemaRef,
    /// Never locked, only reached by `&mut`: it makes a session with cursors shareable (`Sync`).
    stream: Mutex<SendableRecordBatchStream>,
    left_over: Option<RecordBatch>,
    /// A held cursor reads on when its transaction is over, and the files that it reads must stay.
    _tables: Arc<TransactionTables>,
}

impl Cursor {
    pub fn new(
        columns: Arc<Vec<OutputColumn>>,
        hold: bool,
        stream: SendableRecordBatchStream,
        tables: Arc<TransactionTables>,
    ) -> Self {
        let (schema, stream) = (stream.schema(), Mutex::new(stream));
        Self { columns, hold, schema, stream, left_over: None, _tables: tables }
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The next rows, at most `count`.
    pub async fn fetch(&mut self, count: Option<u64>) -> Result<Vec<RecordBatch>> {
        let mut wanted = count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
        let mut batches = Vec::new();
        while wanted > 0 {
            let batch = match self.left_over.take() {
                Some(batch) => batch,
                None => match self.stream.get_mut().next().await {
                    Some(batch) => batch.map_err(|e| Error::from(&e))?,
                    None => break,
                },
            };
            if batch.num_rows() > wanted {
                self.left_over = Some(batch.slice(wanted, batch.num_rows() - wanted));
                batches.push(batch.slice(0, wanted));
                break;
            }
            wanted -= batch.num_rows();
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
        Ok(batches)
    }
}

impl Session {
    /// Columns of an open cursor. To clients it is a portal, which they may describe.
    pub fn cursor_columns(&self, name: &str) -> Option<Arc<Vec<OutputColumn>>> {
        self.cursors.get(name).map(|cursor| cursor.columns.clone())
    }
}
