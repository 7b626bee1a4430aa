//! Schemas: Iceberg's into arrow's with field ids at every level, and arrow types into Iceberg's.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema as ArrowSchema, TimeUnit};
use datafusion::scalar::ScalarValue;
use iceberg::spec::{
    DEFAULT_SCHEMA_NAME_MAPPING, FormatVersion, ListType, Literal, MapType,
    NameMapping as IcebergNameMapping, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, Type,
};

use super::identity;
use super::literal::{from_scalar, to_scalar, value_type};
use crate::error::{Error, Result};
use crate::table::schema::{
    COMMENT, ColumnResolution, EXTENSION_TYPE, FIELD_ID, MappedField, NameMapping, UUID_EXTENSION,
};
use crate::table::{ColumnDefault, ColumnDefinition, FieldId, TableSchema};

/// The neutral schema of `schema`. `properties` hold the name mapping, if there is one.
/// Fails with `Corrupt` naming `location` if the name mapping is no JSON.
pub fn table_schema(
    schema: &Schema,
    properties: &HashMap<String, String>,
    location: &str,
) -> Result<TableSchema> {
    let columns = schema.as_struct().fields();
    let mut initial_defaults = HashMap::new();
    let mut write_defaults = HashMap::new();
    for field in schema.field_id_to_fields().values() {
        if let Some(value) = &field.initial_default {
            initial_defaults.insert(field.id, default_value(field, value)?);
        }
        if let Some(value) = &field.write_default {
            write_defaults.insert(field.id, default_value(field, value)?);
        }
    }
    // In column order where they are columns: the crate keeps them in a hash set.
    let mut identifier_field_ids: Vec<FieldId> = schema.identifier_field_ids().collect();
    identifier_field_ids
        .sort_by_key(|id| (columns.iter().position(|c| c.id == *id).unwrap_or(columns.len()), *id));
    Ok(TableSchema {
        schema_id: schema.schema_id(),
        arrow: Arc::new(ArrowSchema::new(columns.iter().map(arrow_field).collect::<Result<Vec<_>>>()?)),
        field_ids: columns.iter().map(|c| c.id).collect(),
        resolution: ColumnResolution::FieldId { name_mapping: name_mapping(properties, location)? },
        initial_defaults,
        write_defaults,
        identifier_field_ids,
        identity: identity::of_properties(properties, schema, location)?,
    })
}

fn default_value(field: &NestedField, value: &Literal) -> Result<ScalarValue> {
    match (field.field_type.as_ref(), value) {
        (Type::Primitive(primitive), Literal::Primitive(value)) => {
            let scalar = to_scalar(primitive, Some(value))?;
            if scalar.is_null() {
                return Err(Error::unsupported("the table", format!("the default of column {}", field.name)));
            }
            Ok(scalar.cast_to(&arrow_type(&field.field_type)?)?)
        }
        _ => Err(Error::unsupported("the table", format!("a nested default of column {}", field.name))),
    }
}

fn name_mapping(properties: &HashMap<String, String>, location: &str) -> Result<Option<NameMapping>> {
    let Some(text) = properties.get(DEFAULT_SCHEMA_NAME_MAPPING) else { return Ok(None) };
    let mapping: IcebergNameMapping = serde_json::from_str(text)
        .map_err(|e| Error::corrupt(location, format!("property {DEFAULT_SCHEMA_NAME_MAPPING}: {e}")))?;
    fn mapped(field: &iceberg::spec::MappedField) -> MappedField {
        MappedField {
            field_id: field.field_id(),
            names: field.names().to_vec(),
            fields: field.fields().iter().map(|f| mapped(f)).collect(),
        }
    }
    Ok(Some(NameMapping { fields: mapping.fields().iter().map(mapped).collect() }))
}

/// The arrow field of an Iceberg field, nested ones included.
pub fn arrow_field(field: &NestedFieldRef) -> Result<FieldRef> {
    let mut metadata = HashMap::from([(FIELD_ID.to_string(), field.id.to_string())]);
    if let Some(doc) = &field.doc {
        metadata.insert(COMMENT.to_string(), doc.clone());
    }
    if *field.field_type == Type::Primitive(PrimitiveType::Uuid) {
        metadata.insert(EXTENSION_TYPE.to_string(), UUID_EXTENSION.to_string());
    }
    let data_type = arrow_type(&field.field_type)?;
    Ok(Arc::new(Field::new(&field.name, data_type, !field.required).with_metadata(metadata)))
}

/// The arrow type of an Iceberg type; strings and binaries are views.
pub fn arrow_type(iceberg_type: &Type) -> Result<DataType> {
    Ok(match iceberg_type {
        Type::Primitive(PrimitiveType::String) => DataType::Utf8View,
        Type::Primitive(PrimitiveType::Binary) => DataType::BinaryView,
        Type::Primitive(primitive) => value_type(primitive)?,
        Type::Struct(fields) => {
            DataType::Struct(fields.fields().iter().map(arrow_field).collect::<Result<Fields>>()?)
        }
        Type::List(list) => DataType::List(arrow_field(&list.element_field)?),
        Type::Map(map) => {
            let entry = Fields::from(vec![arrow_field(&map.key_field)?, arrow_field(&map.value_field)?]);
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entry), false)), false)
        }
    })
}

