//! Names the file that makes a log unreadable. The kernel says what is wrong, not always where;
//! this runs only after it has failed, reads the log plainly and looks for the first break.

use crate::error::Error;
use crate::storage::Storage;

use super::{commit_location, snapshot};

/// Commits looked at, newest first: what follows the last checkpoint is rarely more.
const MAX_COMMITS: usize = 100;

/// `error`, with the file at fault if it can be found.
pub(super) async fn explain(storage: &Storage, root: &str, error: Error) -> Error {
    let Error::Corrupt { path, reason } = error else { return error };
    match first_break(storage, root).await {
        Some((path, found)) => Error::corrupt(path, format!("{found} ({reason})")),
        None => Error::Corrupt { path, reason },
    }
}

async fn first_break(storage: &Storage, root: &str) -> Option<(String, String)> {
    let files = storage.list(&snapshot::log_location(root)).await.ok()?;
    let names: Vec<&str> = files.iter().filter_map(|f| f.location.filename()).collect();
    let mut commits: Vec<u64> = names.iter().filter_map(|n| commit_version(n)).collect();
    commits.sort_unstable();
    let first_needed = names.iter().filter_map(|n| checkpoint_version(n)).max().unwrap_or(0);
    let needed: Vec<u64> = commits.into_iter().filter(|v| *v >= first_needed).collect();
    if let Some(pair) = needed.windows(2).find(|pair| pair[1] != pair[0] + 1) {
        return Some((commit_location(root, pair[0] + 1), "this commit is missing".into()));
    }
    let recent = needed.len().saturating_sub(MAX_COMMITS);
    for version in &needed[recent..] {
        let location = commit_location(root, *version);
        let bytes = storage.read(&location).await.ok()?;
        if let Some(found) = broken_line(&bytes) {
            return Some((location, found));
        }
    }
    None
}

/// The first line that is not a JSON object.
fn broken_line(bytes: &[u8]) -> Option<String> {
    for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<serde_json::Value>(line) {
            Ok(value) if value.is_object() => {}
            Ok(_) => return Some(format!("line {} is not an action", i + 1)),
            Err(e) => return Some(format!("line {} is not valid JSON: {e}", i + 1)),
        }
    }
    None
}

/// Version of a commit file by its name.
pub(super) fn commit_version(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".json")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

fn checkpoint_version(name: &str) -> Option<u64> {
    let (digits, rest) = name.split_once('.')?;
    (digits.len() == 20 && rest.starts_with("checkpoint")).then(|| digits.parse().ok()).flatten()
}
