//! What all sessions share: catalogs, the DataFusion runtime, functions, limits.

use std::sync::Arc;

use auric_catalog::registry::Registry;
use datafusion::execution::runtime_env::RuntimeEnv;

use crate::activity::Activity;
use crate::clock::Clock;
use crate::error::Result;
use crate::session::{ConnectParameters, Session};

/// Limits and defaults of every session.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Partitions a plan runs in at once.
    pub target_partitions: usize,
    /// Rows per batch.
    pub batch_size: usize,
    /// `statement_timeout` that sessions start with, milliseconds; 0: none.
    pub statement_timeout_ms: u64,
}

/// Shared by all sessions.
#[derive(Debug)]
pub struct Engine {
    pub(crate) registry: Registry,
    pub(crate) runtime: Arc<RuntimeEnv>,
    pub(crate) options: EngineOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) activity: Arc<dyn Activity>,
}

impl Engine {
    pub fn new(
        registry: Registry,
        runtime: Arc<RuntimeEnv>,
        options: EngineOptions,
        clock: Arc<dyn Clock>,
        activity: Arc<dyn Activity>,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { registry, runtime, options, clock, activity }))
    }

    /// Starts a session. Fails with 3D000 when the database (catalog) does not exist.
    pub fn connect(self: &Arc<Self>, parameters: ConnectParameters) -> Result<Session> {
        Session::new(self.clone(), parameters)
    }
}
