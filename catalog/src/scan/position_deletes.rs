//! Reads position delete files: Parquet files of (`file_path`, `pos`) rows, sorted by both (Iceberg
//! spec, "Position Delete Files").

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::DefaultParquetFileReaderFactory;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::schema::types::SchemaDescriptor;
use roaring::RoaringTreemap;

use super::parquet_scan::partitioned_file;
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::table::deletes::PositionDeleteFile;

/// Reserved field ids (Iceberg spec, "Reserved Field IDs").
const FILE_PATH_ID: i32 = 2_147_483_546;
const POS_ID: i32 = 2_147_483_545;

/// The positions that `file` deletes from each of `wanted` data files; files without any are left out.
/// Row groups without rows for them are skipped.
pub(super) async fn read_positions(
    storage: &Storage,
    file: &PositionDeleteFile,
    wanted: &HashSet<&str>,
) -> Result<HashMap<String, RoaringTreemap>> {
    let at = storage.locate(&file.path)?;
    let factory = DefaultParquetFileReaderFactory::new(at.store.clone());
    let entry = partitioned_file(&at.store_url, at.path.clone(), file.size_bytes);
    let reader = factory.create_reader(0, entry, None, &ExecutionPlanMetricsSet::new())?;
    match read(reader, &file.path, wanted).await {
        Err(Error::Storage { path, source }) => Err(explain(at.store.as_ref(), &at.path, path, source).await),
        result => result,
    }
}

async fn read(
    reader: Box<dyn AsyncFileReader>,
    path: &str,
    wanted: &HashSet<&str>,
) -> Result<HashMap<String, RoaringTreemap>> {
    let failed = |e: ParquetError| Error::storage(path, e);
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(failed)?;
    let (path_column, pos_column) = columns(builder.parquet_schema(), path)?;
    let row_groups = row_groups_with(&builder, path_column, wanted);
    let both = ProjectionMask::roots(builder.parquet_schema(), [path_column, pos_column]);
    let mut stream = builder.with_row_groups(row_groups).with_projection(both).build().map_err(failed)?;
    let mut found = HashMap::new();
    while let Some(batch) = stream.try_next().await.map_err(failed)? {
        // Projected columns keep the order of the file.
        let (paths, positions) = if path_column < pos_column { (0, 1) } else { (1, 0) };
        collect(batch.column(paths), batch.column(positions), wanted, &mut found)
            .map_err(|e| Error::corrupt(path, e))?;
    }
    Ok(found)
}

/// Positions of the two columns in the file.
fn columns(schema: &SchemaDescriptor, path: &str) -> Result<(usize, usize)> {
    let find = |id: i32, name: &str| {
        let fields = schema.root_schema().get_fields();
        let by_id = fields.iter().position(|f| f.get_basic_info().has_id() && f.get_basic_info().id() == id);
        by_id
            .or_else(|| fields.iter().position(|f| f.name() == name))
            .ok_or_else(|| Error::corrupt(path, format!("a position delete file without column \"{name}\"")))
    };
    Ok((find(FILE_PATH_ID, "file_path")?, find(POS_ID, "pos")?))
}

/// Row groups whose range of paths covers a wanted one.
fn row_groups_with(
    builder: &ParquetRecordBatchStreamBuilder<Box<dyn AsyncFileReader>>,
    path_column: usize,
    wanted: &HashSet<&str>,
) -> Vec<usize> {
    let row_groups = builder.metadata().row_groups();
    let name = builder.schema().field(path_column).name();
    let bounds =
        StatisticsConverter::try_new(name, builder.schema(), builder.parquet_schema()).and_then(|c| {
            let text = |a: ArrayRef| cast(&a, &DataType::Utf8).map_err(ParquetError::from);
            Ok((text(c.row_group_mins(row_groups)?)?, text(c.row_group_maxes(row_groups)?)?))
        });
    let Ok((lower, upper)) = bounds else { return (0..row_groups.len()).collect() };
    let (lower, upper) = (lower.as_string::<i32>(), upper.as_string::<i32>());
    let covers = |i: &usize| {
        lower.is_null(*i)
            || upper.is_null(*i)
            || wanted.iter().any(|w| lower.value(*i) <= *w && *w <= upper.value(*i))
    };
    (0..row_groups.len()).filter(covers).collect()
}

fn collect(
    paths: &ArrayRef,
    positions: &ArrayRef,
    wanted: &HashSet<&str>,
    found: &mut HashMap<String, RoaringTreemap>,
) -> Result<(), String> {
    let paths = cast(paths, &DataType::Utf8).map_err(|e| e.to_string())?;
    let paths = paths.as_string::<i32>();
    let positions = positions.as_primitive_opt::<Int64Type>().ok_or("column \"pos\" is not of type long")?;
    if positions.null_count() > 0 {
        return Err("a deleted position is null".into());
    }
    let mut row = 0;
    while row < paths.len() {
        // Rows are sorted by path: one look-up for each run of equal paths.
        let path = paths.value(row);
        let end = (row..paths.len()).find(|i| paths.value(*i) != path).unwrap_or(paths.len());
        if wanted.contains(path) {
            let deleted = match found.get_mut(path) {
                Some(deleted) => deleted,
                None => found.entry(path.to_string()).or_default(),
            };
            for position in &positions.values()[row..end] {
                deleted.insert(u64::try_from(*position).map_err(|_| "a deleted position is negative")?);
            }
        }
        row = end;
    }
    Ok(())
}

/// A delete file that cannot be read: missing, out of reach, or no Parquet.
async fn explain(
    store: &dyn ObjectStore,
    path: &Path,
    location: String,
    source: Box<dyn std::error::Error + Send + Sync>,
) -> Error {
    match store.head(path).await {
        Err(object_store::Error::NotFound { .. }) => {
            Error::corrupt(location, "the delete file does not exist")
        }
        Err(e) => Error::storage(location, e),
        Ok(_) => match source.downcast::<ParquetError>() {
            Ok(e) if !matches!(*e, ParquetError::External(_)) => Error::corrupt(location, e),
            Ok(e) => Error::Storage { path: location, source: e },
            Err(source) => Error::Storage { path: location, source },
        },
    }
}
