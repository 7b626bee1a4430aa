//! Statistics of many files (or of many lists of files) at once, as columns: pruning evaluates a
//! predicate over all of them in one pass and nothing is converted per query.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array};

use super::partition::PartitionSpec;
use super::schema::FieldId;

/// Bounds of one column, one slot per container (a file, or a list of files); null: unknown.
#[derive(Debug, Clone)]
pub struct ColumnBounds {
    /// Typed as when written (before a later promotion): cast to the column's type before use.
    pub lower: ArrayRef,
    pub upper: ArrayRef,
    pub null_count: UInt64Array,
    /// NaN values are outside the bounds. Null: unknown.
    pub nan_count: Option<UInt64Array>,
    /// The bounds are values that occur in the file (not truncated, not widened, no NaN), so that
    /// `min` and `max` may be answered from them when nothing is deleted from the file.
    pub exact: bool,
}

/// Smallest and largest partition value of one partition field, one slot per container. For a
/// single file both are its partition value. Null: unknown, or the value is null; for a single file
/// null with `may_contain_null` means that the value is null.
#[derive(Debug, Clone)]
pub struct PartitionBounds {
    pub lower: ArrayRef,
    pub upper: ArrayRef,
    /// Per container: may it hold a null partition value?
    pub may_contain_null: Vec<bool>,
}

/// Statistics of `len` containers that share one partition spec.
#[derive(Debug, Clone)]
pub struct StatisticsTable {
    pub len: usize,
    /// Rows per container before deletes; null: unknown.
    pub row_counts: UInt64Array,
    /// By field id. Top-level primitive columns only.
    pub columns: HashMap<FieldId, ColumnBounds>,
    pub spec: Arc<PartitionSpec>,
    /// One entry per field of `spec`.
    pub partitions: Vec<PartitionBounds>,
}
