//! Writes the manifests and the manifest list of a new snapshot (Iceberg spec, "Manifests",
//! "Manifest Lists", "Snapshots").
//!
//! A snapshot is made from a [`FileChanges`]: the entries it adds, on top of the manifests of its
//! parent. The manifests of the parent are kept, or merged once they are many; those that list a file
//! that goes are rewritten ([`manifest_filter`](super::manifest_filter)).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::spec::{
    DataFile, FormatVersion, ManifestContentType, ManifestFile, ManifestListWriter, ManifestMetadata,
    Operation, PartitionSpec, SchemaRef, Snapshot, TableMetadata,
};
use uuid::Uuid;

use super::cache::Caches;
use super::delete_manifest::referenced_data_file;
use super::manifest_filter::{Goes, Rewritten, find, rewrite, wanted};
use super::manifest_merge;
use super::manifests::IcebergFiles;
use super::new_manifest::{NewManifest, failed};
use super::partition::BoundSpec;
use super::properties::metadata_folder;
use super::summary::SummaryCollector;
use super::superseded::Superseded;
use super::uuid_partitions::UuidPartitions;
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::table::LiveFile;
use crate::table::deletes::NewRowDeletes;

/// Manifests rewritten at a time.
const REWRITE_CONCURRENCY: usize = 8;

/// What a snapshot does to the table's files.
#[derive(Debug)]
pub struct FileChanges<'a> {
    pub operation: Operation,
    /// Data files by partition spec id.
    pub added: BTreeMap<i32, Vec<DataFile>>,
    /// Delete files by partition spec id: the entries of `marked`.
    pub added_deletes: BTreeMap<i32, Vec<DataFile>>,
    /// Data files that are no longer part of the table; deletes of nothing else go with them.
    pub removed: &'a [Arc<LiveFile>],
    /// Data files that stay with more rows deleted.
    pub marked: &'a [NewRowDeletes],
    /// Extra summary entries.
    pub summary: BTreeMap<String, String>,
}

/// Produces one snapshot and remembers which files it wrote for it.
pub struct SnapshotProducer<'a> {
    /// The table's name, for messages.
    table: String,
    storage: &'a Storage,
    metadata: &'a TableMetadata,
    /// The files of the parent snapshot.
    base: IcebergFiles,
    snapshot_id: i64,
    commit_id: Uuid,
    /// Files written so far, to be removed if the commit certainly does not happen.
    written: Vec<String>,
}

