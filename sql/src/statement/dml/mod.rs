//! Statements that change rows.

pub mod assign;
mod bind;
pub mod check;
pub(crate) mod collected_source;
pub mod condition;
mod delete;
pub mod execute;
pub(crate) mod failing_row;
pub mod identity;
pub mod insert;
mod key_ranges;
mod merge;
pub(crate) mod new_rows;
mod on_conflict;
mod on_subquery;
mod overwrite;
mod partition;
mod replace_where;
mod returning;
mod row_change;
pub mod row_statement;
mod source;
pub mod told_rows;
pub mod truncate;
mod update;
mod used_columns;
pub mod write;
