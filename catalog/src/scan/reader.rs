//! Reads data files for the Parquet source: cached footers with the table's column names, and errors
//! that name the file.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::column_resolution::ColumnResolver;
use super::footer::explain;
use super::nan_bounds::{NanFreeColumns, without_unsafe_bounds};
use crate::Error;
use crate::storage::readers::Reading;

/// Wraps DataFusion's caching factory.
#[derive(Debug)]
pub(super) struct DataFileReaderFactory {
    pub inner: Arc<dyn ParquetFileReaderFactory>,
    pub resolver: Arc<ColumnResolver>,
    /// Row positions are asked for, which the Parquet reader counts by the row groups' ordinals.
    pub numbers_row_groups: bool,
    pub store: Arc<dyn ObjectStore>,
    pub store_url: ObjectStoreUrl,
    pub _reading: Arc<Reading>,
}

struct DataFileReader {
    inner: Box<dyn AsyncFileReader + Send>,
    resolver: Arc<ColumnResolver>,
    numbers_row_groups: bool,
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// Bytes of the file by the table's metadata.
    size: u64,
    location: String,
    nan_free: NanFreeColumns,
}

impl ParquetFileReaderFactory for DataFileReaderFactory {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let path = file.object_meta.location.clone();
        Ok(Box::new(DataFileReader {
            location: format!("{}{path}", self.store_url.as_str()),
            path,
            size: file.object_meta.size,
            nan_free: file.extension::<NanFreeColumns>().cloned().unwrap_or_default(),
            resolver: self.resolver.clone(),
            numbers_row_groups: self.numbers_row_groups,
            store: self.store.clone(),
            inner: self.inner.create_reader(partition_index, file, metadata_size_hint, metrics)?,
        }))
    }
}

/// The footer with each row group's place as its ordinal. Writers may leave ordinals out, and some
/// (those that join files, say) write ones that are not the places.
fn with_ordinals(footer: Arc<ParquetMetaData>) -> Result<Arc<ParquetMetaData>, ParquetError> {
    let place = |i: usize| {
        i16::try_from(i).map_err(|_| ParquetError::General("the file has more than 32768 row groups".into()))
    };
    let mut right = true;
    for (i, group) in footer.row_groups().iter().enumerate() {
        right &= group.ordinal() == Some(place(i)?);
    }
    if right {
        return Ok(footer);
    }
    let groups = footer.row_groups().iter().enumerate();
    let groups = groups.map(|(i, group)| group.clone().into_builder().set_ordinal(place(i)?).build());
    let groups = groups.collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(ParquetMetaData::clone(&footer).into_builder().set_row_groups(groups).build()))
}

fn failed_read(location: &str, e: ParquetError) -> ParquetError {
    let source: Box<dyn std::error::Error + Send + Sync> = match e {
        ParquetError::External(e) => e,
        e => Box::new(e),
    };
    ParquetError::External(Box::new(Error::storage(location, source)))
}

impl AsyncFileReader for DataFileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let Self { inner, location, .. } = self;
        async move { inner.get_bytes(range).await.map_err(|e| failed_read(location, e)) }.boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        let Self { inner, location, .. } = self;
        async move { inner.get_byte_ranges(ranges).await.map_err(|e| failed_read(location, e)) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let Self { inner, resolver, numbers_row_groups, store, path, size, location, nan_free } = self;
        async move {
            let footer = match inner.get_metadata(options).await {
                Ok(footer) => footer,
                Err(e) => {
                    let explained = explain(store.as_ref(), path, *size, location, e).await;
                    return Err(ParquetError::External(Box::new(explained)));
                }
            };
            let corrupt = |e| ParquetError::External(Box::new(Error::corrupt(location.as_str(), e)));
            let resolved = resolver.resolve(&footer).and_then(|f| without_unsafe_bounds(f, &nan_free.0));
            let footer = resolved.map_err(corrupt)?;
            if *numbers_row_groups { with_ordinals(footer).map_err(corrupt) } else { Ok(footer) }
        }
        .boxed()
    }
}
