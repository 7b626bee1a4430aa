//! `ALTER TABLE`: metadata of the next version, which has no snapshot of its own.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::spec::{DEFAULT_SCHEMA_NAME_MAPPING, Schema, TableMetadata, TableMetadataBuilder};

use super::schema::iceberg_fields;
use super::snapshot::IcebergState;
use super::{identity, properties};
use crate::error::{Error, Result};
use crate::table::alteration::{Alteration, Comment, NewColumn, PropertyChange};
use crate::table::identity::altered as altered_identity;

/// The metadata that a transaction shows, altered. Fails as [`altered`] does.
pub fn metadata(table: &str, before: &IcebergState, alteration: &Alteration) -> Result<TableMetadata> {
    let base = before.metadata.as_ref();
    let builder = base.clone().into_builder(before.metadata_location.clone());
    let alterations = std::slice::from_ref(alteration);
    Ok(altered(table, base, builder, alterations)?.build().map_err(rejected)?.metadata)
}

/// The table's next metadata, altered. Fails with `Unsupported` for what the format lacks, and with
/// `Invalid` for what has no meaning, or if somebody else has taken a column away, or added it.
pub fn altered(
    table: &str,
    base: &TableMetadata,
    mut builder: TableMetadataBuilder,
    alterations: &[Alteration],
) -> Result<TableMetadataBuilder> {
    // Each version has one schema, however many alterations it is made of.
    let mut schema: Option<Schema> = None;
    for alteration in alterations {
        match alteration {
            Alteration::AddConstraint(_) | Alteration::DropConstraint(_) => {
                return Err(Error::unsupported(format!("Iceberg table \"{table}\""), "CHECK constraints"));
            }
            Alteration::AddColumns(columns) => {
                let before = schema.as_ref().unwrap_or(base.current_schema().as_ref());
                let next = extended(table, base, before, columns)?;
                builder = builder.set_properties(brought_along(base, &next, columns)?).map_err(rejected)?;
                schema = Some(next);
            }
            Alteration::Comments(comments) => {
                for Comment { column, text } in comments {
                    match column {
                        Some(column) => {
                            let before = schema.as_ref().unwrap_or(base.current_schema().as_ref());
                            schema = Some(commented(table, before, column, text.as_deref())?);
                        }
                        None => builder = table_comment(builder, text.as_deref())?,
                    }
                }
            }
            Alteration::RestartIdentity => {
                let marks = identity::of_table(base)?;
                let marks = altered_identity(&marks, alterations);
                builder = builder.set_properties(identity::stored(&marks)).map_err(rejected)?;
            }
            Alteration::Properties(PropertyChange { set, unset }) => {
                properties::check_change(base.properties(), set, unset)?;
                builder = builder
                    .remove_properties(unset)
                    .and_then(|builder| builder.set_properties(set.clone().into_iter().collect()))
                    .map_err(rejected)?;
            }
        }
    }
    match schema {
        Some(schema) => builder.add_current_schema(schema).map_err(rejected),
        None => Ok(builder),
    }
}

fn table_comment(builder: TableMetadataBuilder, text: Option<&str>) -> Result<TableMetadataBuilder> {
    let key = properties::COMMENT.to_string();
    let changed = match text {
        Some(text) => builder.set_properties(HashMap::from([(key, text.to_string())])),
        None => builder.remove_properties(&[key]),
    };
    changed.map_err(rejected)
}

