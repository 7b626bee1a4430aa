//! Partition transforms that are not in the specification. Readers must ignore them (Iceberg spec,
//! "Partition Transforms"), while the `iceberg` crate fails on the whole file: in table metadata they
//! become its own `unknown`, and fields that use one are left out of what a manifest says of its spec.
//!
//! So are fields of the current spec whose source column was dropped (version 1 keeps the field of a
//! partitioning that was given up, with the transform `void`), which the crate does not take either.
//!
//! Such metadata cannot be written again, as the transforms' names are gone: commits refuse it
//! ([`check_writable`]).

use std::collections::HashSet;

use iceberg::spec::{TableMetadata, Transform};
use serde_json::Value;

use super::features::is_known_transform;
use super::manifest_header::ManifestHeader;
use crate::error::{Error, Result};

const UNKNOWN: &str = "unknown";
/// Key of the partition fields in a manifest's header.
const SPEC_KEY: &str = "partition-spec";

/// Names them `unknown` in the JSON of table metadata.
pub fn rename(metadata: &mut Value) {
    rename_dropped(metadata);
    for (lists, v1) in [("partition-specs", Some("partition-spec")), ("sort-orders", None)] {
        if let Some(lists) = metadata.get_mut(lists).and_then(Value::as_array_mut) {
            for fields in lists.iter_mut().filter_map(|list| list.get_mut("fields")) {
                rename_in(fields);
            }
        }
        if let Some(fields) = v1.and_then(|key| metadata.get_mut(key)) {
            rename_in(fields);
        }
    }
}

/// Fields of the current spec whose column is gone. They get another column, as they must have one.
fn rename_dropped(metadata: &mut Value) {
    let current = metadata.get("current-schema-id");
    let schemas = metadata.get("schemas").and_then(Value::as_array).into_iter().flatten();
    let mut schemas = schemas.filter(|schema| schema.get("schema-id") == current);
    let Some(schema) = schemas.next().or_else(|| metadata.get("schema")) else { return };
    let ids = field_ids(schema);
    let first = schema.pointer("/fields/0/id").and_then(Value::as_i64);
    let (Some(first), Some(spec)) = (first, metadata.get("default-spec-id").cloned()) else { return };
    let specs = metadata.get_mut("partition-specs").and_then(Value::as_array_mut).into_iter().flatten();
    let of_default = specs.filter(|s| s.get("spec-id") == Some(&spec)).filter_map(|s| s.get_mut("fields"));
    for field in of_default.filter_map(Value::as_array_mut).flatten() {
        if is_of_column(field, &ids) {
            continue;
        }
        if let Some(source) = field.get_mut("source-id") {
            *source = Value::from(first);
        }
        if let Some(transform) = field.get_mut("transform") {
            *transform = Value::from(UNKNOWN);
        }
    }
}

/// Ids of all fields of a schema, nested ones included.
fn field_ids(schema: &Value) -> HashSet<i64> {
    let mut ids = HashSet::new();
    let mut left = vec![schema];
    while let Some(value) = left.pop() {
        for key in ["id", "element-id", "key-id", "value-id"] {
            ids.extend(value.get(key).and_then(Value::as_i64));
        }
        left.extend(value.get("fields").and_then(Value::as_array).into_iter().flatten());
        left.extend(["type", "element", "key", "value"].into_iter().filter_map(|key| value.get(key)));
    }
    ids
}

/// Whether the source of a partition field is among these columns (a field that names none is left alone).
fn is_of_column(field: &Value, ids: &HashSet<i64>) -> bool {
    field.get("source-id").and_then(Value::as_i64).is_none_or(|id| ids.contains(&id))
}

fn rename_in(fields: &mut Value) {
    for field in fields.as_array_mut().into_iter().flatten() {
        if let Some(transform) = field.get_mut("transform")
            && !transform.as_str().is_none_or(is_known_transform)
        {
            *transform = Value::from(UNKNOWN);
        }
    }
}

/// Fails with `Unsupported` if there is one.
pub fn check_writable(metadata: &TableMetadata) -> Result<()> {
    let mut specs = metadata.partition_specs_iter().flat_map(|spec| spec.fields());
    let mut orders = metadata.sort_orders_iter().flat_map(|order| &order.fields);
    let in_spec = specs.any(|field| field.transform == Transform::Unknown);
    if in_spec || orders.any(|field| field.transform == Transform::Unknown) {
        let feature = "writing a table with a partition transform that is unknown, or of a dropped column";
        return Err(Error::unsupported(metadata.location(), feature));
    }
    Ok(())
}

/// A manifest whose header does not speak of fields with such a transform. `None`: it does not anyway, or
/// it is no manifest.
pub fn without_fields(manifest: &[u8]) -> Option<Vec<u8>> {
    let mut header = ManifestHeader::parse(manifest)?;
    let spec = header.get(SPEC_KEY)?;
    let schema: Option<Value> = header.get("schema").and_then(|schema| serde_json::from_slice(schema).ok());
    let ids = schema.as_ref().map(field_ids);
    let mut fields: Vec<Value> = serde_json::from_slice(spec).ok()?;
    let before = fields.len();
    let known = |field: &Value| {
        let transform = field.get("transform").and_then(Value::as_str);
        transform.is_some_and(|t| t != UNKNOWN && is_known_transform(t))
            && ids.as_ref().is_none_or(|ids| is_of_column(field, ids))
    };
    fields.retain(known);
    if fields.len() == before {
        return None;
    }
    header.set(SPEC_KEY, serde_json::to_vec(&fields).ok()?);
    header.to_manifest()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::manifest_header::container;
    use super::*;

    #[test]
    fn fields_are_left_out_of_a_header() {
        let known = r#"{"name":"a","transform":"bucket[4]"}"#;
        let spec = format!(r#"[{known},{{"name":"b","transform":"zorder[4]"}}]"#);
        let schema = "x".repeat(300);
        let with = container(&[("schema", &schema), ("partition-spec", &spec), ("format-version", "2")]);
        let without = container(&[
            ("schema", &schema),
            ("partition-spec", &format!("[{known}]")),
            ("format-version", "2"),
        ]);
        assert_eq!(without_fields(&with), Some(without.clone()));
        assert_eq!(without_fields(&without), None);
        // A column that is gone.
        let schema = r#"{"type":"struct","fields":[{"id":1,"type":{"type":"list","element-id":2}}]}"#;
        let [a, b] = [2, 3].map(|id| format!(r#"{{"source-id":{id},"transform":"void"}}"#));
        let of_both = container(&[("partition-spec", &format!("[{a},{b}]")), ("schema", schema)]);
        let of_one = container(&[("partition-spec", &format!("[{a}]")), ("schema", schema)]);
        assert_eq!(without_fields(&of_both), Some(of_one));
        for end in 0..with.len() - "the rest".len() {
            assert_eq!(without_fields(&with[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn names_give_way_in_metadata() {
        let mut metadata = json!({
            "partition-spec": [{"transform": "zorder"}],
            "partition-specs": [{"fields": [{"transform": "day"}, {"transform": "zorder"}]}],
            "sort-orders": [{"fields": [{"transform": "hilbert"}, {"transform": 7}]}],
        });
        rename(&mut metadata);
        assert_eq!(
            metadata,
            json!({
                "partition-spec": [{"transform": "unknown"}],
                "partition-specs": [{"fields": [{"transform": "day"}, {"transform": "unknown"}]}],
                "sort-orders": [{"fields": [{"transform": "unknown"}, {"transform": 7}]}],
            })
        );
    }
}
