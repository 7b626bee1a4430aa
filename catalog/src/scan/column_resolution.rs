//! Columns of a data file under their names in the table's current schema.
//!
//! A data file names its columns as the table did when the file was written, or by ids, or by
//! physical names. Everything downstream of the footer (type coercion, pruning by statistics, bloom
//! filters and page index, projection, struct casts) looks columns up by name. So names are settled
//! once, where the footer is read: each field of the file's schema, at every depth, gets the logical
//! name of the column that it holds. A field that holds no column of the table keeps its name, unless
//! that name now means another column; then it gets one that no column can have.
//!
//! Only names change: types, levels, statistics and byte positions are the file's own.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataBuilder, RowGroupMetaData};
use parquet::schema::types::{BasicTypeInfo, SchemaDescriptor, Type, TypePtr};

use crate::table::FieldId;
use crate::table::schema::{ColumnResolution, FIELD_ID, MappedField, PHYSICAL_NAME};

/// Starts the name of a file column that holds no column of the table. Never part of a column name.
const UNKNOWN_PREFIX: &str = "\u{1}unknown:";

/// Settles the names of a table's data files.
#[derive(Debug)]
pub(super) struct ColumnResolver {
    fields: Fields,
    resolution: ColumnResolution,
}

/// How the fields of one file are found.
#[derive(Debug, Clone, Copy)]
enum Rule<'a> {
    Id,
    Mapping(&'a [MappedField]),
    Name,
}

impl ColumnResolver {
    /// `fields`: every column that a file may be asked for, hidden ones included.
    pub fn new(fields: Fields, resolution: ColumnResolution) -> Self {
        Self { fields, resolution }
    }

    /// The footer with logical names; itself, when it has them already.
    pub fn resolve(&self, footer: &Arc<ParquetMetaData>) -> Result<Arc<ParquetMetaData>, ParquetError> {
        let root = footer.file_metadata().schema_descr().root_schema();
        let rule = match &self.resolution {
            ColumnResolution::Name => Rule::Name,
            ColumnResolution::FieldId { .. } if has_ids(root) => Rule::Id,
            ColumnResolution::FieldId { name_mapping: Some(mapping) } => Rule::Mapping(&mapping.fields),
            ColumnResolution::FieldId { name_mapping: None } => Rule::Name,
        };
        match renamed_fields(root, &self.fields, rule)? {
            Some(fields) => Ok(Arc::new(with_schema(footer, group(root, root.name(), fields)?)?)),
            None => Ok(footer.clone()),
        }
    }
}

/// The field id that a schema's field carries.
pub(super) fn field_id(field: &Field) -> Option<FieldId> {
    field.metadata().get(FIELD_ID)?.parse().ok()
}

fn has_ids(t: &Type) -> bool {
    (!t.is_schema() && t.get_basic_info().has_id())
        || (t.is_group() && t.get_fields().iter().any(|f| has_ids(f)))
}

impl<'a> Rule<'a> {
    /// The column that a field of the file holds, with the rule for the fields inside it.
    fn find<'f>(self, file: &Type, columns: &'f Fields) -> (Option<&'f FieldRef>, Rule<'a>) {
        let by_id = |id: FieldId| columns.iter().find(|c| field_id(c) == Some(id));
        match self {
            Rule::Id => {
                let info = file.get_basic_info();
                // A column of row tracking has a name that is its own, and no id.
                let by_name = || columns.iter().find(|c| has_only_name(c) && physical_name(c) == file.name());
                (if info.has_id() { by_id(info.id()) } else { by_name() }, self)
            }
            Rule::Mapping(mapped) => match mapped.iter().find(|m| m.names.iter().any(|n| n == file.name())) {
                Some(m) => (m.field_id.and_then(by_id), Rule::Mapping(&m.fields)),
                None => (None, Rule::Mapping(&[])),
            },
            Rule::Name => (columns.iter().find(|c| physical_name(c) == file.name()), self),
        }
    }

    /// The rule inside a list's element or a map's key or value, which are found by position.
    fn inside(self, part: &str) -> Rule<'a> {
        match self {
            Rule::Mapping(mapped) => {
                let part = mapped.iter().find(|m| m.names.iter().any(|n| n == part));
                Rule::Mapping(part.map_or(&[], |m| &m.fields))
            }
            rule => rule,
        }
    }
}

fn has_only_name(column: &Field) -> bool {
    let metadata = column.metadata();
    metadata.contains_key(PHYSICAL_NAME) && !metadata.contains_key(FIELD_ID)
}

fn physical_name(column: &Field) -> &str {
    column.metadata().get(PHYSICAL_NAME).unwrap_or(column.name())
}

/// The children of `file` (a group) with the names of `columns`. `None`: nothing to change.
fn renamed_fields(
    file: &Type,
    columns: &Fields,
    rule: Rule<'_>,
) -> Result<Option<Vec<TypePtr>>, ParquetError> {
    let mut holders: HashMap<&str, usize> = HashMap::new();
    let mut changed = false;
    let mut fields = Vec::with_capacity(file.get_fields().len());
    for (position, field) in file.get_fields().iter().enumerate() {
        let (column, inside) = rule.find(field, columns);
        let renamed = match column {
            Some(column) => {
                if holders.insert(column.name(), position).is_some() {
                    let reason =
                        format!("two columns of the file are column \"{}\" of the table", column.name());
                    return Err(ParquetError::General(reason));
                }
                let inner = renamed_inside(field, column.data_type(), inside)?;
                (inner.is_some() || column.name() != field.name())
                    .then(|| with_name(inner.as_ref().unwrap_or(field), column.name()))
            }
            None if columns.iter().any(|c| c.name() == field.name()) => {
                Some(with_name(field, &format!("{UNKNOWN_PREFIX}{position}")))
            }
            None => None,
        };
        changed |= renamed.is_some();
        fields.push(renamed.transpose()?.unwrap_or_else(|| field.clone()));
    }
    Ok(changed.then_some(fields))
}

