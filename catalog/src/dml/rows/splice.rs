//! Which row groups of a file can be taken over, and what becomes of its updated rows.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::scalar::ScalarValue;
use roaring::RoaringTreemap;

use super::apply::Apply;
use super::in_place::Waiting;
use super::of_file::OfFile;
use super::rewrite::{Rows, Touched, with_values_put};
use super::updated::Updated;
use crate::error::Result;
use crate::scan::footer;
use crate::write::{AssignedColumns, LaterValues, NewValues, Part, Source, Splice, TableWriter};

/// How a file is made anew. `moved`: whole updated rows that do not stay in it.
pub(super) enum Planned {
    /// With some of its row groups.
    Splice { splice: Box<Splice>, moved: Option<RecordBatch> },
    /// None of its row groups can be taken over.
    Anew { moved: Option<RecordBatch> },
}

/// Row groups that are taken over, with the new values in them, and the rows of the others.
struct Pieces {
    parts: Vec<Part>,
    /// Positions of the rows that go.
    gone: RoaringTreemap,
    new_values: HashMap<usize, LaterValues>,
    /// What accounts for them, if nothing else does.
    memory: Vec<Arc<MemoryReservation>>,
    rows: SendableRecordBatchStream,
}

impl Apply {
    pub(super) async fn splice(
        &self,
        touched: &Touched,
        waiting: Option<&Arc<Waiting>>,
        context: &Arc<TaskContext>,
        writer: &TableWriter,
    ) -> Result<Planned> {
        let source = self.source(touched, writer).await?;
        let sort_order_id = self.sort_order_id(touched);
        let partition = touched.file.partition()?;
        let with_values = waiting.and_then(|waiting| Some((waiting, waiting.columns()?)));
        let (pieces, moved) = match (with_values, &source) {
            (Some((waiting, columns)), Some(source)) => {
                (self.pieces_in_place(touched, source, waiting, columns, context).await?, None)
            }
            (Some(_), None) => (None, None),
            (None, _) => {
                let updated = match waiting {
                    Some(waiting) => waiting.in_order(touched.number)?.up_to(u64::MAX).await?,
                    None => None,
                };
                match &source {
                    Some(source) => {
                        self.pieces(touched, source, updated.as_ref(), &partition, context, writer).await?
                    }
                    None => (None, updated.map(|updated| updated.values)),
                }
            }
        };
        let (Some(source), Some(Pieces { parts, gone, new_values, memory, rows })) = (source, pieces) else {
            return Ok(Planned::Anew { moved });
        };
        let gone = Arc::new(gone);
        let splice =
            Box::new(Splice { source, parts, gone, new_values, memory, rows, partition, sort_order_id });
        Ok(Planned::Splice { splice, moved })
    }

    /// `None`: nothing of the file can be taken over.
    pub(super) async fn source(&self, touched: &Touched, writer: &TableWriter) -> Result<Option<Source>> {
        let table = self.target.table();
        let is_elsewhere = touched.file.spec().spec_id != table.snapshot.default_spec.spec_id;
        if is_elsewhere || !touched.file.deletes.equality.is_empty() {
            return Ok(None);
        }
        let file = touched.file.file()?;
        let located = table.catalog.storage().locate(&file.path)?;
        let footer = footer(self.session.as_ref(), &located, file.size_bytes).await?;
        writer.source(&touched.file, located, footer)
    }

    /// Where updated rows stay, whatever becomes of their row group. `None`: none can be taken over, or there is no
    /// memory for the new values of its rows.
    async fn pieces_in_place(
        &self,
        touched: &Touched,
        source: &Source,
        waiting: &Waiting,
        columns: &Arc<AssignedColumns>,
        context: &Arc<TaskContext>,
    ) -> Result<Option<Pieces>> {
        if waiting.has(touched.number) && !source.takes_new_values() {
            return Ok(None);
        }
        let deleted = touched.all_deleted();
        let Some(parts) = source.parts(&deleted, &RoaringTreemap::new()) else { return Ok(None) };
        let Some(memory) = waiting.memory_for(touched.number) else { return Ok(None) };
        let Some(updated) = waiting.take(touched.number, memory).await? else {
            let rows = self.rows_of_parts(touched, &parts, deleted.clone(), false, context);
            let new_values = HashMap::new();
            return Ok(Some(Pieces { parts, gone: deleted, new_values, memory: Vec::new(), rows }));
        };
        let memory = updated.memory();
        let (new_values, rest) = later_values(updated, &groups_of(&parts), columns);
        let rows = self.rows_of_parts(touched, &parts, deleted.clone(), true, context);
        let rows = with_values_put(rows, columns.clone(), move || rest.in_order());
        Ok(Some(Pieces { parts, gone: deleted, new_values, memory, rows }))
    }

