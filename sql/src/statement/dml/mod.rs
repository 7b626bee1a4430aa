//! Statements that change rows.

pub mod assign;
pub mod check;
pub mod insert;
mod new_rows;
mod on_conflict;
mod overwrite;
mod partition;
mod replace_where;
mod returning;
mod source;
pub mod truncate;
pub mod write;
