//! Copy-on-write: new files of what is left of others.
//!
//! A row group in which nothing is deleted is taken over as it is, where the file is one that we would write the
//! same today; if rows of it are only updated, so are those of its columns that the update leaves as they are. The
//! rows of the others, and of all other files, are read and written again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{StreamExt, TryStreamExt};
use roaring::RoaringTreemap;

use super::apply::{Apply, READ_AHEAD};
use super::in_place::{Updated, Waiting};
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

/// How a file is made anew, and the updated rows that do not stay in it.
struct PlannedSplice {
    splice: Splice,
    moved: Option<RecordBatch>,
}

impl Apply {
    /// Copies what is left of files to new ones, with the rows that are `waiting` for them; returns the files.
    pub(super) async fn rewrite(
        &self,
        files: &[Touched],
        waiting: Option<&Waiting>,
        context: &Arc<TaskContext>,
        writer: &mut TableWriter,
    ) -> Result<Vec<Arc<LiveFile>>> {
        let (mut sorted, mut other, mut moved_at_last) = (Vec::new(), Vec::new(), Vec::new());
        let has_order = !self.target.table().snapshot.sort_order.fields.is_empty();
        for files in files.chunks(SPLICED_AT_ONCE) {
            let (mut splices, mut moved) = (Vec::new(), Vec::new());
            for touched in files {
                let updated = waiting.map(|waiting| waiting.take(touched.number)).transpose()?.flatten();
                match self.splice(touched, updated.as_ref(), context, writer).await? {
                    Some(planned) => {
                        splices.push(planned.splice);
                        moved.extend(planned.moved);
                        continue;
                    }
                    None => moved.extend(updated.map(|updated| updated.rows)),
                }
                match touched.rows_left()? {
                    Some(0) => {}
                    _ if self.sort_order_id(touched).is_some() => sorted.push(touched),
                    _ => other.push(touched),
                }
            }
            match has_order {
                // In order, all of them make few files.
                true => moved_at_last.append(&mut moved),
                // New files that have room take them.
                false => writer.rows(moved, context).await?,
            }
            writer.splice(splices, context).await?;
        }
        writer.rows(moved_at_last, context).await?;
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
        updated: Option<&Updated>,
        context: &Arc<TaskContext>,
        writer: &TableWriter,
    ) -> Result<Option<PlannedSplice>> {
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
        let partition = touched.file.partition()?;
        // As the file would store them, unless some belong to another partition.
        let stored = match updated.filter(|_| source.takes_new_values()) {
            Some(updated) => writer.stored(&updated.rows, &partition)?,
            None => None,
        };
        let assigned = self.options.assigned.as_ref();
        let assigned = assigned.map(|columns| Arc::new(writer.stored_columns(columns)));
        let sort_order_id = self.sort_order_id(touched);
        let mut replaced = RoaringTreemap::new();
        if let (Some(updated), Some(stored)) = (updated, &stored) {
            replaced.extend(updated.positions.iter().copied());
            let all: Vec<_> = source.positions().into_iter().enumerate().collect();
            if sort_order_id.is_some() {
                let (new_values, _) = updated.by_group(&all, stored, &assigned)?;
                for (number, positions) in all {
                    if let Some(new) = new_values.get(&number)
                        && !source.has(number, &writer.sort_columns(), new).await?
                    {
                        replaced.remove_range(positions);
                    }
                }
            }
        }
        let mut unread = touched.all_deleted();
        let Some(parts) = source.parts(&unread, &replaced) else { return Ok(None) };
        let mut groups = Vec::new();
        for part in &parts {
            if let Part::Group { number, positions } = part {
                unread.insert_range(positions.clone());
                groups.push((*number, positions.clone()));
            }
        }
        let (new_values, moved) = match (updated, stored) {
            (Some(updated), Some(stored)) => {
                let (new_values, rest) = updated.by_group(&groups, &stored, &assigned)?;
                (new_values, Some(rest))
            }
            (updated, _) => (HashMap::new(), updated.map(|updated| updated.rows.clone())),
        };
        let schema = table.snapshot.schema.arrow.clone();
        let streams = match groups.len() < parts.len() {
            true => self.survivors(&touched.file, unread, context).await?,
            false => Vec::new(),
        };
        let rows = futures::stream::iter(streams).flatten();
        let splice = Splice {
            source,
            parts,
            new_values,
            rows: Box::pin(RecordBatchStreamAdapter::new(schema, rows)),
            partition,
            sort_order_id,
        };
        Ok(Some(PlannedSplice { splice, moved }))
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
