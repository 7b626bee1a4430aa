//! Statements that change rows.

pub mod assign;
mod bind;
mod delete;
pub mod execute;
pub mod insert;
mod merge;
mod row_change;
pub mod row_statement;
mod source;
mod update;
pub mod write;
