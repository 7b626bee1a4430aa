//! Upper bounds that Parquet footers give for floating point columns, where they cannot be trusted.
//!
//! Most writers leave NaN out of a column's statistics, but NaN is greater than every other value: rows
//! with NaN satisfy `x > 5` in a row group whose maximum is 3. Unless something says that a column has
//! no NaN in a file, its maxima and its page bounds are taken out of the footer. Minima stay.

use std::sync::Arc;

use parquet::basic::{LogicalType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;

/// Attached to a file to read: its top-level columns, by present name, that certainly hold no NaN.
#[derive(Debug, Clone, Default)]
pub(super) struct NanFreeColumns(pub Vec<String>);

/// Start of `created_by` of the writer whose statistics are absent when there was a NaN.
const NAN_AWARE_WRITER: &str = "parquet-mr";

/// The footer without bounds that NaN may exceed; itself, if it has none.
pub(super) fn without_unsafe_bounds(
    footer: Arc<ParquetMetaData>,
    nan_free: &[String],
) -> Result<Arc<ParquetMetaData>, ParquetError> {
    let file = footer.file_metadata();
    if file.created_by().is_some_and(|writer| writer.starts_with(NAN_AWARE_WRITER)) {
        return Ok(footer);
    }
    let is_unsafe = |column: &ColumnDescriptor| {
        is_floating(column) && !matches!(column.path().parts(), [name] if nan_free.contains(name))
    };
    let leaves = file.schema_descr().columns().iter().enumerate();
    let leaves: Vec<usize> = leaves.filter(|(_, c)| is_unsafe(c)).map(|(i, _)| i).collect();
    let bounded = |chunk: &ColumnChunkMetaData| {
        chunk.column_index_offset().is_some()
            || chunk.statistics().is_some_and(|s| s.max_bytes_opt().is_some())
    };
    let chunks =
        |leaf: &usize| footer.row_groups().iter().filter_map(|g| g.columns().get(*leaf)).any(bounded);
    if !leaves.iter().any(chunks) {
        return Ok(footer);
    }
    let mut footer = Arc::unwrap_or_clone(footer).into_builder();
    let mut row_groups = footer.take_row_groups();
    for group in &mut row_groups {
        let columns = group.columns_mut();
        for leaf in &leaves {
            if let Some(chunk) = columns.get_mut(*leaf) {
                *chunk = without_upper_bound(chunk.clone())?;
            }
        }
    }
    let pages = footer.take_column_index().map(|mut index| {
        for group in &mut index {
            for leaf in &leaves {
                if let Some(pages) = group.get_mut(*leaf) {
                    *pages = ColumnIndexMetaData::NONE;
                }
            }
        }
        index
    });
    Ok(Arc::new(footer.set_row_groups(row_groups).set_column_index(pages).build()))
}

fn is_floating(column: &ColumnDescriptor) -> bool {
    matches!(column.physical_type(), PhysicalType::FLOAT | PhysicalType::DOUBLE)
        || matches!(column.logical_type_ref(), Some(LogicalType::Float16))
}

fn without_upper_bound(chunk: ColumnChunkMetaData) -> Result<ColumnChunkMetaData, ParquetError> {
    let lower = chunk.statistics().and_then(|s| {
        let (nulls, deprecated) = (s.null_count_opt(), s.is_min_max_deprecated());
        match s {
            Statistics::Float(v) => {
                Some(Statistics::float(v.min_opt().copied(), None, None, nulls, deprecated))
            }
            Statistics::Double(v) => {
                Some(Statistics::double(v.min_opt().copied(), None, None, nulls, deprecated))
            }
            _ => None,
        }
    });
    let builder = chunk.into_builder().set_column_index_offset(None).set_column_index_length(None);
    match lower {
        Some(lower) => builder.set_statistics(lower),
        None => builder.clear_statistics(),
    }
    .build()
}
