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
mod bind;
mod collected_source;
mod delete;
pub mod execute;
pub mod insert;
mod merge;
mod row_change;
pub mod row_statement;
mod update;
pub mod write;
