//! Places where a test can stop, fail or kill the program: before and after every step that others
//! can see.
//!
//! Always compiled in, so that what is tested is what runs; a step costs one look at an empty table.
//! Actions are those of the `fail` crate (`pause`, `sleep(ms)`, `panic`, `1*off->…`), and
//! `return(abort)` ends the process as a crash would, `return(error)` fails the step.

use crate::error::{Error, Result};

/// Name of the environment variable that sets actions: `name=action;name=action`.
pub const VARIABLE: &str = "AURIC_FAILPOINTS";

/// All places, in the order in which a statement passes them.
pub const NAMES: [&str; 11] = [
    "write::before-file",
    "write::after-file",
    "write::before-deletes",
    "write::after-deletes",
    "commit::before-attempt",
    "iceberg::before-manifests",
    "iceberg::before-metadata",
    "iceberg::before-swap",
    "delta::before-log",
    "commit::after-attempt",
    "commit::before-cleanup",
];

/// Sets the actions that the environment asks for. Fails with `Invalid` for an unknown place or an
/// action that makes no sense.
pub fn from_environment() -> Result<()> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(()) };
    for setting in text.split(';').filter(|setting| !setting.trim().is_empty()) {
        let Some((name, actions)) = setting.trim().split_once('=') else {
            return Err(Error::Invalid(format!("{VARIABLE}: \"{setting}\" is not name=action")));
        };
        if !NAMES.contains(&name) {
            return Err(Error::Invalid(format!("{VARIABLE}: there is no place \"{name}\"")));
        }
        fail::cfg(name, actions).map_err(|e| Error::Invalid(format!("{VARIABLE}: {name}: {e}")))?;
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
