//! The live files of a snapshot: one [`FileList`] of all of them, with partition values and
//! statistics as columns, built once per version from the kernel's scan metadata.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, MapArray, RecordBatch, StringArray, StructArray,
    UInt64Array,
};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use async_trait::async_trait;
use delta_kernel::Engine;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::scan::StatsOptions;
use delta_kernel::snapshot::SnapshotRef;
use moka::future::Cache;
use url::Url;
use uuid::Uuid;

use super::engine::{InTable, blocking};
use super::schema::physical_name;
use super::{partition_value, snapshot, stats};
use crate::error::{Error, Result};
use crate::storage::{Storage, from_url, to_url};
use crate::table::data_file::{DataFile, FileList};
use crate::table::deletes::DeleteIndex;
use crate::table::deletion_vector::{DeletionVectorRef, DeletionVectorStorage};
use crate::table::partition::PartitionSpec;
use crate::table::schema::TableSchema;
use crate::table::snapshot::{FileListIndex, SnapshotFiles};
use crate::table::statistics::{ColumnBounds, PartitionBounds, StatisticsTable};

/// Memory for file lists.
const CACHE_BYTES: u64 = 512 << 20;
/// Bytes of the length prefix plus the checksum of a deletion vector, which its stored size leaves out.
const VECTOR_FRAME_BYTES: u64 = 8;
/// A deletion vector file starts with one byte of version: the first vector is behind it.
const FIRST_VECTOR_OFFSET: u64 = 1;

/// File lists by the number of the load that made their snapshot.
#[derive(Clone)]
pub(super) struct FileListCache {
    lists: Cache<u64, Arc<FileList>>,
}

impl FileListCache {
    pub fn new() -> Self {
        let lists = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|_, list: &Arc<FileList>| u32::try_from(size_bytes(list)).unwrap_or(u32::MAX))
            .build();
        Self { lists }
    }
}

impl fmt::Debug for FileListCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileListCache").field("entries", &self.lists.entry_count()).finish()
    }
}

fn size_bytes(list: &FileList) -> usize {
    let files: usize = list.files.iter().map(|f| f.path.len() + size_of::<DataFile>()).sum();
    let bounds = |b: &ColumnBounds| {
        b.lower.get_array_memory_size()
            + b.upper.get_array_memory_size()
            + b.null_count.get_array_memory_size()
    };
    files + list.stats.columns.values().map(bounds).sum::<usize>()
}

/// Files of one snapshot.
pub(super) struct DeltaFiles {
    load: u64,
    storage: Storage,
    root: String,
    kernel: SnapshotRef,
    schema: Arc<TableSchema>,
    spec: Arc<PartitionSpec>,
    cache: FileListCache,
    /// Held while the list is read, so that it is read once.
    reading: tokio::sync::Mutex<()>,
}

impl DeltaFiles {
    pub fn new(
        load: u64,
        storage: Storage,
        root: &str,
        kernel: SnapshotRef,
        schema: Arc<TableSchema>,
        spec: Arc<PartitionSpec>,
        cache: FileListCache,
    ) -> Self {
        let root = root.to_string();
        Self { load, storage, root, kernel, schema, spec, cache, reading: tokio::sync::Mutex::new(()) }
    }

    async fn list(&self) -> Result<Arc<FileList>> {
        if let Some(list) = self.cache.lists.get(&self.load).await {
            return Ok(list);
        }
        let _reading = self.reading.lock().await;
        if let Some(list) = self.cache.lists.get(&self.load).await {
            return Ok(list);
        }
        let (kernel, schema, spec) = (self.kernel.clone(), self.schema.clone(), self.spec.clone());
        let root = self.root.clone();
        let read = blocking(&self.storage, &self.root, move |engine| {
            read_files(engine, &root, kernel, &schema, spec)
        });
        let list = match read.await {
            Ok(list) => Arc::new(list),
            Err(e) => return Err(super::diagnosis::explain(&self.storage, &self.root, e).await),
        };
        self.cache.lists.insert(self.load, list.clone()).await;
        Ok(list)
    }
}

