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
use super::rewrite::{SPLICED_AT_ONCE, Touched, with_values_put};
use super::splice::groups_of;
use super::updated::UpdatedInOrder;
use crate::error::{Error, Result};
use crate::table::LiveFile;
use crate::write::{AssignedColumns, InputOrder, Part, Splice, TableWriter};

/// Where the updated rows of a file come from.
#[derive(Default)]
struct Moved {
    /// Row groups.
    splice: Option<Splice>,
    /// Rows in all columns.
    rows: Vec<SendableRecordBatchStream>,
}

impl Apply {
    /// Writes the rows of `files` that are `waiting` to new files. `updated`: their positions, by number of the file.
    pub(super) async fn move_updated(
        &self,
        files: &[&Touched],
        updated: &HashMap<i32, RoaringTreemap>,
        waiting: &Arc<Waiting>,
        context: &Arc<TaskContext>,
        writer: &mut TableWriter,
    ) -> Result<()> {
        let Some(columns) = waiting.columns() else { return Ok(()) };
        let files: Vec<_> = files
            .iter()
            .filter(|touched| waiting.has(touched.number))
            .filter_map(|touched| Some((*touched, updated.get(&touched.number)?)))
            .collect();
        for files in files.chunks(SPLICED_AT_ONCE) {
            let (mut splices, mut rows) = (Vec::new(), Vec::new());
            for (touched, updated) in files {
                let moved = self.moved(touched, updated, waiting, columns, context, writer).await?;
                splices.extend(moved.splice);
                rows.push(moved.rows);
            }
            writer.round(self.shared_out(rows), InputOrder::Any, context).await?;
            writer.splice(splices, true, context).await?;
        }
        Ok(())
    }

    async fn moved(
        &self,
        touched: &Touched,
        updated: &RoaringTreemap,
        waiting: &Arc<Waiting>,
        columns: &Arc<AssignedColumns>,
        context: &Arc<TaskContext>,
        writer: &TableWriter,
    ) -> Result<Moved> {
        let mut others = self.positions(&touched.file).await?;
        others -= updated;
        let number = touched.number;
        let source = self.source(touched, writer).await?.filter(|source| source.takes_new_values());
        let groups = source.and_then(|source| {
            let mut parts = source.parts(&others, &RoaringTreemap::new())?;
            parts.retain(|part| matches!(part, Part::Group { .. }));
            Some((source, parts, waiting.memory_for(number)?))
        });
        let Some((source, parts, memory)) = groups else {
            let rows = self.survivors(&touched.file, others, self.beside(true), context).await?;
            let waiting = waiting.clone();
            let rows = with_values_put(rows, columns.clone(), move || waiting.in_order(number));
            return Ok(Moved { splice: None, rows: vec![rows] });
        };
        let Some(values) = waiting.take(number, memory).await? else { return Ok(Moved::default()) };
        let groups = groups_of(&parts);
        let (new_values, rest) = values.by_group(&groups, &columns.by_stored_column(&values.values))?;
        let rows = match rest.is_empty() {
            true => Vec::new(),
            false => {
                let mut unread = others.clone();
                groups.into_iter().for_each(|(_, positions)| _ = unread.insert_range(positions));
                let rows = self.survivors(&touched.file, unread, self.beside(true), context).await?;
                let values = move || Ok(UpdatedInOrder::new(Some(values)));
                vec![with_values_put(rows, columns.clone(), values)]
            }
        };
        let splice = Splice {
            source,
            parts,
            gone: others,
            new_values,
            rows: self.joined(Vec::new()),
            partition: touched.file.partition()?,
            sort_order_id: None,
        };
        Ok(Moved { splice: Some(splice), rows })
    }

    /// Those of all rows of a file.
    async fn positions(&self, file: &LiveFile) -> Result<RoaringTreemap> {
        let rows = match file.file()?.record_count {
            Some(rows) => rows,
            None => {
                let rows = self.footer(file).await?.1.file_metadata().num_rows();
                u64::try_from(rows)
                    .map_err(|_| Error::corrupt(file.path(), "its number of rows is negative"))?
            }
        };
        let mut all = RoaringTreemap::new();
        all.insert_range(0..rows);
        Ok(all)
    }
}
