//! The physical plan of reading some Parquet files of one object store: a plain `DataSourceExec`.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use chrono::DateTime;
use datafusion::catalog::Session;
use datafusion::common::Statistics;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricBuilder;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::column_adapter::{ColumnAdapterFactory, Defaults};
use super::column_resolution::ColumnResolver;
use super::plan::PruningCounts;
use super::reader::DataFileReaderFactory;
use crate::storage::readers::Reading;

/// Unit that INT96 timestamps are read in: nanoseconds would overflow outside the years 1677 to 2262.
const INT96_UNIT: &str = "us";

/// Ranges that there are for each thread, beside the last one of each file.
const RANGES_PER_THREAD: u64 = 8;
/// A range is not worth the trouble below.
const LEAST_RANGE_BYTES: u64 = 8 << 20;

/// What all scans of one statement over one table share.
#[derive(Debug, Clone)]
pub(super) struct ScanContext {
    pub resolver: Arc<ColumnResolver>,
    pub defaults: Arc<Defaults>,
    /// Keeps the files where they are until the last scan is over.
    pub reading: Arc<Reading>,
}

/// Files to read as one node.
#[derive(Debug)]
pub(super) struct ParquetScan {
    pub store_url: ObjectStoreUrl,
    /// Output columns, in order, and which of them the files' `partition_values` give.
    pub columns: Vec<FieldRef>,
    pub is_constant: Vec<bool>,
    /// Given after the columns: the row's position, or nothing.
    pub position: Option<FieldRef>,
    pub groups: Vec<FileGroup>,
    /// Over the columns read from the files, then the constant ones.
    pub statistics: Statistics,
    /// Order of every file group, over the schema of `table_schema`.
    pub ordering: Option<LexOrdering>,
    pub limit: Option<usize>,
}

