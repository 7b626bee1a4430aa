//! Earlier versions: what the log says of each commit, and which version a time or an id means.

use std::collections::{BTreeMap, HashSet};

use delta_kernel::KernelError;
use delta_kernel::history_manager::error::LogHistoryError;
use delta_kernel::history_manager::{HistoryCommitType, get_earliest_commit, latest_version_as_of};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::engine::{InTable, blocking};
use super::files::resolve;
use super::{commit_location, diagnosis, snapshot};
use crate::error::{Error, Result};
use crate::format::{Step, VersionInfo};
use crate::storage::{Storage, to_url};
use crate::table::{COMMIT_ID, TableSnapshot, TableVersion};

/// Commits read back to find one: many more than can race with one.
const COMMITS_LOOKED_AT: u64 = 50;
/// Commit files read at a time.
const READS_AT_A_TIME: usize = 16;

/// The commits that are left in the log, oldest first.
pub(super) async fn history(storage: &Storage, root: &str) -> Result<Vec<VersionInfo>> {
    let mut commits: Vec<(u64, i64)> = storage
        .list(&snapshot::log_location(root))
        .await?
        .iter()
        .filter_map(|file| {
            let version = diagnosis::commit_version(file.location.filename()?)?;
            Some((version, file.last_modified.timestamp_millis()))
        })
        .collect();
    commits.sort_unstable();
    // As time travel sees them: clocks that go backwards do not make versions change places.
    let mut last = i64::MIN;
    for (_, modified) in &mut commits {
        *modified = (*modified).max(last.saturating_add(1));
        last = *modified;
    }
    let read = |(version, modified)| async move {
        let location = commit_location(root, version);
        let info = commit_info(&storage.read(&location).await?);
        Ok(describe_version(version, modified, location, info))
    };
    stream::iter(commits).map(read).buffered(READS_AT_A_TIME).try_collect().await
}

