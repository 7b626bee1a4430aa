//! The files of a snapshot: manifest list, data manifests, delete manifests, each read once and
//! converted once (Iceberg spec, "Manifests" and "Manifest Lists").

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array, new_null_array};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use iceberg::spec::{
    FieldSummary, FormatVersion, Manifest, ManifestContentType, ManifestFile, ManifestList, ManifestStatus,
    PrimitiveLiteral, PrimitiveType, SnapshotRef,
};
use tokio::sync::OnceCell;

pub use super::data_manifest::DataManifest;
pub use super::delete_manifest::DeleteManifest;

use super::cache::{Caches, ManifestKey, parse_aside};
use super::literal::{datum, to_array};
use super::partition::BoundSpec;
use super::{data_manifest, delete_manifest, unknown_transforms, uuid_partitions};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::table::FileList;
use crate::table::deletes::DeleteIndex;
use crate::table::left_files::left_of;
use crate::table::snapshot::{FileListIndex, SnapshotFiles};
use crate::table::statistics::{PartitionBounds, StatisticsTable};

/// Manifests read at a time.
pub const READ_CONCURRENCY: usize = 16;

/// A parsed manifest list.
#[derive(Debug)]
pub struct Listing {
    pub manifests: Vec<ManifestFile>,
}

/// A manifest list by path, through the cache.
pub async fn listing(
    storage: &Storage,
    caches: &Caches,
    path: &str,
    version: FormatVersion,
) -> Result<Arc<Listing>> {
    let read = async {
        let bytes = storage.read(path).await?;
        let owned = path.to_string();
        let size = bytes.len();
        let manifests = parse_aside(path, move || parse_listing(&owned, &bytes, version)).await?;
        // Decoded avro of this kind is about four times its size.
        Ok((Arc::new(Listing { manifests }), size.saturating_mul(4)))
    };
    storage.memory().get_or_read(caches.listing(path), read).await
}

/// A snapshot taken over from before an upgrade of the format keeps its older manifest list.
fn parse_listing(path: &str, bytes: &[u8], version: FormatVersion) -> Result<Vec<ManifestFile>> {
    let older =
        [FormatVersion::V3, FormatVersion::V2, FormatVersion::V1].into_iter().filter(|v| *v < version);
    let mut first_error = None;
    for version in std::iter::once(version).chain(older) {
        match ManifestList::parse_with_version(bytes, version) {
            Ok(list) => return Ok(list.consume_entries().into_iter().collect()),
            Err(e) => first_error = first_error.or(Some(e)),
        }
    }
    Err(Error::corrupt(path, first_error.map_or_else(String::new, |e| e.to_string())))
}

/// Reads and parses one manifest, without the cache.
pub async fn read_manifest(storage: &Storage, file: &ManifestFile) -> Result<Manifest> {
    parse(file, read_bytes(storage, file).await?).await
}

/// One manifest as it is stored, without the cache.
pub async fn read_bytes(storage: &Storage, file: &ManifestFile) -> Result<Bytes> {
    if file.key_metadata.is_some() {
        return Err(Error::unsupported(&file.manifest_path, "encryption"));
    }
    storage.read(&file.manifest_path).await
}

/// Parses what [`read_bytes`] gave for `file`.
pub async fn parse(file: &ManifestFile, bytes: Bytes) -> Result<Manifest> {
    let path = file.manifest_path.clone();
    parse_aside(&file.manifest_path, move || {
        let bytes = unknown_transforms::without_fields(&bytes).map_or(bytes, Bytes::from);
        let bytes = uuid_partitions::hidden(&bytes).map_or(bytes, Bytes::from);
        Manifest::parse_avro(&bytes).map_err(|e| Error::corrupt(path, e))
    })
    .await
}

/// The data sequence number of an entry, inherited where it was left out (Iceberg spec, "Sequence
/// Number Inheritance").
pub fn sequence_number(file: &ManifestFile, status: ManifestStatus, own: Option<i64>) -> Result<i64> {
    match own {
        Some(number) => Ok(number),
        None if status == ManifestStatus::Added || file.sequence_number == 0 => Ok(file.sequence_number),
        None => Err(Error::corrupt(&file.manifest_path, "an existing file has no sequence number")),
    }
}

/// The first row id of a data file, inherited where it was left out (Iceberg spec, "First Row ID
/// Inheritance"). To be called for every live file in order; `next` begins with the manifest's, and without
/// one of the manifest the file's `own` is void.
pub fn first_row_id(next: &mut Option<i64>, own: Option<i64>, rows: i64) -> Option<i64> {
    let next = next.as_mut()?;
    own.or_else(|| Some(std::mem::replace(next, next.saturating_add(rows))))
}

