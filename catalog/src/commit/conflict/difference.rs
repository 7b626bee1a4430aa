//! What happened to a table's files between two of its versions, whoever committed and however often.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::Result;
use crate::table::deletes::{DeleteIndex, FileDeletes};
use crate::table::{DataFile, FileList, LiveFile, TableSnapshot};

/// Files of the later version that the earlier one lacks, and the reverse.
#[derive(Debug, Default)]
pub struct Difference {
    pub added: Vec<LiveFile>,
    pub removed: Vec<LiveFile>,
    /// Files of both versions with other deletes in the later one, as the earlier one has them.
    pub marked: Vec<LiveFile>,
    /// The same as the later one has them, in the same order.
    pub remarked: Vec<LiveFile>,
    gone: HashSet<String>,
}

struct Version {
    lists: Vec<Arc<FileList>>,
    deletes: Arc<DeleteIndex>,
}

impl Version {
    async fn of(snapshot: &TableSnapshot) -> Result<Self> {
        let index = snapshot.files.index().await?;
        let mut lists = Vec::new();
        for number in index.groups.iter().flat_map(|(_, numbers)| numbers) {
            lists.push(snapshot.files.file_list(*number).await?);
        }
        Ok(Self { lists, deletes: snapshot.files.deletes().await? })
    }

    fn deletes_of(&self, list: &Arc<FileList>, row: usize, file: &DataFile) -> Result<FileDeletes> {
        if self.deletes.is_empty() {
            return Ok(FileDeletes { deletion_vector: file.deletion_vector.clone(), ..Default::default() });
        }
        let bare = LiveFile { list: list.clone(), row, deletes: FileDeletes::default() };
        Ok(self.deletes.for_file(file, &(bare.spec().spec_id, bare.partition()?)))
    }
}

impl Difference {
    /// Lists that both versions share (an unchanged manifest) are compared only where deletes are kept
    /// apart from them.
    pub async fn between(earlier: &TableSnapshot, later: &TableSnapshot) -> Result<Self> {
        let (before, after) = (Version::of(earlier).await?, Version::of(later).await?);
        let pointers = |lists: &[Arc<FileList>]| lists.iter().map(Arc::as_ptr).collect::<HashSet<_>>();
        let (old, new) = (pointers(&before.lists), pointers(&after.lists));
        let same_deletes = before.deletes.is_empty() && after.deletes.is_empty();
        let skips = |list: &Arc<FileList>| {
            same_deletes && old.contains(&Arc::as_ptr(list)) && new.contains(&Arc::as_ptr(list))
        };
        let mut known: HashMap<&str, (&Arc<FileList>, usize)> = HashMap::new();
        for list in before.lists.iter().filter(|list| !skips(list)) {
            for (row, file) in list.files.iter().enumerate() {
                known.insert(&file.path, (list, row));
            }
        }
        let mut difference = Self::default();
        for list in after.lists.iter().filter(|list| !skips(list)) {
            for (row, file) in list.files.iter().enumerate() {
                let deletes = after.deletes_of(list, row, file)?;
                let Some((old_list, old_row)) = known.remove(file.path.as_str()) else {
                    difference.added.push(LiveFile { list: list.clone(), row, deletes });
                    continue;
                };
                let Some(old_file) = old_list.files.get(old_row) else { continue };
                let old_deletes = before.deletes_of(old_list, old_row, old_file)?;
                if !same(&old_deletes, &deletes) {
                    difference.marked.push(LiveFile {
                        list: old_list.clone(),
                        row: old_row,
                        deletes: old_deletes,
                    });
                    difference.remarked.push(LiveFile { list: list.clone(), row, deletes });
                }
            }
        }
        for (list, row) in known.into_values() {
            let Some(file) = list.files.get(row) else { continue };
            let deletes = before.deletes_of(list, row, file)?;
            difference.removed.push(LiveFile { list: list.clone(), row, deletes });
        }
        let changed = difference.removed.iter().chain(&difference.marked);
        difference.gone = changed.map(|file| file.path().to_string()).collect();
        Ok(difference)
    }

    /// Whether a file of the earlier version is no longer what it was.
    pub fn is_changed(&self, file: &LiveFile) -> bool {
        self.gone.contains(file.path())
    }
}

/// Equal but for the order in which delete files were found.
pub(crate) fn same(a: &FileDeletes, b: &FileDeletes) -> bool {
    fn paths(deletes: &FileDeletes) -> HashSet<&str> {
        let positions = deletes.positions.iter().map(|file| file.path.as_str());
        positions.chain(deletes.equality.iter().map(|file| file.path.as_str())).collect()
    }
    a.deletion_vector == b.deletion_vector && paths(a) == paths(b)
}
