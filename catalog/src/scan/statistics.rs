//! What the optimizer may know of a scan: exact where it may answer a query from it, inexact where it
//! may only plan with it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt64Array};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::scalar::ScalarValue;

use super::planned_file::{PlannedFile, ScanColumn};
use super::pruning::column_range;
use crate::table::FileList;

/// Statistics of single files are kept up to this many columns of files; beyond, only totals.
const MAX_FILE_COLUMNS: usize = 200_000;

/// Statistics of a scan's files (one each, or none at all) and of the whole scan, over its file
/// columns, its constant columns, and then those that the reader makes up.
pub(super) struct ScanStatistics {
    pub files: Vec<Option<Arc<Statistics>>>,
    pub total: Statistics,
}

/// Bounds of one column of one list, in the column's present type.
struct ListBounds {
    lower: ArrayRef,
    upper: ArrayRef,
    null_count: UInt64Array,
    exact: bool,
}

pub(super) fn scan_statistics(
    files: &[PlannedFile],
    columns: &[&ScanColumn],
    constants: usize,
    made_up: usize,
) -> ScanStatistics {
    let mut bounds: HashMap<*const FileList, Vec<Option<ListBounds>>> = HashMap::new();
    let detailed = files.len().saturating_mul(columns.len() + constants + made_up) <= MAX_FILE_COLUMNS;
    let mut totals = Totals::new(columns.len() + constants + made_up);
    let mut per_file = Vec::with_capacity(files.len());
    for file in files {
        let list = &file.selected.list;
        let known = bounds.entry(Arc::as_ptr(list)).or_insert_with(|| {
            columns.iter().map(|c| if detailed { list_bounds(list, c) } else { None }).collect()
        });
        let mut statistics = file_statistics(file, known);
        let unknown = std::iter::repeat_with(ColumnStatistics::new_unknown).take(made_up);
        statistics.column_statistics.extend(unknown);
        totals.add(&statistics);
        per_file.push(detailed.then(|| Arc::new(statistics)));
    }
    ScanStatistics { files: per_file, total: totals.finish() }
}

fn list_bounds(list: &FileList, column: &ScanColumn) -> Option<ListBounds> {
    let bounds = list.stats.columns.get(&column.id)?;
    let (lower, upper) = column_range(bounds, column.field.data_type())?;
    Some(ListBounds { lower, upper, null_count: bounds.null_count.clone(), exact: bounds.exact })
}

fn file_statistics(file: &PlannedFile, bounds: &[Option<ListBounds>]) -> Statistics {
    let row = file.selected.row;
    let untouched = file.deleted.is_none() && file.deletes.equality.is_empty();
    let num_rows = file
        .remaining_rows()
        .map_or(Precision::Absent, |n| known(n as usize, file.deletes.equality.is_empty()));
    let of_file = bounds.iter().map(|bounds| match bounds {
        Some(b) => {
            let value = |values: &ArrayRef| match ScalarValue::try_from_array(values, row) {
                Ok(v) if !v.is_null() && !is_nan(&v) => known(v, b.exact && untouched),
                _ => Precision::Absent,
            };
            let nulls =
                (row < b.null_count.len() && b.null_count.is_valid(row)).then(|| b.null_count.value(row));
            ColumnStatistics {
                null_count: nulls.map_or(Precision::Absent, |n| known(n as usize, untouched)),
                min_value: value(&b.lower),
                max_value: value(&b.upper),
                ..ColumnStatistics::new_unknown()
            }
        }
        None => ColumnStatistics::new_unknown(),
    });
    let of_constants = file.constants.iter().map(|value| constant_statistics(value, &num_rows));
    Statistics {
        num_rows,
        total_byte_size: Precision::Inexact(file.size as usize),
        column_statistics: of_file.chain(of_constants).collect(),
    }
}

fn constant_statistics(value: &ScalarValue, num_rows: &Precision<usize>) -> ColumnStatistics {
    if value.is_null() {
        return ColumnStatistics { null_count: *num_rows, ..ColumnStatistics::new_unknown() };
    }
    // Exact only for a file that has rows.
    let bound = known(value.clone(), matches!(num_rows, Precision::Exact(n) if *n > 0) && !is_nan(value));
    ColumnStatistics {
        null_count: Precision::Exact(0),
        min_value: bound.clone(),
        max_value: bound,
        ..ColumnStatistics::new_unknown()
    }
}

fn known<T: Clone + PartialOrd + Eq + std::fmt::Debug>(value: T, exact: bool) -> Precision<T> {
    if exact { Precision::Exact(value) } else { Precision::Inexact(value) }
}

fn is_nan(value: &ScalarValue) -> bool {
    match value {
        ScalarValue::Float32(Some(v)) => v.is_nan(),
        ScalarValue::Float64(Some(v)) => v.is_nan(),
        _ => false,
    }
}

/// Sums of counts, and bounds of bounds.
struct Totals {
    num_rows: Precision<usize>,
    bytes: usize,
    columns: Vec<ColumnTotals>,
}

struct ColumnTotals {
    null_count: Precision<usize>,
    /// `None`: no file with a value so far.
    min: Option<Precision<ScalarValue>>,
    max: Option<Precision<ScalarValue>>,
}

impl Totals {
    fn new(columns: usize) -> Self {
        let columns =
            (0..columns).map(|_| ColumnTotals { null_count: Precision::Exact(0), min: None, max: None });
        Self { num_rows: Precision::Exact(0), bytes: 0, columns: columns.collect() }
    }

    fn add(&mut self, file: &Statistics) {
        self.num_rows = self.num_rows.add(&file.num_rows);
        self.bytes = self.bytes.saturating_add(*file.total_byte_size.get_value().unwrap_or(&0));
        for (total, column) in self.columns.iter_mut().zip(&file.column_statistics) {
            total.null_count = total.null_count.add(&column.null_count);
            let rows = file.num_rows.get_value();
            if rows == Some(&0)
                || (rows.is_some() && column.null_count.get_value() == rows && is_exact(&column.null_count))
            {
                continue;
            }
            let merge =
                |total: &mut Option<Precision<ScalarValue>>, value: &Precision<ScalarValue>, min: bool| {
                    *total = Some(match total.take() {
                        None => value.clone(),
                        Some(so_far) if min => so_far.min(value),
                        Some(so_far) => so_far.max(value),
                    });
                };
            merge(&mut total.min, &column.min_value, true);
            merge(&mut total.max, &column.max_value, false);
        }
    }

    fn finish(self) -> Statistics {
        let columns = self.columns.into_iter().map(|c| ColumnStatistics {
            null_count: c.null_count,
            min_value: c.min.unwrap_or(Precision::Absent),
            max_value: c.max.unwrap_or(Precision::Absent),
            ..ColumnStatistics::new_unknown()
        });
        Statistics {
            num_rows: self.num_rows,
            total_byte_size: Precision::Inexact(self.bytes),
            column_statistics: columns.collect(),
        }
    }
}

fn is_exact(count: &Precision<usize>) -> bool {
    matches!(count, Precision::Exact(_))
}