impl<'a> SnapshotProducer<'a> {
    pub fn new(
        table: String,
        storage: &'a Storage,
        caches: &Arc<Caches>,
        metadata: &'a TableMetadata,
        specs: BTreeMap<i32, BoundSpec>,
    ) -> Self {
        let parent = metadata.current_snapshot().cloned();
        let base = IcebergFiles::new(
            Some(storage.clone()),
            caches.clone(),
            specs,
            metadata.format_version(),
            parent,
        );
        Self {
            table,
            storage,
            metadata,
            base,
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
    ///
    /// Fails with `Conflict` if a file that is removed or marked is not part of the parent, or if the
    /// deletes of a marked file are not those that the change was made on.
    pub async fn produce(&mut self, changes: FileChanges<'_>) -> Result<Snapshot> {
        let mut summary = SummaryCollector::default();
        let mut manifests = Vec::new();
        for (spec_id, files) in &changes.added {
            let file = self.write_manifest(ManifestContentType::Data, *spec_id, files, &mut summary).await?;
            manifests.push(file);
        }
        let data = self.kept_data_manifests(&changes, &mut summary).await?;
        let is_live = |m: &ManifestFile| m.has_added_files() || m.has_existing_files();
        let no_file_stays = !changes.removed.is_empty() && !data.iter().any(is_live);
        manifests.extend(data);
        for (spec_id, files) in &changes.added_deletes {
            let content = ManifestContentType::Deletes;
            manifests.push(self.write_manifest(content, *spec_id, files, &mut summary).await?);
        }
        manifests.extend(self.kept_delete_manifests(&changes, no_file_stays, &mut summary).await?);
        let manifests = self.merged(manifests).await;
        let (path, next_row_id) = self.write_manifest_list(manifests).await?;
        let previous = self.metadata.current_snapshot().map(|parent| parent.summary());
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

    /// The parent's data manifests without the removed files. Manifests with nothing but deleted entries
    /// only said so to their own snapshot, and are left out.
    async fn kept_data_manifests(
        &mut self,
        changes: &FileChanges<'_>,
        summary: &mut SummaryCollector,
    ) -> Result<Vec<ManifestFile>> {
        let manifests = self.base.data_manifests().await?.to_vec();
        if changes.removed.is_empty() && changes.marked.is_empty() {
            return Ok(manifests);
        }
        let removed: HashSet<&str> = changes.removed.iter().map(|file| file.path()).collect();
        let touched = changes.removed.iter().chain(changes.marked.iter().map(|m| &m.file));
        let found = find(&self.base, &wanted(touched.map(AsRef::as_ref))?).await?;
        let found = found.map_err(|path| self.conflict(format!("{path} is no longer part of it")))?;
        let lists_removed = |m: &ManifestFile| {
            let listed = found.manifests.get(&m.manifest_path);
            listed.is_some_and(|paths| paths.iter().any(|path| removed.contains(path.as_str())))
        };
        Ok(self.without(manifests, lists_removed, Goes::DataFiles(&removed), summary).await?.0)
    }

    /// The parent's delete manifests without what applies to nothing any more: deletes of removed files,
    /// deletes that a new deletion vector includes, and all if `no_file_stays`.
    async fn kept_delete_manifests(
        &mut self,
        changes: &FileChanges<'_>,
        no_file_stays: bool,
        summary: &mut SummaryCollector,
    ) -> Result<Vec<ManifestFile>> {
        let manifests = self.base.delete_manifests().await?.to_vec();
        let superseded = Superseded::by(changes.marked);
        if manifests.is_empty() || (changes.removed.is_empty() && superseded.is_empty()) {
            superseded.check(&[]).map_err(|reason| self.conflict(reason))?;
            return Ok(manifests);
        }
        let removed: HashSet<&str> = changes.removed.iter().map(|file| file.path()).collect();
        let is_obsolete = |path: &str| removed.contains(path) || superseded.contains(path);
        let mut touched = HashSet::new();
        for manifest in &manifests {
            if no_file_stays || self.base.delete_manifest(manifest).await?.refers_to(is_obsolete) {
                touched.insert(manifest.manifest_path.clone());
            }
        }
        let goes = |file: &DataFile| {
            no_file_stays || referenced_data_file(file).is_some_and(|path| is_obsolete(&path))
        };
        let touched = |m: &ManifestFile| touched.contains(&m.manifest_path);
        let (manifests, dropped) =
            self.without(manifests, touched, Goes::DeleteFiles(&goes), summary).await?;
        superseded.check(&dropped).map_err(|reason| self.conflict(reason))?;
        Ok(manifests)
    }

    /// `manifests` with the `touched` ones rewritten without what `goes`; and what went, with data
    /// sequence numbers.
    async fn without(
        &mut self,
        manifests: Vec<ManifestFile>,
        touched: impl Fn(&ManifestFile) -> bool,
        goes: Goes<'_>,
        summary: &mut SummaryCollector,
    ) -> Result<(Vec<ManifestFile>, Vec<(i64, DataFile)>)> {
        let mut planned = Vec::with_capacity(manifests.len());
        for manifest in manifests {
            let path = touched(&manifest).then(|| self.manifest_path());
            planned.push((manifest, path));
        }
        let this = &*self;
        let rewrites: Vec<_> = planned
            .into_iter()
            .map(|(manifest, path)| async move { this.rewritten(manifest, path, goes).await }.boxed())
            .collect();
        let mut rewrites = futures::stream::iter(rewrites).buffered(REWRITE_CONCURRENCY);
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        while let Some(rewritten) = rewrites.try_next().await? {
            let spec_id = rewritten.file.partition_spec_id;
            rewritten.removed.iter().for_each(|(_, file)| summary.remove(file, spec_id));
            kept.push(rewritten.file);
            dropped.extend(rewritten.removed);
        }
        Ok((kept, dropped))
    }

    /// `manifest` rewritten to `path`, or as it is.
    async fn rewritten(
        &self,
        manifest: ManifestFile,
        path: Option<String>,
        goes: Goes<'_>,
    ) -> Result<Rewritten> {
        if let Some(path) = path {
            let open = |header: &ManifestMetadata| {
                let spec = header.partition_spec().clone();
                self.new_manifest(manifest.content, header.schema().clone(), spec, path.clone())
            };
            if let Some(rewritten) = rewrite(self.storage, &manifest, self.snapshot_id, goes, open).await? {
                if let Goes::DataFiles(gone) = goes {
                    self.base.keep_without(&manifest, &rewritten.file, gone).await?;
                }
                return Ok(rewritten);
            }
        }
        Ok(Rewritten { file: manifest, removed: Vec::new() })
    }

    fn conflict(&self, reason: String) -> Error {
        Error::Conflict { table: self.table.clone(), winner: reason }
    }

    /// A manifest of new files.
    async fn write_manifest(
        &mut self,
        content: ManifestContentType,
        spec_id: i32,
        files: &[DataFile],
        summary: &mut SummaryCollector,
    ) -> Result<ManifestFile> {
        let path = self.manifest_path();
        let (schema, spec) = self.schema_and_spec(spec_id)?;
        let mut manifest = self.new_manifest(content, schema, spec, path)?;
        for file in files {
            summary.add(file, spec_id);
            manifest.add(file.clone())?;
        }
        manifest.write(self.storage).await
    }

    /// Merging is housekeeping: what cannot be merged stays as it is and fails no commit.
    async fn merged(&mut self, mut manifests: Vec<ManifestFile>) -> Vec<ManifestFile> {
        let mut replaced = HashSet::new();
        let mut merged = Vec::new();
        let properties = self.metadata.properties();
        for group in manifest_merge::plan(&manifests, properties, self.snapshot_id) {
            let files: Vec<&ManifestFile> =
                group.positions.iter().filter_map(|n| manifests.get(*n)).collect();
            match self.write_merged(group.content, group.spec_id, &files).await {
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

    async fn write_merged(
        &mut self,
        content: ManifestContentType,
        spec_id: i32,
        files: &[&ManifestFile],
    ) -> Result<ManifestFile> {
        let path = self.manifest_path();
        let (schema, spec) = self.schema_and_spec(spec_id)?;
        let hidden = match UuidPartitions::of(self.metadata, &schema, &spec)? {
            Some(uuids) => uuids.hidden_schema()?,
            None => schema.clone(),
        };
        let types = spec.partition_type(&hidden).map_err(|e| failed(&path, e))?;
        let types: Vec<_> = types.fields().iter().map(|f| f.field_type.as_ref().clone()).collect();
        let open = || self.new_manifest(content, schema.clone(), spec.clone(), path.clone());
        let mut merged = manifest_merge::merge(self.storage, files, &types, open).await?;
        // Where every file has its row id by now, a range of new ids would be used by no row. Otherwise
        // (manifests from before v3) the list writer gives out a new range.
        let first_row_ids: Option<Vec<u64>> = files.iter().map(|f| f.first_row_id).collect();
        merged.first_row_id = first_row_ids.and_then(|ids| ids.into_iter().min());
        Ok(merged)
    }

    fn manifest_path(&mut self) -> String {
        self.next_path(&format!("{}-m{}.avro", self.commit_id, self.written.len()))
    }

    /// A partition spec and a schema that it can be bound to: the current one, or the newest that still
    /// has the columns.
    fn schema_and_spec(&self, spec_id: i32) -> Result<(SchemaRef, PartitionSpec)> {
        let spec = self.metadata.partition_spec_by_id(spec_id);
        let spec = spec.ok_or_else(|| Error::Internal(format!("there is no partition spec {spec_id}")))?;
        let current = self.metadata.current_schema();
        let mut older: Vec<&SchemaRef> = self.metadata.schemas_iter().collect();
        older.sort_by_key(|schema| std::cmp::Reverse(schema.schema_id()));
        let schema = std::iter::once(current).chain(older).find(|s| spec.partition_type(s).is_ok());
        match schema {
            Some(schema) => Ok((schema.clone(), spec.as_ref().clone())),
            None => Err(Error::unsupported(&self.table, "writing partitions by a column that was dropped")),
        }
    }

    fn new_manifest(
        &self,
        content: ManifestContentType,
        schema: SchemaRef,
        spec: PartitionSpec,
        path: String,
    ) -> Result<NewManifest> {
        NewManifest::new(self.metadata, self.snapshot_id, content, schema, spec, path)
    }

    /// Path of the list, and the table's next row id after it (v3).
    async fn write_manifest_list(&mut self, manifests: Vec<ManifestFile>) -> Result<(String, Option<u64>)> {
        let path = self.next_path(&format!("snap-{}-0-{}.avro", self.snapshot_id, self.commit_id));
        let memory = FileIO::new_with_memory();
        let output = memory.new_output(&path).map_err(|e| failed(&path, e))?;
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
        let encoded = memory.new_input(&path).map_err(|e| failed(&path, e))?.read().await;
        self.storage.create_own(&path, encoded.map_err(|e| failed(&path, e))?).await?;
        Ok((path, next_row_id))
    }

    fn next_path(&mut self, name: &str) -> String {
        let folder = metadata_folder(self.metadata.location(), self.metadata.properties());
        let path = format!("{folder}/{name}");
        self.written.push(path.clone());
        path
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
