//! `t$partitions`: the partitions of a version, with what their files hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::files::{longs, partition_text};
use super::{batch, schema_of};
use crate::error::Result;
use crate::registry::Table;
use crate::scan::{deleted_row_counts, live_files};

/// Position of `deleted_rows`, which position delete files must be read for.
const DELETED_ROWS: usize = 5;

pub(super) fn schema() -> SchemaRef {
    schema_of(vec![
        Field::new("partition", DataType::Utf8, true),
        Field::new("spec_id", DataType::Int32, false),
        Field::new("record_count", DataType::Int64, true),
        Field::new("file_count", DataType::Int64, false),
        Field::new("total_size_in_bytes", DataType::Int64, false),
        Field::new("deleted_rows", DataType::Int64, true),
    ])
}

/// Sums over the files of a partition; `None`: not known of one of them.
struct Sums {
    rows: Option<u64>,
    files: i64,
    bytes: u64,
    deleted: Option<u64>,
}

fn add(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a?.checked_add(b?)
}

pub(super) async fn rows(table: &Table, wants: impl Fn(usize) -> bool) -> Result<RecordBatch> {
    let files = live_files(&table.snapshot).await?;
    let deleted = match wants(DELETED_ROWS) {
        true => deleted_row_counts(table.catalog.storage(), &files).await?,
        false => vec![None; files.len()],
    };
    let mut partitions: BTreeMap<(i32, Option<String>), Sums> = BTreeMap::new();
    for (file, deleted) in files.iter().zip(deleted) {
        let data = file.file()?;
        let none = || Sums { rows: Some(0), files: 0, bytes: 0, deleted: Some(0) };
        let sums = partitions.entry((file.spec().spec_id, partition_text(file)?)).or_insert_with(none);
        sums.rows = add(sums.rows, data.record_count);
        sums.files += 1;
        sums.bytes = sums.bytes.saturating_add(data.size_bytes);
        sums.deleted = add(sums.deleted, deleted);
    }
    batch(
        schema(),
        vec![
            Arc::new(partitions.keys().map(|(_, text)| text.as_deref()).collect::<StringArray>()),
            Arc::new(Int32Array::from_iter_values(partitions.keys().map(|(spec, _)| *spec))),
            longs(partitions.values().map(|sums| sums.rows)),
            Arc::new(Int64Array::from_iter_values(partitions.values().map(|sums| sums.files))),
            longs(partitions.values().map(|sums| Some(sums.bytes))),
            longs(partitions.values().map(|sums| sums.deleted)),
        ],
    )
}
