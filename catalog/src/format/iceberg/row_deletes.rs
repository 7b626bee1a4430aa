//! Stores rows to delete from files that stay: deletion vectors (format version 3), position delete
//! files (2). A commit refers to them later.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use futures::{FutureExt, StreamExt, TryStreamExt};
use iceberg::spec::FormatVersion;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use roaring::RoaringTreemap;
use uuid::Uuid;

use super::delete_manifest::{FILE_PATH, POS};
use super::puffin::PuffinWriter;
use super::snapshot::metadata;
use crate::error::{Error, Result};
use crate::table::deletes::{NewRowDeletes, RowDeletes, StoredDeletes};
use crate::table::deletion_vector::{self, DeletionVectorRef, DeletionVectorStorage};
use crate::table::{LiveFile, TableFormat, TableSnapshot};
use crate::write::partition_path::partition_path;
use crate::write::{WrittenFiles, data_location};

/// Position delete files written at a time.
const WRITE_CONCURRENCY: usize = 8;
/// Positions encoded at a time.
const BATCH_ROWS: usize = 64 << 10;

/// See [`Format::write_deletes`](crate::format::Format::write_deletes). Files of which nothing is
/// deleted are left out.
pub async fn write(
    snapshot: &TableSnapshot,
    deletes: Vec<RowDeletes>,
    written: &WrittenFiles,
) -> Result<Vec<NewRowDeletes>> {
    let deletes: Vec<RowDeletes> = deletes.into_iter().filter(|d| !d.deleted.is_empty()).collect();
    deletes.iter().try_for_each(check_positions)?;
    if deletes.is_empty() {
        return Ok(Vec::new());
    }
    let folder = data_location(snapshot);
    match metadata(snapshot)?.format_version() {
        FormatVersion::V1 => {
            Err(Error::unsupported(&snapshot.location, "row-level deletes in format version 1"))
        }
        FormatVersion::V2 => {
            let writes = deletes.into_iter().map(|d| write_positions(&folder, d, written).boxed());
            futures::stream::iter(writes.collect::<Vec<_>>()).buffered(WRITE_CONCURRENCY).try_collect().await
        }
        FormatVersion::V3 => write_vectors(&folder, deletes, written).await,
    }
}

/// A position beyond the end of a file is a mistake of ours, and better found before it is written.
fn check_positions(deletes: &RowDeletes) -> Result<()> {
    match (deletes.deleted.max(), deletes.file.file()?.record_count) {
        (Some(last), Some(rows)) if last >= rows => {
            Err(Error::Internal(format!("{} has no row {last}", deletes.file.path())))
        }
        _ => Ok(()),
    }
}

/// A deletion vector that is to be stored.
struct Vector {
    file: Arc<LiveFile>,
    /// All rows of the file that are deleted.
    deleted: RoaringTreemap,
    newly_deleted: u64,
}

impl Vector {
    fn of(deletes: RowDeletes) -> Self {
        let RowDeletes { file, deleted, deleted_before } = deletes;
        let (mut deleted, before) = match deleted_before {
            Some(before) => (deleted | before.as_ref(), before.len()),
            None => (deleted, 0),
        };
        deleted.optimize();
        let newly_deleted = deleted.len().saturating_sub(before);
        Self { file, deleted, newly_deleted }
    }
}