impl ParquetScan {
    /// `counts` are shown among the node's metrics.
    pub fn into_plan(
        self,
        context: &ScanContext,
        state: &dyn Session,
        counts: Option<PruningCounts>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let numbers_row_groups = self.position.is_some();
        let mut projection = output_positions(&self.is_constant);
        projection.extend(self.position.iter().map(|_| self.is_constant.len()));
        let schema = table_schema(&self.columns, &self.is_constant, self.position);
        let mut options = state.table_options().parquet.clone();
        options.global = state.config_options().execution.parquet.clone();
        options.global.coerce_int96.get_or_insert_with(|| INT96_UNIT.to_string());
        let metadata_size_hint = options.global.metadata_size_hint;
        let store = state.runtime_env().object_store(&self.store_url)?;
        // A bare source reads the footer anew for each file and each range of a file.
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let reader_factory = Arc::new(DataFileReaderFactory {
            inner: Arc::new(CachedParquetFileReaderFactory::new(store.clone(), cache)),
            resolver: context.resolver.clone(),
            numbers_row_groups,
            store,
            store_url: self.store_url.clone(),
            _reading: context.reading.clone(),
        });
        let mut source = ParquetSource::new(schema)
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(reader_factory);
        if let Some(hint) = metadata_size_hint {
            source = source.with_metadata_size_hint(hint);
        }
        if let Some(counts) = counts {
            let metric = |name: &'static str, n: usize| {
                MetricBuilder::new(source.metrics()).global_counter(name).add(n)
            };
            metric("table_files_seen", counts.files_seen);
            metric("table_files_pruned", counts.files_pruned);
            metric("table_file_lists_pruned", counts.lists_pruned);
        }
        let config = FileScanConfigBuilder::new(self.store_url, Arc::new(source))
            .with_file_groups(self.groups)
            .with_statistics(self.statistics)
            .with_output_ordering(self.ordering.into_iter().collect())
            .with_projection_indices(Some(projection))?
            .with_limit(self.limit)
            .with_expr_adapter(Some(Arc::new(ColumnAdapterFactory { defaults: context.defaults.clone() })))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Columns read from the files, then constant ones, then the row's position.
fn table_schema(columns: &[FieldRef], is_constant: &[bool], position: Option<FieldRef>) -> TableSchema {
    let part = |constant: bool| {
        let of_kind = columns.iter().zip(is_constant).filter(move |(_, c)| **c == constant);
        of_kind.map(|(f, _)| f.clone()).collect::<Vec<_>>()
    };
    let file_schema: SchemaRef = Arc::new(Schema::new(part(false)));
    let builder = TableSchema::builder(file_schema).with_table_partition_cols(part(true));
    builder.with_virtual_columns(position.into_iter().collect::<Vec<_>>()).build()
}

/// For each output column its position in [`table_schema`].
pub(super) fn output_positions(is_constant: &[bool]) -> Vec<usize> {
    let mut from_file = 0;
    let mut constant = is_constant.iter().filter(|c| !**c).count();
    let next = |position: &mut usize| {
        *position += 1;
        *position - 1
    };
    is_constant.iter().map(|c| next(if *c { &mut constant } else { &mut from_file })).collect()
}

/// A file for the Parquet source. `store_url` keeps files of the same path in different stores apart in
/// the footer cache, which knows paths, sizes and times only.
pub(super) fn partitioned_file(store_url: &ObjectStoreUrl, path: Path, size: u64) -> PartitionedFile {
    let salt = crc32fast::hash(store_url.as_str().as_bytes());
    PartitionedFile::new_from_meta(ObjectMeta {
        location: path,
        last_modified: DateTime::from_timestamp(i64::from(salt), 0).unwrap_or_default(),
        size,
        e_tag: None,
        version: None,
    })
}

/// Distributes files over at most `target` groups of about the same size.
pub(super) fn balanced_groups(mut files: Vec<PartitionedFile>, target: usize) -> Vec<FileGroup> {
    let count = target.clamp(1, files.len().max(1));
    if count == 1 || files.is_empty() {
        return if files.is_empty() { Vec::new() } else { vec![FileGroup::new(files)] };
    }
    // Largest first, each to the group that has least so far.
    files.sort_by(|a, b| b.object_meta.size.cmp(&a.object_meta.size).then_with(|| a.path().cmp(b.path())));
    let mut sizes: std::collections::BinaryHeap<_> =
        (0..count).map(|i| std::cmp::Reverse((0_u64, i))).collect();
    let mut groups: Vec<Vec<PartitionedFile>> = vec![Vec::new(); count];
    for file in files {
        let Some(std::cmp::Reverse((size, i))) = sizes.pop() else { continue };
        sizes.push(std::cmp::Reverse((size.saturating_add(file.object_meta.size.max(1)), i)));
        if let Some(group) = groups.get_mut(i) {
            group.push(file);
        }
    }
    groups.into_iter().filter(|g| !g.is_empty()).map(FileGroup::new).collect()
}

/// Cuts files into byte ranges, several for each thread. The threads of a scan without an order take one after the
/// other from a queue, so that all end at about the same time, wherever the rows are that a filter leaves.
pub(super) fn in_ranges(groups: Vec<FileGroup>, threads: usize) -> Vec<FileGroup> {
    let total: u64 = groups.iter().flat_map(FileGroup::iter).map(|file| file.object_meta.size).sum();
    let range = (total / (RANGES_PER_THREAD * threads.max(1) as u64)).max(LEAST_RANGE_BYTES);
    let cut = |file: PartitionedFile| {
        let size = file.object_meta.size;
        let count = size.div_ceil(range).max(1);
        let bounds = (0..count).map(move |i| (size * i / count, size * (i + 1) / count));
        bounds.map(move |(start, end)| match (count, i64::try_from(start), i64::try_from(end)) {
            (2.., Ok(start), Ok(end)) => file.clone().with_range(start, end),
            _ => file.clone(),
        })
    };
    let of_group = |group: FileGroup| FileGroup::new(group.into_inner().into_iter().flat_map(cut).collect());
    if threads < 2 { groups } else { groups.into_iter().map(of_group).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_file_once() {
        let sizes = [400 << 20, 9 << 20, 100, 0, (64 << 20) + 1];
        let files = |sizes: &[u64]| {
            let file = |(i, size): (usize, &u64)| PartitionedFile::new(format!("f{i}"), *size);
            FileGroup::new(sizes.iter().enumerate().map(file).collect())
        };
        let cut = in_ranges(vec![files(&sizes)], 2);
        let cut: Vec<_> = cut.iter().flat_map(FileGroup::iter).collect();
        let mut counts = Vec::new();
        for (i, size) in sizes.iter().enumerate() {
            let path = format!("f{i}");
            let ranges: Vec<_> =
                cut.iter().filter(|f| f.path().as_ref() == path).map(|f| f.range.clone()).collect();
            counts.push(ranges.len());
            if let [None] = ranges.as_slice() {
                continue;
            }
            let ranges: Vec<_> = ranges.into_iter().map(|range| range.unwrap()).collect();
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!((ranges[0].start, ranges.last().unwrap().end), (0, *size as i64));
        }
        assert_eq!(counts, [14, 1, 1, 1, 3]);
        assert_eq!(in_ranges(vec![files(&sizes)], 1)[0].len(), sizes.len());
    }
}
