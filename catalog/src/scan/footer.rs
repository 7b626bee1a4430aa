//! Footers that planning needs: row counts that the metadata does not give, columns of delete files.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::parquet_scan::partitioned_file;
use crate::error::{Error, Result};
use crate::storage::Located;

/// Footer of a file, with its page index if it has one.
pub(crate) async fn read(state: &dyn Session, at: &Located, size: u64) -> Result<Arc<ParquetMetaData>> {
    let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
    let file = partitioned_file(&at.store_url, at.path.clone(), size);
    let mut reader = CachedParquetFileReaderFactory::new(at.store.clone(), cache).create_reader(
        0,
        file,
        None,
        &ExecutionPlanMetricsSet::new(),
    )?;
    match reader.get_metadata(None).await {
        Ok(footer) => Ok(footer),
        Err(e) => Err(explain(at.store.as_ref(), &at.path, size, &location(at), e).await),
    }
}

/// A failure to read a footer: the file is missing, out of reach, or not what it should be. `size`: bytes that the
/// file has by the table's metadata.
pub(super) async fn explain(
    store: &dyn ObjectStore,
    path: &Path,
    size: u64,
    location: &str,
    e: ParquetError,
) -> Error {
    match store.head(path).await {
        Err(object_store::Error::NotFound { .. }) => Error::corrupt(location, "the file does not exist"),
        Err(e) => Error::storage(location, e),
        // It is there. Is it also given out? Of the first failure no more than a text has come here.
        Ok(found) if found.size == size => match store.get_range(path, size.saturating_sub(8)..size).await {
            Err(e) => Error::storage(location, e),
            Ok(_) => Error::corrupt(location, e),
        },
        Ok(_) => Error::corrupt(location, e),
    }
}

fn location(at: &Located) -> String {
    format!("{}{}", at.store_url.as_str(), at.path)
}

/// Rows of a file.
pub(super) async fn row_count(state: &dyn Session, at: &Located, size: u64) -> Result<u64> {
    let rows = read(state, at, size).await?.file_metadata().num_rows();
    u64::try_from(rows).map_err(|_| Error::corrupt(location(at), "its number of rows is negative"))
}

/// Columns of a file as the Parquet reader gives them, with field ids.
pub(super) async fn schema(state: &dyn Session, at: &Located, size: u64) -> Result<SchemaRef> {
    let footer = read(state, at, size).await?;
    let schema = parquet_to_arrow_schema(footer.file_metadata().schema_descr(), None);
    schema.map(Arc::new).map_err(|e| Error::corrupt(location(at), e))
}
