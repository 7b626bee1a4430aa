//! `t$history`: which versions led to the current one.

use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::{batch, instant_type, instants, schema_of};
use crate::error::Result;
use crate::format::VersionInfo;

pub(super) fn schema() -> SchemaRef {
    schema_of(vec![
        Field::new("made_current_at", instant_type(), false),
        Field::new("snapshot_id", DataType::Int64, false),
        Field::new("parent_id", DataType::Int64, true),
        Field::new("is_current_ancestor", DataType::Boolean, false),
    ])
}

pub(super) fn rows(versions: &[VersionInfo]) -> Result<RecordBatch> {
    batch(
        schema(),
        vec![
            instants(versions.iter().map(|v| Some(v.committed_at))),
            Arc::new(versions.iter().map(|v| Some(v.id)).collect::<Int64Array>()),
            Arc::new(versions.iter().map(|v| v.parent_id).collect::<Int64Array>()),
            Arc::new(versions.iter().map(|v| Some(v.is_current_ancestor)).collect::<BooleanArray>()),
        ],
    )
}
