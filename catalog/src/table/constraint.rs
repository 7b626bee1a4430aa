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
