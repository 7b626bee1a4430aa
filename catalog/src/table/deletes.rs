//! Deletes that a snapshot keeps apart from its data files, and how they match them (Iceberg spec,
//! "Scan Planning"). Delta has none: its deletion vectors are in the data file entries.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use roaring::RoaringTreemap;

use super::data_file::DataFile;
use super::deletion_vector::DeletionVectorRef;
use super::live_file::LiveFile;
use super::schema::FieldId;

/// A file of deleted positions: (`file_path`, `pos`) rows.
#[derive(Debug, Clone)]
pub struct PositionDeleteFile {
    pub path: String,
    pub size_bytes: u64,
    pub record_count: u64,
    pub sequence_number: i64,
    /// All its rows are for this data file, when the writer said so (or by equal path bounds).
    pub referenced_data_file: Option<String>,
}

/// A file of deleted values: a row is deleted when it equals, null matching null, any row of the
/// file on `field_ids`.
#[derive(Debug, Clone)]
pub struct EqualityDeleteFile {
    pub path: String,
    pub size_bytes: u64,
    pub record_count: u64,
    pub sequence_number: i64,
    pub field_ids: Vec<FieldId>,
}

/// Partition that a delete file is scoped to: spec id and values. `None` as scope: global.
pub type PartitionKey = (i32, Vec<ScalarValue>);

/// Everything deleted from one data file, not yet read.
#[derive(Debug, Clone, Default)]
pub struct FileDeletes {
    /// Supersedes position delete files.
    pub deletion_vector: Option<DeletionVectorRef>,
    pub positions: Vec<Arc<PositionDeleteFile>>,
    pub equality: Vec<Arc<EqualityDeleteFile>>,
}

impl FileDeletes {
    pub fn is_empty(&self) -> bool {
        self.deletion_vector.is_none() && self.positions.is_empty() && self.equality.is_empty()
    }
}

/// The delete files of a snapshot, indexed by what they may apply to.
#[derive(Debug, Clone, Default)]
pub struct DeleteIndex {
    /// By data file path, with the sequence number of the vector.
    pub deletion_vectors: HashMap<String, (i64, DeletionVectorRef)>,
    /// Position delete files that name their data file.
    pub positions_by_path: HashMap<String, Vec<Arc<PositionDeleteFile>>>,
    /// Position delete files scoped by partition.
    pub positions_by_partition: HashMap<PartitionKey, Vec<Arc<PositionDeleteFile>>>,
    pub equality_by_partition: HashMap<PartitionKey, Vec<Arc<EqualityDeleteFile>>>,
    /// Equality delete files of an unpartitioned spec apply to every partition.
    pub equality_global: Vec<Arc<EqualityDeleteFile>>,
}

impl DeleteIndex {
    pub fn is_empty(&self) -> bool {
        self.deletion_vectors.is_empty()
            && self.positions_by_path.is_empty()
            && self.positions_by_partition.is_empty()
            && self.equality_by_partition.is_empty()
            && self.equality_global.is_empty()
    }

    /// Whether deletes are scoped to partitions of this spec.
    pub fn is_scoped_by(&self, spec_id: i32) -> bool {
        let positions = self.positions_by_partition.keys();
        positions.chain(self.equality_by_partition.keys()).any(|(id, _)| *id == spec_id)
    }

    /// Deletes that apply to `file` of `partition`: positions and vectors from its own sequence
    /// number on, equality deletes only from later ones. `file.deletion_vector` is included.
    pub fn for_file(&self, file: &DataFile, partition: &PartitionKey) -> FileDeletes {
        let mut deletes = FileDeletes { deletion_vector: file.deletion_vector.clone(), ..Default::default() };
        if self.is_empty() {
            return deletes;
        }
        if let Some((sequence, vector)) = self.deletion_vectors.get(&file.path)
            && *sequence >= file.sequence_number
        {
            deletes.deletion_vector = Some(vector.clone());
        }
        if deletes.deletion_vector.is_none() {
            let by_path = self.positions_by_path.get(&file.path);
            let by_partition = self.positions_by_partition.get(partition);
            deletes.positions = by_path
                .into_iter()
                .chain(by_partition)
                .flatten()
                .filter(|d| d.sequence_number >= file.sequence_number)
                .cloned()
                .collect();
        }
        deletes.equality = self
            .equality_by_partition
            .get(partition)
            .into_iter()
            .flatten()
            .chain(&self.equality_global)
            .filter(|d| d.sequence_number > file.sequence_number)
            .cloned()
            .collect();
        deletes
    }
}

/// Rows to delete from a file that stays, not yet stored.
#[derive(Debug, Clone)]
pub struct RowDeletes {
    pub file: Arc<LiveFile>,
    /// Positions deleted now; none of them was deleted before.
    pub deleted: RoaringTreemap,
    /// Positions that vectors and position delete files deleted before (equality deletes are not
    /// among them).
    pub deleted_before: Option<Arc<RoaringTreemap>>,
}

/// Where new row deletes are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredDeletes {
    /// A deletion vector of everything deleted by position, before and now. `file_bytes`: size of the
    /// file that holds it (with others).
    Vector { vector: DeletionVectorRef, file_bytes: u64 },
    /// A position delete file of what is deleted now, of this one data file.
    Positions { path: String, size_bytes: u64 },
}

impl StoredDeletes {
    /// Location of the file; empty for a vector that the log holds itself.
    pub fn path(&self) -> &str {
        match self {
            Self::Vector { vector, .. } => match &vector.storage {
                super::deletion_vector::DeletionVectorStorage::File { path, .. } => path,
                super::deletion_vector::DeletionVectorStorage::Inline(_) => "",
            },
            Self::Positions { path, .. } => path,
        }
    }
}

/// Rows deleted from a file that stays, stored but not committed.
#[derive(Debug, Clone)]
pub struct NewRowDeletes {
    pub file: Arc<LiveFile>,
    pub stored: StoredDeletes,
    /// Rows deleted now.
    pub newly_deleted: u64,
}
