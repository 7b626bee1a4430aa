//! What may be written to a table, and how: the writer features that our commits honour, what rows
//! must satisfy, and what the table's properties say of row-level changes.
//!
//! Everything that is not listed here is refused by name.

use std::collections::BTreeMap;

use delta_kernel::schema::{DataType, MetadataValue, StructField, StructType};

use super::action::{Metadata, Protocol};
use super::identity;
use super::properties::{self, is_on};
use super::snapshot::DeltaState;
use crate::error::{Error, Result};
use crate::format::RowLevelMode;
use crate::table::{CheckConstraint, Isolation, Operation, TableChange};

pub(super) const CONSTRAINT_PREFIX: &str = "delta.constraints.";
const INVARIANTS: &str = "delta.invariants";
const GENERATION_EXPRESSION: &str = "delta.generationExpression";

/// Writer features that our commits honour, or that ask nothing of a writer that does not use them
/// (what they would ask for is looked for in [`ensure_computes_nothing`]).
const WRITABLE_FEATURES: &[&str] = &[
    "allowColumnDefaults",
    "appendOnly",
    "changeDataFeed",
    "checkConstraints",
    "checkpointProtection",
    "clustering",
    "columnMapping",
    "deletionVectors",
    "domainMetadata",
    "generatedColumns",
    "identityColumns",
    "inCommitTimestamp",
    "invariants",
    "rowTracking",
    "timestampNtz",
    "typeWidening",
    "typeWidening-preview",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "variantType",
    "variantType-preview",
    "variantShredding",
    "variantShredding-preview",
];

/// Whether we may write to a table; `Unsupported` names the feature that stands against it.
pub(super) fn ensure_writable(
    table: &str,
    protocol: &Protocol,
    metadata: &Metadata,
    schema: &StructType,
) -> Result<()> {
    let refuse = |feature: String| Error::unsupported(format!("writing Delta table {table}"), feature);
    if !(1..=7).contains(&protocol.min_writer_version) {
        return Err(refuse(format!("writer version {}", protocol.min_writer_version)));
    }
    for feature in protocol.writer_features.iter().flatten() {
        // A compatibility that is not switched on asks for nothing.
        let dormant = feature.strip_prefix("icebergCompat").is_some_and(|version| {
            !is_on(&metadata.configuration, &format!("delta.enableIcebergCompat{version}"))
        });
        if !dormant && !WRITABLE_FEATURES.contains(&feature.as_str()) {
            return Err(refuse(format!("the table feature \"{feature}\"")));
        }
    }
    schema.fields().try_for_each(|field| ensure_computes_nothing(field, true)).map_err(refuse)
}

/// Computed columns, which a writer would have to compute whatever the protocol's version says:
/// `Err` names the first. `top`: it is a column of the table, whose identity column we can fill.
fn ensure_computes_nothing(field: &StructField, top: bool) -> Result<(), String> {
    let has = |prefix: &str| field.metadata().keys().any(|key| key.starts_with(prefix));
    if has(GENERATION_EXPRESSION) {
        return Err(format!("the table feature \"generatedColumns\" (column \"{}\")", field.name()));
    }
    if has(identity::PREFIX) && (!top || identity::of_field(field).is_none()) {
        return Err(format!("the table feature \"{}\" (column \"{}\")", identity::FEATURE, field.name()));
    }
    ensure_type_computes_nothing(field.data_type())
}

fn ensure_type_computes_nothing(data_type: &DataType) -> Result<(), String> {
    match data_type {
        DataType::Struct(fields) => {
            fields.fields().try_for_each(|field| ensure_computes_nothing(field, false))
        }
        DataType::Array(array) => ensure_elements_are_free(array.element_type()),
        DataType::Map(map) => {
            ensure_elements_are_free(map.key_type())?;
            ensure_elements_are_free(map.value_type())
        }
        DataType::Primitive(_) | DataType::Variant(_) => Ok(()),
    }
}

/// An invariant of a field inside a list or a map is no condition on a row.
fn ensure_elements_are_free(data_type: &DataType) -> Result<(), String> {
    let DataType::Struct(fields) = data_type else { return ensure_type_computes_nothing(data_type) };
    for field in fields.fields() {
        if field.metadata().contains_key(INVARIANTS) {
            return Err(format!("an invariant inside a list or a map (field \"{}\")", field.name()));
        }
        ensure_computes_nothing(field, false)?;
        ensure_elements_are_free(field.data_type())?;
    }
    Ok(())
}

/// Where a table's properties hold a CHECK constraint.
pub(super) fn constraint_key(name: &str) -> String {
    format!("{CONSTRAINT_PREFIX}{name}")
}

/// CHECK constraints (`delta.constraints.<name>`) and column invariants, which have the name of
/// their column (Delta protocol, "CHECK Constraints", "Column Invariants").
pub(super) fn constraints(metadata: &Metadata, schema: &StructType) -> Vec<CheckConstraint> {
    let mut constraints = checks(metadata);
    schema.fields().for_each(|field| invariants(field, field.name(), &mut constraints));
    constraints
}

