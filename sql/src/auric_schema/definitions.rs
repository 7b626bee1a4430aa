//! `auric.definitions`: what became of the definitions in files that this server applied when it started.

use super::{Relation, time};
use crate::definitions::Action;
use crate::pg_catalog::value::Value;
use crate::planner::Scope;

const COLUMNS: &[(&str, &str)] = &[
    ("file", "text"),
    // Null: the error is of the file, or of the directory, as a whole.
    ("line", "int4"),
    // `materialized view gold.daily`; null: nothing could be read.
    ("definition", "text"),
    // `create`, `replace`, `alter`, `keep`.
    ("action", "text"),
    // What differed.
    ("differences", "text"),
    // `unchanged`, `pending`, `applied`, `failed`; `skipped`, as another one failed.
    ("status", "text"),
    ("error", "text"),
    ("sqlstate", "text"),
    ("at", "timestamptz"),
];

pub fn rows(scope: &Scope) -> Relation {
    let entries = scope.engine.definitions.entries();
    let row = |entry: crate::definitions::report::Entry| {
        let differences = match &entry.action {
            Some(Action::Replace(reasons)) => Some(reasons.join("; ")),
            Some(Action::Alter(settings)) => Some(settings.join("; ")),
            Some(Action::Create | Action::Keep) | None => None,
        };
        vec![
            entry.file.into(),
            entry.line.and_then(|line| i32::try_from(line).ok()).into(),
            entry.what.into(),
            entry.action.as_ref().map(|action| action.verb().to_string()).into(),
            differences.into(),
            Value::from(entry.status.word()),
            entry.error.into(),
            entry.sqlstate.into(),
            time(entry.at.timestamp_millis()),
        ]
    };
    Relation { columns: COLUMNS, rows: entries.into_iter().map(row).collect() }
}
