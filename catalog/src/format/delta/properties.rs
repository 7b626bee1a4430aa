//! Table properties, protocol versions and table features (Delta protocol, "Table Features").
//!
//! Reading is the kernel's decision. Writing is ours: [`ensure_writable`] lists what our commits
//! honour, and everything else is refused by name.

use std::collections::{BTreeMap, BTreeSet};

use delta_kernel::schema::{DataType, StructField, StructType};
use delta_kernel::table_features::ColumnMappingMode;
use uuid::Uuid;

use super::action::{Metadata, Protocol};
use crate::error::{Error, Result};

pub(super) const CHECKPOINT_INTERVAL: &str = "delta.checkpointInterval";
pub(super) const COLUMN_MAPPING_MODE: &str = "delta.columnMapping.mode";
pub(super) const COLUMN_MAPPING_MAX_ID: &str = "delta.columnMapping.maxColumnId";
pub(super) const ENABLE_IN_COMMIT_TIMESTAMPS: &str = "delta.enableInCommitTimestamps";
pub(super) const ENABLE_ROW_TRACKING: &str = "delta.enableRowTracking";
const ROW_TRACKING_SUSPENDED: &str = "delta.rowTrackingSuspended";
const INDEXED_COLUMN_COUNT: &str = "delta.dataSkippingNumIndexedCols";
const INDEXED_COLUMN_NAMES: &str = "delta.dataSkippingStatsColumns";
const MATERIALIZED_ROW_ID: &str = "delta.rowTracking.materializedRowIdColumnName";
const MATERIALIZED_ROW_COMMIT_VERSION: &str = "delta.rowTracking.materializedRowCommitVersionColumnName";
const FEATURE_PREFIX: &str = "delta.feature.";
const CONSTRAINT_PREFIX: &str = "delta.constraints.";

/// Commits between two checkpoints when the table does not say (as Spark's writer does it).
const DEFAULT_CHECKPOINT_INTERVAL: u64 = 10;
/// Columns with statistics when the table does not say (Delta protocol, "Per-file Statistics").
const DEFAULT_INDEXED_COLUMNS: usize = 32;

/// What the value of a property must look like.
enum Value {
    Boolean,
    PositiveInteger,
    /// −1 means all.
    Count,
    OneOf(&'static [&'static str]),
    /// Not checked: intervals, sizes, lists of columns.
    Text,
}

/// Properties that a CREATE TABLE may set, the shape of their values, and the feature that a true
/// value turns on.
const KNOWN: &[(&str, Value, Option<&str>)] = &[
    ("delta.appendOnly", Value::Boolean, Some("appendOnly")),
    ("delta.autoOptimize.autoCompact", Value::Text, None),
    ("delta.autoOptimize.optimizeWrite", Value::Boolean, None),
    ("delta.checkpoint.writeStatsAsJson", Value::Boolean, None),
    ("delta.checkpoint.writeStatsAsStruct", Value::Boolean, None),
    (CHECKPOINT_INTERVAL, Value::PositiveInteger, None),
    ("delta.checkpointPolicy", Value::OneOf(&["classic", "v2"]), None),
    (COLUMN_MAPPING_MODE, Value::OneOf(&["none", "name", "id"]), None),
    (INDEXED_COLUMN_COUNT, Value::Count, None),
    (INDEXED_COLUMN_NAMES, Value::Text, None),
    ("delta.deletedFileRetentionDuration", Value::Text, None),
    ("delta.enableChangeDataFeed", Value::Boolean, Some("changeDataFeed")),
    ("delta.enableDeletionVectors", Value::Boolean, Some("deletionVectors")),
    ("delta.enableExpiredLogCleanup", Value::Boolean, None),
    (ENABLE_IN_COMMIT_TIMESTAMPS, Value::Boolean, Some("inCommitTimestamp")),
    (ENABLE_ROW_TRACKING, Value::Boolean, Some("rowTracking")),
    ("delta.enableTypeWidening", Value::Boolean, Some("typeWidening")),
    ("delta.isolationLevel", Value::OneOf(&["Serializable", "WriteSerializable", "SnapshotIsolation"]), None),
    ("delta.logRetentionDuration", Value::Text, None),
    ("delta.parquet.compression.codec", Value::Text, None),
    ("delta.randomPrefixLength", Value::PositiveInteger, None),
    ("delta.randomizeFilePrefixes", Value::Boolean, None),
    ("delta.setTransactionRetentionDuration", Value::Text, None),
    ("delta.targetFileSize", Value::Text, None),
    ("delta.tuneFileSizesForRewrites", Value::Boolean, None),
];

/// Features that readers need too.
const READER_FEATURES: &[&str] = &[
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "typeWidening",
    "v2Checkpoint",
    "vacuumProtocolCheck",
];

