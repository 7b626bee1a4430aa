//! Delta's schema and arrow's (Delta protocol, "Schema Serialization Format" and "Column Mapping").
//!
//! Ids: with column mapping, the mapping's ids; without, positions counted from 1 in depth-first
//! order over struct fields, which no file holds. Elements of lists and entries of maps are found by
//! their place in the type and have no ids.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use delta_kernel::schema::{
    ArrayType, ColumnMetadataKey, DataType as DeltaType, MapType, MetadataValue, PrimitiveType, StructField,
    StructType,
};
use delta_kernel::table_features::ColumnMappingMode;
use uuid::Uuid;

use super::identity;
use crate::error::{Error, Result};
use crate::table::IdentityColumns;
use crate::table::definition::ColumnDefinition;
use crate::table::partition::{PartitionField, PartitionSpec, Transform};
use crate::table::schema::{
    COMMENT, ColumnResolution, DEFAULT_SQL, FIELD_ID, FieldId, PHYSICAL_NAME, TableSchema,
};

/// Characters that no column name may hold without column mapping (Parquet writers of Spark refuse them).
const FORBIDDEN_WITHOUT_MAPPING: &str = " ,;{}()\n\t=";
/// Field metadata key of a column default (Delta protocol, "Default Columns").
const CURRENT_DEFAULT: &str = "CURRENT_DEFAULT";
/// Id of the first partition field; Delta has none, Iceberg's start here too.
const FIRST_PARTITION_FIELD_ID: FieldId = 1000;

/// Reads a table's schema. `table` names the table in errors.
pub(super) fn to_table_schema(
    table: &str,
    schema: &StructType,
    mode: ColumnMappingMode,
) -> Result<TableSchema> {
    let mut reader = SchemaReader { table, mode, next_id: 1 };
    let mut fields = Vec::with_capacity(schema.num_fields());
    let mut field_ids = Vec::with_capacity(schema.num_fields());
    let mut identity = IdentityColumns::new();
    for field in schema.fields() {
        let (id, arrow) = reader.field(field)?;
        identity.extend(identity::of_field(field).map(|column| (id, column)));
        fields.push(arrow);
        field_ids.push(id);
    }
    Ok(TableSchema {
        schema_id: 0,
        arrow: Arc::new(Schema::new(fields)),
        field_ids,
        resolution: match mode {
            ColumnMappingMode::Id => ColumnResolution::FieldId { name_mapping: None },
            ColumnMappingMode::Name | ColumnMappingMode::None => ColumnResolution::Name,
        },
        initial_defaults: HashMap::new(),
        write_defaults: HashMap::new(),
        identifier_field_ids: Vec::new(),
        identity,
    })
}

struct SchemaReader<'a> {
    table: &'a str,
    mode: ColumnMappingMode,
    /// Next synthetic id.
    next_id: FieldId,
}

