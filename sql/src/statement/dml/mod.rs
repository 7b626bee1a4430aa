//! Statements that change rows.

pub mod assign;
pub mod insert;
pub mod write;
