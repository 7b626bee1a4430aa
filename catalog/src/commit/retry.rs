//! How often a lost race is run again, and how long to wait before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// A table's own limits (Iceberg's `commit.retry.*`, honoured for Delta tables too). The defaults
/// allow more retries than Iceberg's 4: the first waits are short, and giving up costs a whole
/// statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryLimits {
    pub retries: u32,
    pub min_wait: Duration,
    pub max_wait: Duration,
    pub total: Duration,
}

impl RetryLimits {
    /// Fails with `Invalid` for a value that is not a number.
    pub fn of(properties: &BTreeMap<String, String>) -> Result<Self> {
        let number = |key: &str, default: u64| match properties.get(key) {
            None => Ok(default),
            Some(text) => text.trim().parse::<u64>().map_err(|_| {
                Error::Invalid(format!("table property \"{key}\" is \"{text}\", expected a whole number"))
            }),
        };
        Ok(Self {
            retries: u32::try_from(number("commit.retry.num-retries", 20)?).unwrap_or(u32::MAX),
            min_wait: Duration::from_millis(number("commit.retry.min-wait-ms", 20)?),
            max_wait: Duration::from_millis(number("commit.retry.max-wait-ms", 5_000)?),
            total: Duration::from_millis(number("commit.retry.total-timeout-ms", 30 * 60 * 1_000)?),
        })
    }

    /// The waits before each retry: doubling, each somewhere in its upper half so that writers that
    /// collided once do not collide again.
    pub fn waits(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        let limits = self.clone();
        let began = Instant::now();
        let mut next = limits.min_wait.min(limits.max_wait);
        (0..limits.retries).map_while(move |_| {
            let wait = next.mul_f64(0.5 + random_fraction() / 2.0);
            next = next.saturating_mul(2).min(limits.max_wait);
            (began.elapsed() + wait <= limits.total).then_some(wait)
        })
    }
}

/// At least 0, below 1.
fn random_fraction() -> f64 {
    let bits = (uuid::Uuid::new_v4().as_u128() >> 96) as u32;
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}
