//! Copy-on-write: new files of what is left of others.
//!
//! A row group in which nothing is deleted is taken over as it is, where the file is one that we would write the
//! same today; the rows of the others, and of all other files, are read and written again.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{StreamExt, TryStreamExt};
use roaring::RoaringTreemap;

use super::apply::{Apply, READ_AHEAD};
use crate::error::Result;
use crate::scan::{footer, surviving_rows};
use crate::table::LiveFile;
use crate::write::{InputOrder, Part, Splice, TableWriter};

/// Files whose footers are kept while they are made anew.
const SPLICED_AT_ONCE: usize = 32;

/// A file with deleted rows.
pub struct Touched {
    pub number: i32,
    pub file: Arc<LiveFile>,
    pub deleted: RoaringTreemap,
    pub before: Option<Arc<RoaringTreemap>>,
}

impl Touched {
    /// Every position that is deleted now or was before.
    pub fn all_deleted(&self) -> RoaringTreemap {
        match &self.before {
            Some(before) => &self.deleted | before.as_ref(),
            None => self.deleted.clone(),
        }
    }

    /// Rows that are left, as far as deletes by position tell. `None`: the file's size is not known.
    pub fn rows_left(&self) -> Result<Option<u64>> {
        let gone = self.deleted.len() + self.before.as_ref().map_or(0, |before| before.len());
        Ok(self.file.file()?.record_count.map(|rows| rows.saturating_sub(gone)))
    }
}

impl Apply {
    /// Copies what is left of files to new ones; returns the files.
    pub(super) async fn rewrite(
        &self,
        files: &[Touched],
        context: &Arc<TaskContext>,
        writer: &mut TableWriter,
    ) -> Result<Vec<Arc<LiveFile>>> {
        let (mut splices, mut sorted, mut other) = (Vec::new(), Vec::new(), Vec::new());
        for touched in files {
            match self.splice(touched, context, writer).await? {
                Some(splice) => {
                    splices.push(splice);
                    if splices.len() == SPLICED_AT_ONCE {
                        writer.splice(std::mem::take(&mut splices), context).await?;
                    }
                }
                None if self.sort_order_id(touched).is_some() => sorted.push(touched),
                None => other.push(touched),
            }
        }
        writer.splice(splices, context).await?;
        for (files, order) in [(sorted, InputOrder::TableOrder), (other, InputOrder::Any)] {
            if files.is_empty() {
                continue;
            }
            let count = files.len();
            let tasks = self.session.config().target_partitions().clamp(1, count);
            let mut inputs: Vec<Vec<SendableRecordBatchStream>> = (0..tasks).map(|_| Vec::new()).collect();
            for (i, touched) in files.into_iter().enumerate() {
                // Runs of neighbouring files stay together: what was clustered stays so.
                let streams = self.survivors(&touched.file, touched.all_deleted(), context).await?;
                if let Some(input) = inputs.get_mut(i * tasks / count) {
                    input.extend(streams);
                }
            }
            writer.round(inputs, order, context).await?;
        }
        Ok(files.iter().map(|touched| touched.file.clone()).collect())
    }

    /// The table's sort order, if the file follows it.
    fn sort_order_id(&self, touched: &Touched) -> Option<i32> {
        let snapshot = &self.target.table().snapshot;
        let order = &snapshot.sort_order;
        let id = touched.file.file().ok().and_then(|file| file.sort_order_id);
        let is_sorted = !order.fields.is_empty()
            && id == Some(order.order_id)
            && touched.file.spec().spec_id == snapshot.default_spec.spec_id;
        is_sorted.then_some(order.order_id)
    }

    /// `None`: none of the file's row groups can be taken over.
    async fn splice(
        &self,
        touched: &Touched,
        context: &Arc<TaskContext>,
        writer: &TableWriter,
    ) -> Result<Option<Splice>> {
        let table = self.target.table();
        let is_elsewhere = touched.file.spec().spec_id != table.snapshot.default_spec.spec_id;
        // Under row lineage a file gives its rows their identity by their places.
        let is_placed = table.snapshot.row_lineage.is_some();
        if is_elsewhere || is_placed || !touched.file.deletes.equality.is_empty() {
            return Ok(None);
        }
        let file = touched.file.file()?;
        let located = table.catalog.storage().locate(&file.path)?;
        let footer = footer(&self.session, &located, file.size_bytes).await?;
        let Some(source) = writer.source(located, footer) else { return Ok(None) };
        let mut unread = touched.all_deleted();
        let Some(parts) = source.parts(&unread) else { return Ok(None) };
        for part in &parts {
            if let Part::Group { positions, .. } = part {
                unread.insert_range(positions.clone());
            }
        }
        let streams = self.survivors(&touched.file, unread, context).await?;
        let schema = table.snapshot.schema.arrow.clone();
        let rows = futures::stream::iter(streams).flatten();
        Ok(Some(Splice {
            source,
            parts,
            rows: Box::pin(RecordBatchStreamAdapter::new(schema, rows)),
            partition: touched.file.partition()?,
            sort_order_id: self.sort_order_id(touched),
        }))
    }

    /// The rows of a file that are not at the positions `deleted`, in its order, decoded ahead of whoever takes
    /// them.
    async fn survivors(
        &self,
        file: &Arc<LiveFile>,
        deleted: RoaringTreemap,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<SendableRecordBatchStream>> {
        let table = self.target.table();
        let files = vec![(file.clone(), deleted)];
        let plan = surviving_rows(table, &self.session, files, table.snapshot.row_lineage.as_ref()).await?;
        let partitions = plan.output_partitioning().partition_count();
        Ok((0..partitions).map(|i| read_ahead(&plan, i, context)).collect())
    }
}

/// A partition of a plan, run by a task of its own once its first batch is asked for.
fn read_ahead(
    plan: &Arc<dyn ExecutionPlan>,
    partition: usize,
    context: &Arc<TaskContext>,
) -> SendableRecordBatchStream {
    let (plan, context) = (plan.clone(), context.clone());
    let schema = plan.schema();
    let started = async move {
        let mut ahead = RecordBatchReceiverStreamBuilder::new(plan.schema(), READ_AHEAD);
        let mut input = plan.execute(partition, context)?;
        let batches = ahead.tx();
        ahead.spawn(async move {
            while let Some(batch) = input.next().await {
                let failed = batch.is_err();
                if batches.send(batch).await.is_err() || failed {
                    break;
                }
            }
            Ok(())
        });
        Ok::<_, DataFusionError>(ahead.build())
    };
    Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(started).try_flatten()))
}
