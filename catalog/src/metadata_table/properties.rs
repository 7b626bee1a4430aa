//! `t$properties`: the table's properties.

use std::sync::Arc;

use arrow::array::StringArray;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::{batch, schema_of};
use crate::error::Result;
use crate::registry::Table;

pub(super) fn schema() -> SchemaRef {
    schema_of(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, false)])
}

pub(super) fn rows(table: &Table) -> Result<RecordBatch> {
    let properties = &table.snapshot.properties;
    batch(
        schema(),
        vec![
            Arc::new(StringArray::from_iter_values(properties.keys())),
            Arc::new(StringArray::from_iter_values(properties.values())),
        ],
    )
}