/// The CHECK constraints alone, which are all that a new table can be given.
pub(super) fn checks(metadata: &Metadata) -> Vec<CheckConstraint> {
    let checks = metadata.configuration.iter().filter_map(|(key, expression)| {
        let name = key.strip_prefix(CONSTRAINT_PREFIX)?;
        Some(CheckConstraint { name: name.to_string(), expression: expression.clone() })
    });
    checks.collect()
}

fn invariants(field: &StructField, path: &str, constraints: &mut Vec<CheckConstraint>) {
    if let Some(MetadataValue::String(text)) = field.metadata().get(INVARIANTS) {
        let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
        let expression = json.as_ref().and_then(|json| json.pointer("/expression/expression")?.as_str());
        // What is not of this shape is left to whoever evaluates it to refuse.
        let expression = expression.unwrap_or(text).to_string();
        constraints.push(CheckConstraint { name: path.to_string(), expression });
    }
    if let DataType::Struct(fields) = field.data_type() {
        for field in fields.fields() {
            invariants(field, &format!("{path}.{}", field.name()), constraints);
        }
    }
}

/// What the table's properties forbid to a kind of statement, whatever its change holds.
pub(super) fn ensure_operation(table: &str, state: &DeltaState, operation: Operation) -> Result<()> {
    let configuration = &state.metadata.configuration;
    if matches!(operation, Operation::Create | Operation::Append | Operation::Alter) {
        return Ok(());
    }
    // A MERGE may only insert.
    if operation != Operation::Merge && is_on(configuration, properties::APPEND_ONLY) {
        return Err(append_only(table, operation));
    }
    // A MERGE may move none.
    if operation == Operation::Update {
        ensure_rows_may_move(table, configuration, operation)?;
    }
    Ok(())
}

/// What the table's properties forbid of this change.
pub(super) fn ensure_change(table: &str, state: &DeltaState, change: &TableChange) -> Result<()> {
    let configuration = &state.metadata.configuration;
    let moves = change.rows.updated > 0 || change.rows.copied > 0;
    if is_on(configuration, properties::ENABLE_CHANGE_DATA_FEED) {
        ensure_feed(table, change, moves)?;
    }
    if change.removed.is_empty() && change.deletes.is_empty() && change.replacement.is_none() {
        return Ok(());
    }
    if is_on(configuration, properties::APPEND_ONLY) {
        return Err(append_only(table, change.operation));
    }
    if moves {
        ensure_rows_may_move(table, configuration, change.operation)?;
    }
    if !change.deletes.is_empty() && !properties::deletion_vectors_enabled(configuration) {
        return Err(Error::unsupported(
            table,
            format!("deletion vectors without \"{}\" = true", properties::ENABLE_DELETION_VECTORS),
        ));
    }
    Ok(())
}

/// Whole files that come or go tell readers of the feed what changed. All else needs change files,
/// which then must hold every changed row: readers look at nothing else of the commit.
fn ensure_feed(table: &str, change: &TableChange, moves: bool) -> Result<()> {
    let held: u64 = change.change_files.iter().map(|file| file.record_count).sum();
    let changed = change.rows.inserted + change.rows.deleted + 2 * change.rows.updated;
    let complete = match change.change_files.is_empty() {
        true => change.deletes.is_empty() && !moves,
        false => held == changed,
    };
    if complete {
        return Ok(());
    }
    Err(Error::unsupported(
        format!("{} on \"{table}\"", change.operation),
        format!("a change data feed (which has {held} images of {changed} changed rows)"),
    ))
}

fn append_only(table: &str, operation: Operation) -> Error {
    Error::Invalid(format!(
        "{operation} on \"{table}\": the table is append-only (\"delta.appendOnly\" = true)"
    ))
}

/// Rows that move take their ids along, in columns that the table has to name.
fn ensure_rows_may_move(
    table: &str,
    configuration: &BTreeMap<String, String>,
    operation: Operation,
) -> Result<()> {
    if is_on(configuration, properties::ENABLE_ROW_TRACKING)
        && properties::row_lineage(configuration).is_none()
    {
        return Err(Error::unsupported(
            format!("{operation} on \"{table}\""),
            "row tracking without names for the columns of row ids and commit versions",
        ));
    }
    Ok(())
}

/// Deletion vectors where the table has them switched on (`delta.enableDeletionVectors`). The
/// protocol's feature alone only allows them.
pub(super) fn row_level_mode(table: &str, state: &DeltaState, operation: Operation) -> Result<RowLevelMode> {
    ensure_operation(table, state, operation)?;
    if operation == Operation::Append {
        // It touches no file.
        return Ok(RowLevelMode::CopyOnWrite);
    }
    let configuration = &state.metadata.configuration;
    if properties::deletion_vectors_enabled(configuration) {
        return Ok(RowLevelMode::MergeOnRead);
    }
    ensure_rows_may_move(table, configuration, operation)?;
    Ok(RowLevelMode::CopyOnWrite)
}

/// `delta.isolationLevel`. Serializable where the table does not say, although Delta's default is
/// weaker.
pub(super) fn isolation(state: &DeltaState) -> Isolation {
    match state.metadata.configuration.get(properties::ISOLATION_LEVEL).map(String::as_str) {
        Some("WriteSerializable") => Isolation::WriteSerializable,
        Some("SnapshotIsolation") => Isolation::Snapshot,
        _ => Isolation::Serializable,
    }
}
