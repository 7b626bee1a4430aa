//! Columns of a row group without the rows that go: page by page where that can be done, value by value otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter;
use auric_pages::{ColumnChunk, KeptRows, Retained};
use datafusion::common::runtime::JoinSet;
use datafusion::error::DataFusionError;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;

use crate::error::{Error, Result};
use crate::write::WriteContext;
use crate::write::new_values::Values;
use crate::write::source::GroupBytes;

/// What is left of `chunks`, given by their stored columns, by several tasks where threads are free. Those that are
/// not in the result have to be decoded.
pub async fn retain(
    context: &WriteContext,
    bytes: &GroupBytes,
    chunks: Vec<(usize, ColumnCloseResult)>,
    kept: &KeptRows,
) -> Result<BTreeMap<usize, Retained>> {
    let (bytes, kept) = (Arc::new(bytes.clone()), Arc::new(kept.clone()));
    let mut all = BTreeMap::new();
    let mut tasks = JoinSet::new();
    for (column, chunk) in chunks {
        let is_nested = chunk.metadata.column_path().parts().len() > 1;
        if is_nested || !auric_pages::is_supported(&chunk.metadata) {
            continue;
        }
        let level = match context.options.properties.compression(chunk.metadata.column_path()) {
            Compression::ZSTD(level) => level,
            _ => ZstdLevel::default(),
        };
        if context.encoders() < 2 {
            let left = retain_column(&bytes, &chunk, &kept, level)?;
            all.extend(left.map(|left| (column, left)));
            // It takes its time, in which the statement can be cancelled.
            tokio::task::yield_now().await;
        } else {
            let (bytes, kept) = (bytes.clone(), kept.clone());
            tasks.spawn(async move { (column, retain_column(&bytes, &chunk, &kept, level)) });
        }
    }
    while let Some(joined) = tasks.join_next().await {
        let (column, left) =
            joined.map_err(|e| Error::Internal(format!("writing {}: {e}", context.table)))?;
        all.extend(left?.map(|left| (column, left)));
    }
    Ok(all)
}

fn retain_column(
    bytes: &Arc<GroupBytes>,
    chunk: &ColumnCloseResult,
    kept: &KeptRows,
    zstd: ZstdLevel,
) -> Result<Option<Retained>> {
    let Some(offset_index) = &chunk.offset_index else { return Ok(None) };
    let metadata = &chunk.metadata;
    auric_pages::retain(&ColumnChunk { bytes, metadata, offset_index }, kept, zstd).map_err(|e| {
        let column = metadata.column_path();
        Error::DataFusion(
            DataFusionError::from(e).context(format!("column {column} of a file to be made anew")),
        )
    })
}

/// A column's values, which are those of a whole row group, without the rows that go.
pub fn without_what_goes<'a>(values: Values<'a>, kept: &'a KeptRows) -> Values<'a> {
    let mut first = 0;
    Box::new(values.map(move |values| {
        let values = values?;
        let rows = first..first + values.len();
        first = rows.end;
        let mut stays = vec![false; rows.len()];
        for run in kept.within(&rows) {
            stays.get_mut(run).into_iter().for_each(|rows| rows.fill(true));
        }
        let stays = BooleanArray::new(BooleanBuffer::from(stays), None);
        filter(&values, &stays).map_err(|e| Error::DataFusion(e.into()))
    }))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int32Array};

    use super::*;

    #[test]
    fn values_of_rows_that_go() {
        let numbers = |values: &[i32]| Arc::new(Int32Array::from(values.to_vec())) as ArrayRef;
        let kept = KeptRows::without(6, [1..3, 4..5]);
        let values = [numbers(&[0, 1, 2]), numbers(&[3, 4, 5])].map(Ok);
        let left: Vec<ArrayRef> =
            without_what_goes(Box::new(values.into_iter()), &kept).collect::<Result<_>>().unwrap();
        assert_eq!(left, [numbers(&[0]), numbers(&[3, 5])]);
    }
}
