//! Keeps the number of manifests of a table in bounds: an append that finds many small ones rewrites
//! them as few (table properties `commit.manifest-merge.enabled`, `commit.manifest.min-count-to-merge`,
//! `commit.manifest.target-size-bytes`).
//!
//! **Invariant:** a file keeps its snapshot, its sequence numbers and its row ids; merging changes
//! where a file is listed and nothing else.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, Manifest, ManifestContentType, ManifestEntry, ManifestFile,
    Type,
};

use super::copied_entries::{Copied, Copier};
use super::manifests::{first_row_id, parse, read_bytes, sequence_number};
use super::new_manifest::NewManifest;
use crate::error::{Error, Result};
use crate::storage::Storage;

const ENABLED: &str = "commit.manifest-merge.enabled";
const MIN_COUNT: &str = "commit.manifest.min-count-to-merge";
const TARGET_BYTES: &str = "commit.manifest.target-size-bytes";
const DEFAULT_MIN_COUNT: usize = 100;
const DEFAULT_TARGET_BYTES: u64 = 8 << 20;

/// Manifests that are rewritten as one.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    pub content: ManifestContentType,
    pub spec_id: i32,
    pub positions: Vec<usize>,
}

/// Which of `manifests` are rewritten together. Manifests without a sequence number yet
/// (`added_snapshot_id` is `own`: just written) stay as they are.
pub fn plan(manifests: &[ManifestFile], properties: &HashMap<String, String>, own: i64) -> Vec<Group> {
    let number = |key: &str| properties.get(key).and_then(|v| v.parse::<u64>().ok());
    let min_count = number(MIN_COUNT).and_then(|n| usize::try_from(n).ok()).unwrap_or(DEFAULT_MIN_COUNT);
    let target = number(TARGET_BYTES).unwrap_or(DEFAULT_TARGET_BYTES);
    if properties.get(ENABLED).is_some_and(|v| v.eq_ignore_ascii_case("false")) || manifests.len() < min_count
    {
        return Vec::new();
    }
    let mut by_spec: BTreeMap<(bool, i32), Vec<(usize, u64)>> = BTreeMap::new();
    for (position, file) in manifests.iter().enumerate() {
        let bytes = u64::try_from(file.manifest_length).unwrap_or(u64::MAX);
        if file.key_metadata.is_none() && file.added_snapshot_id != own && bytes < target {
            let deletes = file.content == ManifestContentType::Deletes;
            by_spec.entry((deletes, file.partition_spec_id)).or_default().push((position, bytes));
        }
    }
    let mut groups = Vec::new();
    for ((deletes, spec_id), candidates) in by_spec {
        let content = if deletes { ManifestContentType::Deletes } else { ManifestContentType::Data };
        // The manifest that was just written counts, or the number would creep up to the limit again.
        if candidates.len() + 1 < min_count {
            continue;
        }
        let (mut positions, mut size) = (Vec::new(), 0u64);
        for (position, bytes) in candidates {
            if size.saturating_add(bytes) > target {
                groups.push(Group { content, spec_id, positions: std::mem::take(&mut positions) });
                size = 0;
            }
            positions.push(position);
            size = size.saturating_add(bytes);
        }
        groups.push(Group { content, spec_id, positions });
    }
    groups.retain(|group| group.positions.len() > 1);
    groups
}

/// Writes the live files of `files` into the manifest that `open` gives, as existing ones. Fails with
/// `Unsupported` if the partition values of one are of an older type than the new manifest's.
pub async fn merge(
    storage: &Storage,
    files: &[&ManifestFile],
    partition_types: &[Type],
    open: impl Fn() -> Result<NewManifest>,
) -> Result<ManifestFile> {
    let mut manifests = Vec::with_capacity(files.len());
    for file in files {
        manifests.push(read_bytes(storage, file).await?);
    }
    if let (Some(first), Some(copied)) = (files.first(), copied(files, &manifests)) {
        let sample = parse(first, copied.sample).await?;
        if let Some(written) = open()?.write_copied(storage, &sample, &copied.entries).await? {
            return Ok(written);
        }
    }
    let mut new = open()?;
    for (file, bytes) in files.iter().zip(manifests) {
        let manifest = parse(file, bytes).await?;
        check_partition_types(file, &manifest, partition_types)?;
        let mut next_row_id = file.first_row_id.and_then(|id| i64::try_from(id).ok());
        for entry in manifest.entries().iter().filter(|e| e.is_alive()) {
            let data = with_row_id(file, entry.data_file(), &mut next_row_id)?;
            new.keep(data, origin(file, entry)?)?;
        }
    }
    new.write(storage).await
}

