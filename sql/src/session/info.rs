//! What functions and system relations may know of the session that runs them.
//!
//! Planning puts a [`SessionInfo`] into the extensions of the statement's `ConfigOptions`; scalar
//! functions find it in `ScalarFunctionArgs::config_options` by [`SessionInfo::of`].

use std::any::Any;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::{DataFusionError, Result};
use parking_lot::RwLock;

use super::settings::Settings;
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
    /// What all sessions share; `None` only in unit tests of functions.
    pub engine: Option<Arc<Engine>>,
}

impl SessionInfo {
    /// The session that a function call belongs to. `None`: planned outside of a session.
    pub fn of(options: &ConfigOptions) -> Option<&Arc<SessionInfo>> {
        options.extensions.get::<SessionExtension>().map(|extension| &extension.0)
    }

    /// Value of a setting as `SHOW` prints it. `None`: there is no such setting.
    pub fn setting(&self, name: &str) -> Option<String> {
        self.settings.read().show(name)
    }
}

/// Carries the [`SessionInfo`] in `ConfigOptions::extensions`.
#[derive(Debug, Clone)]
pub struct SessionExtension(pub Arc<SessionInfo>);

impl ConfigExtension for SessionExtension {
    const PREFIX: &'static str = "auric";
}

impl ExtensionOptions for SessionExtension {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        Err(DataFusionError::Configuration(format!("auric.{key} is not an option of the planner")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
