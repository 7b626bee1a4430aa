//! New tables: staging one, and writing its version 0.

use std::sync::Arc;

use chrono::Utc;
use tracing::warn;
use uuid::Uuid;

use super::action::{FileFormat, Metadata};
use super::commit::{NextCommit, Predecessor, Written};
use super::files::NoFiles;
use super::snapshot::{DeltaState, assemble};
use super::touched::Touched;
use super::{commit_location, identity, is_delta_table, properties, schema, writable};
use crate::TableIdent;
use crate::backend::{Backend, NewTableEntry};
use crate::error::{Error, Result};
use crate::format::{CommitOutcome, Prepared};
use crate::storage::Storage;
use crate::table::partition::Transform;
use crate::table::{TableChange, TableDefinition, TableFormat, TableSnapshot, TableVersion};

/// The empty snapshot of a table to be.
pub(super) fn stage(
    ident: &TableIdent,
    definition: &TableDefinition,
    root: &str,
) -> Result<Arc<TableSnapshot>> {
    let table = ident.to_string();
    if !definition.sorting.is_empty() {
        return Err(Error::unsupported(format!("Delta table \"{table}\""), "SORTED BY"));
    }
    if !definition.key_columns.is_empty() {
        return Err(Error::unsupported(format!("Delta table \"{table}\""), "PRIMARY KEY"));
    }
    if definition.partitioning.iter().any(|field| field.transform != Transform::Identity) {
        return Err(Error::unsupported(
            format!("Delta table \"{table}\""),
            "a partition transform (Delta tables can be partitioned by columns only)",
        ));
    }
    let mut new = properties::for_new_table(&definition.properties)?;
    let (schema, max_id) =
        schema::from_definition(&table, &definition.columns, new.column_mapping, 0, Uuid::new_v4())?;
    if max_id > 0 {
        new.configuration.insert(properties::COLUMN_MAPPING_MAX_ID.into(), max_id.to_string());
    }
    let table_schema = schema::to_table_schema(&table, &schema, new.column_mapping)?;
    let table_schema = Arc::new(table_schema.with_text_types(|name| new.configuration.get(name)));
    if schema::has_timestamp_ntz(&schema) {
        new.features.insert(properties::TIMESTAMP_NTZ.into());
    }
    if definition.columns.iter().any(|column| !column.nullable) {
        // NOT NULL is an invariant to older writers.
        new.features.insert("invariants".into());
    }
    if definition.columns.iter().any(|column| column.default.is_some()) {
        new.features.insert(properties::COLUMN_DEFAULTS.into());
    }
    if definition.columns.iter().any(identity::needs_feature) {
        new.features.insert(identity::FEATURE.into());
    }
    if !definition.constraints.is_empty() {
        new.features.insert(properties::CHECK_CONSTRAINTS.into());
    }
    for constraint in &definition.constraints {
        new.configuration.insert(writable::constraint_key(&constraint.name), constraint.expression.clone());
    }
    let metadata = Metadata {
        id: Uuid::new_v4().to_string(),
        name: Some(ident.name.clone()),
        description: definition.comment.clone(),
        format: FileFormat::PARQUET,
        schema_string: serde_json::to_string(&schema).map_err(|e| Error::Internal(e.to_string()))?,
        partition_columns: partition_columns(&table, definition)?,
        created_time: Some(Utc::now().timestamp_millis()),
        configuration: new.configuration,
    };
    let spec = Arc::new(schema::partition_spec(&table, &table_schema, &metadata.partition_columns)?);
    let state = DeltaState { protocol: properties::protocol_for(&new.features), metadata, kernel: None };
    let files = Arc::new(NoFiles);
    Ok(Arc::new(assemble(root, TableVersion::Unpublished, table_schema, spec, state, None, files)))
}

