//! Signals: SIGTERM and SIGINT end the server in order, SIGHUP has parts of the
//! configuration read again.

use std::sync::Arc;
use std::time::Duration;

use auric_sql::activity::Activity;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::pgwire::Server;

/// How long connections may take to end after their statements were cancelled.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The signals that are listened to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the signal to stop; calls `reload` at every SIGHUP until then.
    pub async fn wait(&mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => reload(),
            }
        }
    }

    /// Waits for one more signal to stop: the user has no patience.
    pub async fn wait_again(&mut self) {
        self.wait(|| {}).await;
    }
}

/// Stops accepting, lets running statements end within `grace`, cancels the others.
pub async fn drain(server: &Arc<Server>, grace: Duration) {
    server.draining.cancel();
    tracing::info!(connections = server.connections.len(), grace_s = grace.as_secs(), "shutting down");
    if !no_connections_within(server, grace).await {
        for left in server.connections.backends() {
            tracing::info!(
                pid = left.pid,
                user = left.user,
                application = left.application_name,
                state = left.state,
                query = left.query,
                "ended after the grace"
            );
        }
        server.connections.cancel_all();
        if !no_connections_within(server, LAST_WORDS).await {
            server.connections.terminate_all();
            no_connections_within(server, LAST_WORDS).await;
        }
    }
}

async fn no_connections_within(server: &Server, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    while !server.connections.is_empty() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}