impl fmt::Debug for DeltaFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeltaFiles")
            .field("root", &self.root)
            .field("load", &self.load)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl SnapshotFiles for DeltaFiles {
    /// One list, of which nothing is said: the log has no summaries.
    async fn index(&self) -> Result<Arc<FileListIndex>> {
        let unknown = self.spec.fields.iter().map(|field| {
            let null = arrow::array::new_null_array(&field.result_type, 1);
            PartitionBounds { lower: null.clone(), upper: null, may_contain_null: vec![true] }
        });
        let summary = StatisticsTable {
            len: 1,
            row_counts: UInt64Array::new_null(1),
            columns: Default::default(),
            spec: self.spec.clone(),
            partitions: unknown.collect(),
        };
        Ok(Arc::new(FileListIndex { groups: vec![(summary, vec![0])] }))
    }

    async fn file_list(&self, number: usize) -> Result<Arc<FileList>> {
        match number {
            0 => self.list().await,
            _ => Err(Error::Internal(format!("a Delta snapshot has one file list, not {}", number + 1))),
        }
    }

    async fn deletes(&self) -> Result<Arc<DeleteIndex>> {
        Ok(Arc::default())
    }
}

/// A table to be: no files.
#[derive(Debug)]
pub(super) struct NoFiles;

#[async_trait]
impl SnapshotFiles for NoFiles {
    async fn index(&self) -> Result<Arc<FileListIndex>> {
        Ok(Arc::new(FileListIndex { groups: Vec::new() }))
    }

    async fn file_list(&self, number: usize) -> Result<Arc<FileList>> {
        Err(Error::Internal(format!("a table to be has no file list {number}")))
    }

    async fn deletes(&self) -> Result<Arc<DeleteIndex>> {
        Ok(Arc::default())
    }
}

/// Replays the log. Blocks.
fn read_files(
    engine: &dyn Engine,
    root: &str,
    kernel: SnapshotRef,
    schema: &TableSchema,
    spec: Arc<PartitionSpec>,
) -> Result<FileList> {
    let scan = kernel
        .scan_builder()
        .with_stats(StatsOptions::all_struct())
        .without_row_transforms()
        .build()
        .in_table(root)?;
    let mut list = FileListBuilder::new(root, schema, spec)?;
    for batch in scan.scan_metadata(engine).in_table(root)? {
        let files = batch.in_table(root)?.scan_files.apply_selection_vector().in_table(root)?;
        let files: RecordBatch = ArrowEngineData::try_from_engine_data(files).in_table(root)?.into();
        list.append(&files)?;
    }
    list.finish()
}

/// Collects scan metadata batch by batch.
struct FileListBuilder<'a> {
    root: &'a str,
    root_url: Url,
    spec: Arc<PartitionSpec>,
    files: Vec<DataFile>,
    row_counts: Vec<Option<u64>>,
    columns: Vec<stats::ColumnReader>,
    partitions: Vec<partition_value::PartitionReader>,
}

impl<'a> FileListBuilder<'a> {
    fn new(root: &'a str, schema: &TableSchema, spec: Arc<PartitionSpec>) -> Result<Self> {
        let partition_ids: Vec<_> = spec.fields.iter().map(|f| f.source_id).collect();
        let columns = schema
            .arrow
            .fields()
            .iter()
            .zip(&schema.field_ids)
            .filter(|(field, id)| !partition_ids.contains(id) && !field.data_type().is_nested())
            .map(|(field, id)| stats::ColumnReader::new(*id, physical_name(field), field.data_type()))
            .collect();
        let partitions = spec.fields.iter().map(|partition| {
            let name = schema.column_by_id(partition.source_id).map_or("", |(_, field)| physical_name(field));
            partition_value::PartitionReader::new(name, partition.result_type.clone())
        });
        Ok(Self {
            root,
            root_url: to_url(&format!("{root}/"))?,
            partitions: partitions.collect(),
            spec,
            files: Vec::new(),
            row_counts: Vec::new(),
            columns,
        })
    }

    fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = AddRows::new(self.root, batch)?;
        let parsed = stats::ParsedStats::new(rows.stats, batch.num_rows());
        for row in 0..batch.num_rows() {
            let file = self.data_file(&rows, &parsed, row)?;
            self.row_counts.push(file.record_count);
            self.files.push(file);
        }
        for column in &mut self.columns {
            column.append(&parsed, rows.deletion_vector)?;
        }
        for partition in &mut self.partitions {
            partition.append(self.root, rows.partition_values)?;
        }
        Ok(())
    }

    fn data_file(&self, rows: &AddRows<'_>, parsed: &stats::ParsedStats, row: usize) -> Result<DataFile> {
        let path = resolve(&self.root_url, rows.path.value(row))
            .map_err(|reason| Error::corrupt(rows.path.value(row), reason))?;
        if rows.path.is_null(row) || rows.size.is_null(row) {
            return Err(Error::corrupt(path, "the log adds it without path or size"));
        }
        let size_bytes = u64::try_from(rows.size.value(row))
            .map_err(|_| Error::corrupt(&path, "the log gives it a negative size"))?;
        let deletion_vector = match rows.deletion_vector.is_valid(row) {
            true => Some(self.deletion_vector(rows.deletion_vector, row).map_err(|reason| {
                Error::corrupt(&path, format!("its deletion vector's descriptor is wrong: {reason}"))
            })?),
            false => None,
        };
        Ok(DataFile {
            path,
            size_bytes,
            record_count: parsed.row_count(row),
            sequence_number: 0,
            first_row_id: rows.base_row_id.is_valid(row).then(|| rows.base_row_id.value(row)),
            deletion_vector,
            sort_order_id: None,
            split_offsets: Vec::new(),
        })
    }

    /// Delta protocol, "Deletion Vector Descriptor Schema".
    fn deletion_vector(&self, vectors: &StructArray, row: usize) -> Result<DeletionVectorRef, String> {
        let text = |name: &str| {
            let column = vectors.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
            column.filter(|c| c.is_valid(row)).map(|c| c.value(row)).ok_or(format!("no {name}"))
        };
        let integer = |name: &str| vectors.column_by_name(name).and_then(|c| integer_at(c, row));
        let unsigned = |name: &str| {
            integer(name).and_then(|n| u64::try_from(n).ok()).ok_or(format!("no {name}, or a negative one"))
        };
        let (place, size) = (text("pathOrInlineDv")?, unsigned("sizeInBytes")?);
        let offset = match integer("offset") {
            Some(offset) => u64::try_from(offset).map_err(|_| format!("offset {offset}"))?,
            None => FIRST_VECTOR_OFFSET,
        };
        let file =
            |path: String| DeletionVectorStorage::File { path, offset, length: size + VECTOR_FRAME_BYTES };
        let storage = match text("storageType")? {
            "u" => file(resolve(&self.root_url, &relative_vector_path(place)?)?),
            "p" => file(resolve(&self.root_url, place)?),
            "i" => {
                let mut payload = decode_z85(place)?;
                let size = usize::try_from(size).map_err(|e| e.to_string())?;
                if payload.len() < size {
                    return Err(format!("{} bytes inline instead of {size}", payload.len()));
                }
                payload.truncate(size);
                DeletionVectorStorage::Inline(payload)
            }
            other => return Err(format!("unknown storage type \"{other}\"")),
        };
        Ok(DeletionVectorRef { storage, cardinality: unsigned("cardinality")? })
    }

    fn finish(self) -> Result<FileList> {
        let len = self.files.len();
        let mut columns = std::collections::HashMap::with_capacity(self.columns.len());
        for column in self.columns {
            let id = column.id();
            if let Some(bounds) = column.finish()? {
                columns.insert(id, bounds);
            }
        }
        let partitions = self.partitions.into_iter().map(|p| p.finish()).collect::<Result<_>>()?;
        let stats = StatisticsTable {
            len,
            row_counts: UInt64Array::from(self.row_counts),
            columns,
            spec: self.spec,
            partitions,
        };
        Ok(FileList { files: self.files, stats })
    }
}

/// Columns of one batch of scan metadata (`delta_kernel::scan::scan_row_schema`).
struct AddRows<'a> {
    path: &'a StringArray,
    size: &'a Int64Array,
    deletion_vector: &'a StructArray,
    partition_values: &'a MapArray,
    base_row_id: &'a Int64Array,
    stats: Option<&'a StructArray>,
}

