//! Other engines, for tests: Python with `pyiceberg` and `deltalake`. `AURIC_PYTHON` names the
//! interpreter; without one that has them, tests say that they are skipped.

use std::process::Command;

/// Runs a script that needs `modules`; returns what it printed. Panics if it fails.
pub(crate) fn run(modules: &str, script: &str) -> Option<String> {
    let python = std::env::var("AURIC_PYTHON").unwrap_or_else(|_| "python3".into());
    let usable = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if !usable.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: {python} lacks one of {modules} (set AURIC_PYTHON)");
        return None;
    }
    let output = Command::new(&python).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}
