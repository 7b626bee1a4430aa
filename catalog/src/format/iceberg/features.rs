//! What a table's metadata asks for that we cannot read, named. Works on the JSON, because the
//! `iceberg` crate fails on such metadata as a whole, or (defaults) drops what it cannot parse.

use std::collections::HashSet;

use iceberg::spec::{NestedFieldRef, TableMetadata};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::table::FieldId;

const PRIMITIVES: [&str; 14] = [
    "boolean",
    "int",
    "long",
    "float",
    "double",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "timestamp_ns",
    "timestamptz_ns",
    "string",
    "uuid",
    "binary",
];
const TRANSFORMS: [&str; 7] = ["identity", "year", "month", "day", "hour", "void", "unknown"];

/// Fails with `Unsupported` naming the first feature that we lack, or `Corrupt`.
pub fn check(location: &str, metadata: &Value) -> Result<()> {
    let unsupported = |feature: String| Err(Error::unsupported(location, feature));
    match metadata.get("format-version").map(Value::as_u64) {
        Some(Some(1..=3)) => {}
        Some(Some(version)) if version > 3 => {
            return unsupported(format!("Iceberg format version {version}"));
        }
        _ => return Err(Error::corrupt(location, "no valid format-version")),
    }
    let schemas = array(metadata, "schemas").iter().chain(metadata.get("schema"));
    for field in schemas.flat_map(|schema| array(schema, "fields")) {
        if let Some(feature) = unsupported_in_field(field) {
            return unsupported(feature);
        }
    }
    let specs = array(metadata, "partition-specs").iter().flat_map(|spec| array(spec, "fields"));
    let orders = array(metadata, "sort-orders").iter().flat_map(|order| array(order, "fields"));
    for field in specs.chain(array(metadata, "partition-spec")).chain(orders) {
        if array(field, "source-ids").len() > 1 {
            return unsupported("multi-argument transforms".to_string());
        }
    }
    if array(metadata, "encryption-keys").iter().any(|key| !key.is_null()) {
        return unsupported("encryption".to_string());
    }
    for snapshot in array(metadata, "snapshots") {
        if snapshot.get("manifest-list").is_none_or(Value::is_null) {
            return match snapshot.get("manifests") {
                Some(_) => unsupported("snapshots without a manifest list".to_string()),
                None => Err(Error::corrupt(location, "a snapshot has no manifest list")),
            };
        }
    }
    Ok(())
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// Whether the specification knows a transform of this name.
pub fn is_known_transform(name: &str) -> bool {
    TRANSFORMS.contains(&name)
        || ["bucket[", "truncate["].iter().any(|prefix| {
            let argument = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(']'));
            argument.is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n > 0))
        })
}

fn unsupported_in_field(field: &Value) -> Option<String> {
    let name = text(field, "name").unwrap_or("?");
    unsupported_type(field.get("type")?).map(|feature| format!("{feature} (column {name})"))
}

fn unsupported_type(data_type: &Value) -> Option<String> {
    match data_type {
        Value::String(name) => {
            let parameterized = ["decimal(", "fixed["].iter().any(|prefix| name.starts_with(prefix));
            let known = parameterized || PRIMITIVES.contains(&name.as_str());
            (!known).then(|| format!("type {name}"))
        }
        // A nested type has its parts under these keys.
        Value::Object(_) => array(data_type, "fields").iter().find_map(unsupported_in_field).or_else(|| {
            ["element", "key", "value"].iter().find_map(|part| data_type.get(part).and_then(unsupported_type))
        }),
        _ => None,
    }
}

/// A default that the JSON gives: schema id, field id, and which of the two defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GivenDefault {
    schema_id: i32,
    field_id: FieldId,
    initial: bool,
}

