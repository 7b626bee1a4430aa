//! Takes files out of manifests: those that list one are rewritten, the others stay as they are
//! (Iceberg spec, "Manifest Entry Fields").
//!
//! **Invariant:** an entry that stays keeps its snapshot, its sequence numbers and its row id; one that
//! goes is listed as deleted by the new snapshot, in that snapshot alone.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::{FutureExt, StreamExt, TryStreamExt};
use iceberg::spec::{DataFile, ManifestFile, ManifestMetadata};

use super::copied_entries::{Copied, Copier};
use super::manifest_merge::{origin, with_row_id};
use super::manifests::{IcebergFiles, READ_CONCURRENCY, parse, read_bytes};
use super::new_manifest::NewManifest;
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::table::LiveFile;

/// Data files to find in a snapshot, by path: spec id and data sequence number, which a file keeps.
pub type Wanted<'a> = HashMap<&'a str, (i32, i64)>;

/// The manifests that list some of the wanted files.
#[derive(Debug, Default)]
pub struct Found {
    /// Paths of the manifests, and what they list.
    pub manifests: HashMap<String, HashSet<String>>,
}

pub fn wanted<'a>(files: impl Iterator<Item = &'a LiveFile>) -> Result<Wanted<'a>> {
    files.map(|live| Ok((live.path(), (live.spec().spec_id, live.file()?.sequence_number)))).collect()
}

/// Finds data files in a snapshot. Fails with the path of the first one that is not part of it.
pub async fn find(files: &IcebergFiles, wanted: &Wanted<'_>) -> Result<Result<Found, String>> {
    let mut found = Found::default();
    let mut missing: HashSet<&str> = wanted.keys().copied().collect();
    let places: BTreeSet<(i32, i64)> = wanted.values().copied().collect();
    let may_list = |m: &ManifestFile| {
        let range = (m.partition_spec_id, m.min_sequence_number)..=(m.partition_spec_id, m.sequence_number);
        m.min_sequence_number <= m.sequence_number && places.range(range).next().is_some()
    };
    let (likely, unlikely): (Vec<_>, Vec<_>) =
        files.data_manifests().await?.iter().partition(|m| may_list(m));
    // The numbers of the manifest list are another writer's word: a file is missing only if no manifest
    // has it.
    for candidates in [likely, unlikely] {
        if missing.is_empty() {
            break;
        }
        let reads: Vec<_> = candidates
            .into_iter()
            .map(|m| async move { Ok::<_, Error>((m, files.data_manifest(m).await?)) }.boxed())
            .collect();
        let mut reads = futures::stream::iter(reads).buffered(READ_CONCURRENCY);
        while let Some((manifest, read)) = reads.try_next().await? {
            for file in &read.list.files {
                if let Some((path, _)) = wanted.get_key_value(file.path.as_str()) {
                    missing.remove(path);
                    let listed = found.manifests.entry(manifest.manifest_path.clone()).or_default();
                    listed.insert(file.path.clone());
                }
            }
        }
    }
    Ok(match missing.into_iter().min() {
        Some(path) => Err(path.to_string()),
        None => Ok(found),
    })
}

/// A manifest written anew.
#[derive(Debug)]
pub struct Rewritten {
    pub file: ManifestFile,
    /// Entries that were live before and are listed as deleted now, with their data sequence numbers.
    pub removed: Vec<(i64, DataFile)>,
}

/// Which live entries of a manifest go.
#[derive(Clone, Copy)]
pub enum Goes<'a> {
    /// Data files of these paths.
    DataFiles(&'a HashSet<&'a str>),
    DeleteFiles(&'a (dyn Fn(&DataFile) -> bool + Sync)),
}

/// Writes `file` anew without what `goes`, into the manifest that `open` gives for its schema and spec.
/// `None`: nothing goes.
pub async fn rewrite(
    storage: &Storage,
    file: &ManifestFile,
    snapshot_id: i64,
    goes: Goes<'_>,
    open: impl Fn(&ManifestMetadata) -> Result<NewManifest>,
) -> Result<Option<Rewritten>> {
    let bytes = read_bytes(storage, file).await?;
    if let Goes::DataFiles(gone) = goes
        && let Some(copied) = copied(&bytes, file, gone, snapshot_id)
        && let Some(rewritten) = rewrite_copied(storage, file, copied, &open).await?
    {
        return Ok(Some(rewritten));
    }
    let manifest = parse(file, bytes).await?;
    // The manifest's own schema and spec fit its partition values; the table's may have changed since.
    let mut new = open(manifest.metadata())?;
    let mut next_row_id = file.first_row_id.and_then(|id| i64::try_from(id).ok());
    let mut removed = Vec::new();
    for entry in manifest.entries().iter().filter(|e| e.is_alive()) {
        let data = with_row_id(file, entry.data_file(), &mut next_row_id)?;
        let (snapshot, sequence, file_sequence) = origin(file, entry)?;
        let goes = match goes {
            Goes::DataFiles(gone) => gone.contains(data.file_path()),
            Goes::DeleteFiles(goes) => goes(&data),
        };
        if goes {
            new.remove(data.clone(), sequence, file_sequence)?;
            removed.push((sequence, data));
        } else {
            new.keep(data, (snapshot, sequence, file_sequence))?;
        }
    }
    if removed.is_empty() {
        return Ok(None);
    }
    let rewritten = new.write(storage).await?;
    Ok(Some(Rewritten { file: with_row_ids_of(file, rewritten), removed }))
}

fn copied(bytes: &[u8], file: &ManifestFile, gone: &HashSet<&str>, snapshot_id: i64) -> Option<Copied> {
    let mut copier = Copier::like(bytes)?;
    copier.add(bytes, file, gone, snapshot_id)?;
    copier.finish()
}

/// The same with entries that stay as they are encoded. `None`: the crate encodes them in another way, or
/// nothing goes.
async fn rewrite_copied(
    storage: &Storage,
    file: &ManifestFile,
    copied: Copied,
    open: impl Fn(&ManifestMetadata) -> Result<NewManifest>,
) -> Result<Option<Rewritten>> {
    let sample = parse(file, copied.sample).await?;
    let gone = sample.entries().iter().filter(|entry| !entry.is_alive());
    let removed: Vec<_> =
        gone.filter_map(|entry| Some((entry.sequence_number()?, entry.data_file().clone()))).collect();
    if removed.is_empty() {
        return Ok(None);
    }
    let written = open(sample.metadata())?.write_copied(storage, &sample, &copied.entries).await?;
    Ok(written.map(|written| Rewritten { file: with_row_ids_of(file, written), removed }))
}

/// All files have their row ids by now, so the new manifest needs no range of new ones. One from before v3
/// has none yet: the list writer gives it one.
fn with_row_ids_of(file: &ManifestFile, rewritten: ManifestFile) -> ManifestFile {
    ManifestFile { first_row_id: file.first_row_id, ..rewritten }
}
