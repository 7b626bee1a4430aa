//! `ALTER TABLE`: metadata of the next version, which has no snapshot of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use iceberg::spec::{Schema, TableMetadata, TableMetadataBuilder};

use super::properties;
use super::snapshot::IcebergState;
use crate::error::{Error, Result};
use crate::table::alteration::{Alteration, Comment, PropertyChange};

/// The metadata that a transaction shows, altered. Fails as [`altered`] does.
pub fn metadata(table: &str, before: &IcebergState, alteration: &Alteration) -> Result<TableMetadata> {
    let base = before.metadata.as_ref();
    let builder = base.clone().into_builder(before.metadata_location.clone());
    let built = altered(table, base, builder, alteration)?.build().map_err(rejected)?;
    Ok(built.metadata)
}

/// The table's next metadata, altered. Fails with `Unsupported` for what the format lacks, and with
/// `Invalid` for what has no meaning, or if somebody else has taken the column away.
pub fn altered(
    table: &str,
    base: &TableMetadata,
    builder: TableMetadataBuilder,
    alteration: &Alteration,
) -> Result<TableMetadataBuilder> {
    match alteration {
        Alteration::AddConstraint(_) | Alteration::DropConstraint(_) => {
            Err(Error::unsupported(format!("Iceberg table \"{table}\""), "CHECK constraints"))
        }
        Alteration::Comments(comments) => with_comments(table, base, builder, comments),
        Alteration::Properties(PropertyChange { set, unset }) => {
            properties::check_change(base.properties(), set, unset)?;
            let set: BTreeMap<_, _> = set.clone();
            builder
                .remove_properties(unset)
                .and_then(|builder| builder.set_properties(set.into_iter().collect()))
                .map_err(rejected)
        }
    }
}

fn with_comments(
    table: &str,
    base: &TableMetadata,
    mut builder: TableMetadataBuilder,
    comments: &[Comment],
) -> Result<TableMetadataBuilder> {
    let mut schema = None;
    for Comment { column, text } in comments {
        match (column, text) {
            (Some(column), _) => {
                let before = schema.as_ref().unwrap_or(base.current_schema().as_ref());
                schema = Some(commented(table, before, column, text.as_deref())?);
            }
            (None, Some(text)) => {
                let property = HashMap::from([(properties::COMMENT.to_string(), text.clone())]);
                builder = builder.set_properties(property).map_err(rejected)?;
            }
            (None, None) => {
                builder = builder.remove_properties(&[properties::COMMENT.to_string()]).map_err(rejected)?;
            }
        }
    }
    match schema {
        Some(schema) => builder.add_current_schema(schema).map_err(rejected),
        None => Ok(builder),
    }
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