/// Every column default in the metadata.
pub fn defaults(metadata: &Value) -> HashSet<GivenDefault> {
    let mut found = HashSet::new();
    for schema in array(metadata, "schemas").iter().chain(metadata.get("schema")) {
        let schema_id = schema.get("schema-id").and_then(Value::as_i64).unwrap_or(0);
        if let Ok(schema_id) = i32::try_from(schema_id) {
            array(schema, "fields").iter().for_each(|f| collect_defaults(f, schema_id, &mut found));
        }
    }
    found
}

fn collect_defaults(field: &Value, schema_id: i32, found: &mut HashSet<GivenDefault>) {
    let id = field.get("id").and_then(Value::as_i64).and_then(|id| FieldId::try_from(id).ok());
    for (key, initial) in [("initial-default", true), ("write-default", false)] {
        if let (Some(field_id), Some(value)) = (id, field.get(key))
            && !value.is_null()
        {
            found.insert(GivenDefault { schema_id, field_id, initial });
        }
    }
    if let Some(data_type) = field.get("type") {
        collect_nested_defaults(data_type, schema_id, found);
    }
}

fn collect_nested_defaults(data_type: &Value, schema_id: i32, found: &mut HashSet<GivenDefault>) {
    array(data_type, "fields").iter().for_each(|f| collect_defaults(f, schema_id, found));
    for part in ["element", "key", "value"] {
        if let Some(part) = data_type.get(part) {
            collect_nested_defaults(part, schema_id, found);
        }
    }
}

/// Fails with `Unsupported` if the parsed metadata lost one of `defaults`: reading null where the
/// table says a value would be a wrong answer.
pub fn check_defaults(
    location: &str,
    metadata: &TableMetadata,
    defaults: &HashSet<GivenDefault>,
) -> Result<()> {
    for given in defaults {
        let field = metadata.schema_by_id(given.schema_id).and_then(|s| s.field_by_id(given.field_id));
        let lost = |f: &NestedFieldRef| match given.initial {
            true => f.initial_default.is_none(),
            false => f.write_default.is_none(),
        };
        if let Some(field) = field.filter(|f| lost(f)) {
            let feature = format!("the default of column {} ({})", field.name, field.field_type);
            return Err(Error::unsupported(location, feature));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn feature_of(metadata: Value) -> String {
        match check("t", &metadata).unwrap_err() {
            Error::Unsupported { feature, .. } => feature,
            e => panic!("{e}"),
        }
    }

    fn with_type(data_type: Value) -> Value {
        json!({"format-version": 3, "schemas": [
            {"schema-id": 0, "fields": [{"id": 1, "name": "c", "required": false, "type": data_type}]}
        ]})
    }

    #[test]
    fn unreadable_types_are_named_at_any_depth() {
        assert_eq!(feature_of(with_type(json!("variant"))), "type variant (column c)");
        assert_eq!(
            feature_of(with_type(json!("geometry(EPSG:4326)"))),
            "type geometry(EPSG:4326) (column c)"
        );
        let nested = json!({"type": "list", "element-id": 2, "element-required": true, "element":
            {"type": "map", "key-id": 3, "key": "string", "value-id": 4, "value-required": true, "value":
                {"type": "struct", "fields": [{"id": 5, "name": "deep", "required": true, "type": "unknown"}]}}});
        assert_eq!(feature_of(with_type(nested)), "type unknown (column deep) (column c)");
        for fine in ["decimal(10, 2)", "fixed[4]", "timestamptz_ns"] {
            check("t", &with_type(json!(fine))).unwrap();
        }
    }

    #[test]
    fn other_features_are_named() {
        assert_eq!(feature_of(json!({"format-version": 4})), "Iceberg format version 4");
        let keys = json!({"format-version": 3, "encryption-keys": [{"key-id": "k"}]});
        assert_eq!(feature_of(keys), "encryption");
        let spec = json!({"format-version": 3, "partition-specs": [
            {"spec-id": 0, "fields": [{"source-ids": [1, 2], "transform": "bucket[4]"}]}]});
        assert_eq!(feature_of(spec), "multi-argument transforms");
        assert!(matches!(check("t", &json!({"format-version": "x"})), Err(Error::Corrupt { .. })));
    }
}
