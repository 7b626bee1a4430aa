//! What became of runs, in the journal of their catalog: published ones are in the history of their tables
//! too, others are nowhere else.

use std::collections::BTreeMap;

use auric_catalog::TableIdent;
use auric_catalog::backend::document::{DocumentKey, JournalEntry};
use auric_catalog::registry::Catalog;

use super::super::json;
use super::node::NodeKind;
use super::state::Outcome;
use crate::error::{Error, Result};

/// Attempts that are kept of what is run by hand, those by schedule among them.
pub const KEPT: u32 = 200;

/// One attempt at a run. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub run_id: String,
    /// From 1.
    pub number: u32,
    pub scheduled_for: i64,
    pub started: i64,
    pub finished: i64,
    pub outcome: Outcome,
    /// What it said: the tag of a statement, or why it failed.
    pub message: Option<String>,
    pub sqlstate: Option<String>,
    /// JSON, of a refresh: how the expectations fared that were counted before it failed.
    pub expectations: Option<String>,
}

fn kind(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Task => "task run",
        NodeKind::View => "view run",
    }
}

impl Attempt {
    fn to_json(&self) -> String {
        let mut members = vec![
            ("run-id", json::string(&self.run_id)),
            ("attempt", self.number.to_string()),
            ("scheduled-for", self.scheduled_for.to_string()),
            ("started", self.started.to_string()),
            ("outcome", json::string(self.outcome.word())),
        ];
        members.extend(self.message.as_ref().map(|text| ("message", json::string(text))));
        members.extend(self.sqlstate.as_ref().map(|code| ("sqlstate", json::string(code))));
        members.extend(self.expectations.as_ref().map(|outcomes| ("expectations", json::string(outcomes))));
        json::object(members)
    }

    fn from_entry(entry: &JournalEntry) -> Result<Self> {
        let members: BTreeMap<String, &str> = json::members(&entry.text)?.into_iter().collect();
        let text = |key: &str| -> Result<Option<String>> {
            Ok(members.get(key).map(|value| json::text(value)).transpose()?.flatten())
        };
        let number =
            |key: &str| members.get(key).and_then(|value| value.parse::<i64>().ok()).unwrap_or(entry.at);
        Ok(Self {
            run_id: text("run-id")?.unwrap_or_default(),
            number: u32::try_from(number("attempt")).unwrap_or(1),
            scheduled_for: number("scheduled-for"),
            started: number("started"),
            finished: entry.at,
            outcome: text("outcome")?.and_then(|word| Outcome::of_word(&word)).unwrap_or(Outcome::Failed),
            message: text("message")?,
            sqlstate: text("sqlstate")?,
            expectations: text("expectations")?,
        })
    }
}

/// What an error says, in one text.
pub fn told(e: &Error) -> String {
    match &e.detail {
        Some(detail) => format!("{}: {detail}", e.message),
        None => e.message.clone(),
    }
}

/// Records an attempt. The last `keep` of the task or view stay.
pub async fn record(
    catalog: &Catalog,
    of: NodeKind,
    ident: &TableIdent,
    attempt: &Attempt,
    keep: u32,
) -> Result<()> {
    let entry = JournalEntry {
        key: DocumentKey::new(kind(of), ident.clone()),
        id: format!("{}/{}", attempt.run_id, attempt.number),
        at: attempt.finished,
        text: attempt.to_json(),
    };
    Ok(catalog.backend().add_to_journal(&entry, keep).await?)
}

/// All attempts that are kept, oldest first; those that cannot be read are left out.
pub async fn all(catalog: &Catalog, of: NodeKind) -> Result<Vec<(TableIdent, Attempt)>> {
    let entries = catalog.backend().journal(kind(of)).await?;
    let read =
        entries.iter().filter_map(|entry| Some((entry.key.ident.clone(), Attempt::from_entry(entry).ok()?)));
    Ok(read.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_read_back_as_they_were_written() {
        let whole = Attempt {
            run_id: "r".into(),
            number: 3,
            scheduled_for: 1,
            started: 2,
            finished: 4,
            outcome: Outcome::Cancelled,
            message: Some("no \"x\"".into()),
            sqlstate: Some("57014".into()),
            expectations: Some("[{\"name\":\"a \\\"b\\\"\"}]".into()),
        };
        let key = DocumentKey::new("task run", TableIdent::new("a", "b"));
        let entry = JournalEntry { key, id: "r/3".into(), at: 4, text: whole.to_json() };
        assert_eq!(Attempt::from_entry(&entry).unwrap(), whole);
    }
}