impl<'a> AddRows<'a> {
    fn new(root: &str, batch: &'a RecordBatch) -> Result<Self> {
        let odd =
            || Error::Internal(format!("unexpected scan metadata for {}", snapshot::log_location(root)));
        let top = |name: &str| batch.column_by_name(name).ok_or_else(odd);
        let constants = top("fileConstantValues")?.as_struct_opt().ok_or_else(odd)?;
        let constant = |name: &str| constants.column_by_name(name).ok_or_else(odd);
        Ok(Self {
            path: top("path")?.as_string_opt().ok_or_else(odd)?,
            size: top("size")?.as_primitive_opt::<Int64Type>().ok_or_else(odd)?,
            deletion_vector: top("deletionVector")?.as_struct_opt().ok_or_else(odd)?,
            partition_values: constant("partitionValues")?.as_map_opt().ok_or_else(odd)?,
            base_row_id: constant("baseRowId")?.as_primitive_opt::<Int64Type>().ok_or_else(odd)?,
            stats: batch.column_by_name("stats_parsed").and_then(|c| c.as_struct_opt()),
        })
    }
}

fn integer_at(column: &ArrayRef, row: usize) -> Option<i64> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Int32 => Some(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().value(row)),
        _ => None,
    }
}

/// A path of the log (a URI reference, Delta protocol, "Add File and Remove File") as a location.
fn resolve(root: &Url, path: &str) -> Result<String, String> {
    // Writers that do not encode leave characters that would end the path of a URL.
    let path = path.replace('#', "%23").replace('?', "%3F");
    let url = match Url::from_str(&path) {
        Ok(absolute) if path.contains(":/") => absolute,
        _ if path.starts_with('/') => root.join(&path).map_err(|e| e.to_string())?,
        // `./` keeps a colon in the first segment from being taken for a scheme.
        _ => root.join(&format!("./{path}")).map_err(|e| e.to_string())?,
    };
    from_url(&url).map_err(|e| e.to_string())
}

/// `<prefix><z85 of a uuid>` is `<prefix>/deletion_vector_<uuid>.bin`.
fn relative_vector_path(encoded: &str) -> Result<String, String> {
    const UUID_CHARS: usize = 20;
    let split = encoded.len().checked_sub(UUID_CHARS).filter(|at| encoded.is_char_boundary(*at));
    let (prefix, uuid) = encoded.split_at(split.ok_or_else(|| format!("path \"{encoded}\""))?);
    let uuid = Uuid::from_slice(&decode_z85(uuid)?).map_err(|e| e.to_string())?;
    Ok(match prefix {
        "" => format!("deletion_vector_{uuid}.bin"),
        prefix => format!("{prefix}/deletion_vector_{uuid}.bin"),
    })
}

/// Z85 (ZeroMQ RFC 32): five characters hold four bytes.
fn decode_z85(text: &str) -> Result<Vec<u8>, String> {
    const ALPHABET: &[u8; 85] =
        b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    let bad = || "not z85".to_string();
    let mut bytes = Vec::with_capacity(text.len() / 5 * 4);
    let chunks = text.as_bytes().chunks_exact(5);
    if !chunks.remainder().is_empty() {
        return Err(bad());
    }
    for chunk in chunks {
        let mut word: u32 = 0;
        for c in chunk {
            let digit = ALPHABET.iter().position(|a| a == c).ok_or_else(bad)? as u32;
            word = word.checked_mul(85).and_then(|w| w.checked_add(digit)).ok_or_else(bad)?;
        }
        bytes.extend(word.to_be_bytes());
    }
    Ok(bytes)
}

/// Joins the pieces of a column.
pub(super) fn join(pieces: &[ArrayRef], data_type: &DataType) -> Result<ArrayRef> {
    if pieces.is_empty() {
        return Ok(arrow::array::new_empty_array(data_type));
    }
    let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
    concat(&pieces).map_err(|e| Error::Internal(e.to_string()))
}

/// `values` without those where `keep` says no.
pub(super) fn keep(values: &ArrayRef, keep: &BooleanArray) -> Result<ArrayRef> {
    let drop = arrow::compute::not(keep).map_err(|e| Error::Internal(e.to_string()))?;
    arrow::compute::nullif(values, &drop).map_err(|e| Error::Internal(e.to_string()))
}
