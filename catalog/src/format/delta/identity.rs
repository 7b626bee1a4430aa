//! Identity columns in a table's schema (Delta protocol, "Identity Columns").
//!
//! The protocol has them of type long. Of smaller types they are under names of our own: other engines take
//! such a column for one whose values have to be given.

use arrow::datatypes::DataType;
use delta_kernel::schema::{DataType as DeltaType, MetadataValue, PrimitiveType, StructField};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::table::identity::{ALLOW_EXPLICIT_INSERT, HIGH_WATER_MARK, START, STEP};
use crate::table::{ColumnDefinition, IdentityColumn, IdentityColumns, TableSchema};

/// Of the names in a field's metadata.
pub(super) const PREFIX: &str = "delta.identity.";
/// The same for a column of a smaller type.
const OWN_PREFIX: &str = "auric.identity.";
/// The writer feature.
pub(super) const FEATURE: &str = "identityColumns";

/// Whether a new column is one that the protocol knows.
pub(super) fn needs_feature(column: &ColumnDefinition) -> bool {
    column.identity.is_some() && prefix(&column.data_type) == PREFIX
}

fn prefix(data_type: &DataType) -> &'static str {
    if *data_type == DataType::Int64 { PREFIX } else { OWN_PREFIX }
}

/// What a field's metadata say. `None`: it is no identity column, or none that can be filled.
pub(super) fn of_field(field: &StructField) -> Option<IdentityColumn> {
    let prefix = match field.data_type() {
        DeltaType::Primitive(PrimitiveType::Long) => PREFIX,
        DeltaType::Primitive(PrimitiveType::Integer | PrimitiveType::Short) => OWN_PREFIX,
        _ => return None,
    };
    let value = |name: &str| field.metadata().get(&format!("{prefix}{name}"));
    let number = |name: &str| match value(name) {
        Some(MetadataValue::Number(number)) => Some(*number),
        _ => None,
    };
    let step = number(STEP).filter(|step| *step != 0)?;
    let allow_explicit_insert = match value(ALLOW_EXPLICIT_INSERT)? {
        MetadataValue::Boolean(allowed) => *allowed,
        _ => return None,
    };
    let high_water_mark = match value(HIGH_WATER_MARK) {
        None => None,
        Some(MetadataValue::Number(mark)) => Some(*mark),
        // Without it, values could be given out again.
        Some(_) => return None,
    };
    Some(IdentityColumn { start: number(START)?, step, high_water_mark, allow_explicit_insert })
}

/// Metadata of a new field.
pub(super) fn stored(column: &IdentityColumn, data_type: &DataType) -> Vec<(String, MetadataValue)> {
    let prefix = prefix(data_type);
    let mut stored = vec![
        (format!("{prefix}{START}"), MetadataValue::Number(column.start)),
        (format!("{prefix}{STEP}"), MetadataValue::Number(column.step)),
        (format!("{prefix}{ALLOW_EXPLICIT_INSERT}"), MetadataValue::Boolean(column.allow_explicit_insert)),
    ];
    if let Some(mark) = column.high_water_mark {
        stored.push((format!("{prefix}{HIGH_WATER_MARK}"), MetadataValue::Number(mark)));
    }
    stored
}

/// The schema with other marks.
pub(super) fn with_marks(
    table: &str,
    schema_string: &str,
    schema: &TableSchema,
    marks: &IdentityColumns,
) -> Result<String> {
    let mut json = parsed(table, schema_string)?;
    for (id, column) in marks {
        let lost = || Error::corrupt(table, format!("identity column {id} is not in the schema"));
        let (_, field) = schema.column_by_id(*id).ok_or_else(lost)?;
        let found =
            fields(&mut json).find(|found| found.get("name").is_some_and(|name| name == field.name()));
        let metadata = found.and_then(|found| found.get_mut("metadata")).and_then(Value::as_object_mut);
        let key = format!("{}{HIGH_WATER_MARK}", prefix(field.data_type()));
        metadata.ok_or_else(lost)?.insert(key, column.high_water_mark.into());
    }
    Ok(json.to_string())
}

/// The schema without marks.
pub(super) fn restarted(table: &str, schema_string: &str) -> Result<String> {
    let mut json = parsed(table, schema_string)?;
    for field in fields(&mut json) {
        if let Some(metadata) = field.get_mut("metadata").and_then(Value::as_object_mut) {
            for prefix in [PREFIX, OWN_PREFIX] {
                metadata.remove(&format!("{prefix}{HIGH_WATER_MARK}"));
            }
        }
    }
    Ok(json.to_string())
}

fn parsed(table: &str, schema_string: &str) -> Result<Value> {
    serde_json::from_str(schema_string).map_err(|e| Error::corrupt(table, e))
}

fn fields(schema: &mut Value) -> impl Iterator<Item = &mut Value> {
    schema.get_mut("fields").and_then(Value::as_array_mut).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(data_type: &str, metadata: Value) -> StructField {
        let json = json!({"name": "id", "type": data_type, "nullable": false, "metadata": metadata});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_is_stored_is_read() {
        let column =
            IdentityColumn { start: 10, step: -5, high_water_mark: Some(-40), allow_explicit_insert: false };
        for (data_type, arrow) in
            [("long", DataType::Int64), ("integer", DataType::Int32), ("short", DataType::Int16)]
        {
            let written = field(data_type, json!({})).with_metadata(stored(&column, &arrow));
            let text = serde_json::to_string(&written).unwrap();
            assert_eq!(text.contains(PREFIX), data_type == "long", "{text}");
            assert_eq!(of_field(&serde_json::from_str(&text).unwrap()), Some(column));
        }
    }

    #[test]
    fn what_is_not_understood_is_not_filled() {
        let whole = json!({"delta.identity.start": 1, "delta.identity.step": 1,
            "delta.identity.allowExplicitInsert": true});
        assert!(of_field(&field("long", whole.clone())).is_some());
        assert!(of_field(&field("string", whole.clone())).is_none());
        for (key, wrong) in [
            ("delta.identity.step", json!(0)),
            ("delta.identity.start", json!("1")),
            ("delta.identity.allowExplicitInsert", json!("true")),
            ("delta.identity.highWaterMark", json!("7")),
        ] {
            let mut metadata = whole.clone();
            metadata[key] = wrong;
            assert!(of_field(&field("long", metadata)).is_none(), "{key}");
        }
    }

    #[test]
    fn restarting_takes_the_marks_alone() {
        let schema = json!({"type": "struct", "fields": [{"name": "id", "type": "long", "nullable": false,
            "metadata": {"delta.identity.step": 2, "delta.identity.highWaterMark": 9}}]});
        let after: Value = serde_json::from_str(&restarted("t", &schema.to_string()).unwrap()).unwrap();
        assert_eq!(after["fields"][0]["metadata"], json!({"delta.identity.step": 2}));
    }
}
