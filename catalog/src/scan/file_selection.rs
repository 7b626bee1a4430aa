//! The data files of a snapshot that a scan reads.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::pruning::{Containers, Pruner};
use crate::error::{Error, Result};
use crate::table::snapshot::SnapshotFiles;
use crate::table::{DataFile, FileList};

/// File lists read at the same time.
const CONCURRENT_LISTS: usize = 16;

/// A file that survived pruning: a row of a shared file list.
#[derive(Debug, Clone)]
pub(super) struct SelectedFile {
    pub list: Arc<FileList>,
    pub row: usize,
}

impl SelectedFile {
    pub fn file(&self) -> Result<&DataFile> {
        let missing = || Error::Internal(format!("file {} of a list of {}", self.row, self.list.files.len()));
        self.list.files.get(self.row).ok_or_else(missing)
    }

    /// Rows before deletes, from the metadata.
    pub fn record_count(&self) -> Option<u64> {
        self.list.files.get(self.row).and_then(|f| f.record_count)
    }
}

/// What pruning left, and what it saw.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub files: Vec<SelectedFile>,
    pub lists_total: usize,
    pub lists_pruned: usize,
    /// Files of the lists that were read.
    pub files_seen: usize,
}

impl Selection {
    pub fn files_pruned(&self) -> usize {
        self.files_seen - self.files.len()
    }
}

/// Prunes lists by their summaries, reads the rest and prunes their files.
pub(super) async fn select_files(files: &dyn SnapshotFiles, pruner: Option<&Pruner>) -> Result<Selection> {
    let index = files.index().await?;
    let mut selection = Selection::default();
    let mut wanted = Vec::new();
    for (summaries, numbers) in &index.groups {
        selection.lists_total += numbers.len();
        match pruner {
            Some(pruner) if summaries.len == numbers.len() => {
                wanted.extend(
                    pruner
                        .keep(summaries, Containers::Lists)
                        .into_iter()
                        .filter_map(|i| numbers.get(i).copied()),
                );
            }
            _ => wanted.extend(numbers),
        }
    }
    selection.lists_pruned = selection.lists_total - wanted.len();
    let lists = stream::iter(wanted.into_iter().map(|number| files.file_list(number)))
        .buffered(CONCURRENT_LISTS)
        .try_collect::<Vec<_>>()
        .await?;
    for list in lists {
        selection.files_seen += list.files.len();
        let rows = match pruner {
            Some(pruner) if list.stats.len == list.files.len() => pruner.keep(&list.stats, Containers::Files),
            _ => (0..list.files.len()).collect(),
        };
        selection.files.extend(rows.into_iter().map(|row| SelectedFile { list: list.clone(), row }));
    }
    Ok(selection)
}

/// The first files whose rows certainly reach `limit`: enough for a scan without a filter.
/// `remaining_rows`: rows of a file that are certainly not deleted.
pub(super) fn cut_to_limit<T>(files: &mut Vec<T>, limit: usize, remaining_rows: impl Fn(&T) -> Option<u64>) {
    let mut rows = 0_u64;
    let enough = files.iter().position(|file| {
        rows = rows.saturating_add(remaining_rows(file).unwrap_or(0));
        rows >= limit as u64
    });
    if let Some(last) = enough {
        files.truncate(last + 1);
    }
}
