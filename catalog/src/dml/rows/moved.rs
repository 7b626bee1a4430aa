//! Merge-on-read: updated rows of which only some values wait go to new files, and take the others from the files
//! that they are in.
//!
//! Of a row group that is updated for the most part, the columns without a new value are taken over, without the
//! rows that are not updated. Updated rows of others are read.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use roaring::RoaringTreemap;

use super::apply::Apply;
use super::in_place::Waiting;
use super::rewrite::{Rows, SPLICED_AT_ONCE, Touched, all_rows, with_values_put};
use super::splice::{groups_of, later_values};
use crate::error::{Error, Result};
use crate::write::{AssignedColumns, InputOrder, Part, Source, Splice, TableWriter};

/// Where the updated rows of a file come from.
enum Moved {
    /// They are read.
    Rows(SendableRecordBatchStream),
    /// From row groups that are taken over; `rest`: from others.
    Groups { splices: Vec<Splice>, rest: Option<SendableRecordBatchStream> },
}

impl Apply {
    /// Writes the rows of `files` that are `waiting` to new files. `updated`: their positions, by number of the file.
    pub(super) async fn move_updated(
        &self,
        files: &[&Touched],
        mut updated: HashMap<i32, RoaringTreemap>,
        waiting: &Arc<Waiting>,
        context: &Arc<TaskContext>,
        writer: &mut TableWriter,
    ) -> Result<()> {
        let Some(columns) = waiting.columns() else { return Ok(()) };
        let of_files = files.iter().filter_map(|touched| updated.get(&touched.number));
        let (before, expected) = (writer.rows_written(), of_files.map(RoaringTreemap::len).sum::<u64>());
        let (mut splices, mut rests, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        let mut spliced = 0;
        for touched in files.iter().filter(|touched| waiting.has(touched.number)) {
            let updated = updated.remove(&touched.number).unwrap_or_default();
            match self.moved(touched, updated, waiting, columns, context, writer).await? {
                Moved::Rows(read) => rows.push(read),
                Moved::Groups { splices: of_file, rest } => {
                    splices.extend(of_file);
                    rests.extend(rest);
                    spliced += 1;
                }
            }
            if spliced == SPLICED_AT_ONCE {
                self.write_groups(&mut splices, &mut rests, context, writer).await?;
                spliced = 0;
            }
        }
        rests.extend(rows);
        self.write_groups(&mut splices, &mut rests, context, writer).await?;
        match writer.rows_written() - before {
            written if written == expected => Ok(()),
            // The old ones must not be marked.
            written => Err(Error::Internal(format!("of {expected} updated rows {written} were found again"))),
        }
    }

    async fn write_groups(
        &self,
        splices: &mut Vec<Splice>,
        rests: &mut Vec<SendableRecordBatchStream>,
        context: &Arc<TaskContext>,
        writer: &mut TableWriter,
    ) -> Result<()> {
        // Files of row groups that have room take what this leaves.
        writer.round(std::mem::take(rests), self.tasks(), InputOrder::Any, context).await?;
        writer.splice_joined(std::mem::take(splices), context).await
    }

    async fn moved(
        &self,
        touched: &Touched,
        updated: RoaringTreemap,
        waiting: &Arc<Waiting>,
        columns: &Arc<AssignedColumns>,
        context: &Arc<TaskContext>,
        writer: &TableWriter,
    ) -> Result<Moved> {
        let (file, number) = (&touched.file, touched.number);
        if let Some(source) = self.source(touched, writer).await?.filter(Source::takes_new_values) {
            let others = all_rows(self.target.table(), &self.session, file).await? - &updated;
            let parts = source.large_groups(&others);
            if !parts.is_empty()
                && let Some(memory) = waiting.memory_for(number)
                && let Some(values) = waiting.take(number, memory).await?
            {
                let groups = groups_of(&parts);
                let numbers: Vec<usize> = groups.iter().map(|(number, _)| *number).collect();
                let memory = values.memory();
                let (mut new_values, others_values) = later_values(values, &groups, columns);
                let rest = (!others_values.is_empty()).then(|| {
                    let mut rows = updated;
                    groups.into_iter().for_each(|(_, positions)| _ = rows.remove_range(positions));
                    let rows = self.read(file, Rows::Only(rows), true, context);
                    with_values_put(rows, columns.clone(), move || others_values.in_order())
                });
                let (gone, partition) = (Arc::new(others), file.partition()?);
                // Threads take row group by row group.
                let splice = |(part, number): (Part, usize)| Splice {
                    source: source.clone(),
                    parts: vec![part],
                    gone: gone.clone(),
                    new_values: new_values.remove_entry(&number).into_iter().collect(),
                    memory: memory.clone(),
                    rows: self.no_rows(),
                    partition: partition.clone(),
                    sort_order_id: None,
                };
                let splices = parts.into_iter().zip(numbers).map(splice).collect();
                return Ok(Moved::Groups { splices, rest });
            }
        }
        let rows = self.read(file, Rows::Only(updated), true, context);
        let waiting = waiting.clone();
        Ok(Moved::Rows(with_values_put(rows, columns.clone(), move || waiting.in_order(number))))
    }
}
