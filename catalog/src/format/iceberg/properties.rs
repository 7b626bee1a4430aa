//! Iceberg table properties that the format itself obeys. What concerns data files only (target
//! size, compression of Parquet, …) is read by the Parquet writer from the same properties.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{FormatVersion, Schema, SortOrder};

use super::identity;
use crate::error::{Error, Result};
use crate::format::RowLevelMode;
use crate::table::{FieldId, Isolation, Operation};

pub const FORMAT_VERSION: &str = "format-version";
pub const COMMENT: &str = "comment";
pub const PARQUET_COMPRESSION: &str = "write.parquet.compression-codec";
/// Folder of new metadata files.
const METADATA_PATH: &str = "write.metadata.path";
const METADATA_COMPRESSION: &str = "write.metadata.compression-codec";
const METADATA_DELETE: &str = "write.metadata.delete-after-commit.enabled";
const METRICS_DEFAULT: &str = "write.metadata.metrics.default";
const METRICS_COLUMN_PREFIX: &str = "write.metadata.metrics.column.";
const METRICS_MAX_INFERRED: &str = "write.metadata.metrics.max-inferred-column-defaults";
const DEFAULT_MAX_INFERRED: usize = 100;
const DEFAULT_TRUNCATION: usize = 16;

/// Properties that are no properties: engines show them, no table stores them.
const RESERVED: [&str; 8] = [
    "uuid",
    "snapshot-count",
    "current-snapshot-summary",
    "current-snapshot-id",
    "current-snapshot-timestamp-ms",
    "current-schema",
    "default-partition-spec",
    "default-sort-order",
];

/// The format version that a CREATE TABLE asks for; 2 without one. Fails with `Invalid`.
pub fn format_version(properties: &BTreeMap<String, String>) -> Result<FormatVersion> {
    match properties.get(FORMAT_VERSION).map(|v| v.trim()) {
        None | Some("2") => Ok(FormatVersion::V2),
        Some("1") => Ok(FormatVersion::V1),
        Some("3") => Ok(FormatVersion::V3),
        Some(other) => Err(Error::Invalid(format!("invalid format-version \"{other}\": must be 1, 2 or 3"))),
    }
}

/// The properties that a new table stores. Fails with `Invalid` for reserved names and values that
/// a later commit would stumble over.
pub fn for_new_table(
    properties: &BTreeMap<String, String>,
    comment: Option<&str>,
) -> Result<HashMap<String, String>> {
    let mut stored: HashMap<String, String> =
        properties.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    stored.remove(FORMAT_VERSION);
    if let Some(name) = RESERVED.iter().find(|name| stored.contains_key(**name)) {
        return Err(Error::Invalid(format!("table property \"{name}\" is reserved")));
    }
    identity::check_not_given(stored.keys())?;
    stored.entry(PARQUET_COMPRESSION.to_string()).or_insert_with(|| "zstd".to_string());
    if let Some(comment) = comment {
        stored.insert(COMMENT.to_string(), comment.to_string());
    }
    check_values(&stored)?;
    Ok(stored)
}

/// Whether the properties of a table can be changed so. Fails with `Invalid` as for a new table, and
/// with `Unsupported` for another format version.
pub fn check_change(
    before: &HashMap<String, String>,
    set: &BTreeMap<String, String>,
    unset: &[String],
) -> Result<()> {
    let names = || set.keys().chain(unset);
    if let Some(name) = names().find(|name| RESERVED.contains(&name.as_str())) {
        return Err(Error::Invalid(format!("table property \"{name}\" is reserved")));
    }
    identity::check_not_given(names())?;
    if names().any(|name| name == FORMAT_VERSION) {
        return Err(Error::unsupported("an Iceberg table", "another format version than it was made with"));
    }
    let mut after = before.clone();
    after.retain(|name, _| !unset.contains(name));
    after.extend(set.iter().map(|(name, value)| (name.clone(), value.clone())));
    check_values(&after)
}

/// Fails with `Invalid` for values that a later commit would stumble over.
fn check_values(stored: &HashMap<String, String>) -> Result<()> {
    metadata_gzip(stored)?;
    for (name, value) in stored {
        if name == METRICS_DEFAULT || name.starts_with(METRICS_COLUMN_PREFIX) {
            MetricsMode::parse(value)
                .ok_or_else(|| Error::Invalid(format!("invalid value for {name}: \"{value}\"")))?;
        }
    }
    Ok(())
}