/// One Puffin file with a deletion vector for each data file, short ones first.
///
/// DuckDB 1.5 reads on from a vector to what it has read of the file before (its end), if that is no more again than
/// the vector, and then takes the first vector for all in between; before a longer one it stops.
async fn write_vectors(
    folder: &str,
    deletes: Vec<RowDeletes>,
    written: &WrittenFiles,
) -> Result<Vec<NewRowDeletes>> {
    let mut vectors: Vec<Vector> = deletes.into_iter().map(Vector::of).collect();
    vectors.sort_by_cached_key(|vector| vector.deleted.serialized_size());
    let path = format!("{folder}/{}-deletes.puffin", Uuid::now_v7());
    let mut puffin = PuffinWriter::new(written.upload(&path)?, &path).await?;
    let mut stored = Vec::with_capacity(vectors.len());
    for Vector { file, deleted, newly_deleted } in vectors {
        let cardinality = deleted.len();
        let blob = deletion_vector::encode(&deleted)?;
        let length = blob.len() as u64;
        let offset = puffin.deletion_vector(file.path(), cardinality, blob).await?;
        let storage = DeletionVectorStorage::File { path: path.clone(), offset, length };
        stored.push((file, DeletionVectorRef { storage, cardinality }, newly_deleted));
    }
    let file_bytes = puffin.finish().await?;
    let with_size = |(file, vector, newly_deleted)| NewRowDeletes {
        file,
        stored: StoredDeletes::Vector { vector, file_bytes },
        newly_deleted,
    };
    Ok(stored.into_iter().map(with_size).collect())
}

/// A position delete file of one data file, beside the files of its partition.
async fn write_positions(folder: &str, deletes: RowDeletes, written: &WrittenFiles) -> Result<NewRowDeletes> {
    let RowDeletes { file, deleted, .. } = deletes;
    let partition = partition_path(TableFormat::Iceberg, file.spec(), &file.partition()?);
    let slash = if partition.is_empty() { "" } else { "/" };
    let path = format!("{folder}{slash}{partition}/{}-deletes.parquet", Uuid::now_v7());
    let mut upload = written.upload(&path)?;
    let (owned, newly_deleted) = (file.path().to_string(), deleted.len());
    // Encoding many positions would hold up the other tasks of this thread.
    let encoding = tokio::task::spawn_blocking(move || encode_positions(&owned, &deleted)).await;
    let bytes = encoding.map_err(|e| Error::Internal(format!("encoding {path}: {e}")))?;
    let bytes = bytes.map_err(|e| {
        Error::DataFusion(datafusion::error::DataFusionError::from(e).context(format!("encoding {path}")))
    })?;
    let size_bytes = bytes.len() as u64;
    upload.put(bytes.into()).await?;
    upload.finish().await?;
    Ok(NewRowDeletes { file, stored: StoredDeletes::Positions { path, size_bytes }, newly_deleted })
}

fn encode_positions(data_file: &str, deleted: &RoaringTreemap) -> Result<Vec<u8>, ParquetError> {
    let schema = positions_schema();
    let properties = WriterProperties::builder()
        .set_created_by(concat!("auric version ", env!("CARGO_PKG_VERSION")).to_string())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        // A path that was cut off would no longer say which file it is.
        .set_statistics_truncate_length(None)
        .set_column_index_truncate_length(None)
        .set_column_dictionary_enabled("pos".into(), false)
        .set_key_value_metadata(Some(vec![KeyValue::new("delete-type".into(), "position".to_string())]))
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options)?;
    let path: ArrayRef = Arc::new(StringArray::from(vec![data_file]));
    let mut positions = deleted.iter().map(|position| {
        i64::try_from(position)
            .map_err(|_| ParquetError::General(format!("{data_file} has no row {position}")))
    });
    loop {
        let batch = positions.by_ref().take(BATCH_ROWS).collect::<Result<Vec<i64>, _>>()?;
        if batch.is_empty() {
            break;
        }
        let keys = Int32Array::from(vec![0; batch.len()]);
        let paths = DictionaryArray::<Int32Type>::try_new(keys, path.clone())?;
        let columns: Vec<ArrayRef> = vec![Arc::new(paths), Arc::new(Int64Array::from(batch))];
        writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
    }
    writer.into_inner()
}

/// Iceberg spec, "Position Delete Files".
fn positions_schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType, id: i32| {
        let id = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_string(), id.to_string())]);
        Field::new(name, data_type, false).with_metadata(id)
    };
    let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![field("file_path", text, FILE_PATH), field("pos", DataType::Int64, POS)]))
}
