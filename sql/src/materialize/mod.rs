//! Materialized views: queries whose result is kept in an ordinary table, refreshed as a whole or as far as
//! changes have touched it, audited before it is published.
//!
//! What a view is ([`definition`]) is kept in its table's properties, what a version of it was built from
//! ([`provenance`]) in the summary of the commit that published it: nothing has to be remembered anywhere
//! else. [`build`] writes and audits the rows; [`publish`] makes them the table's, in one commit that is
//! refused if the table has moved since it was read.
//!
//! A scheduler finds when to refresh in [`schedule`], and what changed in
//! [`sources`](self::sources::Sources) against [`provenance`]; [`incremental`] finds what of the rows has to be
//! computed, for [`build`].

pub mod audit;
pub mod build;
pub mod column_lineage;
pub mod definition;
pub mod expectation;
pub mod hash;
pub mod incremental;
pub(crate) mod json;
pub mod provenance;
pub mod publish;
pub mod quarantine;
pub mod run_task;
pub mod running;
pub mod schedule;
pub mod scheduler;
pub mod sources;
pub mod task;
pub mod view_rows;
pub mod whole_result;