/// Folder of new metadata files, without trailing slash.
pub fn metadata_folder(location: &str, properties: &HashMap<String, String>) -> String {
    match properties.get(METADATA_PATH) {
        Some(path) => path.trim_end_matches('/').to_string(),
        None => format!("{}/metadata", location.trim_end_matches('/')),
    }
}

/// Are new metadata files compressed? Fails with `Invalid` for an unknown codec.
pub fn metadata_gzip(properties: &HashMap<String, String>) -> Result<bool> {
    match properties.get(METADATA_COMPRESSION).map(|v| v.to_ascii_lowercase()).as_deref() {
        None | Some("none" | "") => Ok(false),
        Some("gzip") => Ok(true),
        Some(other) => Err(Error::Invalid(format!("invalid value for {METADATA_COMPRESSION}: \"{other}\""))),
    }
}

/// Are metadata files that fall out of the log deleted?
pub fn deletes_old_metadata(properties: &HashMap<String, String>) -> bool {
    properties.get(METADATA_DELETE).is_some_and(|v| v.eq_ignore_ascii_case("true"))
}

/// The word between `write.` and `.mode` for statements that change rows of existing files.
fn row_level_kind(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::Delete => Some("delete"),
        Operation::Update => Some("update"),
        Operation::Merge => Some("merge"),
        Operation::Create
        | Operation::Append
        | Operation::Overwrite
        | Operation::Truncate
        | Operation::Replace
        | Operation::Alter => None,
    }
}

/// How rows of existing files are changed (`write.{delete,update,merge}.mode`). Fails with `Invalid`.
pub fn row_level_mode(
    version: FormatVersion,
    properties: &BTreeMap<String, String>,
    operation: Operation,
) -> Result<RowLevelMode> {
    let Some(kind) = row_level_kind(operation) else { return Ok(RowLevelMode::CopyOnWrite) };
    let key = format!("write.{kind}.mode");
    let mode = match properties.get(&key).map(|v| v.trim().to_ascii_lowercase()).as_deref() {
        None | Some("copy-on-write") => RowLevelMode::CopyOnWrite,
        Some("merge-on-read") => RowLevelMode::MergeOnRead,
        Some(other) => {
            let expected = "must be copy-on-write or merge-on-read";
            return Err(Error::Invalid(format!("invalid value for {key}: \"{other}\" ({expected})")));
        }
    };
    // Version 1 has no delete files.
    Ok(if version == FormatVersion::V1 { RowLevelMode::CopyOnWrite } else { mode })
}

/// Isolation of a statement (`write.{delete,update,merge}.isolation-level`). Fails with `Invalid`.
pub fn isolation(properties: &BTreeMap<String, String>, operation: Operation) -> Result<Isolation> {
    let Some(kind) = row_level_kind(operation) else { return Ok(Isolation::Serializable) };
    let key = format!("write.{kind}.isolation-level");
    match properties.get(&key).map(|v| v.trim().to_ascii_lowercase()).as_deref() {
        None | Some("serializable") => Ok(Isolation::Serializable),
        Some("snapshot") => Ok(Isolation::Snapshot),
        Some(other) => {
            let expected = "must be serializable or snapshot";
            Err(Error::Invalid(format!("invalid value for {key}: \"{other}\" ({expected})")))
        }
    }
}

/// Which metrics of a column a manifest entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsMode {
    None,
    Counts,
    /// Bounds of strings and binaries cut to this many code points or bytes.
    Truncate(usize),
    Full,
}

impl MetricsMode {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "none" => Some(Self::None),
            "counts" => Some(Self::Counts),
            "full" => Some(Self::Full),
            _ => {
                let length = text.strip_prefix("truncate(")?.strip_suffix(')')?.trim().parse().ok()?;
                (length > 0).then_some(Self::Truncate(length))
            }
        }
    }
}

