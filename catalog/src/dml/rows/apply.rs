//! Carries a row-level change out: one pass over the input, then what the format's mode asks for.
//!
//! 1. The input is read to its end. Deleted positions are collected as bitmaps, new rows go to the
//!    writer, which keeps back what is too little for a file.
//! 2. Files without a row left are removed. The others are, by the table's mode, marked (merge-on-read:
//!    their bitmaps are stored) or rewritten (copy-on-write: their surviving rows go to the same writer,
//!    so that few new rows end up in the rewritten files; [`rewrite`](super::rewrite) tells what is not
//!    even decoded). Nothing else of the table is read or written. Where the input has only the values
//!    that are assigned, the rest of updated rows is taken from the files that they are in:
//!    in their places by [`rewrite`](super::rewrite), into new files by [`moved`](super::moved).
//! 3. All of it becomes one [`TableChange`], and is committed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::lit;
use futures::TryStreamExt;
use futures::future::try_join;
use roaring::RoaringTreemap;
use tokio::sync::mpsc;

use super::change_feed::{self, BeforeImages, ChangeFeed};
use super::changes::{Changes, Collected, InputColumns, new_rows_schema};
use super::in_place::{Kept, Waiting};
use super::rewrite::Touched;
use super::{ChangeOptions, RowTarget};
use crate::dml::impact::Impact;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::format::RowLevelMode;
use crate::table::deletes::{NewRowDeletes, RowDeletes};
use crate::table::{LiveFile, NewDataFile, Operation, ReadSet, RowCounts, TableChange};
use crate::write::{InputOrder, TableWriter, Written, WrittenFiles};

/// Batches that are decoded ahead of the writer, for each file that is rewritten.
pub(super) const READ_AHEAD: usize = 2;

/// One statement, planned.
#[derive(Debug)]
pub struct Apply {
    pub target: RowTarget,
    pub options: ChangeOptions,
    pub columns: InputColumns,
    pub mode: RowLevelMode,
    /// See [`RowTarget::needs_only_assigned`].
    pub needs_only_assigned: bool,
    /// Plans the reading of files that are rewritten.
    pub session: Arc<SessionState>,
}

/// Files of the target with changed rows.
#[derive(Default)]
struct Fates {
    /// They go.
    emptied: Vec<Touched>,
    /// New files take their places.
    rewritten: Vec<Touched>,
    /// They stay with fewer rows.
    marked: Vec<Touched>,
}

impl Fates {
    fn all(&self) -> impl Iterator<Item = &Touched> {
        self.emptied.iter().chain(&self.rewritten).chain(&self.marked)
    }
}

impl Apply {
    /// Name and value of what EXPLAIN tells.
    pub fn description(&self) -> Vec<(&'static str, String)> {
        let table = self.target.table();
        let mode = match self.mode {
            RowLevelMode::CopyOnWrite => "copy-on-write",
            RowLevelMode::MergeOnRead => "merge-on-read",
        };
        vec![
            ("table", table.ident.to_string()),
            ("format", table.snapshot.format.to_string()),
            ("operation", self.options.operation.to_string()),
            ("mode", mode.to_string()),
        ]
    }

