//! Identity columns, of which Iceberg's specification knows nothing: a table property for each, by field
//! id (docs/adr/0017-identity-columns.md).

use std::collections::HashMap;

use iceberg::spec::{PrimitiveType, Schema, TableMetadata};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::table::identity::PROPERTY as PREFIX;
use crate::table::{FieldId, IdentityColumn, IdentityColumns, TableDefinition};

/// The value of the property, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Stored {
    start: i64,
    step: i64,
    allow_explicit_insert: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    high_water_mark: Option<i64>,
}

/// What a table's properties say of columns that it has. Fails with `Corrupt` for what is no identity column.
pub fn of_properties(
    properties: &HashMap<String, String>,
    schema: &Schema,
    location: &str,
) -> Result<IdentityColumns> {
    let mut columns = IdentityColumns::new();
    for (key, text) in properties {
        let Some(id) = key.strip_prefix(PREFIX) else { continue };
        let corrupt = |what: &dyn std::fmt::Display| Error::corrupt(location, format!("{key}: {what}"));
        let id: FieldId = id.parse().map_err(|e| corrupt(&e))?;
        let stored: Stored = serde_json::from_str(text).map_err(|e| corrupt(&e))?;
        let Stored { start, step, allow_explicit_insert, high_water_mark } = stored;
        if step == 0 {
            return Err(corrupt(&"the step is zero"));
        }
        // Another engine may have dropped the column, or made a number with a fraction of it.
        let column =
            schema.as_struct().field_by_id(id).and_then(|field| field.field_type.as_primitive_type());
        if let Some(PrimitiveType::Int | PrimitiveType::Long) = column {
            columns.insert(id, IdentityColumn { start, step, high_water_mark, allow_explicit_insert });
        }
    }
    Ok(columns)
}

/// What the table's metadata says.
pub fn of_table(table: &TableMetadata) -> Result<IdentityColumns> {
    of_properties(table.properties(), table.current_schema(), table.location())
}

/// The properties that hold columns.
pub fn stored(columns: &IdentityColumns) -> HashMap<String, String> {
    let property = |(id, column): (&FieldId, &IdentityColumn)| {
        let IdentityColumn { start, step, high_water_mark, allow_explicit_insert } = *column;
        let stored = Stored { start, step, allow_explicit_insert, high_water_mark };
        // Numbers and a flag always have a text.
        Some((format!("{PREFIX}{id}"), serde_json::to_string(&stored).ok()?))
    };
    columns.iter().filter_map(property).collect()
}

/// The properties of a new table, which has the columns of `schema`.
pub fn of_definition(definition: &TableDefinition, schema: &Schema) -> HashMap<String, String> {
    let columns = definition.columns.iter().filter_map(|column| {
        let field = schema.as_struct().field_by_name(&column.name)?;
        Some((field.id, column.identity?))
    });
    stored(&columns.collect())
}

/// Fails with `Invalid` if one of the names is of a property that holds a column.
pub fn check_not_given<'a>(mut names: impl Iterator<Item = &'a String>) -> Result<()> {
    match names.find(|name| name.starts_with(PREFIX)) {
        Some(name) => Err(Error::Invalid(format!("table property \"{name}\" is reserved"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{NestedField, Type};

    use super::*;

    fn schema() -> Schema {
        let column = |id, name: &str, kind| NestedField::optional(id, name, Type::Primitive(kind)).into();
        let columns = [
            column(1, "text", PrimitiveType::String),
            column(3, "up", PrimitiveType::Long),
            column(7, "down", PrimitiveType::Int),
        ];
        Schema::builder().with_fields(columns).build().unwrap()
    }

    #[test]
    fn what_is_stored_is_read() {
        let up = IdentityColumn { start: 1, step: 1, high_water_mark: None, allow_explicit_insert: true };
        let down = IdentityColumn {
            start: -1,
            step: -2,
            high_water_mark: Some(i64::MIN),
            allow_explicit_insert: false,
        };
        let columns = IdentityColumns::from([(3, up), (7, down)]);
        let mut properties = stored(&columns);
        properties.insert("other".into(), "x".into());
        assert_eq!(of_properties(&properties, &schema(), "t").unwrap(), columns);
        assert!(properties.contains_key("auric.identity.3") && properties.contains_key("auric.identity.7"));
    }

    #[test]
    fn what_is_broken_is_told() {
        let whole = r#"{"start":1,"step":0,"allow-explicit-insert":true}"#;
        for (key, text) in
            [("auric.identity.x", "{}"), ("auric.identity.1", "{}"), ("auric.identity.1", whole)]
        {
            let properties = HashMap::from([(key.to_string(), text.to_string())]);
            let read = of_properties(&properties, &schema(), "t");
            assert!(matches!(read, Err(Error::Corrupt { .. })), "{key} {text}");
        }
    }

    #[test]
    fn columns_that_are_gone_or_of_another_type_are_none() {
        let column = IdentityColumn { start: 1, step: 1, high_water_mark: None, allow_explicit_insert: true };
        let properties = stored(&IdentityColumns::from([(1, column), (2, column), (3, column)]));
        let read = of_properties(&properties, &schema(), "t").unwrap();
        assert_eq!(read, IdentityColumns::from([(3, column)]));
    }
}
