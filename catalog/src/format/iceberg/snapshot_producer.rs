//! Writes the manifests and the manifest list of a new snapshot (Iceberg spec, "Manifests",
//! "Manifest Lists", "Snapshots").
//!
//! A snapshot is made from a [`FileChanges`]: the entries it adds, on top of the manifests of its
//! parent. Appends add data files and keep the manifests, or merge them once they are many; what
//! removes files rewrites the manifests that list them, and joins here.

use std::collections::{BTreeMap, HashSet};

use iceberg::ErrorKind;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataFile, FormatVersion, ManifestFile, ManifestListWriter, ManifestWriter, ManifestWriterBuilder,
    Operation, Snapshot, TableMetadata,
};
use uuid::Uuid;

use super::cache::Caches;
use super::file_io::file_io;
use super::manifest_merge;
use super::manifests::listing;
use super::properties::metadata_folder;
use super::summary::SummaryCollector;
use crate::error::{Error, Result};
use crate::storage::Storage;

/// What a snapshot does to the table's files.
#[derive(Debug)]
pub struct FileChanges {
    pub operation: Operation,
    /// Data files by partition spec id.
    pub added: BTreeMap<i32, Vec<DataFile>>,
    /// Extra summary entries.
    pub summary: BTreeMap<String, String>,
}

/// Produces one snapshot and remembers which files it wrote for it.
pub struct SnapshotProducer<'a> {
    storage: &'a Storage,
    caches: &'a Caches,
    metadata: &'a TableMetadata,
    io: FileIO,
    snapshot_id: i64,
    commit_id: Uuid,
    /// Files written so far, to be removed if the commit certainly does not happen.
    written: Vec<String>,
}

impl<'a> SnapshotProducer<'a> {
    pub fn new(storage: &'a Storage, caches: &'a Caches, metadata: &'a TableMetadata) -> Self {
        Self {
            storage,
            caches,
            metadata,
            io: file_io(storage),
            snapshot_id: fresh_snapshot_id(metadata),
            commit_id: Uuid::new_v4(),
            written: Vec::new(),
        }
    }

    /// Paths of all files written, also those of a failed attempt.
    pub fn into_written(self) -> Vec<String> {
        self.written
    }

    /// Writes manifests and manifest list. Nothing refers to them yet.
    pub async fn produce(&mut self, changes: FileChanges) -> Result<Snapshot> {
        let mut summary = SummaryCollector::default();
        let mut manifests = Vec::new();
        for (spec_id, files) in changes.added {
            manifests.push(self.write_data_manifest(spec_id, files, &mut summary).await?);
        }
        let parent = self.metadata.current_snapshot().cloned();
        if let Some(parent) = &parent {
            let version = self.metadata.format_version();
            let kept = listing(self.storage, self.caches, parent.manifest_list(), version).await?;
            // Manifests with nothing but deleted entries only said so to their own snapshot.
            let live = kept.manifests.iter().filter(|m| m.has_added_files() || m.has_existing_files());
            manifests.extend(live.cloned());
            manifests = self.merged(manifests).await;
        }
        let (path, next_row_id) = self.write_manifest_list(manifests).await?;
        let previous = parent.as_ref().map(|p| p.summary());
        let builder = Snapshot::builder()
            .with_snapshot_id(self.snapshot_id)
            .with_parent_snapshot_id(self.metadata.current_snapshot_id())
            .with_sequence_number(self.metadata.next_sequence_number())
            // Time does not run backwards in a table, even if the clocks of its writers differ.
            .with_timestamp_ms(chrono::Utc::now().timestamp_millis().max(self.metadata.last_updated_ms()))
            .with_manifest_list(path)
            .with_summary(summary.build(changes.operation, previous, &changes.summary))
            .with_schema_id(self.metadata.current_schema_id());
        Ok(match next_row_id {
            Some(next) => {
                let first = self.metadata.next_row_id();
                builder.with_row_range(first, next.saturating_sub(first)).build()
            }
            None => builder.build(),
        })
    }

    async fn write_data_manifest(
        &mut self,
        spec_id: i32,
        files: Vec<DataFile>,
        summary: &mut SummaryCollector,
    ) -> Result<ManifestFile> {
        let path = self.manifest_path();
        let mut writer = self.data_manifest_writer(spec_id, &path)?;
        for file in files {
            summary.add(&file, spec_id);
            writer.add_file(file, iceberg::spec::UNASSIGNED_SEQUENCE_NUMBER).map_err(|e| failed(&path, e))?;
        }
        writer.write_manifest_file().await.map_err(|e| failed(&path, e))
    }