    /// Where whole rows have new values. Those of row groups that cannot be taken over, or that belong elsewhere now,
    /// do not stay and are returned, too.
    async fn pieces(
        &self,
        touched: &Touched,
        source: &Source,
        updated: Option<&Updated>,
        partition: &[ScalarValue],
        context: &Arc<TaskContext>,
        writer: &TableWriter,
    ) -> Result<(Option<Pieces>, Option<RecordBatch>)> {
        // As the file would store them, unless some belong to another partition.
        let stored = match updated.filter(|_| source.takes_new_values()) {
            Some(updated) => writer.stored(&updated.values, partition)?,
            None => None,
        };
        let in_place = updated.zip(stored.map(|stored| self.assigned(stored, writer)));
        let replaced = match &in_place {
            Some((updated, stored)) => self.replaced(touched, source, updated, stored, writer).await?,
            None => RoaringTreemap::new(),
        };
        let unread = touched.all_deleted();
        let all = || updated.map(|updated| updated.values.clone());
        let Some(parts) = source.parts(&unread, &replaced) else { return Ok((None, all())) };
        let (new_values, moved) = match in_place {
            Some((updated, stored)) => {
                // Rows that wait for a row group stay in it all or none.
                let mut groups = groups_of(&parts);
                groups.retain(|(_, positions)| replaced.range_cardinality(positions.clone()) > 0);
                let (new_values, rest) = updated.by_group(&groups, &stored)?;
                let made = |new: NewValues| Box::new(move || Ok(new)) as LaterValues;
                let new_values = new_values.into_iter().map(|(number, new)| (number, made(new)));
                (new_values.collect(), Some(updated.rows(rest)?))
            }
            None => (HashMap::new(), all()),
        };
        let gone = &unread - &replaced;
        let rows = self.rows_of_parts(touched, &parts, unread, false, context);
        Ok((Some(Pieces { parts, gone, new_values, memory: Vec::new(), rows }), moved))
    }

    /// Those of the stored columns that may have other values than before.
    fn assigned(
        &self,
        mut stored: BTreeMap<usize, ArrayRef>,
        writer: &TableWriter,
    ) -> BTreeMap<usize, ArrayRef> {
        if let Some(assigned) = &self.options.assigned {
            let assigned = writer.stored_columns(&assigned.columns);
            stored.retain(|column, _| assigned.contains(column));
        }
        stored
    }

    /// Positions of the updated rows that may stay where they are: in a sorted file, those of row groups in which
    /// none gets another place in the order.
    async fn replaced(
        &self,
        touched: &Touched,
        source: &Source,
        updated: &Updated,
        stored: &BTreeMap<usize, ArrayRef>,
        writer: &TableWriter,
    ) -> Result<RoaringTreemap> {
        let mut replaced: RoaringTreemap = updated.positions.iter().copied().collect();
        if self.sort_order_id(touched).is_none() {
            return Ok(replaced);
        }
        let all: Vec<_> = source.positions().into_iter().enumerate().collect();
        let (new_values, _) = updated.by_group(&all, stored)?;
        for (number, positions) in all {
            if let Some(new) = new_values.get(&number)
                && !source.has(number, &writer.sort_columns(), new).await?
            {
                replaced.remove_range(positions);
            }
        }
        Ok(replaced)
    }

    /// The rows that are left outside of the row groups that are taken over. `unread`: those that are not.
    fn rows_of_parts(
        &self,
        touched: &Touched,
        parts: &[Part],
        mut unread: RoaringTreemap,
        position: bool,
        context: &Arc<TaskContext>,
    ) -> SendableRecordBatchStream {
        if parts.iter().all(|part| matches!(part, Part::Group { .. } | Part::Rows(0))) {
            return self.no_rows();
        }
        groups_of(parts).into_iter().for_each(|(_, positions)| _ = unread.insert_range(positions));
        self.read(&touched.file, Rows::AllBut(unread), position, context)
    }

    pub(super) fn no_rows(&self) -> SendableRecordBatchStream {
        Box::pin(EmptyRecordBatchStream::new(self.target.table().snapshot.schema.arrow.clone()))
    }
}

/// The values of `rows` in row groups that are taken over, and the rows of others.
pub(super) fn later_values(
    rows: OfFile,
    groups: &[(usize, Range<u64>)],
    columns: &Arc<AssignedColumns>,
) -> (HashMap<usize, LaterValues>, OfFile) {
    let (by_group, rest) = rows.by_group(groups);
    let later = |(number, first, rows): (usize, u64, OfFile)| {
        let columns = columns.clone();
        let make = move || {
            let rows = rows.gather()?;
            rows.new_values(0..rows.positions.len(), first, &columns.by_stored_column(&rows.values))
        };
        (number, Box::new(make) as LaterValues)
    };
    (by_group.into_iter().map(later).collect(), rest)
}

/// Number and positions of the row groups that are taken over.
pub(super) fn groups_of(parts: &[Part]) -> Vec<(usize, Range<u64>)> {
    let group = |part: &Part| match part {
        Part::Group { number, positions } => Some((*number, positions.clone())),
        Part::Rows(_) => None,
    };
    parts.iter().filter_map(group).collect()
}