fn partition_columns(table: &str, definition: &TableDefinition) -> Result<Vec<String>> {
    let mut columns: Vec<String> = Vec::with_capacity(definition.partitioning.len());
    for field in &definition.partitioning {
        let column = definition.columns.iter().find(|c| c.name == field.column).ok_or_else(|| {
            Error::ColumnNotFound { table: table.to_string(), column: field.column.clone() }
        })?;
        if column.data_type.is_nested() {
            return Err(Error::unsupported(
                format!("Delta table \"{table}\""),
                format!("partitioning by column \"{}\" of type {}", column.name, column.data_type),
            ));
        }
        if columns.contains(&column.name) {
            return Err(Error::Invalid(format!("partition column \"{}\" is given twice", column.name)));
        }
        columns.push(column.name.clone());
    }
    if columns.len() == definition.columns.len() {
        return Err(Error::Invalid(format!(
            "Delta table \"{table}\" needs a column besides its partition columns"
        )));
    }
    Ok(columns)
}

/// What to say when another table is at `root`: the one of this name, mostly.
async fn taken(backend: &dyn Backend, ident: &TableIdent, root: &str) -> Result<Error> {
    Ok(match backend.table(ident).await? {
        Some(_) => Error::TableExists(ident.clone()),
        None => Error::Invalid(format!("there is a Delta table at {root} already")),
    })
}

/// Writes version 0 of a staged table, to be entered into the catalog.
pub(super) async fn prepare(
    storage: &Storage,
    ident: &TableIdent,
    staged: &TableSnapshot,
    change: &TableChange,
) -> Result<Prepared> {
    let root = &staged.location;
    let taken = || Error::Conflict {
        table: ident.to_string(),
        winner: format!("another transaction has put a Delta table at {root}"),
    };
    if is_delta_table(storage, root).await? {
        return Err(taken());
    }
    let commit = NextCommit::new(staged, change, Touched::default(), &Predecessor::default())?;
    match commit.write(storage).await? {
        Written::Ours => {}
        Written::Lost { .. } => return Err(taken()),
        // Whether it is there or not, nothing refers to it.
        Written::Unknown(e) => return Err(Error::storage(commit_location(root, 0), e)),
    }
    let written = vec![commit_location(root, 0)];
    Ok(Prepared { pointer: root.clone(), previous: None, written, expired: Vec::new() })
}

/// Writes version 0 of a staged table and enters it into the catalog.
pub(super) async fn create(
    storage: &Storage,
    backend: &dyn Backend,
    ident: &TableIdent,
    staged: &TableSnapshot,
    change: &TableChange,
) -> Result<CommitOutcome> {
    let root = &staged.location;
    if is_delta_table(storage, root).await? {
        return Err(taken(backend, ident, root).await?);
    }
    let commit = NextCommit::new(staged, change, Touched::default(), &Predecessor::default())?;
    match commit.write(storage).await? {
        Written::Ours => {}
        Written::Lost { .. } => return Err(taken(backend, ident, root).await?),
        Written::Unknown(e) => return Ok(CommitOutcome::Unknown(e)),
    }
    let entry = NewTableEntry {
        ident: ident.clone(),
        format: TableFormat::Delta,
        pointer: root.clone(),
        external: !root.starts_with(&format!("{}/", super::root_location(backend.warehouse())?)),
    };
    match backend.create_table(&entry).await {
        Ok(()) => Ok(CommitOutcome::Committed(TableVersion::Delta { version: 0 })),
        Err(e) if certainly_not_entered(&e) => {
            // Certainly not in the catalog, so nobody reads the version that we have just written.
            let location = commit_location(root, 0);
            if let Err(e) = storage.delete(&location).await {
                warn!(location, error = %e, "could not remove the log of a table that was not created");
            }
            Err(e)
        }
        Err(e) => Ok(CommitOutcome::Unknown(Box::new(e))),
    }
}

/// Whether a catalog that answers like this has refused the entry; else it may have taken it.
fn certainly_not_entered(error: &Error) -> bool {
    use Error::*;
    matches!(
        error,
        TableExists(_) | NamespaceNotFound(_) | CatalogNotFound(_) | Unsupported { .. } | Invalid(_)
    )
}
