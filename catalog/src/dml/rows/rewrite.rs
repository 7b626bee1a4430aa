//! Copy-on-write: new files of what is left of others.
//!
//! A row group is taken over, where the file is one that we would write the same today: as it is, without the rows
//! that go, and with new values in the columns that an update changes. The rows of row groups of which little is
//! left, and of all other files, are read and written again.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{StreamExt, TryStreamExt};
use roaring::RoaringTreemap;

use super::apply::{Apply, READ_AHEAD};
use super::in_place::Waiting;
use super::splice::Planned;
use super::updated::UpdatedInOrder;
use crate::error::{Error, Result};
use crate::registry::Table;
use crate::scan::{Beside, footer, surviving_rows};
use crate::table::LiveFile;
use crate::write::{AssignedColumns, InputOrder, TableWriter};

/// Files whose footers, and values in the places of old ones, are kept at a time.
pub(super) const SPLICED_AT_ONCE: usize = 32;

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
    /// Copies what is left of files to new ones, with the rows that are `waiting` for them; returns the files.
    pub(super) async fn rewrite(
        &self,
        files: &[Touched],
        waiting: Option<&Arc<Waiting>>,
        context: &Arc<TaskContext>,
        writer: &mut TableWriter,
    ) -> Result<Vec<Arc<LiveFile>>> {
        let (mut sorted, mut other, mut moved_at_last) = (Vec::new(), Vec::new(), Vec::new());
        let has_order = !self.target.table().snapshot.sort_order.fields.is_empty();
        for files in files.chunks(SPLICED_AT_ONCE) {
            let (mut splices, mut moved) = (Vec::new(), Vec::new());
            for touched in files {
                match self.splice(touched, waiting, context, writer).await? {
                    Planned::Splice { splice, moved: rows } => {
                        splices.push(*splice);
                        moved.extend(rows);
                        continue;
                    }
                    Planned::Anew { moved: rows } => moved.extend(rows),
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
            let rows = files.into_iter().map(|touched| self.rows_left(touched, waiting, context)).collect();
            writer.round(rows, self.tasks(), order, context).await?;
        }
        Ok(files.iter().map(|touched| touched.file.clone()).collect())
    }

    /// Tasks that write side by side.
    pub(super) fn tasks(&self) -> usize {
        self.session.config().target_partitions()
    }

    /// What is left of a file, with the values that its rows have now.
    fn rows_left(
        &self,
        touched: &Touched,
        waiting: Option<&Arc<Waiting>>,
        context: &Arc<TaskContext>,
    ) -> SendableRecordBatchStream {
        let (file, rows) = (&touched.file, Rows::AllBut(touched.all_deleted()));
        let with_values = waiting.and_then(|waiting| Some((waiting.clone(), waiting.columns()?.clone())));
        let Some((waiting, columns)) = with_values.filter(|(waiting, _)| waiting.has(touched.number)) else {
            return self.read(file, rows, false, context);
        };
        let rows = self.read(file, rows, true, context);
        let number = touched.number;
        // Only when it is the file's turn are its values put in order.
        with_values_put(rows, columns, move || waiting.in_order(number))
    }

    /// The table's sort order, if the file follows it.
    pub(super) fn sort_order_id(&self, touched: &Touched) -> Option<i32> {
        let snapshot = &self.target.table().snapshot;
        let order = &snapshot.sort_order;
        let id = touched.file.file().ok().and_then(|file| file.sort_order_id);
        let is_sorted = !order.fields.is_empty()
            && id == Some(order.order_id)
            && touched.file.spec().spec_id == snapshot.default_spec.spec_id;
        is_sorted.then_some(order.order_id)
    }

    /// Rows of a file, in its order, with their lineage if the table has it, and, if asked for, their positions. Nothing
    /// happens before they are asked for; then they are decoded ahead of whoever takes them.
    pub(super) fn read(
        &self,
        file: &Arc<LiveFile>,
        rows: Rows,
        position: bool,
        context: &Arc<TaskContext>,
    ) -> SendableRecordBatchStream {
        let table = self.target.table().clone();
        let (session, file, context) = (self.session.clone(), file.clone(), context.clone());
        let schema = table.snapshot.schema.arrow.clone();
        let planned = async move {
            let deleted = match rows {
                Rows::AllBut(deleted) => deleted,
                Rows::Only(rows) => all_rows(&table, &session, &file).await? - rows,
            };
            let beside = Beside { lineage: table.snapshot.row_lineage.as_ref(), position };
            let plan = surviving_rows(&table, session.as_ref(), vec![(file, deleted)], beside).await?;
            let partitions = plan.output_partitioning().partition_count();
            let parts: Vec<_> = (0..partitions).map(|i| read_ahead(&plan, i, &context)).collect();
            Ok::<_, DataFusionError>(futures::stream::iter(parts).flatten())
        };
        Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::once(planned).try_flatten()))
    }
}

/// Which rows of a file are read, by their positions.
pub(super) enum Rows {
    AllBut(RoaringTreemap),
    Only(RoaringTreemap),
}

/// The positions of all rows of a file, deleted ones too.
pub(super) async fn all_rows(
    table: &Table,
    session: &SessionState,
    file: &LiveFile,
) -> Result<RoaringTreemap> {
    let file = file.file()?;
    let rows = match file.record_count {
        Some(rows) => rows,
        None => {
            let located = table.catalog.storage().locate(&file.path)?;
            let rows = footer(session, &located, file.size_bytes).await?.file_metadata().num_rows();
            u64::try_from(rows).map_err(|_| Error::corrupt(&file.path, "its number of rows is negative"))?
        }
    };
    let mut all = RoaringTreemap::new();
    all.insert_range(0..rows);
    Ok(all)
}

/// The rows of a file, which come with their positions, with the values that they have now.
pub(super) fn with_values_put(
    rows: SendableRecordBatchStream,
    columns: Arc<AssignedColumns>,
    values: impl FnOnce() -> Result<UpdatedInOrder> + Send + 'static,
) -> SendableRecordBatchStream {
    let schema = columns.row_schema().clone();
    let start = async move { Ok::<_, DataFusionError>((rows, values()?, columns)) };
    let put = futures::stream::once(start).map_ok(|state| {
        futures::stream::try_unfold(state, |(mut rows, mut values, columns)| async move {
            let Some(batch) = rows.try_next().await? else { return Ok(None) };
            let put = values.put(&columns, &batch).await?;
            Ok::<_, DataFusionError>(Some((put, (rows, values, columns))))
        })
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, put.try_flatten()))
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
