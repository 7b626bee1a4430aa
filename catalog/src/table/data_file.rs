//! Data files as a snapshot lists them and as a writer hands them over.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::scalar::ScalarValue;

use super::deletion_vector::DeletionVectorRef;
use super::partition::PartitionSpec;
use super::schema::FieldId;
use super::statistics::StatisticsTable;

/// [`DataFile::first_row_id`] of a file that is not committed, in a table with row lineage.
pub const ROW_IDS_TO_COME: i64 = -1;

/// One live data file. Statistics and partition values are in the [`FileList`] it belongs to.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Absolute location (URL, or an absolute path as some writers store it).
    pub path: String,
    pub size_bytes: u64,
    /// Rows in the file before deletes; Delta may not know.
    pub record_count: Option<u64>,
    /// Data sequence number (Iceberg spec, "Sequence Numbers"); default row commit version of Delta's row
    /// tracking, or 0.
    pub sequence_number: i64,
    /// First `_row_id` (Iceberg v3 row lineage, Delta row tracking).
    pub first_row_id: Option<i64>,
    /// The deletion vector that the log stores with the file (Delta). Iceberg's are in the
    /// snapshot's [`DeleteIndex`](super::deletes::DeleteIndex).
    pub deletion_vector: Option<DeletionVectorRef>,
    /// Sort order that the file's rows follow, if known.
    pub sort_order_id: Option<i32>,
    /// Byte offsets of row groups, ascending.
    pub split_offsets: Vec<i64>,
}

/// Files of one partition spec with their statistics (Iceberg: one data manifest; Delta: the whole
/// snapshot). Immutable, shared, cached.
#[derive(Debug)]
pub struct FileList {
    /// Same order and length as `stats`.
    pub files: Vec<DataFile>,
    pub stats: StatisticsTable,
    /// What the format needs besides to remove these files or to mark rows of them. Private to the
    /// format.
    pub state: Option<Arc<dyn Any + Send + Sync>>,
}

impl FileList {
    pub fn spec(&self) -> &Arc<PartitionSpec> {
        &self.stats.spec
    }
}

/// What a writer knows of one top-level column of a file it wrote.
#[derive(Debug, Clone, Default)]
pub struct WrittenColumn {
    /// Exact bounds, null and NaN excluded; strings and binaries beyond 64 bytes are shortened (and
    /// still are bounds). A format truncates strings further as its spec asks.
    pub lower: Option<ScalarValue>,
    pub upper: Option<ScalarValue>,
    pub value_count: u64,
    pub null_count: u64,
    /// Floating point columns only.
    pub nan_count: Option<u64>,
    /// Compressed size in bytes.
    pub column_size: u64,
}

/// A data file just written, not yet committed.
#[derive(Debug, Clone)]
pub struct NewDataFile {
    /// Absolute location, as [`Storage`](crate::storage::Storage) takes it: not percent-encoded.
    pub path: String,
    pub size_bytes: u64,
    pub record_count: u64,
    pub spec: Arc<PartitionSpec>,
    /// Partition values (transforms applied), one per field of `spec`.
    pub partition: Vec<ScalarValue>,
    pub columns: HashMap<FieldId, WrittenColumn>,
    pub split_offsets: Vec<i64>,
    pub sort_order_id: Option<i32>,
}
