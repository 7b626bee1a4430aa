//! Metadata of a table to be, from a CREATE TABLE.

use std::collections::HashSet;

use iceberg::spec::{
    FormatVersion, NestedFieldRef, NullOrder, PrimitiveType, Schema, SortDirection, SortField, SortOrder,
    TableMetadata, TableMetadataBuilder, Type, UnboundPartitionSpec,
};

use super::identity;
use super::partition::{bind_specs, check_writable, field_name, iceberg_transform};
use super::properties;
use super::replace::with_known_ids;
use super::schema::iceberg_fields;
use crate::TableIdent;
use crate::error::{Error, Result};
use crate::table::{ColumnDefinition, TableDefinition};

/// The metadata of an empty table at `location`, all ids given out. Fails with `Invalid`,
/// `ColumnNotFound`, `Unsupported`.
pub fn new_metadata(
    ident: &TableIdent,
    definition: &TableDefinition,
    location: &str,
) -> Result<TableMetadata> {
    let version = properties::format_version(&definition.properties)?;
    let stored = properties::for_new_table(&definition.properties, definition.comment.as_deref())?;
    let schema = new_schema(ident, definition, version, None)?;
    let spec = new_spec(ident, definition, &schema)?;
    let order = new_sort_order(ident, definition, &schema)?;
    let location = location.trim_end_matches('/').to_string();
    let built = TableMetadataBuilder::new(schema, spec, order, location, version, stored)
        .and_then(TableMetadataBuilder::build)
        .map_err(invalid)?;
    bind_specs(&built.metadata)?.iter().try_for_each(check_writable)?;
    let identity = identity::of_definition(definition, built.metadata.current_schema());
    if identity.is_empty() {
        return Ok(built.metadata);
    }
    // Only now are the columns' ids known.
    let builder = built.metadata.into_builder(None).set_properties(identity);
    Ok(builder.and_then(TableMetadataBuilder::build).map_err(invalid)?.metadata)
}

fn invalid(e: iceberg::Error) -> Error {
    Error::Invalid(e.message().to_string())
}

/// `base`: the table that is replaced, whose ids are not given out again.
pub fn new_schema(
    ident: &TableIdent,
    definition: &TableDefinition,
    version: FormatVersion,
    base: Option<&TableMetadata>,
) -> Result<Schema> {
    if !definition.constraints.is_empty() {
        return Err(Error::unsupported(format!("Iceberg table \"{ident}\""), "CHECK constraints"));
    }
    let mut names = HashSet::new();
    if let Some(column) = definition.columns.iter().find(|c| !names.insert(c.name.as_str())) {
        return Err(Error::Invalid(format!("column \"{}\" is given twice", column.name)));
    }
    if let Some(missing) = definition.key_columns.iter().find(|key| !names.contains(key.as_str())) {
        return Err(not_found(ident, missing));
    }
    // Identifier fields must be required, as PRIMARY KEY implies NOT NULL.
    let is_key = |c: &ColumnDefinition| definition.key_columns.contains(&c.name);
    let columns: Vec<ColumnDefinition> = definition
        .columns
        .iter()
        .map(|c| ColumnDefinition { nullable: c.nullable && !is_key(c), ..c.clone() })
        .collect();
    let fields = iceberg_fields(&columns, version, base.map_or(0, TableMetadata::last_column_id))?;
    let fields = match base {
        Some(base) => with_known_ids(fields, base),
        None => fields,
    };
    let keys: Vec<&NestedFieldRef> =
        fields.iter().filter(|f| definition.key_columns.contains(&f.name)).collect();
    for key in &keys {
        match key.field_type.as_ref() {
            Type::Primitive(PrimitiveType::Float | PrimitiveType::Double) => {}
            Type::Primitive(_) => continue,
            _ => {}
        }
        let message = format!("column \"{}\" of type {} cannot be part of a key", key.name, key.field_type);
        return Err(Error::Invalid(message));
    }
    let key_ids: Vec<i32> = keys.iter().map(|f| f.id).collect();
    Schema::builder().with_fields(fields).with_identifier_field_ids(key_ids).build().map_err(invalid)
}

fn not_found(ident: &TableIdent, column: &str) -> Error {
    Error::ColumnNotFound { table: ident.name.clone(), column: column.to_string() }
}

pub fn new_spec(
    ident: &TableIdent,
    definition: &TableDefinition,
    schema: &Schema,
) -> Result<UnboundPartitionSpec> {
    let mut builder = UnboundPartitionSpec::builder();
    for field in &definition.partitioning {
        let source = schema.field_by_name(&field.column).ok_or_else(|| not_found(ident, &field.column))?;
        let transform = iceberg_transform(&field.transform, &field.column, &source.field_type)?;
        let name = field_name(&field.column, &transform);
        builder = builder.add_partition_field(source.id, name, transform).map_err(invalid)?;
    }
    Ok(builder.build())
}

pub fn new_sort_order(
    ident: &TableIdent,
    definition: &TableDefinition,
    schema: &Schema,
) -> Result<SortOrder> {
    let mut fields = Vec::with_capacity(definition.sorting.len());
    for field in &definition.sorting {
        let source = schema.field_by_name(&field.column).ok_or_else(|| not_found(ident, &field.column))?;
        fields.push(SortField {
            source_id: source.id,
            transform: iceberg_transform(&field.transform, &field.column, &source.field_type)?,
            direction: match field.descending {
                true => SortDirection::Descending,
                false => SortDirection::Ascending,
            },
            null_order: match field.nulls_first {
                true => NullOrder::First,
                false => NullOrder::Last,
            },
        });
    }
    match fields.is_empty() {
        true => Ok(SortOrder::unsorted_order()),
        false => SortOrder::builder().with_order_id(1).with_fields(fields).build(schema).map_err(invalid),
    }
}
