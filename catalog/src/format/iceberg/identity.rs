//! Identity columns, of which Iceberg's specification knows nothing: a table property for each, by field
//! id (docs/adr/0017-identity-columns.md).

use std::collections::HashMap;

use iceberg::spec::Schema;
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

/// What a table's properties say. Fails with `Corrupt` for what is no identity column.
pub fn of_properties(properties: &HashMap<String, String>, location: &str) -> Result<IdentityColumns> {
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
        columns.insert(id, IdentityColumn { start, step, high_water_mark, allow_explicit_insert });
    }
    Ok(columns)
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

/// Names of the properties that hold columns.
pub fn keys(properties: &HashMap<String, String>) -> Vec<String> {
    properties.keys().filter(|key| key.starts_with(PREFIX)).cloned().collect()
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
    use super::*;

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
        assert_eq!(of_properties(&properties, "t").unwrap(), columns);
        let mut found = keys(&properties);
        found.sort();
        assert_eq!(found, ["auric.identity.3", "auric.identity.7"]);
    }

    #[test]
    fn what_is_broken_is_told() {
        let whole = r#"{"start":1,"step":0,"allow-explicit-insert":true}"#;
        for (key, text) in
            [("auric.identity.x", "{}"), ("auric.identity.1", "{}"), ("auric.identity.1", whole)]
        {
            let properties = HashMap::from([(key.to_string(), text.to_string())]);
            assert!(matches!(of_properties(&properties, "t"), Err(Error::Corrupt { .. })), "{key} {text}");
        }
    }
}
