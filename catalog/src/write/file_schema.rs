//! The schema of data files: a table's schema under the names and ids that its format stores.
//!
//! Field ids are written at every level where the table's fields carry them; Delta column mapping
//! replaces logical names by physical ones; Delta leaves partition columns out of its files.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::LogicalType;
use parquet::schema::types::{Type, TypePtr};

use crate::error::{Error, Result};
use crate::table::row_lineage::{LAST_UPDATED_SEQUENCE_NUMBER, ROW_ID};
use crate::table::schema::{EXTENSION_TYPE, FIELD_ID, PHYSICAL_NAME, UUID_EXTENSION};
use crate::table::{FieldId, RowLineage, TableFormat, TableSnapshot};

/// How rows of a table are laid out in its files.
#[derive(Debug)]
pub struct FileSchema {
    /// The table's columns, logical names.
    pub table: SchemaRef,
    /// The same columns as files name them, whether or not they are stored.
    pub physical: SchemaRef,
    /// Columns stored in files: indexes into `physical`.
    pub stored: Vec<usize>,
    /// `physical` projected to `stored`.
    pub arrow: SchemaRef,
    /// Field ids of the stored columns.
    pub field_ids: Vec<FieldId>,
    /// Root of the Parquet schema of `arrow`.
    pub parquet: TypePtr,
}

impl FileSchema {
    /// Fails with `Unsupported` for a type that Parquet cannot hold.
    pub fn of(snapshot: &TableSnapshot) -> Result<Self> {
        Self::build(snapshot, snapshot.schema.arrow.clone(), &snapshot.schema.field_ids)
    }

    /// With the two columns of `lineage`: rows that existed before keep their identity; null means that
    /// it follows from the file.
    pub fn with_lineage(snapshot: &TableSnapshot, lineage: &RowLineage) -> Result<Self> {
        let mut fields = snapshot.schema.arrow.fields().to_vec();
        let mut ids = snapshot.schema.field_ids.clone();
        for column in lineage.columns() {
            fields.push(Arc::new(column.field()));
            ids.push(column.id);
        }
        Self::build(snapshot, Arc::new(Schema::new(fields)), &ids)
    }

    fn build(snapshot: &TableSnapshot, table: SchemaRef, ids: &[FieldId]) -> Result<Self> {
        let physical: Vec<FieldRef> = table
            .fields()
            .iter()
            .zip(ids)
            .map(|(field, id)| physical_field(field, None, (!is_lineage(*id)).then_some(*id)))
            .collect();
        let in_directories = |id: &FieldId| {
            snapshot.format == TableFormat::Delta
                && snapshot.default_spec.fields.iter().any(|f| f.source_id == *id)
        };
        // A column of Iceberg's type `unknown` has nothing to store.
        let stored: Vec<usize> = (0..physical.len())
            .filter(|i| !ids.get(*i).is_some_and(in_directories))
            .filter(|i| physical.get(*i).is_some_and(|f| *f.data_type() != DataType::Null))
            .collect();
        let physical = Arc::new(Schema::new(physical));
        let arrow = Arc::new(physical.project(&stored).map_err(|e| Error::Internal(e.to_string()))?);
        if stored.is_empty() {
            return Err(Error::unsupported(
                &snapshot.location,
                "a table without columns to store in its files",
            ));
        }
        let parquet = ArrowSchemaConverter::new().schema_root("table").convert(&arrow);
        let parquet = parquet.map_err(|e| Error::unsupported(&snapshot.location, e))?;
        let parquet = mark_uuids(parquet.root_schema_ptr(), arrow.fields())?;
        let field_ids = stored.iter().filter_map(|i| ids.get(*i).copied()).collect();
        Ok(Self { table, physical, stored, arrow, field_ids, parquet })
    }

    /// How many of the stored columns are not of row lineage; those are the last.
    pub fn without_lineage(&self) -> usize {
        self.field_ids.iter().take_while(|id| !is_lineage(**id)).count()
    }

    /// Number among `physical` of the column that tells the commit that changed a row last, in a table with row
    /// lineage.
    pub fn last_change(&self) -> Option<usize> {
        let stored = self.field_ids.iter().position(|id| *id == LAST_UPDATED_SEQUENCE_NUMBER)?;
        self.stored.get(stored).copied()
    }

    /// The stored columns of a batch of `physical`.
    pub fn project(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if self.stored.len() == batch.num_columns() {
            return Ok(batch.clone());
        }
        batch.project(&self.stored).map_err(|e| Error::Internal(e.to_string()))
    }

    /// Path in the file of a primitive column given by logical name: of the table, or of a struct
    /// field with dots.
    pub fn leaf_path(&self, name: &str) -> Option<Vec<String>> {
        fn find(logical: &Fields, physical: &Fields, name: &str) -> Option<Vec<String>> {
            for (field, stored) in logical.iter().zip(physical) {
                if field.name() == name && !field.data_type().is_nested() {
                    return Some(vec![stored.name().clone()]);
                }
                let rest = name.strip_prefix(field.name().as_str()).and_then(|rest| rest.strip_prefix('.'));
                if let (Some(rest), DataType::Struct(a), DataType::Struct(b)) =
                    (rest, field.data_type(), stored.data_type())
                    && let Some(mut path) = find(a, b, rest)
                {
                    path.insert(0, stored.name().clone());
                    return Some(path);
                }
            }
            None
        }
        find(self.table.fields(), self.physical.fields(), name)
    }
}

