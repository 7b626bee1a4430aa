//! What functions and system relations may know of the session that runs them.
//!
//! Planning puts a [`SessionInfo`] into the extensions of the statement's `ConfigOptions`; scalar
//! functions find it in `ScalarFunctionArgs::config_options` by [`Carried::of`].

use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::RwLock;

use super::advisory::SessionLocks;
use super::carried::Carried;
use super::cursor::OpenCursor;
use super::prepared::PreparedStatements;
use super::settings::Settings;
use super::temporary::TemporaryTables;
use crate::engine::Engine;

/// A session as its statements see it. One value per statement; `settings` are the live ones.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// `current_user`.
    pub user: String,
    /// `session_user`.
    pub session_user: String,
    /// `current_database()`: the catalog that unqualified names are looked up in.
    pub database: String,
    /// Schemas of the search path that exist, in order, without the implicit `pg_catalog`:
    /// the first one is `current_schema()`.
    pub search_path: Vec<String>,
    /// `pg_backend_pid()`.
    pub pid: i32,
    /// `now()`, `transaction_timestamp()`.
    pub transaction_start: DateTime<Utc>,
    /// `statement_timestamp()`.
    pub statement_start: DateTime<Utc>,
    /// All settings (`current_setting`, `set_config`, `pg_settings`). Never hold the lock across an await.
    pub settings: Arc<RwLock<Settings>>,
    /// `None`: none that names could mean (inside of a view).
    pub temporary: Option<Arc<TemporaryTables>>,
    /// Its advisory locks.
    pub locks: Arc<SessionLocks>,
    /// Cursors that were open when the statement began.
    pub cursors: Vec<OpenCursor>,
    pub prepared: PreparedStatements,
    /// What all sessions share; `None` only in unit tests of functions.
    pub engine: Option<Arc<Engine>>,
}

impl SessionInfo {
    /// Name of the schema of the session's temporary tables, once it has had one.
    pub fn temporary_schema(&self) -> Option<&str> {
        self.temporary
            .as_ref()
            .filter(|temporary| temporary.opened().is_some())
            .map(|temporary| temporary.schema())
    }

    /// Value of a setting as `SHOW` prints it. `None`: there is no such setting.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.settings.read().show(name)
    }
}

impl Carried for SessionInfo {
    const PREFIX: &'static str = "auric";
}
