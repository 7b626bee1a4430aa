//! Tasks: statements that change a table, run when they are due. A task is a document of its catalog.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::backend::document::{Document, DocumentChange, DocumentKey, TASK};
use auric_catalog::registry::Catalog;

use super::definition::normal_form;
use super::schedule::Schedule;
use super::{hash, json};
use crate::error::{Error, Result, SqlState};
use crate::functions::string::quote_ident;

/// A task as its document keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub ident: TableIdent,
    /// Tells it from one of the same name before it.
    pub id: String,
    /// INSERT, UPDATE, DELETE or MERGE.
    pub statement: String,
    /// Schemas in which unqualified names are looked up.
    pub search_path: Vec<String>,
    /// Who made it, and in whose name it runs.
    pub user: String,
    pub trigger: Trigger,
    /// Of a run that fails; `None`: as the scheduler has it.
    pub retries: Option<u32>,
    pub comment: Option<String>,
    pub suspended: bool,
    /// Milliseconds since the epoch: no slot before it is run.
    pub since: i64,
    /// `catalog.schema.table` that it changes.
    pub target: String,
    /// The others that it reads.
    pub reads: BTreeSet<String>,
}

/// When a task runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// When it is told to.
    None,
    Schedule(Schedule),
    /// After all of these tasks and materialized views.
    After(Vec<TableIdent>),
}

impl Trigger {
    /// As in SQL; `None`: nothing has to be said.
    pub fn clause(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Schedule(schedule) => Some(schedule.to_string()),
            Self::After(names) => {
                let names: Vec<String> = names.iter().map(qualified).collect();
                Some(format!("AFTER {}", names.join(", ")))
            }
        }
    }

    pub fn after(&self) -> &[TableIdent] {
        match self {
            Self::After(names) => names,
            Self::None | Self::Schedule(_) => &[],
        }
    }
}

/// A name as it is written in SQL.
pub fn qualified(ident: &TableIdent) -> String {
    format!("{}.{}", quote_ident(&ident.namespace), quote_ident(&ident.name))
}

/// A task and the text of its document, which a change of it expects.
#[derive(Debug, Clone)]
pub struct Stored {
    pub task: Task,
    pub text: String,
}

impl Task {
    pub fn key(ident: &TableIdent) -> DocumentKey {
        DocumentKey::new(TASK, ident.clone())
    }

    /// Tells tasks that may do something else apart; when they do it does not count.
    pub fn hash(&self) -> String {
        let parts = [normal_form(&self.statement), self.user.clone()];
        let parts = parts.iter().chain(&self.search_path).map(String::as_str);
        hash::digits(hash::of(parts))
    }

    /// The id of the run of a slot: the same for whoever runs it.
    pub fn run_id(&self, catalog: &str, slot: &str) -> String {
        let name = self.ident.to_string();
        hash::uuid(hash::of(["task", catalog, &name, &self.hash(), slot]))
    }

    pub fn to_json(&self) -> String {
        let list =
            |texts: &mut dyn Iterator<Item = &String>| json::array(texts.map(|text| json::string(text)));
        let mut members = vec![
            ("id", json::string(&self.id)),
            ("statement", json::string(&self.statement)),
            ("search-path", list(&mut self.search_path.iter())),
            ("user", json::string(&self.user)),
            ("since", self.since.to_string()),
            ("target", json::string(&self.target)),
            ("reads", list(&mut self.reads.iter())),
        ];
        match &self.trigger {
            Trigger::None => {}
            Trigger::Schedule(schedule) => members.push(("schedule", schedule.to_json())),
            Trigger::After(names) => {
                let name = |ident: &TableIdent| {
                    json::array([json::string(&ident.namespace), json::string(&ident.name)])
                };
                members.push(("after", json::array(names.iter().map(name))));
            }
        }
        members.extend(self.retries.map(|retries| ("retries", retries.to_string())));
        members.extend(self.comment.as_ref().map(|comment| ("comment", json::string(comment))));
        members.extend(self.suspended.then(|| ("suspended", "true".to_string())));
        json::object(members)
    }

