//! Tables: where they are found, what they hold, how they are scanned, written and committed.
//!
//! One table engine, two log formats: everything above [`mod@format`] works on the neutral model of
//! [`table`] and knows neither Iceberg nor Delta. A format contributes reading a snapshot and
//! committing a change, nothing else.
//!
//! This crate never parses SQL text, knows no sessions and opens no sockets of its own.

pub mod backend;
pub mod changes;
pub mod commit;
pub mod dml;
pub mod error;
pub mod failpoint;
pub mod format;
pub mod metadata_table;
pub mod name;
pub mod registry;
pub mod scan;
pub mod storage;
pub mod table;
pub mod transaction;
pub mod turns;
pub mod view;
pub mod write;

pub use error::{Error, Result};
pub use name::TableIdent;
