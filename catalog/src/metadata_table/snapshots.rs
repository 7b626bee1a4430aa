//! `t$snapshots`: the table's versions, oldest first.

use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::{append_map, batch, instant_type, instants, map_type, schema_of, text_map_builder};
use crate::error::Result;
use crate::format::VersionInfo;

pub(super) fn schema() -> SchemaRef {
    schema_of(vec![
        Field::new("committed_at", instant_type(), false),
        Field::new("snapshot_id", DataType::Int64, false),
        Field::new("parent_id", DataType::Int64, true),
        Field::new("operation", DataType::Utf8, true),
        Field::new("manifest_list", DataType::Utf8, true),
        Field::new("summary", map_type(DataType::Utf8), false),
    ])
}

pub(super) fn rows(versions: &[VersionInfo]) -> Result<RecordBatch> {
    let mut summaries = text_map_builder();
    for version in versions {
        append_map(&mut summaries, version.summary.iter().map(|(k, v)| (k.as_str(), v.as_str())))?;
    }
    batch(
        schema(),
        vec![
            instants(versions.iter().map(|v| Some(v.committed_at))),
            Arc::new(versions.iter().map(|v| Some(v.id)).collect::<Int64Array>()),
            Arc::new(versions.iter().map(|v| v.parent_id).collect::<Int64Array>()),
            Arc::new(versions.iter().map(|v| v.operation.as_deref()).collect::<StringArray>()),
            Arc::new(versions.iter().map(|v| v.location.as_deref()).collect::<StringArray>()),
            Arc::new(summaries.finish()),
        ],
    )
}
