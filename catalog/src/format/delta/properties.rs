//! Table properties, protocol versions and table features (Delta protocol, "Table Features").
//!
//! Reading is the kernel's decision. Writing is ours ([`writable`](super::writable)).

use std::collections::{BTreeMap, BTreeSet};

use delta_kernel::table_features::ColumnMappingMode;
use uuid::Uuid;

use super::action::Protocol;
use crate::error::{Error, Result};
use crate::table::RowLineage;

pub(super) const APPEND_ONLY: &str = "delta.appendOnly";
/// Feature of tables with CHECK constraints.
pub(super) const CHECK_CONSTRAINTS: &str = "checkConstraints";
/// Feature of tables with column defaults.
pub(super) const COLUMN_DEFAULTS: &str = "allowColumnDefaults";
pub(super) const CHECKPOINT_INTERVAL: &str = "delta.checkpointInterval";
pub(super) const COLUMN_MAPPING_MODE: &str = "delta.columnMapping.mode";
pub(super) const COLUMN_MAPPING_MAX_ID: &str = "delta.columnMapping.maxColumnId";
pub(super) const ENABLE_CHANGE_DATA_FEED: &str = "delta.enableChangeDataFeed";
pub(super) const ENABLE_DELETION_VECTORS: &str = "delta.enableDeletionVectors";
pub(super) const ENABLE_IN_COMMIT_TIMESTAMPS: &str = "delta.enableInCommitTimestamps";
pub(super) const ENABLE_ROW_TRACKING: &str = "delta.enableRowTracking";
/// Feature of tables with timestamps without zone.
pub(super) const TIMESTAMP_NTZ: &str = "timestampNtz";
pub(super) const ISOLATION_LEVEL: &str = "delta.isolationLevel";
const ROW_TRACKING_SUSPENDED: &str = "delta.rowTrackingSuspended";
const INDEXED_COLUMN_COUNT: &str = "delta.dataSkippingNumIndexedCols";
const INDEXED_COLUMN_NAMES: &str = "delta.dataSkippingStatsColumns";
const MATERIALIZED_ROW_ID: &str = "delta.rowTracking.materializedRowIdColumnName";
const MATERIALIZED_ROW_COMMIT_VERSION: &str = "delta.rowTracking.materializedRowCommitVersionColumnName";
const FEATURE_PREFIX: &str = "delta.feature.";

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
    (APPEND_ONLY, Value::Boolean, Some("appendOnly")),
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
    (ENABLE_CHANGE_DATA_FEED, Value::Boolean, Some("changeDataFeed")),
    (ENABLE_DELETION_VECTORS, Value::Boolean, Some("deletionVectors")),
    ("delta.enableExpiredLogCleanup", Value::Boolean, None),
    (ENABLE_IN_COMMIT_TIMESTAMPS, Value::Boolean, Some("inCommitTimestamp")),
    (ENABLE_ROW_TRACKING, Value::Boolean, Some("rowTracking")),
    ("delta.enableTypeWidening", Value::Boolean, Some("typeWidening")),
    (ISOLATION_LEVEL, Value::OneOf(&["Serializable", "WriteSerializable", "SnapshotIsolation"]), None),
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

/// Features that a new table can be given.
const CREATABLE_FEATURES: &[&str] = &[
    COLUMN_DEFAULTS,
    "appendOnly",
    "changeDataFeed",
    "checkConstraints",
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
            let (_, shape, feature) = known(key)?;
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

/// Properties that say how files and log are written: changing them takes more than saying so.
pub(super) const FIXED: &[&str] = &[
    COLUMN_MAPPING_MODE,
    ENABLE_IN_COMMIT_TIMESTAMPS,
    ENABLE_ROW_TRACKING,
    "delta.checkpointPolicy",
    "delta.enableTypeWidening",
];

/// What belongs to [`FIXED`] properties and stays with them when a table is replaced.
pub(super) const KEPT_BY_REPLACEMENT: &[&str] = &[
    "delta.inCommitTimestampEnablementTimestamp",
    "delta.inCommitTimestampEnablementVersion",
    MATERIALIZED_ROW_COMMIT_VERSION,
    MATERIALIZED_ROW_ID,
];

/// Whether the properties of a table can be changed so. Fails as [`for_new_table`] does, and with
/// `Unsupported` for what only a new table can have.
pub(super) fn check_change(set: &BTreeMap<String, String>, unset: &[String]) -> Result<()> {
    for key in set.keys().chain(unset).filter(|key| key.starts_with("delta.")) {
        if FIXED.contains(&key.as_str()) || key.starts_with(FEATURE_PREFIX) {
            return Err(Error::unsupported("an existing Delta table", format!("changing \"{key}\"")));
        }
        let (_, shape, _) = known(key)?;
        if let Some(value) = set.get(key) {
            shape.check(key, value)?;
        }
    }
    Ok(())
}

/// Table features that true values of these properties ask for.
pub(super) fn features_of(set: &BTreeMap<String, String>) -> impl Iterator<Item = &'static str> {
    let is_on = |key: &&str| set.get(*key).is_some_and(|value| is_true(value));
    KNOWN.iter().filter(move |(key, ..)| is_on(key)).filter_map(|(_, _, feature)| *feature)
}

