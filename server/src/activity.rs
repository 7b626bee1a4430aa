//! The connections of this server: numbers given out, who runs what, how to stop it.
//!
//! Implements what `pg_stat_activity`, `pg_cancel_backend` and `pg_terminate_backend` show and do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use auric_sql::TransactionStatus;
use auric_sql::activity::{Activity, Backend, Encryption};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use rand::RngCore;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Longest part of a statement that is shown, bytes.
const QUERY_SHOWN: usize = 1024;

/// How long a statement that was sent before its cancel request may take to be read.
const STATEMENT_ON_ITS_WAY: Duration = Duration::from_millis(20);

/// Length of a secret of protocol 3.0, bytes.
const SHORT_SECRET: usize = 4;

/// All connections that passed authentication.
#[derive(Debug)]
pub struct Connections {
    inner: Mutex<Inner>,
    max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    slots: HashMap<i32, Arc<Slot>>,
    /// Slots that are of no client.
    workers: usize,
    last_pid: i32,
}

/// One connection as others see it.
#[derive(Debug)]
pub struct Slot {
    pub pid: i32,
    /// Known to the client only: entitles it to cancel.
    secret: Bytes,
    /// The client knows four bytes of the secret only (protocol 3.0).
    short_secret: AtomicBool,
    /// Told whenever a statement begins.
    begun: Notify,
    /// Ends the connection.
    pub terminate: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    backend: Backend,
    /// Stops the running statement.
    statement: Option<CancellationToken>,
}

/// `pg_stat_activity.backend_type`.
const CLIENT: &str = "client backend";
const WORKER: &str = "auric scheduler";

/// No connection is free.
#[derive(Debug)]
pub struct TooManyConnections;

impl Connections {
    /// `max`: connections at once.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), max })
    }

    /// Takes a place. It is given back by [`Connections::remove`].
    pub fn add(
        &self,
        user: &str,
        database: &str,
        client_address: Option<SocketAddr>,
    ) -> Result<Arc<Slot>, TooManyConnections> {
        let mut inner = self.inner.lock();
        if inner.slots.len().saturating_sub(inner.workers) >= self.max {
            return Err(TooManyConnections);
        }
        Ok(inner.add(user, database, client_address, CLIENT))
    }

    /// Takes a place for something that the server does by itself, which does not count among the
    /// connections. `name`: what it shows as application.
    pub fn add_worker(&self, user: &str, database: &str, name: &str) -> Arc<Slot> {
        let mut inner = self.inner.lock();
        inner.workers += 1;
        let slot = inner.add(user, database, None, WORKER);
        drop(inner);
        slot.set_application_name(name.to_string());
        slot
    }
    pub fn remove(&self, pid: i32) {
        let mut inner = self.inner.lock();
        if inner.slots.remove(&pid).is_some_and(|slot| slot.is_worker()) {
            inner.workers = inner.workers.saturating_sub(1);
        }
    }

    /// Number of connections.
    pub fn len(&self) -> usize {
        self.inner.lock().slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of connections that run a statement.
    pub fn active(&self) -> usize {
        self.all().iter().filter(|slot| slot.state.lock().statement.is_some()).count()
    }

    /// A CancelRequest. Does nothing unless the secret is right. The statement may have been sent before the
    /// request and not be read yet: it has a moment to begin, while the client waits for the request's end.
    pub async fn cancel_with_secret(&self, pid: i32, secret: &[u8]) {
        let slot = self.inner.lock().slots.get(&pid).cloned();
        let Some(slot) = slot.filter(|slot| slot.knows(secret)) else { return };
        let begun = slot.begun.notified();
        tokio::pin!(begun);
        begun.as_mut().enable();
        if !slot.cancel() && tokio::time::timeout(STATEMENT_ON_ITS_WAY, begun).await.is_ok() {
            slot.cancel();
        }
    }

    /// The same of clients' connections only.
    pub fn active_clients(&self) -> usize {
        let all = self.all();
        all.iter().filter(|slot| !slot.is_worker() && slot.state.lock().statement.is_some()).count()
    }

    /// Cancels every running statement.
    pub fn cancel_all(&self) {
        self.all().iter().for_each(|slot| {
            slot.cancel();
        });
    }

    /// Ends every connection.
    pub fn terminate_all(&self) {
        self.all().iter().for_each(|slot| slot.terminate.cancel());
    }

    fn all(&self) -> Vec<Arc<Slot>> {
        self.inner.lock().slots.values().cloned().collect()
    }

    fn find(&self, pid: i32) -> Option<Arc<Slot>> {
        self.inner.lock().slots.get(&pid).cloned()
    }
}

impl Inner {
    fn add(
        &mut self,
        user: &str,
        database: &str,
        client_address: Option<SocketAddr>,
        backend_type: &'static str,
    ) -> Arc<Slot> {
        let mut pid = self.last_pid;
        loop {
            pid = if pid == i32::MAX { 1 } else { pid + 1 };
            if !self.slots.contains_key(&pid) {
                break;
            }
        }
        self.last_pid = pid;
        let mut secret = [0u8; 32];
        rand::rng().fill_bytes(&mut secret);
        let now = Utc::now();
        let backend = Backend {
            pid,
            database: database.to_string(),
            user: user.to_string(),
            application_name: String::new(),
            client_address,
            server_address: None,
            backend_start: now,
            transaction_start: None,
            query_start: None,
            state_change: Some(now),
            state: "idle",
            query: String::new(),
            backend_type,
            encryption: None,
        };
        let slot = Arc::new(Slot {
            pid,
            secret: Bytes::copy_from_slice(&secret),
            short_secret: AtomicBool::new(false),
            begun: Notify::new(),
            terminate: CancellationToken::new(),
            state: Mutex::new(State { backend, statement: None }),
        });
        self.slots.insert(pid, slot.clone());
        slot
    }
}

