//! Earlier versions of a table (Iceberg spec, "Point in Time Reads", "Snapshot References").

use std::collections::{HashMap, HashSet};

use iceberg::spec::{Operation, SnapshotRef, SnapshotReference, SnapshotRetention, TableMetadata};
use serde::Deserialize;

use super::snapshot::View;
use crate::TableIdent;
use crate::error::{Error, Result};
use crate::format::{Reference, ReferenceKind, Step, VersionInfo, VersionSpec};
use crate::table::TableVersion;

/// What `version` names: a snapshot with the schema that it is read with. Fails with `VersionNotFound`.
pub fn view(ident: &TableIdent, metadata: &TableMetadata, version: &VersionSpec) -> Result<View> {
    let not_found = |version: String| Error::VersionNotFound { table: ident.to_string(), version };
    match version {
        VersionSpec::Id(id) => {
            let snapshot = metadata.snapshot_by_id(*id).ok_or_else(|| not_found(id.to_string()))?;
            View::at(metadata, snapshot.clone())
        }
        VersionSpec::Ref(name) => {
            let reference = refs(metadata)?.remove(name);
            let snapshot = reference.as_ref().and_then(|r| metadata.snapshot_by_id(r.snapshot_id));
            let snapshot = snapshot.ok_or_else(|| not_found(format!("\"{name}\"")))?;
            let view = View::at(metadata, snapshot.clone())?;
            // A branch goes on from here with the table's schema; a tag is a moment of the past.
            match reference.is_some_and(|reference| reference.is_branch()) {
                true => Ok(View { schema: metadata.current_schema().clone(), ..view }),
                false => Ok(view),
            }
        }
        VersionSpec::Timestamp(millis) => {
            // The log says what was current when; a rollback makes an older snapshot current again.
            let entries = metadata.history().iter().filter(|entry| entry.timestamp_ms() <= *millis);
            let last = entries.max_by_key(|entry| entry.timestamp_ms());
            let snapshot = last.and_then(|entry| metadata.snapshot_by_id(entry.snapshot_id));
            let snapshot = snapshot.ok_or_else(|| not_found(format!("as of {}", timestamp(*millis))))?;
            View::at(metadata, snapshot.clone())
        }
    }
}

/// Branches and tags by name.
pub fn references(metadata: &TableMetadata) -> Result<Vec<Reference>> {
    let described = refs(metadata)?.into_iter().map(|(name, reference)| {
        let (kind, min_versions_to_keep, max_version_age_ms, max_reference_age_ms) = match reference.retention
        {
            SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms } => {
                (ReferenceKind::Branch, min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms)
            }
            SnapshotRetention::Tag { max_ref_age_ms } => (ReferenceKind::Tag, None, None, max_ref_age_ms),
        };
        let version = reference.snapshot_id;
        Reference { name, kind, version, max_reference_age_ms, min_versions_to_keep, max_version_age_ms }
    });
    let mut described: Vec<Reference> = described.collect();
    described.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(described)
}

fn refs(metadata: &TableMetadata) -> Result<HashMap<String, SnapshotReference>> {
    #[derive(Deserialize)]
    struct References {
        #[serde(default)]
        refs: HashMap<String, SnapshotReference>,
    }
    // The crate shows them only in the file's form.
    let json = serde_json::to_vec(metadata).and_then(|json| serde_json::from_slice::<References>(&json));
    Ok(json.map_err(|e| Error::Internal(format!("snapshot references: {e}")))?.refs)
}

fn timestamp(millis: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(millis) {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        None => format!("{millis} ms"),
    }
}

/// All snapshots, oldest first.
pub fn versions(metadata: &TableMetadata) -> Vec<VersionInfo> {
    let ancestors = ancestors(metadata);
    let mut snapshots: Vec<&SnapshotRef> = metadata.snapshots().collect();
    snapshots.sort_by_key(|s| (s.sequence_number(), s.timestamp_ms(), s.snapshot_id()));
    snapshots.into_iter().map(|s| info(s, ancestors.contains(&s.snapshot_id()))).collect()
}

fn info(snapshot: &SnapshotRef, is_current_ancestor: bool) -> VersionInfo {
    VersionInfo {
        id: snapshot.snapshot_id(),
        parent_id: snapshot.parent_snapshot_id(),
        committed_at: snapshot.timestamp_ms(),
        operation: Some(snapshot.summary().operation.as_str().to_string()),
        location: Some(snapshot.manifest_list().to_string()),
        summary: snapshot.summary().additional_properties.clone().into_iter().collect(),
        is_current_ancestor,
    }
}

/// The last snapshot up to the current one that changed rows: one that replaces files (`replace`) does
/// not.
pub fn last_change(metadata: &TableMetadata) -> Option<VersionInfo> {
    let mut seen = HashSet::new();
    let mut next = metadata.current_snapshot();
    while let Some(snapshot) = next.filter(|s| seen.insert(s.snapshot_id())) {
        if snapshot.summary().operation != Operation::Replace {
            return Some(info(snapshot, true));
        }
        next = snapshot.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
    }
    None
}

/// The snapshots after `earlier` up to the one that `later` shows. `None`: it does not descend from it, or
/// one of them has expired.
pub fn steps_since(
    metadata: &TableMetadata,
    earlier: Option<i64>,
    later: &TableVersion,
) -> Option<Vec<Step>> {
    let TableVersion::Iceberg { snapshot_id, .. } = later else { return None };
    let (mut steps, mut seen) = (Vec::new(), HashSet::new());
    let mut next = *snapshot_id;
    while next != earlier {
        let snapshot = metadata.snapshot_by_id(next.filter(|id| seen.insert(*id))?)?;
        let changes_rows = snapshot.summary().operation != Operation::Replace;
        steps.push(Step { version: snapshot.snapshot_id(), changes_rows });
        next = snapshot.parent_snapshot_id();
    }
    steps.reverse();
    Some(steps)
}

/// The current snapshot, its parent, and so on as far as they are kept.
fn ancestors(metadata: &TableMetadata) -> HashSet<i64> {
    let mut found = HashSet::new();
    let mut next = metadata.current_snapshot();
    // A corrupt chain may bite its own tail.
    while let Some(snapshot) = next.filter(|s| found.insert(s.snapshot_id())) {
        next = snapshot.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
    }
    found
}