    /// Merging is housekeeping: what cannot be merged stays as it is and fails no commit.
    async fn merged(&mut self, mut manifests: Vec<ManifestFile>) -> Vec<ManifestFile> {
        let mut replaced = HashSet::new();
        let mut merged = Vec::new();
        for (spec_id, group) in manifest_merge::plan(&manifests, self.metadata.properties(), self.snapshot_id)
        {
            let files: Vec<&ManifestFile> = group.iter().filter_map(|n| manifests.get(*n)).collect();
            match self.write_merged(spec_id, &files).await {
                Ok(file) => {
                    replaced.extend(files.iter().map(|f| f.manifest_path.clone()));
                    merged.push(file);
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "could not merge manifests");
                }
            }
        }
        manifests.retain(|file| !replaced.contains(&file.manifest_path));
        manifests.extend(merged);
        manifests
    }

    async fn write_merged(&mut self, spec_id: i32, files: &[&ManifestFile]) -> Result<ManifestFile> {
        let path = self.manifest_path();
        let mut writer = self.data_manifest_writer(spec_id, &path)?;
        let spec = self.metadata.partition_spec_by_id(spec_id);
        let types = spec
            .map(|spec| spec.partition_type(self.metadata.current_schema()))
            .transpose()
            .map_err(|e| failed(&path, e))?
            .map(|t| t.fields().iter().map(|f| f.field_type.as_ref().clone()).collect::<Vec<_>>())
            .unwrap_or_default();
        manifest_merge::add_existing(self.storage, files, &types, &mut writer).await?;
        let mut merged = writer.write_manifest_file().await.map_err(|e| failed(&path, e))?;
        // Where every file has its row id by now, a range of new ids would be used by no row. Otherwise
        // (manifests from before v3) the list writer gives out a new range.
        let first_row_ids: Option<Vec<u64>> = files.iter().map(|f| f.first_row_id).collect();
        merged.first_row_id = first_row_ids.and_then(|ids| ids.into_iter().min());
        Ok(merged)
    }

    fn manifest_path(&mut self) -> String {
        self.next_path(&format!("{}-m{}.avro", self.commit_id, self.written.len()))
    }

    fn data_manifest_writer(&self, spec_id: i32, path: &str) -> Result<ManifestWriter> {
        let spec = self
            .metadata
            .partition_spec_by_id(spec_id)
            .ok_or_else(|| Error::Internal(format!("there is no partition spec {spec_id}")))?;
        let output = self.io.new_output(path).map_err(|e| failed(path, e))?;
        let schema = self.metadata.current_schema().clone();
        let builder =
            ManifestWriterBuilder::new(output, Some(self.snapshot_id), schema, spec.as_ref().clone());
        Ok(match self.metadata.format_version() {
            FormatVersion::V1 => builder.build_v1(),
            FormatVersion::V2 => builder.build_v2_data(),
            FormatVersion::V3 => builder.build_v3_data(),
        })
    }

    /// Path of the list, and the table's next row id after it (v3).
    async fn write_manifest_list(&mut self, manifests: Vec<ManifestFile>) -> Result<(String, Option<u64>)> {
        let path = self.next_path(&format!("snap-{}-0-{}.avro", self.snapshot_id, self.commit_id));
        let output = self.io.new_output(&path).map_err(|e| failed(&path, e))?;
        let out = output.writer().await.map_err(|e| failed(&path, e))?;
        let (id, parent) = (self.snapshot_id, self.metadata.current_snapshot_id());
        let sequence = self.metadata.next_sequence_number();
        let mut writer = match self.metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(out, id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(out, id, parent, sequence),
            FormatVersion::V3 => {
                ManifestListWriter::v3(out, id, parent, sequence, Some(self.metadata.next_row_id()))
            }
        };
        writer.add_manifests(manifests.into_iter()).map_err(|e| failed(&path, e))?;
        let next_row_id = writer.next_row_id();
        writer.close().await.map_err(|e| failed(&path, e))?;
        Ok((path, next_row_id))
    }

    fn next_path(&mut self, name: &str) -> String {
        let folder = metadata_folder(self.metadata.location(), self.metadata.properties());
        let path = format!("{folder}/{name}");
        self.written.push(path.clone());
        path
    }
}

/// The crate reports our storage's errors as unexpected ones; the others are about what we gave it.
fn failed(path: &str, e: iceberg::Error) -> Error {
    match e.kind() {
        ErrorKind::Unexpected => Error::storage(path, e),
        _ => Error::Internal(format!("writing {path}: {e}")),
    }
}

/// A random positive id that no snapshot of the table has.
fn fresh_snapshot_id(metadata: &TableMetadata) -> i64 {
    loop {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let id = i64::try_from((high ^ low) >> 1).unwrap_or(i64::MAX);
        if metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}
