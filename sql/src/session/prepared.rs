//! A session's prepared statements: of PREPARE and of the protocol, which are of one space of names.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::RwLock;

use crate::statement::Prepared;

/// A prepared statement with a name.
#[derive(Debug, Clone)]
pub struct PreparedStatement {
    pub prepared: Arc<Prepared>,
    /// What the client sent to make it: for PREPARE, all of that.
    pub text: String,
    pub prepared_at: DateTime<Utc>,
    pub made_by: MadeBy,
}

/// What has made a prepared statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeBy {
    /// PREPARE.
    Sql,
    /// Parse.
    Protocol,
}

/// By name. Shared with the statements of the session, which show them. Never hold the lock across an await.
pub type PreparedStatements = Arc<RwLock<HashMap<String, PreparedStatement>>>;
