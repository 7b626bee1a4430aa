//! The clock that this crate is given.

use std::fmt::Debug;

use chrono::{DateTime, Utc};

/// Tells the time: the system's in the server, a set one in tests.
pub trait Clock: Debug + Send + Sync {
    fn now(&self) -> DateTime<Utc>;
}