impl SchemaReader<'_> {
    fn field(&mut self, field: &StructField) -> Result<(FieldId, FieldRef)> {
        let id = self.id(field)?;
        let data_type = self.data_type(field.name(), field.data_type())?;
        let mut metadata = HashMap::new();
        if self.mode != ColumnMappingMode::None {
            metadata.insert(FIELD_ID.to_string(), id.to_string());
            let physical = text(field, ColumnMetadataKey::ColumnMappingPhysicalName.as_ref());
            let physical = physical.ok_or_else(|| self.incomplete_mapping(field))?;
            metadata.insert(PHYSICAL_NAME.to_string(), physical.to_string());
        }
        if let Some(comment) = text(field, COMMENT) {
            metadata.insert(COMMENT.to_string(), comment.to_string());
        }
        if let Some(default) = text(field, CURRENT_DEFAULT) {
            metadata.insert(DEFAULT_SQL.to_string(), default.to_string());
        }
        let arrow = Field::new(field.name(), data_type, field.is_nullable()).with_metadata(metadata);
        Ok((id, Arc::new(arrow)))
    }

    fn id(&mut self, field: &StructField) -> Result<FieldId> {
        if self.mode == ColumnMappingMode::None {
            let id = self.next_id;
            self.next_id += 1;
            return Ok(id);
        }
        let id = field.column_mapping_id().and_then(|id| FieldId::try_from(id).ok());
        id.ok_or_else(|| self.incomplete_mapping(field))
    }

    fn incomplete_mapping(&self, field: &StructField) -> Error {
        Error::corrupt(
            self.table,
            format!("column mapping is on, but column \"{}\" has no id or no physical name", field.name()),
        )
    }

    fn data_type(&mut self, column: &str, data_type: &DeltaType) -> Result<DataType> {
        Ok(match data_type {
            DeltaType::Primitive(primitive) => self.primitive(column, primitive)?,
            DeltaType::Struct(fields) => {
                let fields: Result<Vec<FieldRef>> = fields.fields().map(|f| Ok(self.field(f)?.1)).collect();
                DataType::Struct(fields?.into())
            }
            DeltaType::Array(array) => {
                let element = self.data_type(column, array.element_type())?;
                DataType::List(Arc::new(Field::new("element", element, array.contains_null())))
            }
            DeltaType::Map(map) => {
                let key = Field::new("key", self.data_type(column, map.key_type())?, false);
                let value =
                    Field::new("value", self.data_type(column, map.value_type())?, map.value_contains_null());
                let entries = DataType::Struct(vec![key, value].into());
                DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
            }
            DeltaType::Variant(_) => return Err(self.unsupported(column, "variant")),
        })
    }

    fn primitive(&self, column: &str, primitive: &PrimitiveType) -> Result<DataType> {
        use PrimitiveType::*;
        Ok(match primitive {
            String => DataType::Utf8View,
            Binary => DataType::BinaryView,
            Long => DataType::Int64,
            Integer => DataType::Int32,
            Short => DataType::Int16,
            Byte => DataType::Int8,
            Float => DataType::Float32,
            Double => DataType::Float64,
            Boolean => DataType::Boolean,
            Date => DataType::Date32,
            Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            TimestampNtz => DataType::Timestamp(TimeUnit::Microsecond, None),
            Void => DataType::Null,
            Decimal(decimal) => DataType::Decimal128(decimal.precision(), decimal.scale() as i8),
            other @ (IntervalYearMonth | IntervalDayTime) => {
                return Err(self.unsupported(column, &other.to_string()));
            }
        })
    }

    fn unsupported(&self, column: &str, data_type: &str) -> Error {
        Error::unsupported(
            format!("Delta table {}", self.table),
            format!("the type {data_type} (column \"{column}\")"),
        )
    }
}

fn text<'a>(field: &'a StructField, key: &str) -> Option<&'a str> {
    match field.metadata().get(key) {
        Some(MetadataValue::String(value)) => Some(value),
        _ => None,
    }
}

/// The name of a column in data files, partition values and statistics.
pub(super) fn physical_name(field: &Field) -> &str {
    field.metadata().get(PHYSICAL_NAME).map_or(field.name(), String::as_str)
}

/// The spec of a table partitioned by `columns` (logical names).
pub(super) fn partition_spec(table: &str, schema: &TableSchema, columns: &[String]) -> Result<PartitionSpec> {
    let mut fields = Vec::with_capacity(columns.len());
    for (i, column) in columns.iter().enumerate() {
        let index = schema.arrow.fields().iter().position(|f| f.name() == column);
        let index = index.ok_or_else(|| {
            Error::corrupt(table, format!("partition column \"{column}\" is not in the schema"))
        })?;
        let data_type = schema.arrow.field(index).data_type();
        if data_type.is_nested() {
            return Err(Error::corrupt(
                table,
                format!("partition column \"{column}\" is of type {data_type}"),
            ));
        }
        fields.push(PartitionField {
            source_id: schema.field_ids[index],
            field_id: FIRST_PARTITION_FIELD_ID + i as FieldId,
            name: column.clone(),
            transform: Transform::Identity,
            result_type: data_type.clone(),
        });
    }
    Ok(PartitionSpec { spec_id: 0, fields })
}