/// The metrics mode of each column (`write.metadata.metrics.*`). An invalid value of an existing
/// table counts as not given, as in the reference implementation.
pub fn metrics_modes(
    schema: &Schema,
    sort_order: &SortOrder,
    properties: &HashMap<String, String>,
) -> HashMap<FieldId, MetricsMode> {
    let explicit = properties.get(METRICS_DEFAULT).and_then(|v| MetricsMode::parse(v));
    let max_inferred = properties
        .get(METRICS_MAX_INFERRED)
        .and_then(|v| v.parse::<usize>().ok())
        .unwrap_or(DEFAULT_MAX_INFERRED);
    let inferred = |position: usize| match position < max_inferred {
        true => MetricsMode::Truncate(DEFAULT_TRUNCATION),
        false => MetricsMode::None,
    };
    let mut modes = HashMap::new();
    for (position, column) in schema.as_struct().fields().iter().enumerate() {
        let mut mode = explicit.unwrap_or_else(|| inferred(position));
        // Bounds of sorted columns are what pruning lives on.
        let sorted = sort_order.fields.iter().any(|f| f.source_id == column.id);
        if sorted && matches!(mode, MetricsMode::None | MetricsMode::Counts) {
            mode = MetricsMode::Truncate(DEFAULT_TRUNCATION);
        }
        let own = properties.get(&format!("{METRICS_COLUMN_PREFIX}{}", column.name));
        modes.insert(column.id, own.and_then(|v| MetricsMode::parse(v)).unwrap_or(mode));
    }
    modes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn format_versions() {
        assert_eq!(format_version(&given(&[])).unwrap(), FormatVersion::V2);
        assert_eq!(format_version(&given(&[(FORMAT_VERSION, "3")])).unwrap(), FormatVersion::V3);
        for wrong in ["4", "0", "two", ""] {
            assert!(matches!(format_version(&given(&[(FORMAT_VERSION, wrong)])), Err(Error::Invalid(_))));
        }
    }

    #[test]
    fn new_tables_store_no_reserved_properties() {
        let stored = for_new_table(&given(&[(FORMAT_VERSION, "3"), ("a", "b")]), Some("c")).unwrap();
        assert_eq!(stored.len(), 3);
        assert_eq!(stored[PARQUET_COMPRESSION], "zstd");
        assert_eq!(stored[COMMENT], "c");
        assert!(for_new_table(&given(&[("uuid", "x")]), None).is_err());
        assert!(for_new_table(&given(&[(METADATA_COMPRESSION, "zip")]), None).is_err());
        assert!(for_new_table(&given(&[(METRICS_DEFAULT, "truncate(0)")]), None).is_err());
    }

    #[test]
    fn modes_of_statements() {
        let set = given(&[
            ("write.delete.mode", "Merge-On-Read"),
            ("write.update.mode", "mor"),
            ("write.merge.isolation-level", "snapshot"),
            ("write.update.isolation-level", "none"),
        ]);
        let mode = |version, operation| row_level_mode(version, &set, operation);
        assert_eq!(mode(FormatVersion::V3, Operation::Delete).unwrap(), RowLevelMode::MergeOnRead);
        assert_eq!(mode(FormatVersion::V1, Operation::Delete).unwrap(), RowLevelMode::CopyOnWrite);
        assert_eq!(mode(FormatVersion::V3, Operation::Merge).unwrap(), RowLevelMode::CopyOnWrite);
        assert_eq!(mode(FormatVersion::V2, Operation::Truncate).unwrap(), RowLevelMode::CopyOnWrite);
        assert!(matches!(mode(FormatVersion::V2, Operation::Update), Err(Error::Invalid(_))));
        assert_eq!(isolation(&set, Operation::Merge).unwrap(), Isolation::Snapshot);
        assert_eq!(isolation(&set, Operation::Delete).unwrap(), Isolation::Serializable);
        assert!(matches!(isolation(&set, Operation::Update), Err(Error::Invalid(_))));
    }

    #[test]
    fn metrics_modes_parse() {
        assert_eq!(MetricsMode::parse("Truncate(8)"), Some(MetricsMode::Truncate(8)));
        assert_eq!(MetricsMode::parse("full"), Some(MetricsMode::Full));
        assert_eq!(MetricsMode::parse("truncate(x)"), None);
    }
}
