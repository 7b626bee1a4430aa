//! What `ALTER TABLE` and `COMMENT` do to a table itself, beside its rows.

use std::collections::BTreeMap;

use super::constraint::CheckConstraint;

/// One alteration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    /// Whoever asks for it has seen that all rows of the version that the change is made against
    /// satisfy it; the change's read set must be all of them.
    AddConstraint(CheckConstraint),
    DropConstraint(String),
    /// One after the other.
    Comments(Vec<Comment>),
    Properties(PropertyChange),
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