    /// Reads `inputs` (`sorted`: one, in the table's write order), writes, and commits. Returns the
    /// impact, or the rows of RETURNING.
    pub async fn run(
        &self,
        inputs: Vec<SendableRecordBatchStream>,
        sorted: bool,
        context: Arc<TaskContext>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Vec<RecordBatch>> {
        let table = self.target.table();
        let lineage = table.snapshot.row_lineage.as_ref();
        let name = table.ident.to_string();
        let mut writer = TableWriter::new(&name, table.catalog.storage(), &table.snapshot, lineage)?;
        let waiting = self.waiting(&writer, &context)?;
        let mut feed = ChangeFeed::of(table, self.options.operation, writer.guard())?;
        let collected = match &mut feed {
            None => self.read_input(inputs, sorted, &context, &mut writer, &waiting, None).await?,
            Some(feed) => {
                let (sender, images) = mpsc::channel(READ_AHEAD);
                let reading = self.read_input(inputs, sorted, &context, &mut writer, &waiting, Some(sender));
                try_join(reading, feed.write_after(images, &context)).await?.0
            }
        };
        let Collected { deleted, updated, mut counts, returned, reservation } = collected;
        let whole = self.target.book().whole_files();
        counts.deleted += whole_rows(&whole)?;
        let fates = self.fates(deleted, waiting.as_deref(), &updated)?;
        let change_files = match feed {
            None => Vec::new(),
            Some(feed) => self.finish_feed(feed, &fates, &updated, &context).await?,
        };
        if let Some(waiting) = &waiting {
            let moved: Vec<&Touched> = fates.emptied.iter().chain(&fates.marked).collect();
            self.move_updated(&moved, updated, waiting, &context, &mut writer).await?;
        }
        let rewritten = self.rewrite(&fates.rewritten, waiting.as_ref(), &context, &mut writer).await?;
        let written = writer.finish().await?;
        counts.copied = written.rows.saturating_sub(counts.inserted + counts.updated);
        let marked = self.mark(fates.marked, &written).await?;
        let emptied = fates.emptied.iter().map(|touched| touched.file.clone());
        let removed = whole.into_iter().chain(emptied).chain(rewritten).collect();
        let (mut change, guard) = self.change(written, removed, marked, counts)?;
        change.change_files = change_files;
        let impact = Impact::of(&change)?;
        record(metrics, &impact);
        MetricBuilder::new(metrics).counter("files_read", 0).add(self.target.book().files_scanned());
        if !self.options.dry_run && !change.is_empty() {
            self.target.publish.publish(table, change, guard).await?;
        }
        drop(reservation);
        if self.options.returning > 0 && !self.options.dry_run {
            return Ok(returned);
        }
        Ok(vec![impact.to_batch()?])
    }

    async fn read_input(
        &self,
        inputs: Vec<SendableRecordBatchStream>,
        sorted: bool,
        context: &Arc<TaskContext>,
        writer: &mut TableWriter,
        waiting: &Option<Arc<Waiting>>,
        images: Option<mpsc::Sender<RecordBatch>>,
    ) -> Result<Collected> {
        let snapshot = &self.target.table().snapshot;
        let reservation = MemoryConsumer::new("returning").register(context.memory_pool());
        let keeps_updates = images.is_some() || self.needs_only_assigned;
        let changes =
            Arc::new(Changes::new(self.columns, self.options.second_change, keeps_updates, reservation));
        let schema = new_rows_schema(&snapshot.schema.arrow, snapshot.row_lineage.is_some());
        let table_columns = self.columns.table_columns;
        let new_rows = |input: SendableRecordBatchStream| {
            let (changes, images, waiting) = (changes.clone(), images.clone(), waiting.clone());
            let rows = input.and_then(move |batch| {
                let (new, images, waiting) = (changes.record(&batch), images.clone(), waiting.clone());
                async move {
                    let new = new?;
                    if let Some(images) = images {
                        change_feed::send_after(&images, &new, table_columns).await?;
                    }
                    match waiting {
                        Some(waiting) => Ok(waiting.keep(new).await?),
                        None => Ok(new.rows),
                    }
                }
            });
            let rows = rows.try_filter(|batch| std::future::ready(batch.num_rows() > 0));
            Box::pin(RecordBatchStreamAdapter::new(schema.clone(), rows)) as SendableRecordBatchStream
        };
        let inputs: Vec<_> = inputs.into_iter().map(new_rows).collect();
        let (tasks, order) = (inputs.len(), if sorted { InputOrder::TableOrder } else { InputOrder::Any });
        writer.round(inputs, tasks, order, context).await?;
        Ok(changes.take())
    }

    /// Adds the rows as they were. Whole files that go without a row in their place need no feed,
    /// unless rows of them were deleted before: not every reader of a feed remembers that.
    async fn finish_feed(
        &self,
        mut feed: ChangeFeed,
        fates: &Fates,
        updated: &HashMap<i32, RoaringTreemap>,
        context: &Arc<TaskContext>,
    ) -> Result<Vec<NewDataFile>> {
        let was_whole = |touched: &Touched| touched.before.as_ref().is_none_or(|before| before.is_empty());
        let whole_files =
            fates.rewritten.is_empty() && fates.marked.is_empty() && fates.emptied.iter().all(was_whole);
        if self.options.operation == Operation::Delete && whole_files {
            return Ok(Vec::new());
        }
        let none = RoaringTreemap::new();
        for touched in fates.all() {
            let before = BeforeImages {
                file: &touched.file,
                gone: &touched.deleted,
                updated: updated.get(&touched.number).unwrap_or(&none),
                deleted_before: touched.before.as_deref(),
            };
            feed.write_before(self.target.table(), self.session.as_ref(), before, context).await?;
        }
        feed.finish().await
    }

    /// Where updated rows wait for their old ones. `None`: they are new rows.
    fn waiting(&self, writer: &TableWriter, context: &TaskContext) -> Result<Option<Arc<Waiting>>> {
        let kept = match &self.options.assigned {
            Some(assigned) if self.needs_only_assigned => {
                Kept::Values(Arc::new(writer.assigned(&assigned.columns)?))
            }
            _ if self.mode == RowLevelMode::CopyOnWrite => Kept::Row,
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Waiting::new(kept, context)?)))
    }

    fn fates(
        &self,
        deleted: HashMap<i32, RoaringTreemap>,
        waiting: Option<&Waiting>,
        updated: &HashMap<i32, RoaringTreemap>,
    ) -> Result<Fates> {
        let (book, files) = (self.target.book(), &self.target.table().snapshot.files);
        let mut fates = Fates::default();
        // In order of their numbers: what was close together stays so.
        for (number, mut deleted) in deleted.into_iter().collect::<BTreeMap<_, _>>() {
            let file = book.file(number);
            let file = file.ok_or_else(|| Error::Internal(format!("the target has no file {number}")))?;
            // A file that the transaction has written itself is not marked but replaced.
            let is_rewritten = self.mode == RowLevelMode::CopyOnWrite || files.is_uncommitted(file.path());
            if is_rewritten
                && self.needs_only_assigned
                && let Some(updated) = updated.get(&number)
            {
                deleted -= updated;
            }
            let touched = Touched { number, file, deleted, before: book.deleted_before(number) };
            let has_new = is_rewritten && waiting.is_some_and(|waiting| waiting.has(number));
            match touched.rows_left()? {
                Some(0) if !has_new => fates.emptied.push(touched),
                _ if is_rewritten => fates.rewritten.push(touched),
                _ => fates.marked.push(touched),
            }
        }
        Ok(fates)
    }

    /// Stores the deletes of files that stay.
    async fn mark(&self, files: Vec<Touched>, written: &Written) -> Result<Vec<NewRowDeletes>> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let table = self.target.table();
        let deletes = files
            .into_iter()
            .map(|t| RowDeletes { file: t.file, deleted: t.deleted, deleted_before: t.before })
            .collect();
        failpoint::pass("write::before-deletes")?;
        let format = table.catalog.format(table.snapshot.format);
        let marked = format.write_deletes(&table.snapshot, deletes, &written.guard).await?;
        failpoint::pass("write::after-deletes")?;
        Ok(marked)
    }

    fn change(
        &self,
        written: Written,
        removed: Vec<Arc<LiveFile>>,
        deletes: Vec<NewRowDeletes>,
        rows: RowCounts,
    ) -> Result<(TableChange, WrittenFiles)> {
        let table = self.target.table();
        let mut change = TableChange::new(self.options.operation, written.files);
        change.removed = removed;
        change.deletes = deletes;
        change.read = match self.options.reads_all {
            true => ReadSet::Filters(Vec::new()),
            false => read_set(self.target.book().filters()),
        };
        let format = table.catalog.format(table.snapshot.format);
        change.isolation = format.isolation(&table.snapshot, self.options.operation)?;
        change.rows = rows;
        change.parameters = self.options.parameters.clone();
        Ok((change, written.guard))
    }
}

/// Rows of files that nothing was deleted from before.
fn whole_rows(files: &[Arc<LiveFile>]) -> Result<u64> {
    let rows = files.iter().map(|file| Ok::<_, Error>(file.file()?.record_count.unwrap_or(0)));
    rows.sum()
}

/// What scans with these filters have read together.
fn read_set(mut scans: Vec<Vec<Expr>>) -> ReadSet {
    match scans.len() {
        0 => ReadSet::Nothing,
        1 => ReadSet::Filters(scans.remove(0)),
        _ => {
            let of_scan = |filters| conjunction(filters).unwrap_or_else(|| lit(true));
            ReadSet::Filters(disjunction(scans.into_iter().map(of_scan)).into_iter().collect())
        }
    }
}

fn record(metrics: &ExecutionPlanMetricsSet, impact: &Impact) {
    for (name, value) in impact.entries() {
        MetricBuilder::new(metrics).counter(name, 0).add(usize::try_from(value).unwrap_or(usize::MAX));
    }
}