/// Writer features that our commits honour, or that ask nothing of a writer that does not use them
/// (what they would ask for is looked for in [`ensure_nothing_to_enforce`]).
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

/// Features that a new table can be given.
const CREATABLE_FEATURES: &[&str] = &[
    "appendOnly",
    "changeDataFeed",
    "columnMapping",
    "deletionVectors",
    "domainMetadata",
    "inCommitTimestamp",
    "invariants",
    "rowTracking",
    "timestampNtz",
    "typeWidening",
    "v2Checkpoint",
    "vacuumProtocolCheck",
];

/// Properties of a new table, checked, and the features that they ask for.
#[derive(Debug)]
pub(super) struct NewTableProperties {
    pub configuration: BTreeMap<String, String>,
    pub features: BTreeSet<String>,
    pub column_mapping: ColumnMappingMode,
}

/// Checks the properties of a CREATE TABLE. Unknown `delta.` keys and bad values are `Invalid`;
/// keys of others are kept as they are.
pub(super) fn for_new_table(properties: &BTreeMap<String, String>) -> Result<NewTableProperties> {
    let mut new = NewTableProperties {
        configuration: BTreeMap::new(),
        features: BTreeSet::new(),
        column_mapping: ColumnMappingMode::None,
    };
    for (key, value) in properties {
        if let Some(feature) = key.strip_prefix(FEATURE_PREFIX) {
            add_feature(&mut new.features, feature, value)?;
            continue;
        }
        if key.starts_with("delta.") {
            let (_, shape, feature) = KNOWN
                .iter()
                .find(|(known, ..)| known == key)
                .ok_or_else(|| Error::Invalid(format!("unknown Delta table property \"{key}\"")))?;
            shape.check(key, value)?;
            if let Some(feature) = feature
                && is_true(value)
            {
                new.features.insert(feature.to_string());
            }
        }
        new.configuration.insert(key.clone(), value.clone());
    }
    if new.features.contains("rowTracking") {
        new.features.insert("domainMetadata".into());
    }
    if new.configuration.get("delta.checkpointPolicy").is_some_and(|p| p == "v2") {
        new.features.insert("v2Checkpoint".into());
    }
    if is_on(&new.configuration, ENABLE_ROW_TRACKING) {
        let name = |prefix: &str| format!("_{prefix}-col-{}", Uuid::new_v4());
        new.configuration.insert(MATERIALIZED_ROW_ID.into(), name("row-id"));
        new.configuration.insert(MATERIALIZED_ROW_COMMIT_VERSION.into(), name("row-commit-version"));
    }
    new.column_mapping = column_mapping_mode(&new.configuration);
    if new.column_mapping != ColumnMappingMode::None {
        new.features.insert("columnMapping".into());
    }
    Ok(new)
}

fn add_feature(features: &mut BTreeSet<String>, feature: &str, value: &str) -> Result<()> {
    if !matches!(value, "supported" | "enabled") {
        return Err(Error::Invalid(format!("\"{FEATURE_PREFIX}{feature}\" can only be 'supported'")));
    }
    if !CREATABLE_FEATURES.contains(&feature) {
        return Err(Error::unsupported("a new Delta table", format!("the table feature \"{feature}\"")));
    }
    features.insert(feature.to_string());
    Ok(())
}

impl Value {
    fn check(&self, key: &str, value: &str) -> Result<()> {
        let expected = match self {
            Self::Boolean if matches!(value.to_ascii_lowercase().as_str(), "true" | "false") => return Ok(()),
            Self::PositiveInteger if value.parse::<u64>().is_ok_and(|n| n > 0) => return Ok(()),
            Self::Count if value.parse::<i64>().is_ok_and(|n| n >= -1) => return Ok(()),
            Self::OneOf(choices) if choices.contains(&value) => return Ok(()),
            Self::Text => return Ok(()),
            Self::Boolean => "true or false".to_string(),
            Self::PositiveInteger => "a positive integer".to_string(),
            Self::Count => "an integer from -1".to_string(),
            Self::OneOf(choices) => format!("one of {}", choices.join(", ")),
        };
        Err(Error::Invalid(format!(
            "invalid value \"{value}\" of table property \"{key}\": expected {expected}"
        )))
    }
}