/// Whether any field, at any level, is a timestamp without zone.
pub(super) fn has_timestamp_ntz(schema: &StructType) -> bool {
    fn within(data_type: &DeltaType) -> bool {
        match data_type {
            DeltaType::Primitive(primitive) => *primitive == PrimitiveType::TimestampNtz,
            DeltaType::Struct(fields) => has_timestamp_ntz(fields),
            DeltaType::Array(array) => within(array.element_type()),
            DeltaType::Map(map) => within(map.key_type()) || within(map.value_type()),
            DeltaType::Variant(_) => false,
        }
    }
    schema.fields().any(|field| within(field.data_type()))
}

/// New columns as Delta stores them, and the largest column id given out. `last_id`: the largest that was
/// given out before (0: none, or no mapping). Names in files are made of `seed` and the ids.
pub(super) fn from_definition(
    table: &str,
    columns: &[ColumnDefinition],
    mode: ColumnMappingMode,
    last_id: i64,
    seed: Uuid,
) -> Result<(StructType, i64)> {
    let mut writer = SchemaWriter { table, mode, max_id: last_id, seed };
    let mut fields = Vec::with_capacity(columns.len());
    for column in columns {
        let mut metadata = BTreeMap::new();
        if let Some(comment) = &column.comment {
            metadata.insert(COMMENT.to_string(), MetadataValue::from(comment.as_str()));
        }
        if let Some(default) = &column.default {
            metadata.insert(CURRENT_DEFAULT.to_string(), MetadataValue::from(default.sql.as_str()));
        }
        if let Some(identity) = &column.identity {
            metadata.extend(identity::stored(identity, &column.data_type));
        }
        fields.push(writer.field(&column.name, &column.data_type, column.nullable, metadata)?);
    }
    if fields.is_empty() {
        return Err(Error::Invalid(format!("Delta table \"{table}\" needs at least one column")));
    }
    writer.check_unique(fields.iter())?;
    let schema = StructType::try_new(fields).map_err(|e| Error::Invalid(e.to_string()))?;
    Ok((schema, writer.max_id))
}

struct SchemaWriter<'a> {
    table: &'a str,
    mode: ColumnMappingMode,
    max_id: i64,
    seed: Uuid,
}

