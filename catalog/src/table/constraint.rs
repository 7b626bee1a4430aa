//! Conditions that every row of a table must satisfy, as the table's metadata holds them.

/// A CHECK constraint. Whether a row for which the expression is null
/// satisfies it is the format's to say: Delta says no.
///
/// No format evaluates it: whoever hands rows to [`write`](crate::write) has to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckConstraint {
    pub name: String,
    /// SQL over the table's columns, in the dialect of the engine that wrote it (Delta: Spark's).
    pub expression: String,
}

/// What `ALTER TABLE` does to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    /// Whoever asks for it has seen that all rows of the version that the change is made against
    /// satisfy it; the change's read set must be all of them.
    AddConstraint(CheckConstraint),
    DropConstraint(String),
}
