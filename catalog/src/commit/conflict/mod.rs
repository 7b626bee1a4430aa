//! When a change made against one version of a table may be committed on top of another.
//!
//! - Files that it adds must be valid files of the later version ([`shape`]).
//! - Files that it removes or marks must still be there, with the same deletes.
//! - Under serializable isolation nothing that it read may have changed: no file that may hold a row
//!   of its [`ReadSet`] was added, removed or marked meanwhile. Under write serializable isolation,
//!   files that others added without having read the table may.
//!
//! The rules are the same for both formats and work on file lists alone ([`difference`]); they are
//! those of Iceberg's reference implementation (`validateNoConflictingDataFiles`,
//! `validateNoConflictingDeletes`, `validateDataFilesExist`) and of Delta's conflict checker.

pub(crate) mod difference;
pub(crate) mod shape;

use std::collections::HashSet;

use crate::error::Result;
use crate::scan::FilePredicate;
use crate::table::{Isolation, LiveFile, Operation, ReadSet, TableChange, TableSnapshot, TableVersion};

use self::difference::Difference;

/// Whether a change fits on a version.
#[derive(Debug, PartialEq, Eq)]
pub enum Rebase {
    Fits,
    /// What stands in the way.
    Conflict(String),
}

/// Checks `change`, made against `read`, for a commit on top of `current`. Fails if the file lists
/// of either cannot be read. `blind`: files that were added meanwhile without reading the table, as far
/// as that is known; asked for under [`Isolation::WriteSerializable`] only.
pub async fn rebase(
    read: &TableSnapshot,
    current: &TableSnapshot,
    change: &TableChange,
    blind: &HashSet<String>,
) -> Result<Rebase> {
    // The format refuses to create what exists.
    if read.version == current.version || change.operation == Operation::Create {
        return Ok(Rebase::Fits);
    }
    // Whatever rows others have added or changed go; the format sees to it that the ids still fit.
    if change.replacement.is_some() {
        return Ok(Rebase::Fits);
    }
    if change.read == ReadSet::Version && !has_same_rows(&read.version, &current.version) {
        let reason =
            format!("{} took the place of the version that {} replaces", winner(current), change.operation);
        return Ok(Rebase::Conflict(reason));
    }
    if let Err(reason) = shape::added_files_fit(read, current, change) {
        return Ok(Rebase::Conflict(reason));
    }
    let looks = change.isolation != Isolation::Snapshot && change.read != ReadSet::Nothing;
    if !looks && change.touched().next().is_none() {
        return Ok(Rebase::Fits);
    }
    let mut difference = Difference::between(read, current).await?;
    if change.isolation == Isolation::WriteSerializable {
        difference.added.retain(|file| !blind.contains(file.path()));
    }
    for file in change.touched() {
        if difference.is_changed(file) {
            let reason = format!("{} changed a file that {} changes", winner(current), change.operation);
            return Ok(Rebase::Conflict(reason));
        }
    }
    if looks && let Some(what) = read_set_changed(read, &change.read, &difference)? {
        let reason = format!("{} {what} that {} read", winner(current), change.operation);
        return Ok(Rebase::Conflict(reason));
    }
    Ok(Rebase::Fits)
}

/// Whether two versions are known to have the same rows. Those of an Iceberg table without a snapshot are
/// not: it may have been replaced by another one without a snapshot.
fn has_same_rows(read: &TableVersion, current: &TableVersion) -> bool {
    match (read, current) {
        (
            TableVersion::Iceberg { snapshot_id: Some(read), .. },
            TableVersion::Iceberg { snapshot_id: Some(current), .. },
        ) => read == current,
        (read, current) => read == current,
    }
}

/// What happened to files that may hold rows of the read set.
fn read_set_changed(
    read: &TableSnapshot,
    set: &ReadSet,
    difference: &Difference,
) -> Result<Option<&'static str>> {
    let kinds = [
        (&difference.added, "added rows to what"),
        (&difference.removed, "removed a file"),
        (&difference.marked, "deleted rows of a file"),
    ];
    for (files, what) in kinds {
        if may_hold(read, set, files)? {
            return Ok(Some(what));
        }
    }
    Ok(None)
}

/// Whether one of `files` may hold a row of the read set.
fn may_hold(read: &TableSnapshot, set: &ReadSet, files: &[LiveFile]) -> Result<bool> {
    match set {
        ReadSet::Nothing => Ok(false),
        ReadSet::Version => Ok(!files.is_empty()),
        ReadSet::Filters(filters) => {
            Ok(!files.is_empty() && FilePredicate::new(read, filters).may_match_any(files))
        }
        ReadSet::Partitions(partitions) => {
            for file in files {
                let key = (file.spec().spec_id, file.partition()?);
                // A file of another spec may hold rows of any partition.
                let same_spec = partitions.iter().any(|(id, _)| *id == key.0);
                if !same_spec || partitions.contains(&key) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// The version that stands in the way, for people.
fn winner(current: &TableSnapshot) -> String {
    match &current.version {
        TableVersion::Unpublished => "another version".to_string(),
        TableVersion::Iceberg { snapshot_id: Some(id), .. } => format!("snapshot {id}"),
        TableVersion::Iceberg { snapshot_id: None, .. } => "a version without rows".to_string(),
        TableVersion::Delta { version } => format!("version {version}"),
    }
}
