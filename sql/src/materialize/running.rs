//! The refreshes that run on this server now.

use std::sync::Arc;

use auric_catalog::TableIdent;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use super::audit::Audit;

/// A refresh that runs.
#[derive(Debug)]
pub struct Running {
    pub catalog: String,
    pub ident: TableIdent,
    pub run_id: String,
    pub mode: &'static str,
    pub reason: String,
    pub started: DateTime<Utc>,
    /// Counts the rows that it has computed.
    pub audit: Arc<Audit>,
}

/// Those of a server.
#[derive(Debug, Default)]
pub struct RunningRefreshes(Mutex<Vec<Arc<Running>>>);

/// A refresh runs as long as this is kept.
pub struct Runs<'a> {
    all: &'a RunningRefreshes,
    own: Arc<Running>,
}

impl RunningRefreshes {
    pub fn begin(&self, running: Running) -> Runs<'_> {
        let own = Arc::new(running);
        self.0.lock().push(own.clone());
        Runs { all: self, own }
    }

    /// Those in one catalog.
    pub fn of(&self, catalog: &str) -> Vec<Arc<Running>> {
        self.0.lock().iter().filter(|running| running.catalog == catalog).cloned().collect()
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.all.0.lock().retain(|running| !Arc::ptr_eq(running, &self.own));
    }
}
