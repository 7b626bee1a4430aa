//! Partition values of type `uuid`. A manifest has them as sixteen fixed bytes with a logical type
//! (Iceberg spec, "Appendix A: Format-specific Requirements", "Avro"), while the `iceberg` crate's Avro
//! library takes that type for bytes of any length. So the crate gets to see `fixed[16]`: the header of a
//! manifest is changed before it is read, and changed back after it was written. The values themselves are
//! the same bytes under either type.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use iceberg::spec::{
    Literal, PartitionSpec, PrimitiveLiteral, PrimitiveType, Schema, SchemaRef, TableMetadata, Type,
};
use serde_json::{Value, json};

use super::manifest_header::{AVRO_SCHEMA, ManifestHeader};
use crate::error::{Error, Result};

/// Key of the schema in a manifest's header.
const SCHEMA: &str = "schema";
const UUID: &str = "uuid";
const FIXED: &str = "fixed[16]";
/// The name of the type in what others write.
const AVRO_NAME: &str = "uuid_fixed";

/// A manifest without uuids in its partition values. `None`: it has none, or it is no manifest.
pub fn hidden(manifest: &[u8]) -> Option<Vec<u8>> {
    let mut header = ManifestHeader::parse(manifest)?;
    let avro = header.get(AVRO_SCHEMA)?;
    if !avro.windows(UUID.len()).any(|part| part == UUID.as_bytes()) {
        return None;
    }
    let mut avro: Value = serde_json::from_slice(avro).ok()?;
    let mut found = false;
    visit(&mut avro, &mut |value| {
        let is_uuid = is_fixed(value) && value.get("logicalType").is_some_and(|logical| logical == UUID);
        if is_uuid && let Some(value) = value.as_object_mut() {
            value.remove("logicalType");
            found = true;
        }
    });
    if !found {
        return None;
    }
    let mut schema: Value = serde_json::from_slice(header.get(SCHEMA)?).ok()?;
    hide(&mut schema);
    header.set(AVRO_SCHEMA, serde_json::to_vec(&avro).ok()?);
    header.set(SCHEMA, serde_json::to_vec(&schema).ok()?);
    header.to_manifest()
}

/// What a manifest of a partition spec with uuids is written with, and what is put right afterwards.
#[derive(Debug, Clone)]
pub struct UuidPartitions {
    /// Ids of the partition fields.
    fields: BTreeSet<i64>,
    /// The schema as the header shall have it.
    schema: SchemaRef,
}

impl UuidPartitions {
    /// For a schema of the table, or one that was read from the header of a [`hidden`] manifest. `None`: no
    /// partition field is a uuid.
    pub fn of(metadata: &TableMetadata, schema: &SchemaRef, spec: &PartitionSpec) -> Result<Option<Self>> {
        let uuids = uuid_fields(metadata);
        if uuids.is_empty() {
            return Ok(None);
        }
        let schema = revealed(schema, &uuids)?;
        let Ok(types) = spec.partition_type(&schema) else { return Ok(None) };
        let is_uuid = |t: &Type| *t == Type::Primitive(PrimitiveType::Uuid);
        let fields = types.fields().iter().filter(|field| is_uuid(&field.field_type));
        let fields: BTreeSet<i64> = fields.map(|field| i64::from(field.id)).collect();
        Ok((!fields.is_empty()).then_some(Self { fields, schema }))
    }

    /// The schema that the crate is given.
    pub fn hidden_schema(&self) -> Result<SchemaRef> {
        let mut schema = to_json(&self.schema)?;
        hide(&mut schema);
        from_json(schema)
    }

    /// The manifest as the specification wants it.
    pub fn reveal(&self, manifest: &[u8]) -> Result<Vec<u8>> {
        let odd = || Error::Internal("the header of a manifest is not as expected".into());
        let mut header = ManifestHeader::parse(manifest).ok_or_else(odd)?;
        let avro = header.get(AVRO_SCHEMA).ok_or_else(odd)?;
        let mut avro: Value = serde_json::from_slice(avro).map_err(|_| odd())?;
        let mut names = Names::default();
        visit(&mut avro, &mut |value| {
            let id = value.get("field-id").and_then(Value::as_i64);
            if let (Some(id), Some(found)) = (id, value.get_mut("type")) {
                let is_uuid = self.fields.contains(&id);
                each_type(found, &mut |one| names.settle(one, is_uuid));
            }
        });
        header.set(AVRO_SCHEMA, serde_json::to_vec(&avro).map_err(|_| odd())?);
        header.set(SCHEMA, serde_json::to_vec(&to_json(&self.schema)?).map_err(|_| odd())?);
        header.to_manifest().ok_or_else(odd)
    }
}

