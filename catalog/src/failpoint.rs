//! Places where a test can stop, fail or kill the program: before and after every step that others
//! can see.
//!
//! Always compiled in, so that what is tested is what runs; a step costs one look at an empty table.
//! Actions are those of the `fail` crate (`pause`, `sleep(ms)`, `panic`, `1*off->…`), and
//! `return(abort)` ends the process as a crash would, `return(error)` fails the step.

use crate::error::{Error, Result};

/// All places, in the order in which a statement passes them.
pub const NAMES: [&str; 12] = [
    "write::before-file",
    "write::after-file",
    "write::before-deletes",
    "write::after-deletes",
    "commit::before-attempt",
    "iceberg::before-manifests",
    "iceberg::before-metadata",
    "iceberg::before-swap",
    "delta::before-log",
    "commit::before-pointers",
    "commit::after-attempt",
    "commit::before-cleanup",
];

/// Sets actions: `name=action;name=action`. Fails with `Invalid` for an unknown place or an action that
/// makes no sense.
pub fn set(text: &str) -> Result<()> {
    for setting in text.split(';').filter(|setting| !setting.trim().is_empty()) {
        let Some((name, actions)) = setting.trim().split_once('=') else {
            return Err(Error::Invalid(format!("failure points: \"{setting}\" is not name=action")));
        };
        if !NAMES.contains(&name) {
            return Err(Error::Invalid(format!("failure points: there is no place \"{name}\"")));
        }
        fail::cfg(name, actions).map_err(|e| Error::Invalid(format!("failure points: {name}: {e}")))?;
        tracing::warn!(name, actions, "failure point set");
    }
    Ok(())
}

/// Passes the place `name`. Blocks its thread where a test asked it to.
pub fn pass(name: &'static str) -> Result<()> {
    fail::fail_point!(name, |argument: Option<String>| {
        match argument.as_deref() {
            Some("abort") => std::process::abort(),
            _ => Err(Error::storage(name, std::io::Error::other("failure asked for by a test"))),
        }
    });
    Ok(())
}
