//! Deletes of a data file that a new deletion vector takes the place of (Iceberg spec, "Deletion
//! Vectors": a writer merges what is deleted already into the new vector, and removes it).

use std::collections::{HashMap, HashSet};

use iceberg::spec::{DataFile, DataFileFormat};

use super::delete_manifest::referenced_data_file;
use crate::table::LiveFile;
use crate::table::deletes::{NewRowDeletes, StoredDeletes};
use crate::table::deletion_vector::DeletionVectorStorage;

/// The data files that get a new deletion vector, by path.
#[derive(Debug)]
pub struct Superseded<'a>(HashMap<&'a str, &'a LiveFile>);

impl<'a> Superseded<'a> {
    pub fn by(marked: &'a [NewRowDeletes]) -> Self {
        let vectors = marked.iter().filter(|new| matches!(new.stored, StoredDeletes::Vector { .. }));
        Self(vectors.map(|new| (new.file.path(), new.file.as_ref())).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, data_file: &str) -> bool {
        self.0.contains_key(data_file)
    }

    /// Checks that the new vectors include what is dropped for them (data sequence number and entry, of
    /// other data files too): rows that somebody deleted meanwhile would come back. The error says what
    /// happened.
    pub fn check(&self, dropped: &[(i64, DataFile)]) -> Result<(), String> {
        let mut vectors = HashSet::new();
        for (sequence, entry) in dropped {
            let Some(path) = referenced_data_file(entry) else { continue };
            let Some(live) = self.0.get(path.as_str()) else { continue };
            // Deletes older than the file apply to a namesake that is gone.
            if live.file().is_ok_and(|file| *sequence < file.sequence_number) {
                continue;
            }
            if !is_known(live, entry) {
                return Err(format!("other rows of {path} were deleted"));
            }
            if entry.file_format() == DataFileFormat::Puffin {
                vectors.insert(path);
            }
        }
        let lost = |(path, live): &(&&str, &&LiveFile)| {
            live.deletes.deletion_vector.is_some() && !vectors.contains(**path)
        };
        match self.0.iter().find(lost) {
            Some((path, _)) => Err(format!("the deletion vector of {path} was removed")),
            None => Ok(()),
        }
    }
}

/// Was `entry` among the deletes of the file when the change was made?
fn is_known(live: &LiveFile, entry: &DataFile) -> bool {
    match (&live.deletes.deletion_vector, entry.file_format()) {
        (Some(vector), DataFileFormat::Puffin) => {
            let DeletionVectorStorage::File { path, offset, .. } = &vector.storage else { return false };
            path == entry.file_path()
                && entry.content_offset().and_then(|o| u64::try_from(o).ok()) == Some(*offset)
        }
        // Position deletes beside a vector are void.
        (Some(_), _) => true,
        (None, DataFileFormat::Puffin) => false,
        (None, _) => live.deletes.positions.iter().any(|known| known.path == entry.file_path()),
    }
}
