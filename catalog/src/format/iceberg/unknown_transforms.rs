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
use crate::error::{Error, Result};

const UNKNOWN: &str = "unknown";
/// Start of an Avro object container file.
const MAGIC: &[u8] = b"Obj\x01";
/// Key of the partition fields in a manifest's header.
const SPEC_KEY: &[u8] = b"partition-spec";

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
    let mut header = Cursor { rest: manifest.strip_prefix(MAGIC)? };
    let mut entries = Vec::new();
    loop {
        let count = header.long()?;
        if count == 0 {
            break;
        }
        if count < 0 {
            // Then the block's size in bytes comes first.
            header.long()?;
        }
        for _ in 0..count.unsigned_abs() {
            entries.push((header.bytes()?, header.bytes()?));
        }
    }
    let entry = |wanted: &[u8]| entries.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
    let spec = entry(SPEC_KEY)?;
    let schema: Option<Value> = entry(b"schema").and_then(|schema| serde_json::from_slice(schema).ok());
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
    let spec = serde_json::to_vec(&fields).ok()?;
    let mut written = MAGIC.to_vec();
    put_long(&mut written, i64::try_from(entries.len()).ok()?);
    for (key, value) in entries {
        let value = if key == SPEC_KEY { spec.as_slice() } else { value };
        for part in [key, value] {
            put_long(&mut written, i64::try_from(part.len()).ok()?);
            written.extend_from_slice(part);
        }
    }
    put_long(&mut written, 0);
    written.extend_from_slice(header.rest);
    Some(written)
}

/// Reads Avro's binary encoding (Avro specification, "Binary Encoding").
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn long(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }
}

fn put_long(bytes: &mut Vec<u8>, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)) as u64;
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        put_long(&mut bytes, entries.len() as i64);
        for part in entries.iter().flat_map(|(key, value)| [key, value]) {
            put_long(&mut bytes, part.len() as i64);
            bytes.extend_from_slice(part.as_bytes());
        }
        put_long(&mut bytes, 0);
        bytes.extend_from_slice(b"the rest");
        bytes
    }

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
    fn longs_survive() {
        for value in [0, 1, -1, 63, 64, -64, -65, 300, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            put_long(&mut bytes, value);
            assert_eq!(Cursor { rest: &bytes }.long(), Some(value));
        }
        assert_eq!(Cursor { rest: &[0xff; 11] }.long(), None);
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