/// `file` with the structs below it renamed. `None`: nothing to change, or the file's type is another
/// than the column's (which is reported where the column is read).
fn renamed_inside(
    file: &TypePtr,
    column: &DataType,
    rule: Rule<'_>,
) -> Result<Option<TypePtr>, ParquetError> {
    if file.is_primitive() {
        return Ok(None);
    }
    match column {
        DataType::Struct(columns) => {
            renamed_fields(file, columns, rule)?.map(|fields| group(file, file.name(), fields)).transpose()
        }
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
            renamed_element(file, element, rule.inside("element"))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(parts) => renamed_entries(file, parts, rule),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
}

fn renamed_element(file: &TypePtr, element: &Field, rule: Rule<'_>) -> Result<Option<TypePtr>, ParquetError> {
    let [repeated] = file.get_fields() else { return Ok(None) };
    if repeated.is_primitive() {
        return Ok(None);
    }
    let renamed = match repeated.get_fields() {
        // Two-level lists, where the repeated group is the element (parquet format, "Lists").
        fields if fields.len() != 1 || is_legacy_element(file, repeated) => {
            renamed_inside(repeated, element.data_type(), rule)?
        }
        [inner] => renamed_inside(inner, element.data_type(), rule)?
            .map(|inner| group(repeated, repeated.name(), vec![inner]))
            .transpose()?,
        _ => None,
    };
    renamed.map(|repeated| group(file, file.name(), vec![repeated])).transpose()
}

fn is_legacy_element(list: &Type, repeated: &Type) -> bool {
    let info = repeated.get_basic_info();
    let annotated = matches!(info.logical_type_ref(), Some(LogicalType::List | LogicalType::Map))
        || matches!(
            info.converted_type(),
            ConvertedType::LIST | ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE
        );
    !annotated && (repeated.name() == "array" || repeated.name() == format!("{}_tuple", list.name()))
}

fn renamed_entries(file: &TypePtr, parts: &Fields, rule: Rule<'_>) -> Result<Option<TypePtr>, ParquetError> {
    let [entries] = file.get_fields() else { return Ok(None) };
    if entries.is_primitive() {
        return Ok(None);
    }
    let mut changed = false;
    let mut renamed = Vec::with_capacity(2);
    for ((field, part), name) in entries.get_fields().iter().zip(parts).zip(["key", "value"]) {
        let new = renamed_inside(field, part.data_type(), rule.inside(name))?;
        changed |= new.is_some();
        renamed.push(new.unwrap_or_else(|| field.clone()));
    }
    if !changed || renamed.len() != entries.get_fields().len() {
        return Ok(None);
    }
    group(file, file.name(), vec![group(entries, entries.name(), renamed)?]).map(Some)
}

fn id_of(info: &BasicTypeInfo) -> Option<i32> {
    info.has_id().then(|| info.id())
}

fn group(original: &Type, name: &str, fields: Vec<TypePtr>) -> Result<TypePtr, ParquetError> {
    let info = original.get_basic_info();
    let mut builder = Type::group_type_builder(name)
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned())
        .with_id(id_of(info))
        .with_fields(fields);
    if info.has_repetition() {
        builder = builder.with_repetition(info.repetition());
    }
    builder.build().map(Arc::new)
}

fn with_name(original: &TypePtr, name: &str) -> Result<TypePtr, ParquetError> {
    match original.as_ref() {
        Type::GroupType { fields, .. } => group(original, name, fields.clone()),
        Type::PrimitiveType { basic_info, physical_type, type_length, scale, precision } => {
            Type::primitive_type_builder(name, *physical_type)
                .with_repetition(basic_info.repetition())
                .with_converted_type(basic_info.converted_type())
                .with_logical_type(basic_info.logical_type_ref().cloned())
                .with_length(*type_length)
                .with_precision(*precision)
                .with_scale(*scale)
                .with_id(id_of(basic_info))
                .build()
                .map(Arc::new)
        }
    }
}

fn with_schema(footer: &ParquetMetaData, root: TypePtr) -> Result<ParquetMetaData, ParquetError> {
    let schema = Arc::new(SchemaDescriptor::new(root));
    let file = footer.file_metadata();
    // The arrow schema that some writers embed has the old names; the parquet types say the same.
    let properties = file.key_value_metadata().map(|properties| {
        properties.iter().filter(|p| p.key != ARROW_SCHEMA_META_KEY).cloned().collect::<Vec<_>>()
    });
    let renamed = FileMetaData::new(
        file.version(),
        file.num_rows(),
        file.created_by().map(str::to_string),
        properties,
        schema.clone(),
        file.column_orders().cloned(),
    );
    let row_groups = footer.row_groups().iter().map(|group| {
        let mut builder = RowGroupMetaData::builder(schema.clone())
            .set_num_rows(group.num_rows())
            .set_sorting_columns(group.sorting_columns().cloned())
            .set_total_byte_size(group.total_byte_size())
            .set_column_metadata(group.columns().to_vec());
        if let Some(ordinal) = group.ordinal() {
            builder = builder.set_ordinal(ordinal);
        }
        if let Some(offset) = group.file_offset() {
            builder = builder.set_file_offset(offset);
        }
        builder.build()
    });
    let builder = ParquetMetaDataBuilder::new(renamed)
        .set_row_groups(row_groups.collect::<Result<_, _>>()?)
        .set_column_index(footer.column_index().cloned())
        .set_offset_index(footer.offset_index().cloned());
    Ok(builder.build())
}
