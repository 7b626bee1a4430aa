//! `ALTER TABLE`: protocol and metadata of the next version.

use arrow::datatypes::DataType;
use serde_json::Value;

use super::action::{Metadata, Protocol};
use super::writable::constraint_key;
use super::{identity, properties, schema};
use crate::error::{Error, Result};
use crate::table::alteration::{Alteration, Comment, NewColumn, PropertyChange};

/// First writer version that stands for CHECK constraints (Delta protocol, "CHECK Constraints").
const CONSTRAINTS_WRITER: i32 = 3;

/// Metadata and protocol after all of the alterations, where these change them. Fails as [`metadata`] does.
pub(super) fn all(
    table: &str,
    before: &Metadata,
    protocol_before: &Protocol,
    alterations: &[Alteration],
) -> Result<(Option<Metadata>, Option<Protocol>)> {
    let (mut altered, mut raised) = (None, None);
    for alteration in alterations {
        altered = Some(metadata(table, altered.as_ref().unwrap_or(before), alteration)?);
        let so_far = raised.as_ref().unwrap_or(protocol_before);
        raised = protocol(so_far, alteration).or(raised);
    }
    Ok((altered, raised))
}

/// The table's metadata, altered. Fails with `Invalid` if somebody else was faster and nothing is left
/// to be done, or to be done it to.
pub(super) fn metadata(table: &str, metadata: &Metadata, alteration: &Alteration) -> Result<Metadata> {
    let mut altered = metadata.clone();
    match alteration {
        Alteration::AddConstraint(constraint) => {
            let key = constraint_key(&constraint.name);
            if altered.configuration.keys().any(|taken| taken.eq_ignore_ascii_case(&key)) {
                let message = format!("{table} has a check constraint \"{}\" already", constraint.name);
                return Err(Error::Invalid(message));
            }
            altered.configuration.insert(key, constraint.expression.clone());
        }
        Alteration::DropConstraint(name) => {
            if altered.configuration.remove(&constraint_key(name)).is_none() {
                return Err(Error::Invalid(format!("{table} has no check constraint \"{name}\"")));
            }
        }
        Alteration::AddColumns(columns) => add_columns(table, &mut altered, columns)?,
        Alteration::Comments(comments) => {
            for Comment { column, text } in comments {
                match column {
                    None => altered.description.clone_from(text),
                    Some(column) => {
                        let schema = commented(table, &altered.schema_string, column, text.as_deref())?;
                        altered.schema_string = schema;
                    }
                }
            }
        }
        Alteration::RestartIdentity => {
            altered.schema_string = identity::restarted(table, &altered.schema_string)?;
        }
        Alteration::Properties(PropertyChange { set, unset }) => {
            properties::check_change(set, unset)?;
            altered.configuration.retain(|key, _| !unset.contains(key));
            altered.configuration.extend(set.clone());
        }
    }
    Ok(altered)
}

/// All nullable, with ids that no column has ever had where columns are mapped (Delta protocol, "Column
/// Mapping").
fn add_columns(table: &str, metadata: &mut Metadata, columns: &[NewColumn]) -> Result<()> {
    let mut schema: Value =
        serde_json::from_str(&metadata.schema_string).map_err(|e| Error::corrupt(table, e))?;
    let fields = schema.get_mut("fields").and_then(Value::as_array_mut);
    let fields = fields.ok_or_else(|| Error::corrupt(table, "the schema has no fields"))?;
    let is = |field: &Value, name: &str| {
        field.get("name").and_then(Value::as_str).is_some_and(|n| n.to_lowercase() == name.to_lowercase())
    };
    if let Some(column) = columns.iter().find(|column| fields.iter().any(|field| is(field, &column.name))) {
        return Err(Error::Invalid(format!("{table} has a column \"{}\" already", column.name)));
    }
    let configuration = &mut metadata.configuration;
    let mode = properties::column_mapping_mode(configuration);
    let last_id = match configuration.get(properties::COLUMN_MAPPING_MAX_ID) {
        Some(id) => id.parse::<i64>().map_err(|e| Error::corrupt(table, e))?,
        None => 0,
    };
    let definitions: Vec<_> = columns.iter().map(NewColumn::definition).collect();
    let Some(first) = columns.first() else { return Ok(()) };
    let (added, max_id) = schema::from_definition(table, &definitions, mode, last_id, first.seed())?;
    if max_id > last_id {
        first.claim(table, last_id)?;
        configuration.insert(properties::COLUMN_MAPPING_MAX_ID.into(), max_id.to_string());
    }
    configuration.extend(NewColumn::properties(columns));
    for field in added.fields() {
        fields.push(serde_json::to_value(field).map_err(|e| Error::Internal(e.to_string()))?);
    }
    metadata.schema_string = schema.to_string();
    Ok(())
}

