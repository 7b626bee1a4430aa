//! What the server knows of its connections, for `pg_stat_activity`, `pg_stat_ssl`, `pg_cancel_backend` and
//! `pg_terminate_backend`.

use std::fmt::Debug;

use chrono::{DateTime, Utc};

/// One connection (columns of `pg_stat_activity`).
#[derive(Debug, Clone)]
pub struct Backend {
    pub pid: i32,
    pub database: String,
    pub user: String,
    pub application_name: String,
    pub client_address: Option<std::net::SocketAddr>,
    /// The server's end of the connection.
    pub server_address: Option<std::net::SocketAddr>,
    pub backend_start: DateTime<Utc>,
    pub transaction_start: Option<DateTime<Utc>>,
    pub query_start: Option<DateTime<Utc>>,
    pub state_change: Option<DateTime<Utc>>,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: &'static str,
    pub query: String,
    /// `client backend`, `auric scheduler`.
    pub backend_type: &'static str,
    /// `None`: it is not encrypted.
    pub encryption: Option<Encryption>,
}

/// How a connection is encrypted (columns of `pg_stat_ssl`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// `TLSv1.3`.
    pub version: String,
    /// As OpenSSL names it.
    pub cipher: String,
    /// Length of the cipher's key; `None`: not known.
    pub bits: Option<i32>,
}

/// Implemented by the server.
pub trait Activity: Debug + Send + Sync {
    fn backends(&self) -> Vec<Backend>;
    /// Cancels what the backend is running. `false`: no such backend.
    fn cancel(&self, pid: i32) -> bool;
    /// Ends the backend's connection. `false`: no such backend.
    fn terminate(&self, pid: i32) -> bool;
}
