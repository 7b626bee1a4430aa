//! Deleted positions of a data file as the rows that are left to read.

use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use roaring::RoaringTreemap;

use crate::table::positions::runs;

/// The rows of a file of `rows` rows that are not deleted. A selection over the whole file: the source
/// splits it by row groups when it opens the file, so that splitting files by byte ranges, pruning and
/// late materialization go on working.
pub(super) fn remaining_rows(deleted: &RoaringTreemap, rows: u64) -> ParquetRowSelection {
    let mut selectors: Vec<RowSelector> = Vec::new();
    let mut next = 0;
    for gone in runs(deleted, 0..rows) {
        if gone.start > next {
            selectors.push(RowSelector::select((gone.start - next) as usize));
        }
        selectors.push(RowSelector::skip((gone.end - gone.start) as usize));
        next = gone.end;
    }
    if next < rows {
        selectors.push(RowSelector::select((rows - next) as usize));
    }
    ParquetRowSelection::new(RowSelection::from(selectors))
}

/// How many rows of a file of `rows` rows are deleted.
pub(super) fn deleted_rows(deleted: &RoaringTreemap, rows: u64) -> u64 {
    match rows.checked_sub(1) {
        Some(last) => deleted.rank(last),
        None => 0,
    }
}
