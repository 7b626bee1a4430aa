//! What the scheduler remembers of a task or materialized view: a document of its catalog.

use std::collections::BTreeMap;

use auric_catalog::backend::document::DocumentKey;

use super::super::json;
use super::node::{NodeKey, NodeKind, Versions};
use crate::error::Result;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what there was to do.
    Done,
    /// There was nothing to do.
    Unchanged,
    Failed,
    /// It was not begun, as something before it failed.
    Skipped,
    Cancelled,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "succeeded",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Done, Self::Unchanged, Self::Failed, Self::Skipped, Self::Cancelled];
        all.into_iter().find(|outcome| outcome.word() == word)
    }
}

/// Times are milliseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// [`Node::id`](super::node::Node::id) of what it is of.
    pub of: String,
    /// The last slot that needs no run any more.
    pub slot_at: i64,
    /// The run that failed and is to be tried again.
    pub retry: Option<Retry>,
    /// Runs that failed in a row, with all their attempts.
    pub failures: u32,
    /// It was seen suspended.
    pub suspended: bool,
    pub last: Option<Last>,
    /// What was read when a run on update was last begun.
    pub seen: Option<Versions>,
    /// Of each node that this one comes after, the run that it has followed.
    pub followed: Option<BTreeMap<String, String>>,
    /// The last run that did what there was to do.
    pub completed: Option<String>,
    /// How long the last run took.
    pub duration_ms: i64,
}

/// A run that is to be tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    pub slot: String,
    pub slot_at: i64,
    /// Attempts that failed.
    pub failed: u32,
    pub at: i64,
}

/// The last run.
#[derive(Debug, Clone, PartialEq)]
pub struct Last {
    pub run_id: String,
    pub started: i64,
    pub finished: i64,
    pub outcome: Outcome,
    pub error: Option<String>,
}

/// The document that a node's state is.
pub fn key(node: &NodeKey) -> DocumentKey {
    let kind = match node.kind {
        NodeKind::Task => "task state",
        NodeKind::View => "view state",
    };
    DocumentKey::new(kind, node.ident.clone())
}

/// Kinds of the documents.
pub const KINDS: [(&str, NodeKind); 2] = [("task state", NodeKind::Task), ("view state", NodeKind::View)];

fn map_json(map: &BTreeMap<String, String>) -> String {
    json::object(map.iter().map(|(key, value)| (key.as_str(), json::string(value))))
}

fn map_of(text: &str) -> Result<BTreeMap<String, String>> {
    let members = json::members(text)?.into_iter();
    members.map(|(key, value)| Ok((key, json::text(value)?.unwrap_or_default()))).collect()
}

impl State {
    pub fn to_json(&self) -> String {
        let mut members = vec![
            ("of", json::string(&self.of)),
            ("slot-at", self.slot_at.to_string()),
            ("failures", self.failures.to_string()),
            ("duration-ms", self.duration_ms.to_string()),
        ];
        if let Some(Retry { slot, slot_at, failed, at }) = &self.retry {
            members.push((
                "retry",
                json::object([
                    ("slot", json::string(slot)),
                    ("slot-at", slot_at.to_string()),
                    ("failed", failed.to_string()),
                    ("at", at.to_string()),
                ]),
            ));
        }
        if let Some(Last { run_id, started, finished, outcome, error }) = &self.last {
            let mut last = vec![
                ("run-id", json::string(run_id)),
                ("started", started.to_string()),
                ("finished", finished.to_string()),
                ("outcome", json::string(outcome.word())),
            ];
            last.extend(error.as_ref().map(|error| ("error", json::string(error))));
            members.push(("last", json::object(last)));
        }
        members.extend(self.suspended.then(|| ("suspended", "true".to_string())));
        members.extend(self.seen.as_ref().map(|seen| ("seen", map_json(seen))));
        members.extend(self.followed.as_ref().map(|followed| ("followed", map_json(followed))));
        members.extend(self.completed.as_ref().map(|run| ("completed", json::string(run))));
        json::object(members)
    }

    /// Fails with XX001.
    pub fn from_json(text: &str) -> Result<Self> {
        let members: BTreeMap<String, &str> = json::members(text)?.into_iter().collect();
        let number = |members: &BTreeMap<String, &str>, key: &str| -> i64 {
            members.get(key).and_then(|value| value.parse().ok()).unwrap_or_default()
        };
        let count = |number: i64| u32::try_from(number).unwrap_or_default();
        let text_of = |members: &BTreeMap<String, &str>, key: &str| -> Result<Option<String>> {
            Ok(members.get(key).map(|value| json::text(value)).transpose()?.flatten())
        };
        let inner = |key: &str| -> Result<Option<BTreeMap<String, &str>>> {
            Ok(members
                .get(key)
                .map(|value| json::members(value))
                .transpose()?
                .map(|m| m.into_iter().collect()))
        };
        let retry = match inner("retry")? {
            Some(retry) => Some(Retry {
                slot: text_of(&retry, "slot")?.unwrap_or_default(),
                slot_at: number(&retry, "slot-at"),
                failed: count(number(&retry, "failed")),
                at: number(&retry, "at"),
            }),
            None => None,
        };
        let last = match inner("last")? {
            Some(last) => Some(Last {
                run_id: text_of(&last, "run-id")?.unwrap_or_default(),
                started: number(&last, "started"),
                finished: number(&last, "finished"),
                outcome: text_of(&last, "outcome")?
                    .and_then(|word| Outcome::of_word(&word))
                    .unwrap_or(Outcome::Failed),
                error: text_of(&last, "error")?,
            }),
            None => None,
        };
        Ok(Self {
            of: text_of(&members, "of")?.unwrap_or_default(),
            slot_at: number(&members, "slot-at"),
            retry,
            failures: count(number(&members, "failures")),
            suspended: members.get("suspended").is_some_and(|value| *value == "true"),
            last,
            seen: members.get("seen").map(|text| map_of(text)).transpose()?,
            followed: members.get("followed").map(|text| map_of(text)).transpose()?,
            completed: text_of(&members, "completed")?,
            duration_ms: number(&members, "duration-ms"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_back_as_they_were_written() {
        let map = |key: &str| Some(BTreeMap::from([(key.to_string(), "1 \"x\"".to_string())]));
        let whole = State {
            of: "a".into(),
            slot_at: 1_700_000_000_000,
            retry: Some(Retry { slot: "on update ü".into(), slot_at: 7, failed: 2, at: 9 }),
            failures: 3,
            suspended: true,
            last: Some(Last {
                run_id: "r".into(),
                started: 1,
                finished: 2,
                outcome: Outcome::Skipped,
                error: Some("it's \"so\"".into()),
            }),
            seen: map("lake.a.b"),
            followed: map("task x.y"),
            completed: Some("c".into()),
            duration_ms: 12,
        };
        assert_eq!(State::from_json(&whole.to_json()).unwrap(), whole);
        assert_eq!(State::from_json(&State::default().to_json()).unwrap(), State::default());
        assert!(State::from_json("x").is_err());
    }
}
