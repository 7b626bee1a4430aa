//! Some rows of some files in all columns: what copy-on-write copies of a file, and merge-on-read of updated rows.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use roaring::RoaringTreemap;

use super::file_selection::SelectedFile;
use super::footer;
use super::plan::{Scan, ScanMode, ScanRequest};
use super::planned_file::{PlannedFile, ScanColumn};
use super::row_columns::{RowColumn, RowColumns};
use crate::error::Result;
use crate::registry::Table;
use crate::storage::Storage;
use crate::table::{LiveFile, RowLineage, TableSnapshot};

/// What is told of rows beside the table's columns, in this order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Beside<'a> {
    /// The columns of row lineage.
    pub lineage: Option<&'a RowLineage>,
    /// The position in the file.
    pub position: bool,
}

/// The table's columns, then what is `beside` them, of the rows of `files` that are not at the positions
/// given with each file (those deleted before included), nor removed by equality deletes.
///
/// Each file is read by one partition and in its order, so that what is copied stays clustered.
pub(crate) async fn surviving_rows(
    table: &Table,
    state: &dyn Session,
    files: Vec<(Arc<LiveFile>, RoaringTreemap)>,
    beside: Beside<'_>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let mut columns: Vec<RowColumn> = ScanColumn::all(&table.snapshot.schema).map(RowColumn::Table).collect();
    columns.extend(beside.lineage.into_iter().flat_map(RowColumn::lineage));
    columns.extend(beside.position.then_some(RowColumn::Position));
    rows_of(&table.snapshot, table.catalog.storage(), state, files, RowColumns(columns)).await
}

pub(super) async fn rows_of(
    snapshot: &TableSnapshot,
    storage: &Storage,
    state: &dyn Session,
    files: Vec<(Arc<LiveFile>, RoaringTreemap)>,
    columns: RowColumns,
) -> Result<Arc<dyn ExecutionPlan>> {
    let output = columns.scan_output();
    let mut planned = Vec::with_capacity(files.len());
    for (file, deleted) in files {
        planned.push(planned_file(storage, state, &file, deleted).await?);
    }
    if planned.is_empty() {
        return columns.project(Arc::new(EmptyExec::new(output.schema())));
    }
    let request = ScanRequest { snapshot, storage, projection: None, filters: &[], limit: None };
    let scan = Scan { request, state, filter: None };
    columns.project(scan.plan_files(planned, &output, ScanMode::Joined).await?)
}

async fn planned_file(
    storage: &Storage,
    state: &dyn Session,
    live: &LiveFile,
    deleted: RoaringTreemap,
) -> Result<PlannedFile> {
    let file = live.file()?;
    let located = storage.locate(&file.path)?;
    let rows = match file.record_count {
        Some(rows) => Some(rows),
        None if deleted.is_empty() => None,
        None => Some(footer::row_count(state, &located, file.size_bytes).await?),
    };
    Ok(PlannedFile {
        selected: SelectedFile { list: live.list.clone(), row: live.row },
        store_url: located.store_url,
        path: located.path,
        size: file.size_bytes,
        rows,
        deleted: (!deleted.is_empty()).then(|| Arc::new(deleted)),
        deletes: live.deletes.clone(),
        is_constant: Vec::new(),
        constants: Vec::new(),
    })
}
