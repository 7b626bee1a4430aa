//! Materialized views: queries whose result is kept in an ordinary table, refreshed as a whole, audited
//! before it is published.
//!
//! What a view is ([`definition`]) is kept in its table's properties, what a version of it was built from
//! ([`provenance`]) in the summary of the commit that published it: nothing has to be remembered anywhere
//! else. [`build`] writes and audits the rows; [`publish`] makes them the table's, in one commit that is
//! refused if the table has moved since it was read.
//!
//! A scheduler finds when to refresh in [`schedule`], and what changed in
//! [`sources`](self::sources::Sources) against [`provenance`]; another way to compute the rows is another
//! plan in [`build`].

pub mod audit;
pub mod build;
pub mod definition;
pub mod expectation;
pub mod hash;
mod json;
pub mod provenance;
pub mod publish;
pub mod quarantine;
pub mod run_task;
pub mod schedule;
pub mod scheduler;
pub mod sources;
pub mod task;
pub mod whole_result;
