//! What `ALTER TABLE` and `COMMENT` do to a table itself, beside its rows.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::DataType;
use uuid::Uuid;

use super::constraint::CheckConstraint;
use super::definition::ColumnDefinition;
use super::schema::TEXT_TYPE_PROPERTY;
use crate::error::{Error, Result};

/// One alteration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    /// Whoever asks for it has seen that all rows of the version that the change is made against
    /// satisfy it; the change's read set must be all of them.
    AddConstraint(CheckConstraint),
    DropConstraint(String),
    /// After those that there are. The rows that there are have nulls in them.
    AddColumns(Vec<NewColumn>),
    /// One after the other.
    Comments(Vec<Comment>),
    Properties(PropertyChange),
    /// Identity columns begin anew. No rows are left.
    RestartIdentity,
}

impl Alteration {
    /// Adds a next alteration to those of a transaction. Comments are told together, and so are
    /// properties: each is one change of the metadata.
    pub fn add_to(self, alterations: &mut Vec<Self>) {
        match self {
            Self::Comments(new) => {
                // A comment can be one on a column that was new just now.
                let since = alterations.iter().rposition(|earlier| matches!(earlier, Self::AddColumns(_)));
                let known =
                    alterations.iter_mut().skip(since.unwrap_or(0)).find_map(|earlier| match earlier {
                        Self::Comments(comments) => Some(comments),
                        _ => None,
                    });
                match known {
                    Some(comments) => comments.extend(new),
                    None => alterations.push(Self::Comments(new)),
                }
            }
            Self::Properties(new) => {
                let known = alterations.iter_mut().find_map(|earlier| match earlier {
                    Self::Properties(change) => Some(change),
                    _ => None,
                });
                match known {
                    Some(change) => change.then(new),
                    None => alterations.push(Self::Properties(new)),
                }
            }
            Self::RestartIdentity if alterations.contains(&self) => {}
            Self::AddConstraint(_)
            | Self::DropConstraint(_)
            | Self::AddColumns(_)
            | Self::RestartIdentity => {
                alterations.push(self);
            }
        }
    }
}

/// A column that a table gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewColumn {
    pub name: String,
    /// As a table stores it.
    pub data_type: DataType,
    pub comment: Option<String>,
    /// What the table property `auric.text-type.<name>` says.
    pub text_type: Option<String>,
    identity: Identity,
}

/// What files know a column by. A transaction writes files before the column is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    seed: Uuid,
    /// That of the metadata in which the column was put first.
    id: Arc<OnceLock<i64>>,
}

impl NewColumn {
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        let identity = Identity { seed: Uuid::new_v4(), id: Arc::default() };
        Self { name: name.into(), data_type, comment: None, text_type: None, identity }
    }

    /// What names in files are made of.
    pub(crate) fn seed(&self) -> Uuid {
        self.identity.seed
    }

    /// Gives the column its id. Fails with `Conflict` if it had another one: somebody else has used that up.
    pub(crate) fn claim(&self, table: &str, id: i64) -> Result<()> {
        if *self.identity.id.get_or_init(|| id) == id {
            return Ok(());
        }
        let winner = "another statement has added a column".to_string();
        Err(Error::Conflict { table: table.to_string(), winner })
    }

    /// The same as a column of a new table.
    pub fn definition(&self) -> ColumnDefinition {
        ColumnDefinition {
            name: self.name.clone(),
            data_type: self.data_type.clone(),
            nullable: true,
            comment: self.comment.clone(),
            default: None,
            identity: None,
        }
    }

    /// Properties that columns bring along.
    pub fn properties(columns: &[Self]) -> BTreeMap<String, String> {
        let property = |column: &Self| {
            let stored = column.text_type.clone()?;
            Some((format!("{TEXT_TYPE_PROPERTY}{}", column.name), stored))
        };
        columns.iter().filter_map(property).collect()
    }
}

/// A new comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Name of a column; `None`: on the table.
    pub column: Option<String>,
    /// `None`: the comment is removed.
    pub text: Option<String>,
}

/// Table properties that get a value, and those that are taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PropertyChange {
    pub set: BTreeMap<String, String>,
    pub unset: Vec<String>,
}

impl PropertyChange {
    /// Both changes, one after the other, as one.
    fn then(&mut self, next: Self) {
        self.unset.retain(|key| !next.set.contains_key(key));
        self.set.retain(|key, _| !next.unset.contains(key));
        self.set.extend(next.set);
        self.unset.extend(next.unset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(set: &[(&str, &str)], unset: &[&str]) -> Alteration {
        let set = set.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Alteration::Properties(PropertyChange { set, unset: unset.iter().map(ToString::to_string).collect() })
    }

    fn comment(column: Option<&str>, text: &str) -> Comment {
        Comment { column: column.map(str::to_string), text: Some(text.to_string()) }
    }

    #[test]
    fn a_comment_on_a_new_column_comes_after_it() {
        let column = NewColumn::new("n", DataType::Int32);
        let mut all = Vec::new();
        for comment in [comment(None, "t"), comment(Some("n"), "a"), comment(Some("n"), "b")] {
            Alteration::Comments(vec![comment.clone()]).add_to(&mut all);
            if comment.column.is_none() {
                Alteration::AddColumns(vec![column.clone()]).add_to(&mut all);
            }
        }
        assert_eq!(
            all,
            [
                Alteration::Comments(vec![comment(None, "t")]),
                Alteration::AddColumns(vec![column]),
                Alteration::Comments(vec![comment(Some("n"), "a"), comment(Some("n"), "b")]),
            ]
        );
    }

    #[test]
    fn the_last_of_several_alterations_counts() {
        let mut all = Vec::new();
        properties(&[("a", "1"), ("b", "1")], &["c"]).add_to(&mut all);
        Alteration::Comments(vec![comment(None, "t")]).add_to(&mut all);
        properties(&[("c", "2")], &["a"]).add_to(&mut all);
        Alteration::Comments(vec![comment(Some("x"), "c")]).add_to(&mut all);
        Alteration::DropConstraint("k".into()).add_to(&mut all);
        assert_eq!(
            all,
            [
                properties(&[("b", "1"), ("c", "2")], &["a"]),
                Alteration::Comments(vec![comment(None, "t"), comment(Some("x"), "c")]),
                Alteration::DropConstraint("k".into()),
            ]
        );
    }
}
