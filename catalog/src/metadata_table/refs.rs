//! `t$refs`: the names that the table has for versions (Iceberg spec, "Snapshot References"). A Delta table
//! has one branch, whose end is its last version.

use std::sync::Arc;

use arrow::array::{Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::{batch, schema_of};
use crate::error::Result;
use crate::format::{Reference, ReferenceKind};

pub(super) fn schema() -> SchemaRef {
    schema_of(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("type", DataType::Utf8, false),
        Field::new("snapshot_id", DataType::Int64, false),
        Field::new("max_reference_age_in_ms", DataType::Int64, true),
        Field::new("min_snapshots_to_keep", DataType::Int32, true),
        Field::new("max_snapshot_age_in_ms", DataType::Int64, true),
    ])
}

pub(super) fn rows(references: &[Reference]) -> Result<RecordBatch> {
    let kind = |reference: &Reference| match reference.kind {
        ReferenceKind::Branch => "BRANCH",
        ReferenceKind::Tag => "TAG",
    };
    batch(
        schema(),
        vec![
            Arc::new(StringArray::from_iter_values(references.iter().map(|r| r.name.as_str()))),
            Arc::new(StringArray::from_iter_values(references.iter().map(kind))),
            Arc::new(references.iter().map(|r| Some(r.version)).collect::<Int64Array>()),
            Arc::new(references.iter().map(|r| r.max_reference_age_ms).collect::<Int64Array>()),
            Arc::new(references.iter().map(|r| r.min_versions_to_keep).collect::<Int32Array>()),
            Arc::new(references.iter().map(|r| r.max_version_age_ms).collect::<Int64Array>()),
        ],
    )
}
