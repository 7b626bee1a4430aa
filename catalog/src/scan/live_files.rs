//! All files of a version, and how many rows are deleted from each.

use std::collections::HashMap;

use super::file_selection::select_files;
use super::{plan, row_deletes};
use crate::error::Result;
use crate::storage::Storage;
use crate::table::{LiveFile, TableSnapshot};

/// The data files of a version, list by list, with the deletes that apply to them.
pub(crate) async fn live_files(snapshot: &TableSnapshot) -> Result<Vec<LiveFile>> {
    let selection = select_files(snapshot.files.as_ref(), None).await?;
    let index = snapshot.files.deletes().await?;
    let mut files = Vec::with_capacity(selection.files.len());
    for selected in selection.files {
        let deletes = plan::deletes_of(&index, &selected)?;
        files.push(LiveFile { list: selected.list, row: selected.row, deletes });
    }
    Ok(files)
}

/// Rows deleted from each file. `None`: equality deletes apply, which only reading the file would count.
pub(crate) async fn deleted_row_counts(storage: &Storage, files: &[LiveFile]) -> Result<Vec<Option<u64>>> {
    // A vector tells its number; position delete files must be read.
    let by_position = |file: &&LiveFile| {
        let deletes = &file.deletes;
        deletes.equality.is_empty() && deletes.deletion_vector.is_none() && !deletes.positions.is_empty()
    };
    let unread: Vec<_> = files.iter().filter(by_position).map(|f| (f.path(), &f.deletes)).collect();
    let read = row_deletes::load(storage, &unread).await?;
    let counted: HashMap<&str, u64> =
        unread.iter().zip(read).map(|((path, _), rows)| (*path, rows.map_or(0, |rows| rows.len()))).collect();
    let count = |file: &LiveFile| match &file.deletes {
        deletes if !deletes.equality.is_empty() => None,
        deletes => match &deletes.deletion_vector {
            Some(vector) => Some(vector.cardinality),
            None => Some(counted.get(file.path()).copied().unwrap_or(0)),
        },
    };
    Ok(files.iter().map(count).collect())
}