/// The files of one snapshot.
#[derive(Debug)]
pub struct IcebergFiles {
    /// `None` for a staged table, which has no files.
    storage: Option<Storage>,
    caches: Arc<Caches>,
    specs: BTreeMap<i32, BoundSpec>,
    version: FormatVersion,
    snapshot: Option<SnapshotRef>,
    manifests: OnceCell<SnapshotManifests>,
    deletes: OnceCell<Arc<DeleteIndex>>,
}

/// The manifests of a snapshot that have live files.
#[derive(Debug)]
struct SnapshotManifests {
    data: Vec<ManifestFile>,
    deletes: Vec<ManifestFile>,
    index: Arc<FileListIndex>,
}

impl IcebergFiles {
    pub fn new(
        storage: Option<Storage>,
        caches: Arc<Caches>,
        specs: BTreeMap<i32, BoundSpec>,
        version: FormatVersion,
        snapshot: Option<SnapshotRef>,
    ) -> Self {
        let (manifests, deletes) = (OnceCell::new(), OnceCell::new());
        Self { storage, caches, specs, version, snapshot, manifests, deletes }
    }

    fn storage(&self) -> Result<&Storage> {
        self.storage.as_ref().ok_or_else(|| Error::Internal("a staged table has no files".into()))
    }

    fn spec_of(&self, file: &ManifestFile) -> Result<&BoundSpec> {
        self.specs.get(&file.partition_spec_id).ok_or_else(|| {
            let reason = format!("its partition spec {} is unknown", file.partition_spec_id);
            Error::corrupt(&file.manifest_path, reason)
        })
    }

    async fn manifests(&self) -> Result<&SnapshotManifests> {
        self.manifests.get_or_try_init(|| self.read_listing()).await
    }

    async fn read_listing(&self) -> Result<SnapshotManifests> {
        let (mut data, mut deletes) = (Vec::new(), Vec::new());
        if let Some(snapshot) = &self.snapshot {
            let path = snapshot.manifest_list();
            let listing = listing(self.storage()?, &self.caches, path, self.version).await?;
            for file in &listing.manifests {
                if file.has_added_files() || file.has_existing_files() {
                    match file.content {
                        ManifestContentType::Data => data.push(file.clone()),
                        ManifestContentType::Deletes => deletes.push(file.clone()),
                    }
                }
            }
        }
        let index = Arc::new(self.index_of(&data)?);
        Ok(SnapshotManifests { data, deletes, index })
    }

    fn index_of(&self, manifests: &[ManifestFile]) -> Result<FileListIndex> {
        let mut by_spec: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (number, file) in manifests.iter().enumerate() {
            self.spec_of(file)?;
            by_spec.entry(file.partition_spec_id).or_default().push(number);
        }
        let mut groups = Vec::with_capacity(by_spec.len());
        for (spec_id, numbers) in by_spec {
            let Some(bound) = self.specs.get(&spec_id) else { continue };
            let files: Vec<&ManifestFile> = numbers.iter().filter_map(|n| manifests.get(*n)).collect();
            groups.push((summaries(bound, &files)?, numbers));
        }
        Ok(FileListIndex { groups })
    }

    /// The data manifests that have live files, in the order of the manifest list.
    pub async fn data_manifests(&self) -> Result<&[ManifestFile]> {
        Ok(&self.manifests().await?.data)
    }

    /// The delete manifests that have live files, in the order of the manifest list.
    pub async fn delete_manifests(&self) -> Result<&[ManifestFile]> {
        Ok(&self.manifests().await?.deletes)
    }

    fn key(&self, file: &ManifestFile, bound: &BoundSpec) -> ManifestKey {
        let mut hasher = DefaultHasher::new();
        bound.spec.fields.iter().for_each(|f| f.result_type.hash(&mut hasher));
        ManifestKey {
            path: file.manifest_path.clone(),
            first_row_id: file.first_row_id,
            partition_types: hasher.finish(),
        }
    }

    /// The live files of one data manifest.
    pub async fn data_manifest(&self, file: &ManifestFile) -> Result<Arc<DataManifest>> {
        let bound = self.spec_of(file)?;
        let key = self.caches.data_manifest(self.key(file, bound));
        let storage = self.storage()?;
        let read = async {
            let manifest = read_manifest(storage, file).await?;
            let (file, bound) = (file.clone(), bound.clone());
            let path = file.manifest_path.clone();
            let convert = move || data_manifest::convert(&file, &manifest, &bound);
            let converted = Arc::new(parse_aside(&path, convert).await?);
            let bytes = converted.size_bytes();
            Ok((converted, bytes))
        };
        storage.memory().get_or_read(key, read).await
    }