fn describe_version(version: u64, modified: i64, location: String, info: Option<Value>) -> VersionInfo {
    let summary: BTreeMap<String, String> = match info {
        Some(Value::Object(info)) => info.into_iter().map(|(key, value)| (key, text_of(value))).collect(),
        _ => BTreeMap::new(),
    };
    let in_commit_timestamp = summary.get("inCommitTimestamp").and_then(|t| t.parse().ok());
    let id = i64::try_from(version).unwrap_or(i64::MAX);
    VersionInfo {
        id,
        parent_id: (id > 0).then(|| id - 1),
        committed_at: in_commit_timestamp.unwrap_or(modified),
        operation: summary.get("operation").cloned(),
        location: Some(location),
        summary,
        is_current_ancestor: true,
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The last version at or before a time (milliseconds since the epoch), among those that can still
/// be read. `None`: the time is before all of them.
pub(super) async fn version_at(
    storage: &Storage,
    current: &TableSnapshot,
    timestamp: i64,
) -> Result<Option<u64>> {
    let root = current.location.clone();
    let Some(kernel) = snapshot::state(current)?.kernel.clone() else { return Ok(None) };
    blocking(storage, &current.location, move |engine| {
        match latest_version_as_of(&kernel, engine, timestamp, HistoryCommitType::Recreatable) {
            Ok(commit) => Ok(Some(commit.version)),
            Err(e) if is_out_of_range(&e) => Ok(None),
            Err(e) => Err(e).in_table(&root),
        }
    })
    .await
}

/// Whether the log no longer has what it takes to put a version together.
pub(super) async fn has_expired(storage: &Storage, current: &TableSnapshot, version: u64) -> Result<bool> {
    let root = current.location.clone();
    blocking(storage, &current.location, move |engine| {
        let log = to_url(&format!("{}/", snapshot::log_location(&root)))?;
        let earliest = get_earliest_commit(engine, &log, None, HistoryCommitType::Recreatable);
        Ok(version < earliest.in_table(&root)?)
    })
    .await
}

fn is_out_of_range(error: &KernelError) -> bool {
    match error {
        KernelError::Backtraced { source, .. } => is_out_of_range(source),
        KernelError::LogHistory(e) => matches!(e.as_ref(), LogHistoryError::TimestampOutOfRange { .. }),
        _ => false,
    }
}

/// The version that the commit with this id made, among the last ones up to `current`.
pub(super) async fn find(
    storage: &Storage,
    current: &TableSnapshot,
    commit_id: &str,
) -> Result<Option<TableVersion>> {
    let TableVersion::Delta { version: last } = current.version else { return Ok(None) };
    for version in (last.saturating_sub(COMMITS_LOOKED_AT)..=last).rev() {
        let location = commit_location(&current.location, version);
        if !storage.exists(&location).await? {
            // Cleaned up behind a checkpoint: older than any commit that is asked for.
            return Ok(None);
        }
        let info = commit_info(&storage.read(&location).await?);
        if info.is_some_and(|info| info.get(COMMIT_ID).is_some_and(|id| id == commit_id)) {
            return Ok(Some(TableVersion::Delta { version }));
        }
    }
    Ok(None)
}

/// The last commit up to `current` that changed rows: those that only change the table's metadata, or
/// lay out its files anew (`dataChange`), do not. `None`: it is no longer in the log.
pub(super) async fn last_change(storage: &Storage, current: &TableSnapshot) -> Result<Option<VersionInfo>> {
    let TableVersion::Delta { version: last } = current.version else { return Ok(None) };
    for version in (0..=last).rev() {
        let location = commit_location(&current.location, version);
        if !storage.exists(&location).await? {
            return Ok(None);
        }
        let bytes = storage.read(&location).await?;
        let info = commit_info(&bytes);
        if changes_rows(&bytes) || replaces_rows(info.as_ref()) {
            let committed = info.as_ref().and_then(|info| info.get("timestamp")).and_then(Value::as_i64);
            return Ok(Some(describe_version(version, committed.unwrap_or_default(), location, info)));
        }
    }
    Ok(None)
}

/// Whether a commit is of a kind that changes rows, even if there was none before and is none after.
fn replaces_rows(info: Option<&Value>) -> bool {
    let operation = info.and_then(|info| info.get("operation")).and_then(Value::as_str);
    operation.is_some_and(|operation| {
        operation == "WRITE" || operation == "TRUNCATE" || operation.starts_with("CREATE")
    })
}

fn changes_rows(bytes: &[u8]) -> bool {
    bytes.split(|b| *b == b'\n').any(|line| {
        let Ok(action) = serde_json::from_slice::<Value>(line) else { return false };
        let file = action.get("add").or_else(|| action.get("remove"));
        file.is_some_and(|file| file.get("dataChange") != Some(&Value::Bool(false)))
    })
}

/// The commits after the version `earlier` up to `later`. `None`: one of them is no longer in the log.
pub(super) async fn steps_since(
    storage: &Storage,
    earlier: Option<i64>,
    later: &TableSnapshot,
) -> Result<Option<Vec<Step>>> {
    let TableVersion::Delta { version: last } = later.version else { return Ok(None) };
    let Some(earlier) = earlier.and_then(|id| u64::try_from(id).ok()).filter(|id| *id <= last) else {
        return Ok(None);
    };
    let step = |version: u64| async move {
        let location = commit_location(&later.location, version);
        match storage.read(&location).await {
            Ok(bytes) => {
                let changes_rows = changes_rows(&bytes);
                Ok(Some(Step { version: i64::try_from(version).unwrap_or(i64::MAX), changes_rows }))
            }
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    };
    let versions = stream::iter(earlier.saturating_add(1)..=last);
    let steps: Vec<Option<Step>> = versions.map(step).buffered(READS_AT_A_TIME).try_collect().await?;
    Ok(steps.into_iter().collect())
}

/// Files that blind appends after `read` and up to `current` added (their commit info says so), and that
/// no other commit among them touched. What is no longer in the log is left out.
pub(super) async fn blind_appends(
    storage: &Storage,
    read: &TableSnapshot,
    current: &TableSnapshot,
) -> Result<HashSet<String>> {
    let root = &current.location;
    let (mut blind, mut touched) = (HashSet::new(), HashSet::new());
    if let (TableVersion::Delta { version: read }, TableVersion::Delta { version: current }) =
        (&read.version, &current.version)
    {
        for version in read.saturating_add(1)..=*current {
            let location = commit_location(root, version);
            match storage.exists(&location).await? {
                true => sort_files(root, &storage.read(&location).await?, &mut blind, &mut touched)?,
                false => return Ok(HashSet::new()),
            }
        }
    }
    blind.retain(|path| !touched.contains(path));
    Ok(blind)
}

/// Files that a commit names: added blindly, or touched in another way.
fn sort_files(
    root: &str,
    bytes: &[u8],
    blind: &mut HashSet<String>,
    touched: &mut HashSet<String>,
) -> Result<()> {
    let info = commit_info(bytes);
    let is_blind = info.is_some_and(|info| info.get("isBlindAppend") == Some(&Value::Bool(true)));
    let files = if is_blind { blind } else { touched };
    let base = to_url(&format!("{root}/"))?;
    for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let action: Value = serde_json::from_slice(line).map_err(|e| Error::corrupt(root, e))?;
        for kind in ["add", "remove"] {
            let path = action.get(kind).and_then(|file| file.get("path")).and_then(Value::as_str);
            if let Some(path) = path {
                files.insert(resolve(&base, path).map_err(|e| Error::corrupt(root, e))?);
            }
        }
    }
    Ok(())
}

fn commit_info(bytes: &[u8]) -> Option<Value> {
    bytes.split(|b| *b == b'\n').find_map(|line| {
        let mut action: Value = serde_json::from_slice(line).ok()?;
        action.get_mut("commitInfo").map(Value::take)
    })
}

/// The commit that won, for people.
pub(super) fn describe(version: u64, bytes: &[u8]) -> String {
    let info = commit_info(bytes);
    let text = |key: &str| info.as_ref().and_then(|i| i.get(key)).and_then(|v| v.as_str());
    match (text("operation"), text("engineInfo")) {
        (Some(operation), Some(engine)) => format!("version {version} ({operation} by {engine})"),
        (Some(operation), None) => format!("version {version} ({operation})"),
        _ => format!("version {version}"),
    }
}
