//! The server: the only crate that knows pgwire, HTTP, configuration files, clocks and signals.
//!
//! Statements go through `auric-sql`; `auric-catalog` is used only to attach catalogs. No table format
//! and no plan is known here.

pub mod activity;
pub mod apply;
pub mod cli;
pub mod config;
pub mod demo;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod notify;
mod os;
pub mod pgwire;
mod refresher;
pub mod runtime;
pub mod scheduler;
pub mod security;
pub mod serve;
pub mod shutdown;
pub mod telemetry;
pub mod temporary;