/// The lowest protocol that has `features`.
pub(super) fn protocol_for(features: &BTreeSet<String>) -> Protocol {
    // Writer version 2 is append-only and invariants; more would promise features that nobody asked for.
    if features.iter().all(|f| matches!(f.as_str(), "appendOnly" | "invariants")) {
        return Protocol {
            min_reader_version: 1,
            min_writer_version: 2,
            reader_features: None,
            writer_features: None,
        };
    }
    let reader: Vec<String> =
        features.iter().filter(|f| READER_FEATURES.contains(&f.as_str())).cloned().collect();
    Protocol {
        min_reader_version: if reader.is_empty() { 1 } else { 3 },
        min_writer_version: 7,
        reader_features: (!reader.is_empty()).then_some(reader),
        writer_features: Some(features.iter().cloned().collect()),
    }
}

/// Whether we may append to a table; `Unsupported` names the feature that stands against it.
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
    ensure_nothing_to_enforce(metadata, schema).map_err(refuse)
}

/// Checks and computed columns that a writer would have to honour, whatever the protocol's version
/// says: `Err` names the first.
fn ensure_nothing_to_enforce(metadata: &Metadata, schema: &StructType) -> Result<(), String> {
    let constraint = metadata.configuration.keys().find_map(|key| key.strip_prefix(CONSTRAINT_PREFIX));
    if let Some(name) = constraint {
        return Err(format!("the CHECK constraint \"{name}\" (table feature \"checkConstraints\")"));
    }
    schema.fields().try_for_each(ensure_plain)
}

fn ensure_plain(field: &StructField) -> Result<(), String> {
    for (prefix, feature) in [
        ("delta.invariants", "invariants"),
        ("delta.generationExpression", "generatedColumns"),
        ("delta.identity.", "identityColumns"),
    ] {
        if field.metadata().keys().any(|key| key.starts_with(prefix)) {
            return Err(format!("the table feature \"{feature}\" (column \"{}\")", field.name()));
        }
    }
    ensure_plain_type(field.data_type())
}

fn ensure_plain_type(data_type: &DataType) -> Result<(), String> {
    match data_type {
        DataType::Struct(fields) => fields.fields().try_for_each(ensure_plain),
        DataType::Array(array) => ensure_plain_type(array.element_type()),
        DataType::Map(map) => {
            ensure_plain_type(map.key_type())?;
            ensure_plain_type(map.value_type())
        }
        DataType::Primitive(_) | DataType::Variant(_) => Ok(()),
    }
}

pub(super) fn column_mapping_mode(configuration: &BTreeMap<String, String>) -> ColumnMappingMode {
    match configuration.get(COLUMN_MAPPING_MODE).map(String::as_str) {
        Some("name") => ColumnMappingMode::Name,
        Some("id") => ColumnMappingMode::Id,
        _ => ColumnMappingMode::None,
    }
}

pub(super) fn checkpoint_interval(configuration: &BTreeMap<String, String>) -> u64 {
    let interval = configuration.get(CHECKPOINT_INTERVAL).and_then(|v| v.parse().ok());
    interval.filter(|n| *n > 0).unwrap_or(DEFAULT_CHECKPOINT_INTERVAL)
}

/// Whether new files need row ids (Delta protocol, "Row Tracking"): as soon as the feature is in the
/// protocol, unless suspended.
pub(super) fn assigns_row_ids(protocol: &Protocol, configuration: &BTreeMap<String, String>) -> bool {
    has_writer_feature(protocol, "rowTracking") && !is_on(configuration, ROW_TRACKING_SUSPENDED)
}

pub(super) fn has_in_commit_timestamps(
    protocol: &Protocol,
    configuration: &BTreeMap<String, String>,
) -> bool {
    has_writer_feature(protocol, "inCommitTimestamp") && is_on(configuration, ENABLE_IN_COMMIT_TIMESTAMPS)
}

pub(super) fn has_writer_feature(protocol: &Protocol, feature: &str) -> bool {
    protocol.writer_features.iter().flatten().any(|f| f == feature)
}

/// Which top-level columns get statistics: those named, else the first 32 (or as many as the
/// property says).
#[derive(Debug)]
pub(super) enum IndexedColumns {
    First(usize),
    Named(Vec<String>),
}

pub(super) fn indexed_columns(configuration: &BTreeMap<String, String>) -> IndexedColumns {
    if let Some(names) = configuration.get(INDEXED_COLUMN_NAMES) {
        return IndexedColumns::Named(
            names.split(',').map(|n| n.trim().trim_matches('`').to_string()).collect(),
        );
    }
    match configuration.get(INDEXED_COLUMN_COUNT).and_then(|v| v.parse::<i64>().ok()) {
        None => IndexedColumns::First(DEFAULT_INDEXED_COLUMNS),
        Some(n) => IndexedColumns::First(usize::try_from(n).unwrap_or(usize::MAX)),
    }
}

fn is_on(configuration: &BTreeMap<String, String>, key: &str) -> bool {
    configuration.get(key).is_some_and(|v| is_true(v))
}

fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}
