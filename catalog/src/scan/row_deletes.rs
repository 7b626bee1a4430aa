//! Deleted row positions of data files: deletion vectors and position delete files, decoded once and kept.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use roaring::RoaringTreemap;

use super::position_deletes::read_positions;
use crate::error::Result;
use crate::storage::{Key, Kind, Storage};
use crate::table::deletes::{FileDeletes, PositionDeleteFile};
use crate::table::deletion_vector::{self, DeletionVectorRef, DeletionVectorStorage};

/// Delete files read at the same time.
const CONCURRENT_READS: usize = 16;

/// Decoded deletes by where they are stored: a delete file or the vector's blob, and the data file that
/// they are for. Such files never change.
fn key(file: &str, offset: u64, path: &str) -> Key {
    Key::new(Kind::DeletedRows, 0, file).with_part(path).with_numbers([offset, 0])
}

/// The deleted positions of each of `files` (path and deletes), in the same order. `None`: no row is
/// deleted by position.
pub(crate) async fn load(
    storage: &Storage,
    files: &[(&str, &FileDeletes)],
) -> Result<Vec<Option<Arc<RoaringTreemap>>>> {
    let mut reads = Vec::new();
    for (file, wanted) in position_delete_files(files).into_values() {
        reads.push(read_cached(storage, file, wanted));
    }
    let read = stream::iter(reads).buffer_unordered(CONCURRENT_READS).try_collect::<Vec<_>>().await?;
    let positions: Positions<'_> = read.into_iter().flatten().collect();
    let mut loads = Vec::with_capacity(files.len());
    for (path, deletes) in files {
        loads.push(deleted_from(storage, path, deletes, &positions));
    }
    stream::iter(loads).buffered(CONCURRENT_READS).try_collect().await
}

/// By delete file and data file.
type Positions<'a> = HashMap<(&'a str, &'a str), Arc<RoaringTreemap>>;

async fn deleted_from(
    storage: &Storage,
    path: &str,
    deletes: &FileDeletes,
    positions: &Positions<'_>,
) -> Result<Option<Arc<RoaringTreemap>>> {
    if let Some(vector) = &deletes.deletion_vector {
        return load_vector(storage, vector).await.map(Some);
    }
    let mut parts = deletes.positions.iter().filter_map(|d| positions.get(&(d.path.as_str(), path)));
    let Some(first) = parts.next() else { return Ok(None) };
    let mut all = first.clone();
    for part in parts {
        *Arc::make_mut(&mut all) |= part.as_ref();
    }
    Ok((!all.is_empty()).then_some(all))
}

/// Each position delete file with the data files it is wanted for.
fn position_delete_files<'a>(
    files: &[(&'a str, &'a FileDeletes)],
) -> HashMap<&'a str, (&'a PositionDeleteFile, HashSet<&'a str>)> {
    let mut by_file: HashMap<&str, (&PositionDeleteFile, HashSet<&str>)> = HashMap::new();
    for (path, deletes) in files.iter().filter(|(_, d)| d.deletion_vector.is_none()) {
        for file in &deletes.positions {
            by_file.entry(&file.path).or_insert_with(|| (file, HashSet::new())).1.insert(path);
        }
    }
    by_file
}

async fn read_cached<'a>(
    storage: &Storage,
    file: &'a PositionDeleteFile,
    wanted: HashSet<&'a str>,
) -> Result<Vec<((&'a str, &'a str), Arc<RoaringTreemap>)>> {
    let memory = storage.memory();
    let mut found = Vec::with_capacity(wanted.len());
    let mut missing = HashSet::new();
    for path in wanted {
        match memory.get(&key(&file.path, 0, path)) {
            Some(rows) => found.push(((file.path.as_str(), path), rows)),
            None => {
                missing.insert(path);
            }
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let mut read = read_positions(storage, file, &missing).await?;
    for path in missing {
        let rows = Arc::new(read.remove(path).unwrap_or_default());
        memory.insert(key(&file.path, 0, path), rows.clone(), rows.serialized_size());
        found.push(((file.path.as_str(), path), rows));
    }
    Ok(found)
}

async fn load_vector(storage: &Storage, vector: &DeletionVectorRef) -> Result<Arc<RoaringTreemap>> {
    let DeletionVectorStorage::File { path, offset, .. } = &vector.storage else {
        return Ok(Arc::new(deletion_vector::load(storage, vector).await?));
    };
    let key = key(path, *offset, "");
    if let Some(rows) = storage.memory().get(&key) {
        return Ok(rows);
    }
    let rows = Arc::new(deletion_vector::load(storage, vector).await?);
    storage.memory().insert(key, rows.clone(), rows.serialized_size());
    Ok(rows)
}
