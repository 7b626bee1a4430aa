//! View metadata files: a new view into the crate's `ViewMetadata`, and back into the neutral model.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema as ArrowSchema};
use bytes::Bytes;
use iceberg::spec::{
    FormatVersion, Schema, ViewMetadata, ViewMetadataBuilder, ViewRepresentation, ViewRepresentations,
    ViewVersion,
};
use iceberg::{NamespaceIdent, ViewCreation};

use super::schema::{arrow_field, iceberg_fields};
use super::{alter, metadata_file};
use crate::error::{Error, Result};
use crate::storage::Storage;
use crate::table::{ColumnDefinition, Comment};
use crate::view::{DIALECT, NewView, ViewDefinition};

/// Properties of a view's metadata. `comment` is what other engines use.
const COMMENT: &str = "comment";
/// Lists of names, as JSON.
const SEARCH_PATH: &str = "auric.search-path";
const QUERY_COLUMNS: &str = "auric.query-columns";

/// Writes the first metadata file of a view at `location`, or the one that follows `previous`.
/// Returns where it is. Fails with `Corrupt` if the previous file cannot be read.
pub async fn write(
    storage: &Storage,
    location: &str,
    previous: Option<&str>,
    catalog: &str,
    view: &NewView,
) -> Result<String> {
    let previous_metadata = match previous {
        None => None,
        Some(path) => Some(parse(path, &storage.read(path).await?)?),
    };
    let metadata = metadata(location, previous_metadata, catalog, view)?;
    write_file(storage, metadata.location(), previous, &metadata).await
}

async fn write_file(
    storage: &Storage,
    location: &str,
    previous: Option<&str>,
    metadata: &ViewMetadata,
) -> Result<String> {
    let folder = format!("{}/metadata", location.trim_end_matches('/'));
    let path = metadata_file::next_location(&folder, previous, uuid::Uuid::new_v4(), false);
    let json =
        serde_json::to_vec(metadata).map_err(|e| Error::Internal(format!("writing view metadata: {e}")))?;
    storage.create_own(&path, Bytes::from(json)).await?;
    Ok(path)
}

/// Writes the metadata file that follows `previous`, with another comment on the view or on a column of
/// it. Returns where it is. Fails with `Corrupt`, and with `Invalid` if there is no such column.
pub async fn write_comment(storage: &Storage, previous: &str, comment: &Comment) -> Result<String> {
    let metadata = parse(previous, &storage.read(previous).await?)?;
    let metadata = commented(previous, metadata, comment)?;
    let root = root_of(previous).unwrap_or(previous);
    write_file(storage, root, Some(previous), &metadata).await
}

fn commented(path: &str, metadata: ViewMetadata, comment: &Comment) -> Result<ViewMetadata> {
    let invalid = |e: iceberg::Error| Error::Invalid(format!("cannot store the view: {e}"));
    let text = comment.text.as_deref();
    let builder = match (&comment.column, text) {
        (None, Some(text)) => {
            let property = HashMap::from([(COMMENT.to_string(), text.to_string())]);
            metadata.into_builder().set_properties(property)
        }
        (None, None) => Ok(metadata.into_builder().remove_properties(&[COMMENT.to_string()])),
        (Some(column), _) => {
            let version = metadata.current_version().clone();
            let before = version.schema(&metadata).map_err(|e| Error::corrupt(path, e))?;
            let schema = alter::commented("the view", &before, column, text)?;
            let version = ViewVersion::builder()
                .with_version_id(metadata.current_version_id().saturating_add(1))
                .with_schema_id(schema.schema_id())
                .with_timestamp_ms(chrono::Utc::now().timestamp_millis())
                .with_summary(version.summary().clone())
                .with_representations(version.representations().clone())
                .with_default_catalog(version.default_catalog().cloned())
                .with_default_namespace(version.default_namespace().clone())
                .build();
            metadata.into_builder().set_current_version(version, schema)
        }
    };
    Ok(builder.and_then(|builder| builder.build()).map_err(invalid)?.metadata)
}

/// Reads the metadata file of a view. Fails with `Corrupt`.
pub async fn read(storage: &Storage, path: &str) -> Result<ViewDefinition> {
    definition(path, &parse(path, &storage.read(path).await?)?)
}

/// The root location of the view whose metadata file this is.
pub fn root_of(pointer: &str) -> Option<&str> {
    pointer.rsplit_once('/')?.0.strip_suffix("/metadata")
}

