//! Tells somebody of failures: a POST of a JSON object to an address (`[notify]`).

use std::sync::Arc;
use std::time::Duration;

use auric_sql::materialize::scheduler::node::NodeKind;
use auric_sql::materialize::scheduler::{Event, EventKind};
use chrono::SecondsFormat;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::config::NotifyConfig;
use crate::runtime::{Runtimes, spawn};

/// Messages on their way at once; more are dropped, and logged.
const ON_THEIR_WAY: usize = 64;
/// Pause before the first further attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(500);

/// Sends what happened to the configured address.
#[derive(Debug)]
pub struct Notifier {
    client: reqwest::Client,
    url: String,
    retries: usize,
    places: Arc<Semaphore>,
}

impl Notifier {
    /// `None`: nobody is to be told.
    pub fn new(config: &NotifyConfig) -> Result<Option<Self>, reqwest::Error> {
        let Some(url) = config.url.clone() else { return Ok(None) };
        let client = reqwest::Client::builder().timeout(config.timeout).build()?;
        let places = Arc::new(Semaphore::new(ON_THEIR_WAY));
        Ok(Some(Self { client, url, retries: config.retries, places }))
    }

    /// Sends an event in the background.
    pub fn send(&self, runtimes: &Runtimes, event: &Event) {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            tracing::warn!(node = %event.node, "notification dropped, too many are on their way");
            return;
        };
        let (client, url, retries) = (self.client.clone(), self.url.clone(), self.retries);
        let body = message(event).to_string();
        spawn(&runtimes.io, "notify", async move {
            let _place = place;
            let mut pause = PAUSE;
            for attempt in 0..=retries {
                if attempt > 0 {
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(Duration::from_secs(60));
                }
                let request = client.post(&url).header("content-type", "application/json").body(body.clone());
                match request.send().await.and_then(reqwest::Response::error_for_status) {
                    Ok(_) => return,
                    // The address may hold a secret.
                    Err(error) => {
                        let error = error.without_url();
                        tracing::warn!(%error, attempt = attempt + 1, "notification was not delivered");
                    }
                }
            }
        });
    }
}

fn message(event: &Event) -> serde_json::Value {
    let time = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    json!({
        "event": match event.kind {
            EventKind::Failed => "failed",
            EventKind::Suspended => "suspended",
        },
        "kind": match event.node.kind {
            NodeKind::Task => "task",
            NodeKind::View => "materialized view",
        },
        "database": event.node.catalog,
        "schema": event.node.ident.namespace,
        "name": event.node.ident.name,
        "run_id": event.run_id,
        "scheduled_for": time(event.scheduled_for),
        "at": time(event.at),
        "attempts": event.attempts,
        "failures_in_a_row": event.failures_in_a_row,
        "error": event.error,
    })
}