impl SchemaWriter<'_> {
    fn field(
        &mut self,
        name: &str,
        data_type: &DataType,
        nullable: bool,
        mut metadata: BTreeMap<String, MetadataValue>,
    ) -> Result<StructField> {
        if self.mode == ColumnMappingMode::None {
            if name.contains(|c| FORBIDDEN_WITHOUT_MAPPING.contains(c)) {
                return Err(Error::Invalid(format!(
                    "column name \"{name}\" has a character that Delta allows only with column mapping \
                     (TBLPROPERTIES ('delta.columnMapping.mode' = 'name'))"
                )));
            }
        } else {
            self.max_id += 1;
            metadata.insert(ColumnMetadataKey::ColumnMappingId.as_ref().into(), self.max_id.into());
            let physical = format!("col-{}-{}", self.seed, self.max_id);
            metadata.insert(ColumnMetadataKey::ColumnMappingPhysicalName.as_ref().into(), physical.into());
        }
        let data_type = self.data_type(name, data_type)?;
        Ok(StructField::new(name, data_type, nullable).with_metadata(metadata))
    }

    fn data_type(&mut self, column: &str, data_type: &DataType) -> Result<DeltaType> {
        use PrimitiveType::*;
        let primitive = match data_type {
            DataType::Boolean => Boolean,
            DataType::Int8 => Byte,
            DataType::Int16 | DataType::UInt8 => Short,
            DataType::Int32 | DataType::UInt16 => Integer,
            DataType::Int64 | DataType::UInt32 => Long,
            DataType::UInt64 => self.decimal(column, data_type, 20, 0)?,
            DataType::Float16 | DataType::Float32 => Float,
            DataType::Float64 => Double,
            DataType::Decimal32(p, s)
            | DataType::Decimal64(p, s)
            | DataType::Decimal128(p, s)
            | DataType::Decimal256(p, s) => self.decimal(column, data_type, *p, *s)?,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => String,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Binary,
            // Sixteen fixed bytes are how a uuid arrives; Delta has no such type, and bytes would
            // lose its text form.
            DataType::FixedSizeBinary(16) => return Err(self.unsupported(column, "uuid (use text)")),
            DataType::FixedSizeBinary(_) => Binary,
            DataType::Date32 | DataType::Date64 => Date,
            DataType::Timestamp(_, None) => TimestampNtz,
            DataType::Timestamp(_, Some(_)) => Timestamp,
            DataType::Dictionary(_, value) => return self.data_type(column, value),
            DataType::Struct(fields) => {
                let fields: Result<Vec<StructField>> = fields
                    .iter()
                    .map(|f| self.field(f.name(), f.data_type(), f.is_nullable(), comment(f)))
                    .collect();
                let fields = fields?;
                self.check_unique(fields.iter())?;
                let fields = StructType::try_new(fields).map_err(|e| Error::Invalid(e.to_string()))?;
                return Ok(DeltaType::from(fields));
            }
            DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
                let element_type = self.data_type(column, element.data_type())?;
                return Ok(DeltaType::from(ArrayType::new(element_type, element.is_nullable())));
            }
            DataType::Map(entries, _) => return self.map(column, entries),
            DataType::Time32(_) | DataType::Time64(_) => {
                return Err(self.unsupported(column, "time (use text)"));
            }
            DataType::Interval(_) | DataType::Duration(_) => return Err(self.unsupported(column, "interval")),
            other => return Err(self.unsupported(column, &other.to_string())),
        };
        Ok(DeltaType::Primitive(primitive))
    }

    fn map(&mut self, column: &str, entries: &FieldRef) -> Result<DeltaType> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(self.unsupported(column, "a map without entries"));
        };
        let [key, value] = fields.as_ref() else {
            return Err(self.unsupported(column, "a map without key and value"));
        };
        let key_type = self.data_type(column, key.data_type())?;
        let value_type = self.data_type(column, value.data_type())?;
        Ok(DeltaType::from(MapType::new(key_type, value_type, value.is_nullable())))
    }

    fn decimal(&self, column: &str, data_type: &DataType, precision: u8, scale: i8) -> Result<PrimitiveType> {
        let unsupported =
            || self.unsupported(column, &format!("{data_type} (a Delta decimal has up to 38 digits)"));
        let scale = u8::try_from(scale).map_err(|_| unsupported())?;
        PrimitiveType::decimal(precision, scale).map_err(|_| unsupported())
    }

    /// Delta's names are case-insensitive.
    fn check_unique<'f>(&self, fields: impl Iterator<Item = &'f StructField>) -> Result<()> {
        let mut seen = HashSet::new();
        for field in fields {
            if !seen.insert(field.name().to_lowercase()) {
                return Err(Error::Invalid(format!(
                    "column \"{}\" of Delta table \"{}\" is specified more than once (letter case does not \
                     distinguish Delta columns)",
                    field.name(),
                    self.table
                )));
            }
        }
        Ok(())
    }

    fn unsupported(&self, column: &str, data_type: &str) -> Error {
        Error::unsupported(
            format!("column \"{column}\" of Delta table \"{}\"", self.table),
            format!("the type {data_type}"),
        )
    }
}

fn comment(field: &Field) -> BTreeMap<String, MetadataValue> {
    let comment = field.metadata().get(COMMENT);
    comment.map(|c| (COMMENT.to_string(), MetadataValue::from(c.as_str()))).into_iter().collect()
}