fn parse(path: &str, bytes: &[u8]) -> Result<ViewMetadata> {
    serde_json::from_slice(bytes).map_err(|e| Error::corrupt(path, e))
}

fn metadata(
    location: &str,
    previous: Option<ViewMetadata>,
    catalog: &str,
    view: &NewView,
) -> Result<ViewMetadata> {
    let invalid = |e: iceberg::Error| Error::Invalid(format!("cannot store the view: {e}"));
    let schema = schema(&view.columns)?;
    let representations: ViewRepresentations = serde_json::from_value(serde_json::json!([
        {"type": "sql", "sql": view.sql, "dialect": DIALECT}
    ]))
    .map_err(|e| Error::Internal(format!("writing view metadata: {e}")))?;
    let first = view.search_path.first().map_or("public", String::as_str);
    let default_namespace = NamespaceIdent::new(first.to_string());
    let summary = HashMap::from([
        ("engine-name".to_string(), "auric".to_string()),
        ("engine-version".to_string(), env!("CARGO_PKG_VERSION").to_string()),
    ]);
    let names = |names: &Vec<String>| {
        serde_json::to_string(names).map_err(|e| Error::Internal(format!("writing view metadata: {e}")))
    };
    let mut properties = HashMap::from([
        (SEARCH_PATH.to_string(), names(&view.search_path)?),
        (QUERY_COLUMNS.to_string(), names(&view.query_columns)?),
    ]);
    if let Some(comment) = &view.comment {
        properties.insert(COMMENT.to_string(), comment.clone());
    }
    let builder = match previous {
        None => ViewMetadataBuilder::from_view_creation(
            ViewCreation::builder()
                .name(String::new())
                .location(location.to_string())
                .representations(representations)
                .schema(schema)
                .properties(properties)
                .default_namespace(default_namespace)
                .default_catalog(Some(catalog.to_string()))
                .summary(summary)
                .build(),
        ),
        Some(previous) => {
            let gone: Vec<String> =
                previous.properties().keys().filter(|key| !properties.contains_key(*key)).cloned().collect();
            let version = ViewVersion::builder()
                .with_version_id(previous.current_version_id().saturating_add(1))
                .with_schema_id(schema.schema_id())
                .with_timestamp_ms(chrono::Utc::now().timestamp_millis())
                .with_summary(summary)
                .with_representations(representations)
                .with_default_catalog(Some(catalog.to_string()))
                .with_default_namespace(default_namespace)
                .build();
            let builder = previous.into_builder().set_properties(properties);
            builder.and_then(|b| b.set_current_version(version, schema)).map(|b| b.remove_properties(&gone))
        }
    };
    Ok(builder.and_then(|b| b.build()).map_err(invalid)?.metadata)
}

/// The columns as Iceberg can say them: a type that it lacks becomes a string.
fn schema(columns: &[ColumnDefinition]) -> Result<Schema> {
    let representable = |column: &ColumnDefinition| {
        iceberg_fields(std::slice::from_ref(column), FormatVersion::V3, 0).is_ok()
    };
    let columns: Vec<ColumnDefinition> = columns
        .iter()
        .cloned()
        .map(|column| match representable(&column) {
            true => column,
            false => ColumnDefinition { data_type: DataType::Utf8View, ..column },
        })
        .collect();
    let fields = iceberg_fields(&columns, FormatVersion::V3, 0)?;
    Schema::builder()
        .with_fields(fields)
        .build()
        .map_err(|e| Error::Invalid(format!("cannot store the view's columns: {e}")))
}