/// Whether it is a column of row lineage, about which files say nothing but its values.
pub fn is_lineage(id: FieldId) -> bool {
    [ROW_ID, LAST_UPDATED_SEQUENCE_NUMBER].contains(&id)
}

/// The field as files hold it. `name`: instead of its own. `id`: of a top-level column.
fn physical_field(field: &Field, name: Option<&str>, id: Option<FieldId>) -> FieldRef {
    let metadata = field.metadata();
    let mapped = metadata.get(PHYSICAL_NAME);
    let name = name.or(mapped.map(String::as_str)).unwrap_or(field.name());
    let mut kept = HashMap::new();
    if let Some(id) = metadata.get(FIELD_ID) {
        kept.insert(FIELD_ID.to_string(), id.clone());
    } else if let (Some(_), Some(id)) = (mapped, id) {
        // Delta asks for ids in files under column mapping by name too.
        kept.insert(FIELD_ID.to_string(), id.to_string());
    }
    if let Some(extension) = metadata.get(EXTENSION_TYPE) {
        kept.insert(EXTENSION_TYPE.to_string(), extension.clone());
    }
    let data_type = match field.data_type() {
        DataType::Struct(children) => {
            DataType::Struct(children.iter().map(|c| physical_field(c, None, None)).collect())
        }
        // Names of the levels of lists and maps are fixed by the Parquet specification.
        DataType::List(child) => DataType::List(physical_field(child, Some("element"), None)),
        DataType::LargeList(child) => DataType::LargeList(physical_field(child, Some("element"), None)),
        DataType::FixedSizeList(child, size) => {
            DataType::FixedSizeList(physical_field(child, Some("element"), None), *size)
        }
        DataType::Map(entries, sorted) => match entries.data_type() {
            DataType::Struct(children) => {
                let names = ["key", "value"];
                let children: Fields =
                    children.iter().zip(names).map(|(c, name)| physical_field(c, Some(name), None)).collect();
                DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(children), false)), *sorted)
            }
            other => other.clone(),
        },
        other => other.clone(),
    };
    Arc::new(Field::new(name, data_type, field.is_nullable()).with_metadata(kept))
}

/// Annotates the UUID columns of a Parquet schema, which the arrow converter leaves plain.
fn mark_uuids(root: TypePtr, fields: &Fields) -> Result<TypePtr> {
    fn is_uuid(field: &Field) -> bool {
        *field.data_type() == DataType::FixedSizeBinary(16)
            && field.metadata().get(EXTENSION_TYPE).is_some_and(|name| name == UUID_EXTENSION)
    }
    fn contains(field: &Field) -> bool {
        is_uuid(field)
            || match field.data_type() {
                DataType::Struct(children) => children.iter().any(|c| contains(c)),
                DataType::List(c) | DataType::LargeList(c) | DataType::Map(c, _) => contains(c),
                DataType::FixedSizeList(c, _) => contains(c),
                _ => false,
            }
    }
    fn mark(node: &TypePtr, field: &Field) -> parquet::errors::Result<TypePtr> {
        if !contains(field) {
            return Ok(node.clone());
        }
        match node.as_ref() {
            Type::PrimitiveType { basic_info, physical_type, type_length, .. } => {
                let id = basic_info.has_id().then(|| basic_info.id());
                let marked = Type::primitive_type_builder(basic_info.name(), *physical_type)
                    .with_repetition(basic_info.repetition())
                    .with_length(*type_length)
                    .with_id(id)
                    .with_logical_type(Some(LogicalType::Uuid))
                    .build()?;
                Ok(Arc::new(marked))
            }
            Type::GroupType { basic_info, fields } => {
                let children: Vec<&Field> = match field.data_type() {
                    DataType::Struct(children) => children.iter().map(AsRef::as_ref).collect(),
                    // The repeated group between a list and its element stands for the same field.
                    DataType::List(c) | DataType::LargeList(c) | DataType::FixedSizeList(c, _) => {
                        let is_repeated = basic_info.name() == "list";
                        vec![if is_repeated { c.as_ref() } else { field }]
                    }
                    DataType::Map(entries, _) => vec![entries.as_ref()],
                    _ => vec![],
                };
                let marked: Vec<TypePtr> = fields
                    .iter()
                    .zip(children)
                    .map(|(node, child)| mark(node, child))
                    .collect::<Result<_, _>>()?;
                let mut builder = Type::group_type_builder(basic_info.name())
                    .with_logical_type(basic_info.logical_type_ref().cloned())
                    .with_converted_type(basic_info.converted_type())
                    .with_id(basic_info.has_id().then(|| basic_info.id()))
                    .with_fields(marked);
                if basic_info.has_repetition() {
                    builder = builder.with_repetition(basic_info.repetition());
                }
                Ok(Arc::new(builder.build()?))
            }
        }
    }
    if !fields.iter().any(|f| contains(f)) {
        return Ok(root);
    }
    let marked: parquet::errors::Result<Vec<TypePtr>> =
        root.get_fields().iter().zip(fields).map(|(node, field)| mark(node, field)).collect();
    let internal = |e: parquet::errors::ParquetError| Error::Internal(e.to_string());
    let root = Type::group_type_builder(root.name()).with_fields(marked.map_err(internal)?).build();
    Ok(Arc::new(root.map_err(internal)?))
}