    /// Keeps in memory what a new data manifest lists: what `old` does, but the files `gone`.
    pub async fn keep_without(
        &self,
        old: &ManifestFile,
        new: &ManifestFile,
        gone: &HashSet<&str>,
    ) -> Result<()> {
        // It is given row ids with the manifest list only.
        if new.first_row_id.is_none() && self.version == FormatVersion::V3 {
            return Ok(());
        }
        let before = self.data_manifest(old).await?;
        let stays = before.list.files.iter().map(|file| Some(!gone.contains(file.path.as_str())));
        let list = left_of(&before.list, stays.collect())?;
        let manifest = Arc::new(DataManifest { list: Arc::new(list) });
        let bytes = manifest.size_bytes();
        let key = self.caches.data_manifest(self.key(new, self.spec_of(old)?));
        self.storage()?.memory().insert(key, manifest, bytes);
        Ok(())
    }

    /// The live entries of one delete manifest.
    pub async fn delete_manifest(&self, file: &ManifestFile) -> Result<Arc<DeleteManifest>> {
        let bound = self.spec_of(file)?;
        let key = self.caches.delete_manifest(self.key(file, bound));
        let storage = self.storage()?;
        let read = async {
            let manifest = read_manifest(storage, file).await?;
            let (file, bound) = (file.clone(), bound.clone());
            let path = file.manifest_path.clone();
            let convert = move || delete_manifest::convert(&file, &manifest, &bound);
            let converted = Arc::new(parse_aside(&path, convert).await?);
            let bytes = converted.size_bytes();
            Ok((converted, bytes))
        };
        storage.memory().get_or_read(key, read).await
    }

    async fn read_deletes(&self) -> Result<Arc<DeleteIndex>> {
        let manifests = &self.manifests().await?.deletes;
        // Boxed: the compiler cannot name the lifetimes of a stream of these futures.
        let reads: Vec<_> = manifests.iter().map(|file| self.delete_manifest(file).boxed()).collect();
        let read: Vec<Arc<DeleteManifest>> =
            futures::stream::iter(reads).buffered(READ_CONCURRENCY).try_collect().await?;
        Ok(Arc::new(delete_manifest::index(&read)?))
    }
}

#[async_trait]
impl SnapshotFiles for IcebergFiles {
    async fn index(&self) -> Result<Arc<FileListIndex>> {
        Ok(self.manifests().await?.index.clone())
    }

    async fn file_list(&self, number: usize) -> Result<Arc<FileList>> {
        let file = self
            .manifests()
            .await?
            .data
            .get(number)
            .ok_or_else(|| Error::Internal(format!("there is no file list {number}")))?;
        Ok(self.data_manifest(file).await?.list.clone())
    }

    async fn deletes(&self) -> Result<Arc<DeleteIndex>> {
        self.deletes.get_or_try_init(|| self.read_deletes()).await.cloned()
    }
}

/// Statistics of manifests of one spec from their field summaries.
fn summaries(bound: &BoundSpec, files: &[&ManifestFile]) -> Result<StatisticsTable> {
    let partitions = bound
        .types
        .iter()
        .enumerate()
        .map(|(position, primitive)| {
            let of_file = |file: &&ManifestFile| -> Option<FieldSummary> {
                file.partitions.as_ref().and_then(|p| p.get(position)).cloned()
            };
            field_bounds(primitive.as_ref(), &files.iter().map(of_file).collect::<Vec<_>>())
        })
        .collect::<Result<_>>()?;
    let rows = |f: &&ManifestFile| Some(f.added_rows_count?.saturating_add(f.existing_rows_count?));
    Ok(StatisticsTable {
        len: files.len(),
        row_counts: files.iter().map(rows).collect::<UInt64Array>(),
        columns: Default::default(),
        spec: bound.spec.clone(),
        partitions,
    })
}

fn field_bounds(
    primitive: Option<&PrimitiveType>,
    summaries: &[Option<FieldSummary>],
) -> Result<PartitionBounds> {
    let may_contain_null = summaries.iter().map(|s| s.as_ref().is_none_or(|s| s.contains_null)).collect();
    let Some(primitive) = primitive else {
        let unknown: ArrayRef = new_null_array(&arrow::datatypes::DataType::Null, summaries.len());
        return Ok(PartitionBounds { lower: unknown.clone(), upper: unknown, may_contain_null });
    };
    // NaN is outside the bounds, so with NaN around they bound nothing.
    let float = matches!(primitive, PrimitiveType::Float | PrimitiveType::Double);
    let bounds = |of: fn(&FieldSummary) -> Option<&[u8]>| -> Result<ArrayRef> {
        let values: Vec<Option<PrimitiveLiteral>> = summaries
            .iter()
            .map(|summary| {
                let summary = summary.as_ref().filter(|s| !float || s.contains_nan == Some(false))?;
                // A bound that does not parse is one that we do not know.
                datum(primitive, of(summary)?).ok().map(|d| d.literal().clone())
            })
            .collect();
        to_array(primitive, values.iter().map(Option::as_ref))
    };
    Ok(PartitionBounds {
        lower: bounds(|s| s.lower_bound.as_ref().map(|b| b.as_slice()))?,
        upper: bounds(|s| s.upper_bound.as_ref().map(|b| b.as_slice()))?,
        may_contain_null,
    })
}