fn definition(path: &str, metadata: &ViewMetadata) -> Result<ViewDefinition> {
    let version = metadata.current_version();
    let queries = version.representations().iter().map(|ViewRepresentation::Sql(query)| query);
    let mut queries: Vec<_> = queries.collect();
    // Ours before all others.
    queries.sort_by_key(|query| !query.dialect.eq_ignore_ascii_case(DIALECT));
    let query = queries.first().ok_or_else(|| Error::corrupt(path, "the view has no SQL text"))?;
    let schema = version.schema(metadata).map_err(|e| Error::corrupt(path, e))?;
    let fields = schema.as_struct().fields().iter().map(arrow_field).collect::<Result<Vec<_>>>()?;
    let names =
        |property: &str, default: &dyn Fn() -> Vec<String>| match metadata.properties().get(property) {
            Some(text) => serde_json::from_str(text)
                .map_err(|e| Error::corrupt(path, format!("property {property}: {e}"))),
            None => Ok(default()),
        };
    let search_path = names(SEARCH_PATH, &|| vec![version.default_namespace().as_ref().join(".")])?;
    let query_columns =
        names(QUERY_COLUMNS, &|| schema.as_struct().fields().iter().map(|f| f.name.clone()).collect())?;
    Ok(ViewDefinition {
        sql: query.sql.clone(),
        dialect: query.dialect.clone(),
        search_path,
        query_columns,
        columns: Arc::new(ArrowSchema::new(fields)),
        comment: metadata.properties().get(COMMENT).cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, data_type: DataType) -> ColumnDefinition {
        let comment = Some(format!("of {name}"));
        ColumnDefinition {
            name: name.into(),
            data_type,
            nullable: true,
            comment,
            identity: None,
            default: None,
        }
    }

    #[tokio::test]
    async fn a_view_is_read_back_and_replaced() {
        let root = tempfile::tempdir().unwrap();
        let location = root.path().join("v").to_str().unwrap().to_string();
        let storage = Storage::with_options(crate::storage::StorageOptions::default());
        let mut view = NewView {
            sql: "select 1 as a".into(),
            search_path: vec!["sales".into(), "public".into()],
            columns: vec![
                column("a", DataType::Int64),
                column("i", DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano)),
            ],
            query_columns: vec!["a".into(), "i".into()],
            comment: Some("first".into()),
        };
        let first = write(&storage, &location, None, "lake", &view).await.unwrap();
        assert_eq!(root_of(&first), Some(location.as_str()));
        let read_back = read(&storage, &first).await.unwrap();
        assert_eq!((read_back.sql.as_str(), read_back.dialect.as_str()), ("select 1 as a", DIALECT));
        assert_eq!(read_back.search_path, ["sales", "public"]);
        assert_eq!(read_back.comment.as_deref(), Some("first"));
        let types: Vec<_> = read_back.columns.fields().iter().map(|f| f.data_type().clone()).collect();
        assert_eq!(types, [DataType::Int64, DataType::Utf8View]);

        (view.sql, view.comment) = ("select 2 as b".into(), None);
        view.columns = vec![column("b", DataType::Int32)];
        let second = write(&storage, &location, Some(&first), "lake", &view).await.unwrap();
        assert!(second.rsplit('/').next().unwrap().starts_with("00001-"));
        let read_back = read(&storage, &second).await.unwrap();
        assert_eq!((read_back.sql.as_str(), read_back.comment), ("select 2 as b", None));
        assert_eq!(read_back.columns.field(0).name(), "b");
        // What was is still there, as the specification asks.
        let metadata = parse(&second, &storage.read(&second).await.unwrap()).unwrap();
        assert_eq!((metadata.versions().len(), metadata.history().len()), (2, 2));
    }

    #[tokio::test]
    async fn views_of_other_engines_name_their_dialect() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("v.metadata.json");
        std::fs::write(
            &path,
            r#"{"view-uuid":"fa6506c3-7681-40c8-86dc-e36561f83385","format-version":1,"location":"/w/v",
            "current-version-id":1,"properties":{"comment":"Daily counts"},
            "versions":[{"version-id":1,"timestamp-ms":1573518431292,"schema-id":1,"default-catalog":"prod",
              "default-namespace":["sales"],"summary":{"engine-name":"Spark"},
              "representations":[{"type":"sql","sql":"SELECT COUNT(1) c FROM events","dialect":"spark"}]}],
            "schemas":[{"schema-id":1,"type":"struct","fields":[
              {"id":1,"name":"c","required":false,"type":"long","doc":"Count of events"}]}],
            "version-log":[{"timestamp-ms":1573518431292,"version-id":1}]}"#,
        )
        .unwrap();
        let storage = Storage::with_options(crate::storage::StorageOptions::default());
        let view = read(&storage, path.to_str().unwrap()).await.unwrap();
        assert_eq!((view.dialect.as_str(), view.search_path), ("spark", vec!["sales".to_string()]));
        assert_eq!(view.comment.as_deref(), Some("Daily counts"));
        std::fs::write(&path, "{}").unwrap();
        assert!(matches!(read(&storage, path.to_str().unwrap()).await, Err(Error::Corrupt { .. })));
    }
}
