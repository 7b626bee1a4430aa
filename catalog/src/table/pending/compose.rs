//! Two changes of one transaction as one.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::lists::of_base;
use super::reads;
use crate::error::{Error, Result};
use crate::table::change::{COMMIT_ID, Isolation, Operation, ReadSet, RowCounts, TableChange};
use crate::table::data_file::NewDataFile;
use crate::table::deletes::{NewRowDeletes, StoredDeletes};
use crate::table::live_file::LiveFile;

/// The change that `first`, made against a version, and `next`, made against what `first` leaves, make
/// together against that version.
pub fn compose(first: &TableChange, next: TableChange) -> Result<TableChange> {
    let change_files = change_files(first, &next)?;
    let ours: HashSet<&str> = first.added.iter().map(|file| file.path.as_str()).collect();
    let gone: HashSet<&str> = next.removed.iter().map(|file| file.path()).collect();
    let marked: HashMap<&str, &Arc<LiveFile>> =
        first.deletes.iter().map(|deletes| (deletes.file.path(), &deletes.file)).collect();

    let mut removed = first.removed.clone();
    for file in next.removed.iter().filter(|file| !ours.contains(file.path())) {
        // With the deletes that the version had, not those of the mark that goes with the file.
        removed.push(marked.get(file.path()).map_or_else(|| of_base(file), |file| (*file).clone()));
    }
    let mut deletes: Vec<NewRowDeletes> =
        first.deletes.iter().filter(|d| !gone.contains(d.file.path())).cloned().collect();
    for new in &next.deletes {
        let path = new.file.path();
        if ours.contains(path) {
            return Err(Error::Internal(format!("{path} is not committed and cannot be marked")));
        }
        let file = marked.get(path).map_or_else(|| of_base(&new.file), |file| (*file).clone());
        mark(&mut deletes, NewRowDeletes { file, ..new.clone() })?;
    }
    let mut added: Vec<_> =
        first.added.iter().filter(|file| !gone.contains(file.path.as_str())).cloned().collect();
    let same = first.operation == next.operation;
    let read = reads::union(first.read.clone(), next.read.clone());
    let isolation = match (isolation(first), isolation(&next)) {
        (None, None) => first.isolation,
        (Some(one), None) | (None, Some(one)) => one,
        // The strongest comes first.
        (Some(one), Some(other)) => one.min(other),
    };
    let rows = sum(first.rows, next.rows);
    let parameters = if same { common(&first.parameters, &next.parameters) } else { BTreeMap::new() };
    let mut summary = first.summary.clone();
    summary.extend(next.summary.into_iter().filter(|(key, _)| key != COMMIT_ID));
    let mut alterations = first.alterations.clone();
    next.alterations.into_iter().for_each(|alteration| alteration.add_to(&mut alterations));
    let next_operation = next.operation;
    added.extend(next.added);
    let operation = match (first.operation, next_operation) {
        (Operation::Create, _) | (_, Operation::Create) => Operation::Create,
        (first, next) if first == next => first,
        (Operation::Alter, next) => next,
        (first, Operation::Alter) => first,
        _ if removed.is_empty() && deletes.is_empty() => Operation::Append,
        _ if added.is_empty() => Operation::Delete,
        _ => Operation::Merge,
    };
    Ok(TableChange {
        operation,
        added,
        removed,
        deletes,
        change_files,
        alterations,
        // No statement of a transaction block replaces a table.
        replacement: None,
        read,
        isolation,
        rows,
        parameters,
        // What is made once is not made in a transaction block.
        once: false,
        summary,
    })
}

/// The change files of two changes together. Readers of a change data feed take a commit's change files
/// for all of its changes, or, if it has none, its data files: where one of the changes has none, the
/// other can do without only if it just added rows.
fn change_files(first: &TableChange, next: &TableChange) -> Result<Vec<NewDataFile>> {
    let told = |change: &TableChange| !change.change_files.is_empty() || change.is_empty();
    if told(first) && told(next) {
        return Ok(first.change_files.iter().chain(&next.change_files).cloned().collect());
    }
    let untold = |change: &TableChange| change.change_files.is_empty() || only_adds(change);
    if untold(first) && untold(next) {
        return Ok(Vec::new());
    }
    let what = "replacing whole files and changing rows of a table with a change data feed";
    Err(Error::unsupported("one transaction", what))
}

fn only_adds(change: &TableChange) -> bool {
    let moved = change.rows.updated + change.rows.deleted + change.rows.copied;
    moved == 0 && change.touched().next().is_none()
}

/// Adds a mark. A vector holds everything that was deleted before, position files only what is new.
fn mark(deletes: &mut Vec<NewRowDeletes>, new: NewRowDeletes) -> Result<()> {
    let path = new.file.path().to_string();
    let earlier = |deletes: &NewRowDeletes| deletes.file.path() == path;
    match new.stored {
        StoredDeletes::Vector { .. } => {
            let before: u64 = deletes.iter().filter(|d| earlier(d)).map(|d| d.newly_deleted).sum();
            deletes.retain(|d| !earlier(d));
            deletes.push(NewRowDeletes { newly_deleted: before + new.newly_deleted, ..new });
        }
        StoredDeletes::Positions { .. } => {
            let vector = |d: &NewRowDeletes| matches!(d.stored, StoredDeletes::Vector { .. });
            if deletes.iter().any(|d| earlier(d) && vector(d)) {
                return Err(Error::Internal(format!("{path} has a deletion vector already")));
            }
            deletes.push(new);
        }
    }
    Ok(())
}

/// The isolation that a change needs. `None`: it only adds rows, and nothing can conflict with it.
fn isolation(change: &TableChange) -> Option<Isolation> {
    let conflicts = change.read != ReadSet::Nothing || change.touched().next().is_some();
    conflicts.then_some(change.isolation)
}

fn sum(a: RowCounts, b: RowCounts) -> RowCounts {
    RowCounts {
        inserted: a.inserted + b.inserted,
        updated: a.updated + b.updated,
        deleted: a.deleted + b.deleted,
        copied: a.copied + b.copied,
    }
}

/// What two statements of the same kind have in common.
fn common(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    a.iter().filter(|(key, value)| b.get(*key) == Some(*value)).map(|(k, v)| (k.clone(), v.clone())).collect()
}
