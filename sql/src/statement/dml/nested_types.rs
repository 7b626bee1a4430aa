//! Nested types as expressions have them: without the field ids that a table's columns carry.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::logical_expr::{Expr, cast};

/// A value of a nested type, whose fields then carry no ids: constants lose theirs when they are folded, and branches
/// of different types cannot be merged.
pub fn bare(value: Expr, data_type: &DataType) -> Expr {
    match without_metadata(data_type) {
        bare if bare == *data_type => value,
        bare => cast(value, bare),
    }
}

fn without_metadata(data_type: &DataType) -> DataType {
    let strip = |field: &FieldRef| {
        Arc::new(Field::new(field.name(), without_metadata(field.data_type()), field.is_nullable()))
    };
    match data_type {
        DataType::List(item) => DataType::List(strip(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(strip).collect()),
        DataType::Map(entries, sorted) => DataType::Map(strip(entries), *sorted),
        other => other.clone(),
    }
}
