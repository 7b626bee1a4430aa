//! The change data feed of a table that keeps one: every row that a statement inserts, deletes or
//! updates (as it was and as it becomes), with the kind of change, in files beside the table's own.
//!
//! New rows are written as they pass; rows as they were are read back from the touched files, those
//! rows alone.

use std::iter::repeat_n;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{StreamExt, stream};
use roaring::RoaringTreemap;
use tokio::sync::mpsc;

use super::changes::{NewRows, new_rows_schema};
use crate::error::{Error, Result};
use crate::registry::Table;
use crate::scan::{Beside, surviving_rows};
use crate::table::{LiveFile, NewDataFile, Operation};
use crate::write::{InputOrder, TableWriter, WrittenFiles};

/// Kinds of change, in the last column (Delta protocol, "Change Data Files").
const INSERT: &str = "insert";
const DELETE: &str = "delete";
const UPDATE_BEFORE: &str = "update_preimage";
const UPDATE_AFTER: &str = "update_postimage";

/// Writes the feed of one statement.
#[derive(Debug)]
pub struct ChangeFeed {
    writer: TableWriter,
    schema: SchemaRef,
}

/// Rows of a file that a statement takes away or replaces.
#[derive(Debug)]
pub struct BeforeImages<'a> {
    pub file: &'a Arc<LiveFile>,
    /// All of them.
    pub gone: &'a RoaringTreemap,
    /// Those that are replaced.
    pub updated: &'a RoaringTreemap,
    /// Rows that were not there any more.
    pub deleted_before: Option<&'a RoaringTreemap>,
}

impl ChangeFeed {
    /// `None`: the table keeps no feed. Its files share the fate of those of `guard`.
    pub fn of(table: &Table, operation: Operation, guard: &WrittenFiles) -> Result<Option<Self>> {
        let format = table.catalog.format(table.snapshot.format);
        let Some(images) = format.change_feed(&table.snapshot, operation)? else { return Ok(None) };
        let name = table.ident.to_string();
        let writer = TableWriter::new(&name, table.catalog.storage(), &images, None)?.sharing(guard);
        Ok(Some(Self { writer, schema: schema_of(&table.snapshot.schema.arrow) }))
    }

    /// Writes what [`send_after`] sends, until no sender is left.
    pub async fn write_after(
        &mut self,
        images: mpsc::Receiver<RecordBatch>,
        context: &TaskContext,
    ) -> Result<()> {
        let images = stream::unfold(images, |mut images| async move {
            let batch = images.recv().await?;
            Some((Ok(batch), images))
        });
        let images = Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), images));
        self.writer.round(vec![images], 1, InputOrder::Any, context).await
    }

    /// Writes rows of a file as they were. Fails with `Unsupported` if it is not known how many rows
    /// the file has.
    pub async fn write_before(
        &mut self,
        table: &Table,
        session: &dyn Session,
        images: BeforeImages<'_>,
        context: &Arc<TaskContext>,
    ) -> Result<()> {
        let rows = images.file.file()?.record_count.ok_or_else(|| {
            Error::unsupported(&table.ident, "a change data feed of files without row counts")
        })?;
        for (kind, wanted) in
            [(DELETE, images.gone - images.updated), (UPDATE_BEFORE, images.updated.clone())]
        {
            if wanted.is_empty() {
                continue;
            }
            let mut others = RoaringTreemap::new();
            others.insert_range(0..rows);
            others -= wanted;
            if let Some(before) = images.deleted_before {
                others |= before;
            }
            let plan = surviving_rows(table, session, vec![(images.file.clone(), others)], Beside::default())
                .await?;
            let streams = self.streams(&plan, kind, context)?;
            self.writer.round(streams, 1, InputOrder::Any, context).await?;
        }
        Ok(())
    }

    fn streams(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        kind: &'static str,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<SendableRecordBatchStream>> {
        let partitions = 0..plan.output_partitioning().partition_count();
        let stream = |partition| {
            let rows = plan.execute(partition, context.clone())?;
            let schema = self.schema.clone();
            let images = rows.map(move |rows| {
                let rows = rows?;
                let kinds = StringViewArray::from_iter_values(repeat_n(kind, rows.num_rows()));
                Ok(with_kinds(&schema, &rows, kinds)?)
            });
            let stream = RecordBatchStreamAdapter::new(self.schema.clone(), images);
            Ok(Box::pin(stream) as SendableRecordBatchStream)
        };
        partitions.map(stream).collect()
    }

    pub async fn finish(self) -> Result<Vec<NewDataFile>> {
        Ok(self.writer.finish().await?.files)
    }
}

/// Sends new rows to whoever runs [`ChangeFeed::write_after`]; if that has failed, it tells why.
pub async fn send_after(
    images: &mpsc::Sender<RecordBatch>,
    new: &NewRows,
    table_columns: usize,
) -> Result<()> {
    if new.rows.num_rows() == 0 {
        return Ok(());
    }
    let kind = |update: Option<bool>| if update == Some(true) { UPDATE_AFTER } else { INSERT };
    let kinds = StringViewArray::from_iter_values(new.updates.iter().map(kind));
    // Without row ids: the feed has none.
    let columns: Vec<usize> = (0..table_columns).collect();
    let rows = new.rows.project(&columns).map_err(|e| Error::Internal(e.to_string()))?;
    let batch = with_kinds(&schema_of(&rows.schema()), &rows, kinds)?;
    let gone = |_| Error::Internal("the change data feed is no longer written".into());
    images.send(batch).await.map_err(gone)
}

/// Writers go by position.
fn schema_of(columns: &Schema) -> SchemaRef {
    let columns = new_rows_schema(columns, false);
    let mut fields = columns.fields().to_vec();
    fields.push(Arc::new(Field::new("kind", DataType::Utf8View, false)));
    Arc::new(Schema::new(fields))
}

fn with_kinds(schema: &SchemaRef, rows: &RecordBatch, kinds: StringViewArray) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns.push(Arc::new(kinds));
    RecordBatch::try_new(schema.clone(), columns).map_err(|e| Error::Internal(e.to_string()))
}