fn known(key: &str) -> Result<&'static (&'static str, Value, Option<&'static str>)> {
    let found = KNOWN.iter().find(|(known, ..)| *known == key);
    found.ok_or_else(|| Error::Invalid(format!("unknown Delta table property \"{key}\"")))
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
    // Writer version 2 is append-only and invariants, 3 adds CHECK constraints; more would promise
    // features that nobody asked for.
    let legacy = |version: i32| {
        features.iter().all(|f| LEGACY_FEATURES.iter().any(|(name, since)| name == f && *since <= version))
    };
    if let Some(version) = (2..=3).find(|version| legacy(*version)) {
        return Protocol {
            min_reader_version: 1,
            min_writer_version: version,
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

/// Features that protocols below the one of features stand for (Delta protocol, "Table Features"):
/// the writer version from which they are part of it.
pub(super) const LEGACY_FEATURES: &[(&str, i32)] = &[
    ("appendOnly", 2),
    ("invariants", 2),
    ("checkConstraints", 3),
    ("changeDataFeed", 4),
    ("generatedColumns", 4),
    ("columnMapping", 5),
    ("identityColumns", 6),
];
/// Protocol versions whose features are listed by name.
const FEATURES_READER: i32 = 3;
pub(super) const FEATURES_WRITER: i32 = 7;

/// The protocol, raised to all that another one has. Features of versions below the one of features are
/// those of the version.
pub(super) fn with_features_of(protocol: &Protocol, other: &Protocol) -> Protocol {
    let listed = other.writer_features.iter().flatten().map(String::as_str);
    let implied = match &other.writer_features {
        Some(_) => &[][..],
        None => LEGACY_FEATURES,
    };
    let implied = implied.iter().filter(|(_, since)| *since <= other.min_writer_version);
    let enough =
        protocol.writer_features.is_none() && protocol.min_writer_version >= other.min_writer_version;
    let mut raised = protocol.clone();
    for feature in listed.chain(implied.filter(|_| !enough).map(|(feature, _)| *feature)) {
        raised = with_feature(&raised, feature).unwrap_or(raised);
    }
    raised
}

/// `protocol` with a feature more, and nothing less. `None`: it has the feature.
pub(super) fn with_feature(protocol: &Protocol, feature: &str) -> Option<Protocol> {
    let for_readers = READER_FEATURES.contains(&feature);
    let writes = has_writer_feature(protocol, feature);
    let reads = protocol.reader_features.iter().flatten().any(|f| f == feature);
    if writes && (reads || !for_readers) {
        return None;
    }
    let mut writer: BTreeSet<String> = match &protocol.writer_features {
        Some(features) => features.iter().cloned().collect(),
        None => {
            let legacy = LEGACY_FEATURES.iter().filter(|(_, since)| *since <= protocol.min_writer_version);
            legacy.map(|(feature, _)| feature.to_string()).collect()
        }
    };
    writer.insert(feature.to_string());
    let mut raised = Protocol {
        min_reader_version: protocol.min_reader_version,
        min_writer_version: FEATURES_WRITER,
        reader_features: protocol.reader_features.clone(),
        writer_features: None,
    };
    if for_readers {
        let mut reader: BTreeSet<String> = match &protocol.reader_features {
            Some(features) => features.iter().cloned().collect(),
            // Version 2 is column mapping.
            None if protocol.min_reader_version >= 2 => BTreeSet::from(["columnMapping".to_string()]),
            None => BTreeSet::new(),
        };
        reader.insert(feature.to_string());
        // What readers must know, writers must too.
        writer.extend(reader.iter().cloned());
        raised.min_reader_version = FEATURES_READER;
        raised.reader_features = Some(reader.into_iter().collect());
    }
    raised.writer_features = Some(writer.into_iter().collect());
    Some(raised)
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

/// Whether rows of files may be marked deleted. It takes the protocol's feature as well, which the
/// first commit that does so adds.
pub(super) fn deletion_vectors_enabled(configuration: &BTreeMap<String, String>) -> bool {
    is_on(configuration, ENABLE_DELETION_VECTORS)
}

/// Where files keep the ids of rows that have moved. `None`: rows have no ids that would stay with them, or
/// the table does not say under which names.
pub(super) fn row_lineage(configuration: &BTreeMap<String, String>) -> Option<RowLineage> {
    if !is_on(configuration, ENABLE_ROW_TRACKING) {
        return None;
    }
    let row_id = configuration.get(MATERIALIZED_ROW_ID)?;
    Some(RowLineage::by_name(row_id, configuration.get(MATERIALIZED_ROW_COMMIT_VERSION)?))
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

pub(super) fn is_on(configuration: &BTreeMap<String, String>, key: &str) -> bool {
    configuration.get(key).is_some_and(|v| is_true(v))
}

fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}