/// The Iceberg fields of column definitions. The ids given out here only have to be unique: creating
/// the table metadata assigns fresh ones, all columns of a level first. They follow `last_id`.
/// Fails with `Unsupported` naming the column whose type Iceberg lacks.
pub fn iceberg_fields(
    columns: &[ColumnDefinition],
    version: FormatVersion,
    last_id: i32,
) -> Result<Vec<NestedFieldRef>> {
    let mut types = IcebergTypes { version, next_id: last_id.saturating_add(1) };
    columns
        .iter()
        .map(|column| {
            let id = types.fresh_id();
            let iceberg_type = types.of(&column.name, &column.data_type)?;
            let mut field = NestedField::new(id, &column.name, iceberg_type, !column.nullable);
            field.doc = column.comment.clone();
            field.write_default = match &column.default {
                Some(default) => Some(write_default(column, default, &field.field_type, version)?),
                None => None,
            };
            Ok(Arc::new(field))
        })
        .collect()
}

/// Iceberg spec, "Default values": from version 3 on, values only.
fn write_default(
    column: &ColumnDefinition,
    default: &ColumnDefault,
    field_type: &Type,
    version: FormatVersion,
) -> Result<Literal> {
    let unsupported = |why: &str| {
        let object = format!("column \"{}\" of an Iceberg table of format version {version}", column.name);
        Err(Error::unsupported(object, format!("the default {} ({why})", default.sql)))
    };
    if version < FormatVersion::V3 {
        return unsupported("format version 3 has defaults");
    }
    let (Type::Primitive(primitive), Some(value)) = (field_type, &default.constant) else {
        return unsupported("only values of simple types can be kept");
    };
    let Some(literal) = from_scalar(primitive, value)?.map(Literal::Primitive) else {
        return unsupported("it is null");
    };
    // The crate panics on writing what has no JSON form.
    match literal.clone().try_into_json(field_type) {
        Ok(_) => Ok(literal),
        Err(e) => unsupported(e.message()),
    }
}

struct IcebergTypes {
    version: FormatVersion,
    next_id: i32,
}

impl IcebergTypes {
    fn fresh_id(&mut self) -> i32 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn of(&mut self, column: &str, data_type: &DataType) -> Result<Type> {
        Ok(match data_type {
            DataType::Struct(fields) => {
                let fields = fields.iter().map(|f| {
                    let id = self.fresh_id();
                    let name = format!("{column}.{}", f.name());
                    let mut field =
                        NestedField::new(id, f.name(), self.of(&name, f.data_type())?, !f.is_nullable());
                    field.doc = f.metadata().get(COMMENT).cloned();
                    Ok(Arc::new(field))
                });
                Type::Struct(StructType::new(fields.collect::<Result<Vec<_>>>()?))
            }
            DataType::List(element)
            | DataType::LargeList(element)
            | DataType::ListView(element)
            | DataType::LargeListView(element)
            | DataType::FixedSizeList(element, _) => {
                let id = self.fresh_id();
                let element_type = self.of(&format!("{column}.element"), element.data_type())?;
                Type::List(ListType::new(Arc::new(NestedField::list_element(
                    id,
                    element_type,
                    !element.is_nullable(),
                ))))
            }
            DataType::Map(entries, _) => self.map_of(column, entries)?,
            DataType::Dictionary(_, value) => self.of(column, value)?,
            _ => Type::Primitive(self.primitive_of(column, data_type)?),
        })
    }

    fn map_of(&mut self, column: &str, entries: &FieldRef) -> Result<Type> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(unsupported_type(column, entries.data_type()));
        };
        let [key, value] = fields.as_ref() else {
            return Err(unsupported_type(column, entries.data_type()));
        };
        let (key_id, value_id) = (self.fresh_id(), self.fresh_id());
        let key_type = self.of(&format!("{column}.key"), key.data_type())?;
        let value_type = self.of(&format!("{column}.value"), value.data_type())?;
        Ok(Type::Map(MapType::new(
            Arc::new(NestedField::map_key_element(key_id, key_type)),
            Arc::new(NestedField::map_value_element(value_id, value_type, !value.is_nullable())),
        )))
    }

    fn primitive_of(&self, column: &str, data_type: &DataType) -> Result<PrimitiveType> {
        use PrimitiveType as P;
        let nanoseconds = self.version >= FormatVersion::V3;
        Ok(match data_type {
            DataType::Boolean => P::Boolean,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => P::Int,
            DataType::Int64 | DataType::UInt32 => P::Long,
            DataType::UInt64 => P::Decimal { precision: 20, scale: 0 },
            DataType::Float16 | DataType::Float32 => P::Float,
            DataType::Float64 => P::Double,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => {
                match (u32::from(*precision), u32::try_from(*scale)) {
                    (precision @ 1..=38, Ok(scale)) if scale <= precision => P::Decimal { precision, scale },
                    _ => return Err(unsupported_type(column, data_type)),
                }
            }
            DataType::Date32 | DataType::Date64 => P::Date,
            DataType::Time32(_) | DataType::Time64(_) => P::Time,
            DataType::Timestamp(TimeUnit::Nanosecond, None) if nanoseconds => P::TimestampNs,
            DataType::Timestamp(TimeUnit::Nanosecond, Some(_)) if nanoseconds => P::TimestamptzNs,
            DataType::Timestamp(_, None) => P::Timestamp,
            DataType::Timestamp(_, Some(_)) => P::Timestamptz,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => P::String,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => P::Binary,
            DataType::FixedSizeBinary(16) => P::Uuid,
            DataType::FixedSizeBinary(length) => match u64::try_from(*length) {
                Ok(length) => P::Fixed(length),
                Err(_) => return Err(unsupported_type(column, data_type)),
            },
            _ => return Err(unsupported_type(column, data_type)),
        })
    }
}

fn unsupported_type(column: &str, data_type: &DataType) -> Error {
    Error::unsupported(format!("column \"{column}\""), format!("type {data_type} in an Iceberg table"))
}

#[cfg(test)]
#[path = "schema/tests.rs"]
mod tests;
