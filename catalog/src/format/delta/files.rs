//! The live files of a snapshot: one [`FileList`] of all of them, with partition values and
//! statistics as columns, built once per version from the kernel's scan metadata.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use async_trait::async_trait;
use delta_kernel::Engine;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::scan::StatsOptions;
use delta_kernel::snapshot::SnapshotRef;
use tracing::debug;
use url::Url;

use super::advance::{self, Origin};
use super::engine::{InTable, blocking};
use super::logged::{AddRows, LoggedAdds};
use super::schema::physical_name;
use super::{partition_value, stats, vectors};
use crate::error::{Error, Result};
use crate::storage::{Key, Kind, Storage, from_url, to_url};
use crate::table::data_file::{DataFile, FileList};
use crate::table::deletes::DeleteIndex;
use crate::table::partition::PartitionSpec;
use crate::table::schema::TableSchema;
use crate::table::snapshot::{CommitWatch, FileListIndex, SnapshotFiles};
use crate::table::statistics::{ColumnBounds, PartitionBounds, StatisticsTable};

fn size_bytes(list: &FileList) -> usize {
    let files: usize = list.files.iter().map(|f| f.path.len() + size_of::<DataFile>()).sum();
    let bounds = |b: &ColumnBounds| {
        b.lower.get_array_memory_size()
            + b.upper.get_array_memory_size()
            + b.null_count.get_array_memory_size()
    };
    let logged = LoggedAdds::of(list).map_or(0, |adds| adds.memory_bytes());
    files + logged + list.stats.columns.values().map(bounds).sum::<usize>()
}

/// Files of one snapshot.
pub(super) struct DeltaFiles {
    load: u64,
    storage: Storage,
    root: String,
    kernel: SnapshotRef,
    schema: Arc<TableSchema>,
    spec: Arc<PartitionSpec>,
    /// Whoever keeps the snapshot: together with the number of the load, the name of its list.
    owner: u64,
    /// Lists of earlier versions to go on from, the latest first.
    origins: Vec<Origin>,
    watch: Option<CommitWatch>,
}

impl DeltaFiles {
    pub fn new(
        load: u64,
        storage: Storage,
        root: &str,
        kernel: SnapshotRef,
        schema: Arc<TableSchema>,
        spec: Arc<PartitionSpec>,
        owner: u64,
    ) -> Self {
        let root = root.to_string();
        Self { load, storage, root, kernel, schema, spec, owner, origins: Vec::new(), watch: None }
    }

    /// The same, of a version that others can see is the current one.
    pub fn watched(self, watch: Option<CommitWatch>) -> Self {
        Self { watch, ..self }
    }

    /// The same, going on from the list of an earlier version of a table of the same columns, or from
    /// where that would.
    pub fn after(self, earlier: &Self) -> Self {
        let known = |origin: &&Origin| self.storage.memory().peek::<FileList>(&origin.key).is_some();
        // It may be read until this one is.
        let own = Origin { version: earlier.kernel.version(), key: earlier.key() };
        let others = earlier.origins.iter().filter(known).take(1).cloned();
        Self { origins: std::iter::once(own).chain(others).collect(), ..self }
    }

    fn key(&self) -> Key {
        Key::new(Kind::Files, self.owner, self.root.as_str()).with_numbers([self.load, 0])
    }

    async fn list(&self) -> Result<Arc<FileList>> {
        self.storage.memory().get_or_read(self.key(), self.read()).await
    }

    async fn read(&self) -> Result<(Arc<FileList>, usize)> {
        let (kernel, schema, spec) = (self.kernel.clone(), self.schema.clone(), self.spec.clone());
        let root = self.root.clone();
        let memory = self.storage.memory();
        let earlier =
            self.origins.iter().find_map(|origin| Some((origin.version, memory.peek(&origin.key)?)));
        let read = blocking(&self.storage, &self.root, move |engine| {
            if let Some((version, list)) = earlier {
                match advance::advanced(engine, &root, &kernel, (&schema, &spec), version, &list) {
                    Ok(Some(list)) => return Ok(list),
                    Ok(None) => {}
                    // Whatever it is, the whole log is what counts.
                    Err(e) => debug!(root, version, error = %e, "could not go on from an earlier version"),
                }
            }
            read_files(engine, &root, kernel, &schema, spec).map(Arc::new)
        });
        let list = match read.await {
            Ok(list) => list,
            Err(e) => return Err(super::diagnosis::explain(&self.storage, &self.root, e).await),
        };
        let bytes = size_bytes(&list);
        Ok((list, bytes))
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
    fn commit_watch(&self) -> Option<CommitWatch> {
        self.watch.clone()
    }

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
pub(super) fn read_files(
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
    logged: LoggedAdds,
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
            logged: LoggedAdds::default(),
        })
    }

    fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = AddRows::new(self.root, batch)?;
        let parsed = stats::ParsedStats::new(rows.parsed_stats, batch.num_rows());
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
        self.logged.push(self.root, batch)
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
            true => {
                let found = vectors::descriptor_at(rows.deletion_vector, row)
                    .and_then(|descriptor| vectors::locate(&self.root_url, &descriptor));
                Some(found.map_err(|reason| {
                    Error::corrupt(&path, format!("its deletion vector's descriptor is wrong: {reason}"))
                })?)
            }
            false => None,
        };
        Ok(DataFile {
            path,
            size_bytes,
            record_count: parsed.row_count(row),
            sequence_number: rows.default_row_commit_version(row),
            first_row_id: rows.base_row_id.is_valid(row).then(|| rows.base_row_id.value(row)),
            deletion_vector,
            sort_order_id: None,
            split_offsets: Vec::new(),
        })
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
        Ok(FileList { files: self.files, stats, state: Some(Arc::new(self.logged)) })
    }
}

/// A path of the log (a URI reference, Delta protocol, "Add File and Remove File") as a location.
pub(super) fn resolve(root: &Url, path: &str) -> Result<String, String> {
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