/// The schema with columns more, all optional, with ids that no column has ever had (Iceberg spec,
/// "Schema Evolution").
fn extended(table: &str, base: &TableMetadata, schema: &Schema, columns: &[NewColumn]) -> Result<Schema> {
    let taken = |column: &&NewColumn| schema.as_struct().field_by_name(&column.name).is_some();
    if let Some(column) = columns.iter().find(taken) {
        return Err(Error::Invalid(format!("{table} has a column \"{}\" already", column.name)));
    }
    let last_id = base.last_column_id().max(schema.highest_field_id());
    let definitions: Vec<_> = columns.iter().map(NewColumn::definition).collect();
    let added = iceberg_fields(&definitions, base.format_version(), last_id)?;
    for (column, field) in columns.iter().zip(&added) {
        column.claim(table, field.id.into())?;
    }
    let fields = schema.as_struct().fields().iter().cloned().chain(added);
    let ids = schema.identifier_field_ids();
    Schema::builder().with_fields(fields).with_identifier_field_ids(ids).build().map_err(rejected)
}

/// Properties that go with new columns: their types of text, and their names where the table maps names to
/// ids (Iceberg spec, "Column Projection").
fn brought_along(
    base: &TableMetadata,
    schema: &Schema,
    columns: &[NewColumn],
) -> Result<HashMap<String, String>> {
    let mut properties: HashMap<_, _> = NewColumn::properties(columns).into_iter().collect();
    let Some(mapping) = base.properties().get(DEFAULT_SCHEMA_NAME_MAPPING) else { return Ok(properties) };
    let broken = |what: &dyn std::fmt::Display| {
        Error::Invalid(format!("{DEFAULT_SCHEMA_NAME_MAPPING} is broken: {what}"))
    };
    let mut mapping: Vec<serde_json::Value> = serde_json::from_str(mapping).map_err(|e| broken(&e))?;
    for column in columns {
        let field = schema.as_struct().field_by_name(&column.name).filter(|f| f.field_type.is_primitive());
        let Some(field) = field else {
            let object = format!("column \"{}\" of an Iceberg table with a name mapping", column.name);
            return Err(Error::unsupported(object, "a nested type"));
        };
        mapping.push(serde_json::json!({"field-id": field.id, "names": [column.name]}));
    }
    properties.insert(DEFAULT_SCHEMA_NAME_MAPPING.to_string(), serde_json::Value::from(mapping).to_string());
    Ok(properties)
}

/// The schema with another comment on a column (Iceberg spec, "Schemas": `doc`).
pub fn commented(table: &str, schema: &Schema, column: &str, text: Option<&str>) -> Result<Schema> {
    let mut found = false;
    let fields = schema.as_struct().fields().iter().map(|field| {
        if field.name != column {
            return field.clone();
        }
        found = true;
        let mut field = field.as_ref().clone();
        field.doc = text.map(str::to_string);
        Arc::new(field)
    });
    let fields: Vec<_> = fields.collect();
    if !found {
        return Err(Error::Invalid(format!("{table} has no column \"{column}\"")));
    }
    let ids = schema.identifier_field_ids();
    Schema::builder().with_fields(fields).with_identifier_field_ids(ids).build().map_err(rejected)
}

fn rejected(e: iceberg::Error) -> Error {
    Error::Invalid(format!("the table cannot be altered: {e}"))
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{NestedField, PrimitiveType, Type};

    use super::*;

    #[test]
    fn a_comment_changes_one_field_and_keeps_the_key() {
        let field = |id, name: &str| {
            Arc::new(NestedField::required(id, name, Type::Primitive(PrimitiveType::Long)).with_doc("old"))
        };
        let schema = Schema::builder()
            .with_fields([field(3, "a"), field(7, "b")])
            .with_identifier_field_ids([3])
            .build()
            .unwrap();
        let after = commented("t", &schema, "b", Some("new")).unwrap();
        let docs: Vec<_> =
            after.as_struct().fields().iter().map(|f| (f.id, f.required, f.doc.as_deref())).collect();
        assert_eq!(docs, [(3, true, Some("old")), (7, true, Some("new"))]);
        assert_eq!(after.identifier_field_ids().collect::<Vec<_>>(), [3]);
        let none = commented("t", &schema, "a", None).unwrap();
        assert_eq!(none.as_struct().fields()[0].doc, None);
        assert!(matches!(commented("t", &schema, "c", None), Err(Error::Invalid(_))));
    }
}