    /// Fails with XX001.
    pub fn from_json(ident: &TableIdent, text: &str) -> Result<Self> {
        let corrupt = || {
            let message = format!("the definition of task \"{ident}\" cannot be read: {text}");
            Error::new(SqlState::DATA_CORRUPTED, message)
        };
        let members: BTreeMap<String, &str> = json::members(text)?.into_iter().collect();
        let text_of = |key: &str| members.get(key).map(|value| json::text(value)).transpose();
        let required = |key: &str| text_of(key)?.flatten().ok_or_else(corrupt);
        let list = |key: &str| -> Result<Vec<String>> {
            let Some(value) = members.get(key) else { return Ok(Vec::new()) };
            json::items(value)?.into_iter().map(|item| json::text(item)?.ok_or_else(corrupt)).collect()
        };
        let trigger = match (members.get("schedule"), members.get("after")) {
            (Some(schedule), _) => Trigger::Schedule(Schedule::from_json(schedule)?),
            (None, Some(names)) => {
                let name = |item: &str| -> Result<TableIdent> {
                    let parts = json::items(item)?.into_iter().map(json::text);
                    let parts: Vec<String> =
                        parts.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
                    let [namespace, name] = <[String; 2]>::try_from(parts).map_err(|_| corrupt())?;
                    Ok(TableIdent::new(namespace, name))
                };
                Trigger::After(json::items(names)?.into_iter().map(name).collect::<Result<_>>()?)
            }
            (None, None) => Trigger::None,
        };
        let number = |key: &str| members.get(key).map(|value| value.parse::<i64>().map_err(|_| corrupt()));
        let retries = number("retries").transpose()?.and_then(|number| u32::try_from(number).ok());
        Ok(Self {
            ident: ident.clone(),
            id: required("id")?,
            statement: required("statement")?,
            search_path: list("search-path")?,
            user: required("user")?,
            trigger,
            retries,
            comment: text_of("comment")?.flatten(),
            suspended: members.get("suspended").is_some_and(|value| *value == "true"),
            since: number("since").transpose()?.unwrap_or_default(),
            target: required("target")?,
            reads: list("reads")?.into_iter().collect(),
        })
    }

    /// The task of a name. Fails with XX001.
    pub async fn find(catalog: &Catalog, ident: &TableIdent) -> Result<Option<Stored>> {
        let text = catalog.backend().document(&Self::key(ident)).await?;
        text.map(|text| Ok(Stored { task: Self::from_json(ident, &text)?, text })).transpose()
    }

    /// All tasks of a catalog, by name; those that cannot be read are told of.
    pub async fn all(catalog: &Catalog) -> Result<Vec<Stored>> {
        Ok(Self::read_all(catalog.backend().documents(TASK).await?))
    }

    /// The tasks that documents are; those that cannot be read are told of.
    pub fn read_all(documents: Vec<Document>) -> Vec<Stored> {
        let read = documents.into_iter().filter_map(|Document { key, text }| {
            match Self::from_json(&key.ident, &text) {
                Ok(task) => Some(Stored { task, text }),
                Err(error) => {
                    tracing::warn!(task = %key.ident, %error, "task is not readable");
                    None
                }
            }
        });
        read.collect()
    }
}

/// Puts a document in the place of another. Fails with 40001 if that is no longer there, 0A000 where the
/// catalog keeps none.
pub async fn change(
    catalog: &Arc<Catalog>,
    ident: &TableIdent,
    expected: Option<String>,
    new: Option<String>,
) -> Result<()> {
    let change = DocumentChange { key: Task::key(ident), expected, new };
    if catalog.backend().swap_document(&change).await? {
        catalog.contents_changed();
        return Ok(());
    }
    let winner = "another statement changed the task".to_string();
    Err(auric_catalog::Error::Conflict { table: ident.to_string(), winner }.into())
}

#[cfg(test)]
mod tests {
    use super::super::schedule::Span;
    use super::*;

    fn task() -> Task {
        Task {
            ident: TableIdent::new("silver", "load"),
            id: "1".into(),
            statement: "MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN DELETE".into(),
            search_path: vec!["silver".into(), "Mixed \"x\"".into()],
            user: "ann".into(),
            trigger: Trigger::After(vec![TableIdent::new("a.b", "c"), TableIdent::new("gold", "v")]),
            retries: Some(2),
            comment: Some("it's".into()),
            suspended: true,
            since: 1_700_000_000_123,
            target: "lake.silver.t".into(),
            reads: BTreeSet::from(["lake.bronze.s".to_string()]),
        }
    }

    #[test]
    fn documents_keep_all_of_it() {
        let whole = task();
        assert_eq!(Task::from_json(&whole.ident, &whole.to_json()).unwrap(), whole);
        let schedule = Span::parse("5 minutes").map(Schedule::Every).unwrap();
        let plain = Task {
            trigger: Trigger::Schedule(schedule),
            retries: None,
            comment: None,
            suspended: false,
            ..whole.clone()
        };
        assert_eq!(Task::from_json(&plain.ident, &plain.to_json()).unwrap(), plain);
        let by_hand = Task { trigger: Trigger::None, ..plain };
        assert_eq!(Task::from_json(&by_hand.ident, &by_hand.to_json()).unwrap(), by_hand);
        for wrong in ["", "[]", "{}", "{\"statement\":1}"] {
            assert_eq!(Task::from_json(&whole.ident, wrong).unwrap_err().code, SqlState::DATA_CORRUPTED);
        }
    }

    #[test]
    fn a_slot_has_one_id() {
        let one = task();
        let same = Task { comment: None, retries: None, suspended: false, ..one.clone() };
        assert_eq!(one.run_id("lake", "1"), same.run_id("lake", "1"));
        assert_ne!(one.run_id("lake", "1"), one.run_id("lake", "2"));
        assert_ne!(one.run_id("lake", "1"), one.run_id("other", "1"));
        let other = Task { statement: "DELETE FROM t".into(), ..one.clone() };
        assert_ne!(one.run_id("lake", "1"), other.run_id("lake", "1"));
    }
}