impl Slot {
    fn is_worker(&self) -> bool {
        self.state.lock().backend.backend_type == WORKER
    }

    /// Secret for protocol 3.2, 32 bytes.
    pub fn secret(&self) -> &Bytes {
        &self.secret
    }

    /// Secret for protocol 3.0: four bytes, which cancel from now on. A client that was told all of them
    /// cannot be guessed at by these.
    pub fn secret_of_four(&self) -> Bytes {
        self.short_secret.store(true, Ordering::Relaxed);
        self.secret.slice(..SHORT_SECRET)
    }

    /// Compares all of it whatever differs, so that the time taken tells nothing.
    fn knows(&self, secret: &[u8]) -> bool {
        let length = if self.short_secret.load(Ordering::Relaxed) { SHORT_SECRET } else { self.secret.len() };
        secret.len() == length
            && self.secret.iter().zip(secret).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }

    /// A statement starts; the token stops it.
    pub fn begin(&self, query: &str) -> CancellationToken {
        let token = CancellationToken::new();
        let now = Utc::now();
        let mut state = self.state.lock();
        state.statement = Some(token.clone());
        let backend = &mut state.backend;
        backend.state = "active";
        backend.query_start = Some(now);
        backend.state_change = Some(now);
        backend.transaction_start.get_or_insert(now);
        if !query.is_empty() {
            backend.query.clear();
            backend.query.push_str(truncated(query));
        }
        drop(state);
        self.begun.notify_waiters();
        token
    }

    /// The client's turn.
    pub fn idle(&self, status: TransactionStatus) {
        let mut state = self.state.lock();
        state.statement = None;
        let backend = &mut state.backend;
        backend.state_change = Some(Utc::now());
        backend.state = match status {
            TransactionStatus::Idle => {
                backend.transaction_start = None;
                "idle"
            }
            TransactionStatus::InTransaction => "idle in transaction",
            TransactionStatus::Failed => "idle in transaction (aborted)",
        };
    }

    pub fn set_server_address(&self, address: Option<SocketAddr>) {
        self.state.lock().backend.server_address = address;
    }

    pub fn set_encryption(&self, encryption: Option<Encryption>) {
        self.state.lock().backend.encryption = encryption;
    }

    pub fn set_application_name(&self, name: String) {
        self.state.lock().backend.application_name = name;
    }

    /// Whether there was a statement to cancel.
    fn cancel(&self) -> bool {
        let state = self.state.lock();
        let token = state.statement.as_ref();
        token.inspect(|token| token.cancel()).is_some()
    }
}

fn truncated(query: &str) -> &str {
    let mut end = query.len().min(QUERY_SHOWN);
    while !query.is_char_boundary(end) {
        end -= 1;
    }
    query.get(..end).unwrap_or_default()
}

impl Activity for Connections {
    fn backends(&self) -> Vec<Backend> {
        let mut backends: Vec<Backend> =
            self.all().iter().map(|slot| slot.state.lock().backend.clone()).collect();
        backends.sort_by_key(|backend: &Backend| -> (DateTime<Utc>, i32) {
            (backend.backend_start, backend.pid)
        });
        backends
    }

    fn cancel(&self, pid: i32) -> bool {
        self.find(pid).map(|slot| slot.cancel()).is_some()
    }

    fn terminate(&self, pid: i32) -> bool {
        self.find(pid).map(|slot| slot.terminate.cancel()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_statement_that_begins_at_once_is_cancelled() {
        let connections = Connections::new(1);
        let slot = connections.add("auric", "lake", None).unwrap();
        let secret = slot.secret().clone();
        let (token, ()) = tokio::join!(
            async {
                tokio::task::yield_now().await;
                slot.begin("select 1")
            },
            connections.cancel_with_secret(slot.pid, &secret)
        );
        assert!(token.is_cancelled());
    }

    #[tokio::test]
    async fn only_the_secret_cancels() {
        let connections = Connections::new(2);
        let slot = connections.add("auric", "lake", None).unwrap();
        let token = slot.begin("select 1");
        connections.cancel_with_secret(slot.pid, &[0; 32]).await;
        connections.cancel_with_secret(slot.pid, &[]).await;
        assert!(!token.is_cancelled());
        // Part of it is not enough, unless the client was told no more.
        connections.cancel_with_secret(slot.pid, &slot.secret()[..4]).await;
        assert!(!token.is_cancelled());
        connections.cancel_with_secret(slot.pid, &slot.secret().clone()).await;
        assert!(token.is_cancelled());
        let (token, short) = (slot.begin("select 1"), slot.secret_of_four());
        connections.cancel_with_secret(slot.pid, &slot.secret().clone()).await;
        assert!(!token.is_cancelled());
        connections.cancel_with_secret(slot.pid, &short).await;
        assert!(token.is_cancelled());
    }

    #[test]
    fn connections_are_limited() {
        let connections = Connections::new(1);
        let slot = connections.add("auric", "lake", None).unwrap();
        assert!(connections.add("auric", "lake", None).is_err());
        connections.remove(slot.pid);
        assert!(connections.add("auric", "lake", None).is_ok());
    }
}
