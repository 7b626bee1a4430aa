//! A session: everything that belongs to one connection. Never shared between connections.

pub mod info;
pub mod settings;
pub mod vars;

use std::sync::Arc;

use postgres_types::Type;

use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};
use crate::parser::Parsed;
use crate::statement::{Output, Prepared};

/// What a client says when it connects.
#[derive(Debug, Clone)]
pub struct ConnectParameters {
    pub user: String,
    /// Catalog to connect to.
    pub database: String,
    /// Backend process id as told to the client.
    pub pid: i32,
    /// Other startup parameters (`application_name`, `client_encoding`, `options`, …).
    pub settings: Vec<(String, String)>,
}

/// State that ReadyForQuery reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

/// A message for the client that is not an error.
#[derive(Debug, Clone)]
pub struct Notice {
    /// `NOTICE`, `WARNING`, `INFO`, `DEBUG`.
    pub severity: &'static str,
    pub code: SqlState,
    pub message: String,
    pub hint: Option<String>,
}

/// One connection's session.
#[derive(Debug)]
pub struct Session {
    pub(crate) engine: Arc<Engine>,
    pub(crate) parameters: ConnectParameters,
}

impl Session {
    pub(crate) fn new(engine: Arc<Engine>, parameters: ConnectParameters) -> Result<Self> {
        Ok(Self { engine, parameters })
    }

    /// Splits and parses a query string: none, one or many statements (simple protocol: all run in
    /// order, in one implicit transaction). Fails with 42601 and a position.
    pub fn parse(&self, _text: &str) -> Result<Vec<Parsed>> {
        Err(Error::new(SqlState("0A000"), "not written"))
    }

    /// Resolves names and types. Never runs anything, so that Describe is free of effects.
    /// `parameter_types`: what the client declared; `None` (or OID 0): to be inferred.
    pub async fn prepare(
        &mut self,
        _parsed: &Parsed,
        _parameter_types: &[Option<Type>],
    ) -> Result<Arc<Prepared>> {
        Err(Error::new(SqlState("0A000"), "not written"))
    }

    /// Runs a prepared statement. If names it depends on changed since, it is planned again.
    /// Parameters are already decoded, one per `prepared.parameters`, as the arrow type that
    /// [`types::arrow_type`](crate::types) gives for the Postgres type.
    ///
    /// Rows are produced while the output's stream is polled; dropping the stream stops the plan. If
    /// it fails or is dropped, [`Session::fail`] tells the session so.
    pub async fn execute(
        &mut self,
        _prepared: &Arc<Prepared>,
        _parameters: Vec<datafusion::scalar::ScalarValue>,
    ) -> Result<Output> {
        Err(Error::new(SqlState("0A000"), "not written"))
    }

    /// A statement failed after `execute` returned (while streaming, in COPY, or by the protocol
    /// itself): inside a transaction block the transaction is now aborted.
    pub fn fail(&mut self) {}

    pub fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    /// Notices since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }

    /// Reported settings (ParameterStatus) that changed since the last call; the first call returns
    /// all that a server reports at connection start.
    pub fn take_parameter_changes(&mut self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// `statement_timeout` in force, milliseconds; 0: none.
    pub fn statement_timeout_ms(&self) -> u64 {
        self.engine.options.statement_timeout_ms
    }

    /// `idle_in_transaction_session_timeout` in force, milliseconds; 0: none.
    pub fn idle_in_transaction_timeout_ms(&self) -> u64 {
        0
    }

    pub fn application_name(&self) -> String {
        String::new()
    }
}
