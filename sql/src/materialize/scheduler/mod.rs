//! When materialized views are refreshed and tasks run.
//!
//! [`plan`] says what is due: a pure function of the definitions ([`node`]), of what is remembered of each
//! ([`state`]) and of the time. [`service`] looks at the catalogs, keeps the states there, and hands out what
//! is due; whoever has a timer and threads carries it out and says how it ended. Nothing here waits.
//!
//! No run is published twice, whoever hands it out twice: the commit of a task's run has the id of its slot,
//! a refresh replaces one version of the view. A lease in the catalog only keeps servers from doing the same
//! work in vain.

pub mod backoff;
pub mod cron;
pub mod history;
mod job;
mod lease;
pub mod node;
mod observe;
mod passing;
pub mod places;
pub mod plan;
pub mod service;
pub mod slots;
pub mod state;
mod waves;

pub use job::Job;
pub use plan::Rules;
pub use service::{Event, EventKind, Options, Scheduler, Tick};