/// The value as the crate writes it under the type that it is given.
pub fn as_fixed(value: Literal) -> Literal {
    match value {
        Literal::Primitive(PrimitiveLiteral::UInt128(uuid)) => {
            Literal::Primitive(PrimitiveLiteral::Binary(uuid.to_be_bytes().to_vec()))
        }
        other => other,
    }
}

/// Types of sixteen bytes by their names, which are defined where they come first, and only named after that.
#[derive(Debug, Default)]
struct Names {
    before: BTreeMap<String, Value>,
    now: BTreeSet<String>,
}

impl Names {
    /// Makes a uuid of a type of sixteen bytes, or leaves it what it is; says in full what it is unless that
    /// has been said.
    fn settle(&mut self, found: &mut Value, is_uuid: bool) {
        let definition = match found.as_str() {
            Some(reference) => self.before.get(reference).cloned(),
            None => is_fixed(found).then(|| found.clone()),
        };
        let Some(definition) = definition else { return };
        let name_of = |definition: &Value| definition.get("name")?.as_str().map(str::to_string);
        let Some(own) = name_of(&definition) else { return };
        self.before.insert(own.clone(), definition.clone());
        let (name, wanted) = match is_uuid {
            true => {
                let uuid = json!({"type": "fixed", "name": AVRO_NAME, "size": 16, "logicalType": UUID});
                (AVRO_NAME.to_string(), uuid)
            }
            false => (own, definition),
        };
        *found = match self.now.insert(name.clone()) {
            true => wanted,
            false => Value::from(name),
        };
    }
}

fn is_fixed(value: &Value) -> bool {
    value.get("type").is_some_and(|t| t == "fixed") && value.get("size").is_some_and(|size| size == 16)
}

/// The type of a field, or each of a union.
fn each_type(found: &mut Value, change: &mut impl FnMut(&mut Value)) {
    match found {
        Value::Array(union) => union.iter_mut().for_each(change),
        one => change(one),
    }
}

/// Every object, from the outermost, in the order of the text.
fn visit(value: &mut Value, change: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| visit(value, change)),
        Value::Object(_) => {
            change(value);
            if let Value::Object(fields) = value {
                fields.values_mut().for_each(|value| visit(value, change));
            }
        }
        _ => {}
    }
}

/// `fixed[16]` for `uuid` in the JSON of a schema. Their defaults go: they would be of the wrong form.
fn hide(schema: &mut Value) {
    visit(schema, &mut |value| {
        if value.get("type").is_some_and(|t| t == UUID)
            && let Some(field) = value.as_object_mut()
        {
            field.insert("type".into(), Value::from(FIXED));
            field.remove("initial-default");
            field.remove("write-default");
        }
    });
}

/// Ids of the fields that are uuids in any schema of the table: a field's type never becomes one, nor
/// anything else.
fn uuid_fields(metadata: &TableMetadata) -> BTreeSet<i32> {
    let of_schema = |schema: &SchemaRef| {
        let ids = (1..=metadata.last_column_id()).filter(|id| {
            let field = schema.field_by_id(*id);
            field.is_some_and(|field| *field.field_type == Type::Primitive(PrimitiveType::Uuid))
        });
        ids.collect::<Vec<_>>()
    };
    metadata.schemas_iter().flat_map(of_schema).collect()
}

/// The schema with its uuids.
fn revealed(schema: &SchemaRef, uuids: &BTreeSet<i32>) -> Result<SchemaRef> {
    let is_hidden = |id: &i32| {
        let field = schema.field_by_id(*id);
        field.is_some_and(|field| *field.field_type != Type::Primitive(PrimitiveType::Uuid))
    };
    if !uuids.iter().any(is_hidden) {
        return Ok(schema.clone());
    }
    let mut revealed = to_json(schema)?;
    visit(&mut revealed, &mut |value| {
        let id = value.get("id").and_then(Value::as_i64).and_then(|id| i32::try_from(id).ok());
        if id.is_some_and(|id| uuids.contains(&id))
            && let Some(found) = value.get_mut("type")
        {
            *found = Value::from(UUID);
        }
    });
    from_json(revealed)
}

fn to_json(schema: &Schema) -> Result<Value> {
    serde_json::to_value(schema).map_err(|e| Error::Internal(format!("a schema: {e}")))
}

