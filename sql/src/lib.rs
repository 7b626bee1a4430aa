//! SQL: text to statements, statements to plans, plans to streams of record batches; sessions,
//! `pg_catalog`, and the Postgres behaviour that clients rely on.
//!
//! This crate knows no wire protocol, opens no sockets, reads no configuration files and no clock
//! but the one it is given.

pub mod activity;
pub mod analyzer;
pub mod auric_schema;
pub mod clock;
pub mod definitions;
pub mod engine;
pub mod error;
pub mod functions;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
pub mod information_schema;
mod introspection;
pub mod load;
pub mod materialize;
pub mod parser;
pub mod pg_catalog;
pub mod planner;
pub mod result_cache;
pub mod session;
pub mod statement;
pub mod table_function;
pub mod types;

pub use engine::{Engine, EngineOptions};
pub use error::{Error, Result, SqlState};
pub use functions::calendar::Zone;
pub use session::{Committing, ConnectParameters, Session, TransactionStatus};
pub use statement::interrupt::Abandoned;
pub use statement::{
    CommandTag, CopyIn, CopyLines, Output, OutputColumn, Prepared, RowOutput, TrivialAnswer,
};

#[cfg(test)]
mod tests;