/// Whether there is a timestamp without zone in it, which is a table feature.
fn holds_timestamp_ntz(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, zone) => zone.is_none(),
        DataType::Struct(fields) => fields.iter().any(|field| holds_timestamp_ntz(field.data_type())),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => holds_timestamp_ntz(field.data_type()),
        DataType::Dictionary(_, value) => holds_timestamp_ntz(value),
        _ => false,
    }
}

/// The schema with another comment on a column (Delta protocol, "Column Metadata": `comment`).
fn commented(table: &str, schema: &str, column: &str, text: Option<&str>) -> Result<String> {
    let mut schema: Value = serde_json::from_str(schema).map_err(|e| Error::corrupt(table, e))?;
    let fields = schema.get_mut("fields").and_then(Value::as_array_mut);
    let field =
        fields.into_iter().flatten().find(|field| field.get("name").is_some_and(|name| name == column));
    let field = field
        .and_then(Value::as_object_mut)
        .ok_or_else(|| Error::Invalid(format!("{table} has no column \"{column}\"")))?;
    let metadata = field.entry("metadata").or_insert_with(|| serde_json::json!({}));
    let metadata = metadata
        .as_object_mut()
        .ok_or_else(|| Error::corrupt(table, format!("the metadata of column {column} is no object")))?;
    match text {
        Some(text) => metadata.insert("comment".into(), text.into()),
        None => metadata.remove("comment"),
    };
    Ok(schema.to_string())
}

/// The table's protocol, if it has to be raised.
pub(super) fn protocol(protocol: &Protocol, alteration: &Alteration) -> Option<Protocol> {
    match alteration {
        Alteration::DropConstraint(_) | Alteration::Comments(_) | Alteration::RestartIdentity => None,
        Alteration::AddColumns(columns) => {
            let asks = columns.iter().any(|column| holds_timestamp_ntz(&column.data_type));
            asks.then(|| properties::with_feature(protocol, properties::TIMESTAMP_NTZ)).flatten()
        }
        Alteration::Properties(change) => {
            let mut raised = None;
            for feature in properties::features_of(&change.set) {
                let so_far = raised.as_ref().unwrap_or(protocol);
                raised = properties::with_feature(so_far, feature).or(raised);
            }
            raised
        }
        Alteration::AddConstraint(_) if protocol.writer_features.is_some() => {
            properties::with_feature(protocol, properties::CHECK_CONSTRAINTS)
        }
        Alteration::AddConstraint(_) => (protocol.min_writer_version < CONSTRAINTS_WRITER)
            .then(|| Protocol { min_writer_version: CONSTRAINTS_WRITER, ..protocol.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_leaves_all_else_of_a_column() {
        let schema = r#"{"type":"struct","fields":[
            {"name":"a","type":"long","nullable":false,"metadata":{"delta.columnMapping.id":7}},
            {"name":"b","type":"string","nullable":true,"metadata":{"comment":"old"}}]}"#;
        let after = commented("t", schema, "a", Some("new")).unwrap();
        let json: Value = serde_json::from_str(&after).unwrap();
        assert_eq!(
            json["fields"][0]["metadata"],
            serde_json::json!({"delta.columnMapping.id": 7, "comment": "new"})
        );
        assert_eq!(json["fields"][0]["nullable"], serde_json::json!(false));
        assert_eq!(json["fields"][1]["metadata"]["comment"], "old");
        let after = commented("t", schema, "b", None).unwrap();
        let json: Value = serde_json::from_str(&after).unwrap();
        assert_eq!(json["fields"][1]["metadata"], serde_json::json!({}));
        assert!(matches!(commented("t", schema, "c", None), Err(Error::Invalid(_))));
    }
}