fn from_json(schema: Value) -> Result<SchemaRef> {
    let schema = serde_json::from_value(schema);
    schema.map(Arc::new).map_err(|e| Error::Internal(format!("a schema with other types: {e}")))
}

#[cfg(test)]
mod tests {
    use super::super::manifest_header::container;
    use super::*;

    fn field(id: i64, data_type: &Value) -> Value {
        json!({"name": format!("f{id}"), "field-id": id, "type": ["null", data_type]})
    }

    /// The Avro schema of a manifest with these partition fields.
    fn avro(fields: &[Value]) -> Value {
        let partition = json!({"type": "record", "name": "r102", "fields": fields});
        json!({"type": "record", "name": "manifest_entry", "fields": [
            {"name": "status", "field-id": 0, "type": "int"},
            {"name": "data_file", "field-id": 2, "type": {"type": "record", "name": "r2", "fields": [
                {"name": "partition", "field-id": 102, "type": partition},
            ]}},
        ]})
    }

    fn schema(data_type: &str) -> Value {
        json!({"type": "struct", "schema-id": 0, "fields": [
            {"id": 1, "name": "a", "required": false, "type": data_type},
            {"id": 2, "name": "b", "required": false, "type": "fixed[16]"},
        ]})
    }

    fn manifest(avro: &Value, schema: &Value) -> Vec<u8> {
        container(&[("avro.schema", &avro.to_string()), ("schema", &schema.to_string()), ("content", "data")])
    }

    fn avro_of(manifest: &[u8]) -> Value {
        let header = ManifestHeader::parse(manifest).unwrap();
        serde_json::from_slice(header.get(AVRO_SCHEMA).unwrap()).unwrap()
    }

    #[test]
    fn what_was_hidden_is_revealed() {
        let uuid = json!({"type": "fixed", "name": "uuid_fixed", "size": 16, "logicalType": "uuid"});
        let written = manifest(&avro(&[field(1000, &uuid)]), &schema("uuid"));
        let plain = json!({"type": "fixed", "name": "uuid_fixed", "size": 16});
        let read = hidden(&written).unwrap();
        assert_eq!(read, manifest(&avro(&[field(1000, &plain)]), &schema("fixed[16]")));
        assert_eq!(hidden(&read), None);
        let partitions =
            UuidPartitions { fields: BTreeSet::from([1000]), schema: from_json(schema("uuid")).unwrap() };
        let hidden_schema = to_json(&partitions.hidden_schema().unwrap()).unwrap();
        assert_eq!(hidden_schema["fields"][0]["type"], "fixed[16]");
        let revealed = partitions.reveal(&read).unwrap();
        assert_eq!(avro_of(&revealed), avro_of(&written));
        let header = ManifestHeader::parse(&revealed).unwrap();
        let schema: Value = serde_json::from_slice(header.get(SCHEMA).unwrap()).unwrap();
        assert_eq!(schema["fields"][0]["type"], "uuid");
        assert_eq!(schema["fields"][1]["type"], "fixed[16]");
    }

    #[test]
    fn a_type_is_defined_once_where_it_comes_first() {
        let fixed = json!({"type": "fixed", "name": "fixed_16", "size": 16});
        let decimal = json!({"type": "fixed", "name": "decimal_38_0", "size": 16, "logicalType": "decimal"});
        let (named, uuid_named) = (json!("fixed_16"), json!("uuid_fixed"));
        let given =
            [field(1, &fixed), field(2, &named), field(3, &fixed), field(4, &fixed), field(5, &decimal)];
        let partitions =
            UuidPartitions { fields: BTreeSet::from([1, 3]), schema: from_json(schema("uuid")).unwrap() };
        let revealed = partitions.reveal(&manifest(&avro(&given), &schema("fixed[16]"))).unwrap();
        let uuid = json!({"type": "fixed", "name": "uuid_fixed", "size": 16, "logicalType": "uuid"});
        let expected =
            [field(1, &uuid), field(2, &fixed), field(3, &uuid_named), field(4, &named), field(5, &decimal)];
        assert_eq!(avro_of(&revealed), avro(&expected));
    }

    #[test]
    fn other_manifests_stay_as_they_are() {
        let text = json!({"type": "string", "logicalType": "uuid"});
        assert_eq!(hidden(&manifest(&avro(&[field(1, &text)]), &schema("string"))), None);
        assert_eq!(hidden(&manifest(&avro(&[field(1, &json!("int"))]), &schema("uuid"))), None);
        assert_eq!(hidden(b"Obj"), None);
    }
}
