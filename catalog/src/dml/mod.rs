//! Statements that change rows: each plans its input, writes files, and ends in a
//! [`TableChange`](crate::table::TableChange).
//!
//! - [`insert`]: rows are added.
//! - [`overwrite`]: files are replaced by the rows of a query, as wholes (`INSERT OVERWRITE`, `TRUNCATE`).
//! - [`rows`]: rows found by a query are deleted, updated or added (`DELETE`, `UPDATE`, `MERGE`,
//!   `INSERT … REPLACE WHERE`, `INSERT … ON CONFLICT`).
//!
//! A change is committed at the end of its statement, or handed to the transaction ([`publish`]).
//!
//! The planner of statements makes the query; what is here knows nothing of SQL. All plans return
//! one row of [`impact::schema`], or the rows of RETURNING.

pub mod impact;
pub mod insert;
pub mod overwrite;
pub mod publish;
mod returning;
pub mod rows;
mod write_exec;

#[cfg(test)]
mod tests;