fn copied(files: &[&ManifestFile], manifests: &[Bytes]) -> Option<Copied> {
    let mut copier = Copier::like(manifests.first()?)?;
    for (file, manifest) in files.iter().zip(manifests) {
        copier.add(manifest, file, &HashSet::new(), file.added_snapshot_id)?;
    }
    copier.finish()
}

fn check_partition_types(file: &ManifestFile, manifest: &Manifest, expected: &[Type]) -> Result<()> {
    let header = manifest.metadata();
    let written = header
        .partition_spec()
        .partition_type(header.schema())
        .map_err(|e| Error::corrupt(&file.manifest_path, e))?;
    match written.fields().iter().map(|f| f.field_type.as_ref()).eq(expected) {
        true => Ok(()),
        false => Err(Error::unsupported(&file.manifest_path, "partition values of an older type")),
    }
}

/// Snapshot, data sequence number and file sequence number, inherited where left out.
pub fn origin(file: &ManifestFile, entry: &ManifestEntry) -> Result<(i64, i64, i64)> {
    Ok((
        entry.snapshot_id().unwrap_or(file.added_snapshot_id),
        sequence_number(file, entry.status(), entry.sequence_number())?,
        sequence_number(file, entry.status(), entry.file_sequence_number)?,
    ))
}

/// The entry with the row id that it inherits from this manifest and would not from another. To be
/// called for every live entry in order; `next_row_id` begins with the manifest's.
pub fn with_row_id(file: &ManifestFile, data: &DataFile, next_row_id: &mut Option<i64>) -> Result<DataFile> {
    let rows = i64::try_from(data.record_count()).unwrap_or(i64::MAX);
    let first_row_id = match data.content_type() {
        DataContentType::Data => first_row_id(next_row_id, data.first_row_id(), rows),
        _ => data.first_row_id().filter(|_| next_row_id.is_some()),
    };
    if first_row_id == data.first_row_id() {
        return Ok(data.clone());
    }
    let mut builder = DataFileBuilder::default();
    builder
        .content(data.content_type())
        .file_path(data.file_path().to_string())
        .file_format(data.file_format())
        .partition(data.partition().clone())
        .partition_spec_id(file.partition_spec_id)
        .record_count(data.record_count())
        .file_size_in_bytes(data.file_size_in_bytes())
        .column_sizes(data.column_sizes().clone())
        .value_counts(data.value_counts().clone())
        .null_value_counts(data.null_value_counts().clone())
        .nan_value_counts(data.nan_value_counts().clone())
        .lower_bounds(data.lower_bounds().clone())
        .upper_bounds(data.upper_bounds().clone())
        .key_metadata(data.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(data.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(data.equality_ids())
        .first_row_id(first_row_id)
        .referenced_data_file(data.referenced_data_file())
        .content_offset(data.content_offset())
        .content_size_in_bytes(data.content_size_in_bytes());
    if let Some(order) = data.sort_order_id() {
        builder.sort_order_id(order);
    }
    builder.build().map_err(|e| Error::Internal(format!("manifest entry of {}: {e}", data.file_path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(spec_id: i32, bytes: i64, snapshot: i64) -> ManifestFile {
        ManifestFile {
            manifest_path: format!("m{bytes}"),
            manifest_length: bytes,
            partition_spec_id: spec_id,
            content: ManifestContentType::Data,
            sequence_number: 1,
            min_sequence_number: 1,
            added_snapshot_id: snapshot,
            added_files_count: Some(1),
            existing_files_count: Some(0),
            deleted_files_count: Some(0),
            added_rows_count: Some(1),
            existing_rows_count: Some(0),
            deleted_rows_count: Some(0),
            partitions: None,
            key_metadata: None,
            first_row_id: None,
        }
    }

    #[test]
    fn many_small_manifests_of_a_spec_become_few() {
        let limits = HashMap::from([
            (MIN_COUNT.to_string(), "4".to_string()),
            (TARGET_BYTES.to_string(), "100".to_string()),
        ]);
        let mut manifests = vec![manifest(0, 40, 9)];
        manifests.extend([40, 40, 40, 500, 40].map(|bytes| manifest(0, bytes, 1)));
        manifests.push(manifest(1, 10, 1));
        let group = |positions: [usize; 2]| Group {
            content: ManifestContentType::Data,
            spec_id: 0,
            positions: positions.to_vec(),
        };
        assert_eq!(plan(&manifests, &limits, 9), [group([1, 2]), group([3, 5])]);
        assert!(plan(&manifests[..3], &limits, 9).is_empty());
        assert!(plan(&manifests, &HashMap::new(), 9).is_empty());
        let off = limits.into_iter().chain([(ENABLED.to_string(), "false".to_string())]).collect();
        assert!(plan(&manifests, &off, 9).is_empty());
    }
}
