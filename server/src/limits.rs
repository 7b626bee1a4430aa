//! Finite limits on what clients may take up, and the queue for what they may run at once.

use std::sync::Arc;
use std::time::Duration;

use auric_sql::{Error, Result, SqlState};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;

/// Limits of every connection.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest message of a client, bytes.
    pub max_message_size: usize,
    pub auth_timeout: Duration,
    pub max_prepared_statements: usize,
    pub max_portals: usize,
}

impl Limits {
    pub fn new(config: &Config) -> Self {
        let server = &config.server;
        Self {
            max_message_size: server.max_message_size.bytes(),
            auth_timeout: server.auth_timeout,
            max_prepared_statements: server.max_prepared_statements,
            max_portals: server.max_portals,
        }
    }
}

/// Lets a number of statements execute at once; others wait their turn, in order.
#[derive(Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    patience: Duration,
}

impl Admission {
    /// `patience`: longest wait; zero: for ever.
    pub fn new(places: usize, patience: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS))), patience }
    }

    /// Waits for a place, which is free again when the permit is dropped. Fails with 53400.
    pub async fn admit(&self) -> Result<OwnedSemaphorePermit> {
        let place = self.places.clone().acquire_owned();
        let admitted = if self.patience.is_zero() {
            Ok(place.await)
        } else {
            tokio::time::timeout(self.patience, place).await
        };
        match admitted {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Error::new(SqlState("57P01"), "the server is shutting down")),
            Err(_) => Err(Error::new(SqlState("53400"), "too many statements are running")
                .with_detail(format!("waited {} s for a place", self.patience.as_secs()))
                .with_hint("The limits are query.max_concurrent and query.queue_timeout.")),
        }
    }
}
