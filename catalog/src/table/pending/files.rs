//! The files of a version with a change made to them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::lists;
use crate::error::{Error, Result};
use crate::table::change::TableChange;
use crate::table::data_file::FileList;
use crate::table::definition::TableFormat;
use crate::table::deletes::{DeleteIndex, NewRowDeletes, PositionDeleteFile, StoredDeletes};
use crate::table::deletion_vector::DeletionVectorRef;
use crate::table::schema::TableSchema;
use crate::table::snapshot::{FileListIndex, SnapshotFiles, TableSnapshot};

/// Sequence number of what is not committed: later than everything that is, so that deletes of the
/// version do not apply to new files, and new deletes apply to the version's files.
pub const UNCOMMITTED: i64 = i64::MAX;

/// The file lists of a version, without removed files and with new deletes, then those of new files.
#[derive(Debug)]
pub struct PendingFiles {
    base: Arc<TableSnapshot>,
    removed: HashSet<String>,
    /// Vectors that are kept with the file entries (Delta).
    vectors: HashMap<String, DeletionVectorRef>,
    /// Deletes that are kept apart (Iceberg).
    deletes: Vec<NewRowDeletes>,
    /// New files, one list per partition spec.
    added: Result<Vec<Arc<FileList>>, String>,
    uncommitted: HashSet<String>,
    index: OnceCell<Arc<FileListIndex>>,
    delete_index: OnceCell<Arc<DeleteIndex>>,
    /// Lists of the version that were looked through; `None`: nothing in it has changed.
    changed: Mutex<HashMap<usize, Option<Arc<FileList>>>>,
}

impl PendingFiles {
    pub fn new(base: &Arc<TableSnapshot>, change: &TableChange) -> Self {
        let in_entries = base.format == TableFormat::Delta;
        let vector = |d: &NewRowDeletes| match &d.stored {
            StoredDeletes::Vector { vector, .. } if in_entries => {
                Some((d.file.path().to_string(), vector.clone()))
            }
            _ => None,
        };
        let schema: &TableSchema = &base.schema;
        Self {
            base: base.clone(),
            removed: change.removed.iter().map(|file| file.path().to_string()).collect(),
            vectors: change.deletes.iter().filter_map(vector).collect(),
            deletes: if in_entries { Vec::new() } else { change.deletes.clone() },
            added: lists::of_new_files(schema, &change.added).map_err(|e| e.to_string()),
            uncommitted: change.added.iter().map(|file| file.path.clone()).collect(),
            index: OnceCell::new(),
            delete_index: OnceCell::new(),
            changed: Mutex::default(),
        }
    }

    fn added(&self) -> Result<&[Arc<FileList>]> {
        self.added.as_deref().map_err(|reason| Error::Internal(reason.clone()))
    }

    /// The number of the first list of new files.
    async fn first_added(&self) -> Result<usize> {
        let index = self.base.files.index().await?;
        let numbers = index.groups.iter().flat_map(|(_, numbers)| numbers);
        Ok(numbers.max().map_or(0, |last| last + 1))
    }

    async fn read_index(&self) -> Result<Arc<FileListIndex>> {
        let first = self.first_added().await?;
        // Summaries of lists from which files were removed still hold for those that are left.
        let mut groups = self.base.files.index().await?.groups.clone();
        for (i, list) in self.added()?.iter().enumerate() {
            groups.push((lists::unknown_summary(list)?, vec![first + i]));
        }
        Ok(Arc::new(FileListIndex { groups }))
    }

    async fn read_deletes(&self) -> Result<Arc<DeleteIndex>> {
        let base = self.base.files.deletes().await?;
        if self.deletes.is_empty() {
            return Ok(base);
        }
        let mut index = DeleteIndex::clone(&base);
        for NewRowDeletes { file, stored, newly_deleted } in &self.deletes {
            let data_file = file.path().to_string();
            match stored {
                StoredDeletes::Vector { vector, .. } => {
                    index.deletion_vectors.insert(data_file, (UNCOMMITTED, vector.clone()));
                }
                StoredDeletes::Positions { path, size_bytes } => {
                    let positions = Arc::new(PositionDeleteFile {
                        path: path.clone(),
                        size_bytes: *size_bytes,
                        record_count: *newly_deleted,
                        sequence_number: UNCOMMITTED,
                        referenced_data_file: Some(data_file.clone()),
                    });
                    index.positions_by_path.entry(data_file).or_default().push(positions);
                }
            }
        }
        Ok(Arc::new(index))
    }

    /// A list of the version as it is now.
    async fn of_base(&self, number: usize) -> Result<Arc<FileList>> {
        let list = self.base.files.file_list(number).await?;
        if self.removed.is_empty() && self.vectors.is_empty() {
            return Ok(list);
        }
        let known = self.changed.lock().get(&number).cloned();
        let changed = match known {
            Some(changed) => changed,
            None => {
                let changed = lists::changed(&list, &self.removed, &self.vectors)?.map(Arc::new);
                self.changed.lock().insert(number, changed.clone());
                changed
            }
        };
        Ok(changed.unwrap_or(list))
    }
}

#[async_trait]
impl SnapshotFiles for PendingFiles {
    async fn index(&self) -> Result<Arc<FileListIndex>> {
        self.index.get_or_try_init(|| self.read_index()).await.cloned()
    }

    async fn file_list(&self, number: usize) -> Result<Arc<FileList>> {
        match number.checked_sub(self.first_added().await?) {
            None => self.of_base(number).await,
            Some(i) => {
                let missing = || Error::Internal(format!("there is no file list {number}"));
                self.added()?.get(i).cloned().ok_or_else(missing)
            }
        }
    }

    async fn deletes(&self) -> Result<Arc<DeleteIndex>> {
        self.delete_index.get_or_try_init(|| self.read_deletes()).await.cloned()
    }

    fn is_uncommitted(&self, path: &str) -> bool {
        self.uncommitted.contains(path)
    }
}
