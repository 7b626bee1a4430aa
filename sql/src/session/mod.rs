//! A session: everything that belongs to one connection. Never shared between connections.

pub mod advisory;
pub mod carried;
pub mod cursor;
pub mod info;
pub mod prepared;
pub mod search_path;
pub mod settings;
pub mod temporary;
pub mod transaction;
pub mod vars;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use auric_catalog::TableIdent;
use auric_catalog::backend::temporary::SavedTables;
use auric_catalog::dml::publish::Stamp;
use auric_catalog::registry::Catalog;
use chrono::{DateTime, Utc};
use datafusion::scalar::ScalarValue;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use postgres_types::Type;

use self::advisory::SessionLocks;
use self::carried::Carried;
use self::cursor::Cursors;
use self::info::SessionInfo;
use self::prepared::PreparedStatements;
use self::settings::{Scope as SettingScope, Settings};
use self::temporary::TemporaryTables;
use self::transaction::{Mark, Pins, TransactionTables};
use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};
use crate::functions::calendar::Zone;
use crate::parser::{Parsed, Statement};
use crate::planner::Scope;
use crate::result_cache::{Asks, OwnWrites, RowCoder};
use crate::statement::interrupt::Abandoned;
use crate::statement::{self, Output, Prepared};
use crate::types::text_style::TextStyle;

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

impl Notice {
    pub(crate) fn new(severity: &'static str, code: SqlState, message: impl Into<String>) -> Self {
        Self { severity, code, message: message.into(), hint: None }
    }
}

/// Orders what `client_min_messages` may be, and severities. LOG comes before NOTICE for a client.
fn weight(level: &str) -> u8 {
    match level.to_ascii_lowercase().as_str() {
        "error" => 4,
        "warning" => 3,
        "notice" => 2,
        "log" => 1,
        _ => 0,
    }
}

/// A transaction block.
#[derive(Debug)]
pub(crate) struct Block {
    pub start: DateTime<Utc>,
    pub tables: Arc<TransactionTables>,
    pub savepoints: Vec<(String, Mark, SavedTables)>,
    /// The temporary tables at its start.
    pub temporary: SavedTables,
    pub failed: bool,
    /// Of the statements of one query string, without BEGIN.
    pub implicit: bool,
}

/// Whether a transaction is being committed: nothing stops that any more, so that nobody is told that it was
/// cancelled.
#[derive(Debug, Clone, Default)]
pub struct Committing(Arc<AtomicBool>);

impl Committing {
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) async fn during<T>(&self, commit: impl Future<Output = T>) -> T {
        self.0.store(true, Ordering::Release);
        let outcome = commit.await;
        self.0.store(false, Ordering::Release);
        outcome
    }
}

/// One connection's session.
pub struct Session {
    pub(crate) engine: Arc<Engine>,
    pub(crate) parameters: ConnectParameters,
    pub(crate) settings: Arc<RwLock<Settings>>,
    /// `None`: outside of a transaction block.
    pub(crate) block: Option<Block>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) prepared: PreparedStatements,
    pub(crate) cursors: Cursors,
    pub(crate) temporary: Arc<TemporaryTables>,
    pub(crate) locks: Arc<SessionLocks>,
    pub(crate) abandoned: Option<Abandoned>,
    pub(crate) committing: Committing,
    pub(crate) asks: Option<Asks>,
    pub(crate) own_writes: OwnWrites,
    pub(crate) encoding: u64,
    /// `None`: nobody looks into encoded rows.
    pub(crate) row_coder: Option<&'static dyn RowCoder>,
    /// It asks what others have asked, before they do: that does not count.
    pub(crate) asks_again: bool,
    /// What its statements are part of, outside of a transaction block.
    pub(crate) run: Option<RunContext>,
    /// Its statements are tried and undone: materialized views that have no rows yet can be named.
    pub(crate) rehearses: bool,
}

/// A run of a task or of a graph of them, whose statements read one set of versions.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunContext {
    pub pins: Pins,
    pub stamp: Option<Arc<Stamp>>,
    /// The table that is changed, which is read as it is now.
    pub target: Option<(String, TableIdent)>,
    pub outcomes: Outcomes,
}

/// Where a refresh that fails leaves, as JSON, how the expectations fared that were counted before.
pub(crate) type Outcomes = Arc<Mutex<Option<String>>>;

impl RunContext {
    fn tables(&self) -> TransactionTables {
        if let Some(target) = &self.target {
            self.pins.lock().remove(target);
        }
        TransactionTables::of_run(self.pins.clone(), self.stamp.clone())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("parameters", &self.parameters)
            .field("block", &self.block)
            .finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A statement that was abandoned may still hold them.
        self.locks.end_session();
    }
}

impl Session {
    pub(crate) fn new(engine: Arc<Engine>, parameters: ConnectParameters) -> Result<Self> {
        let catalog = engine.registry.catalog(&parameters.database)?;
        let directory = &engine.options.temporary_directory;
        let temporary = Arc::new(TemporaryTables::new(parameters.pid, directory, catalog.storage().clone()));
        let mut settings = Settings::default();
        settings.set_startup("session_authorization", &parameters.user)?;
        settings.set_startup("statement_timeout", &engine.options.statement_timeout_ms.to_string())?;
        settings.set_startup("idle_session_timeout", &engine.options.idle_session_timeout_ms.to_string())?;
        for (name, value) in &engine.options.facts {
            settings.set_startup(name, value)?;
        }
        for (name, value) in &parameters.settings {
            if name == "options" {
                for (name, value) in command_line_options(value)? {
                    settings.set_by_client(&name, &value)?;
                }
            } else if name != "replication" && !name.starts_with("_pq_.") {
                settings.set_by_client(name, value)?;
            }
        }
        let locks = Arc::new(SessionLocks::new(engine.advisory_locks.clone()));
        Ok(Self {
            engine,
            locks,
            parameters,
            settings: Arc::new(RwLock::new(settings)),
            block: None,
            abandoned: None,
            committing: Committing::default(),
            run: None,
            rehearses: false,
            notices: Vec::new(),
            prepared: PreparedStatements::default(),
            cursors: Cursors::default(),
            temporary,
            asks: None,
            own_writes: OwnWrites::default(),
            encoding: 0,
            row_coder: None,
            asks_again: false,
        })
    }

    /// Splits and parses a query string: none, one or many statements (simple protocol: all run in
    /// order, in one implicit transaction). Fails with 42601 and a position.
    pub fn parse(&self, text: &str) -> Result<Vec<Parsed>> {
        self.engine.texts.parse(text)
    }

    /// Resolves names and types. Never runs anything, so that Describe is free of effects.
    /// `parameter_types`: what the client declared; `None` (or OID 0): to be inferred.
    pub fn prepare<'a>(
        &'a mut self,
        parsed: &'a Parsed,
        parameter_types: &'a [Option<Type>],
    ) -> BoxFuture<'a, Result<Arc<Prepared>>> {
        Box::pin(async move {
            self.refuse_if_failed(&parsed.statement)?;
            let result = statement::prepare(self, parsed, parameter_types).await;
            if result.is_err() {
                self.fail();
            }
            result.map(Arc::new)
        })
    }

    /// Runs a prepared statement. If names it depends on changed since, it is planned again.
    /// Parameters are already decoded, one per `prepared.parameters`, as the arrow type that
    /// [`types::arrow_type`](crate::types) gives for the Postgres type.
    ///
    /// Rows are produced while the output's stream is polled; dropping the stream stops the plan. If
    /// it fails or is dropped, [`Session::fail`] tells the session so.
    pub fn execute<'a>(
        &'a mut self,
        prepared: &'a Arc<Prepared>,
        parameters: Vec<ScalarValue>,
    ) -> BoxFuture<'a, Result<Output>> {
        Box::pin(async move {
            self.refuse_if_failed(&prepared.parsed.statement)?;
            let at_once = self.begin_at_once(&prepared.parsed.statement)?;
            let mut result = statement::execute(self, prepared, parameters).await;
            if at_once && result.is_ok() {
                self.commit_implicit().await?;
            }
            if let Some(block) = self.block.as_ref().filter(|_| result.is_ok())
                && let Err(e) = block.tables.check_catalogs(None)
            {
                result = Err(e);
            }
            if result.is_err() {
                self.fail();
            }
            result
        })
    }

    /// Opens a block for a statement that drops several things one by one, so that all go or none.
    fn begin_at_once(&mut self, statement: &Statement) -> Result<bool> {
        let drops = matches!(
            statement,
            Statement::DropTable { .. }
                | Statement::DropView { .. }
                | Statement::DropMaterializedView { .. }
                | Statement::DropTask { .. }
                | Statement::DropSchema { .. }
        );
        let able = || self.engine.registry.catalogs().all(|catalog| catalog.backend().is_transactional());
        if !drops || self.block.is_some() || !able() {
            return Ok(false);
        }
        self.begin_implicit()?;
        Ok(true)
    }

    /// A statement failed after `execute` returned (while streaming, in COPY, or by the protocol
    /// itself): inside a transaction block the transaction is now aborted.
    pub fn fail(&mut self) {
        match &mut self.block {
            Some(block) if block.implicit => drop(statement::transaction::end(self, false)),
            Some(block) => block.failed = true,
            None => {}
        }
    }

    /// To be called when the client's turn comes. Outside of a transaction block each statement was a
    /// transaction of its own, which has ended.
    pub fn settle(&self) {
        if self.block.is_none() {
            self.locks.end_transaction();
        }
    }

    /// To be called before each statement of a query string of several: they are one transaction.
    pub fn begin_implicit(&mut self) -> Result<()> {
        statement::transaction::begin_implicit(self)
    }

    /// To be called after the last of them.
    pub fn commit_implicit<'a>(&'a mut self) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { statement::transaction::commit_implicit(self).await })
    }

    pub fn transaction_status(&self) -> TransactionStatus {
        match &self.block {
            None => TransactionStatus::Idle,
            Some(block) if block.failed => TransactionStatus::Failed,
            Some(_) => TransactionStatus::InTransaction,
        }
    }

    /// Notices since the last call that `client_min_messages` lets through.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        if self.notices.is_empty() {
            return Vec::new();
        }
        let least = weight(self.settings.read().get("client_min_messages").unwrap_or_default());
        let mut notices = std::mem::take(&mut self.notices);
        // INFO is what was asked for, and always sent.
        notices.retain(|notice| notice.severity == "INFO" || weight(notice.severity) >= least);
        notices
    }

    /// Reported settings (ParameterStatus) that changed since the last call; the first call returns
    /// all that a server reports at connection start.
    pub fn take_parameter_changes(&mut self) -> Vec<(&'static str, String)> {
        self.settings.write().take_changes()
    }

    /// A number that is another one when a setting may have changed.
    pub fn settings_generation(&self) -> u64 {
        self.settings.read().generation()
    }

    /// Tells of COMMIT.
    pub fn committing(&self) -> Committing {
        self.committing.clone()
    }

    /// `statement_timeout` in force, milliseconds; 0: none.
    pub fn statement_timeout_ms(&self) -> u64 {
        u64::try_from(self.settings.read().integer("statement_timeout")).unwrap_or(0)
    }

    /// `idle_in_transaction_session_timeout` in force, milliseconds; 0: none.
    pub fn idle_in_transaction_timeout_ms(&self) -> u64 {
        u64::try_from(self.settings.read().integer("idle_in_transaction_session_timeout")).unwrap_or(0)
    }

    /// `idle_session_timeout` in force, milliseconds; 0: none.
    pub fn idle_session_timeout_ms(&self) -> u64 {
        u64::try_from(self.settings.read().integer("idle_session_timeout")).unwrap_or(0)
    }

    /// How bytes and floating point numbers are shown.
    pub fn text_style(&self) -> TextStyle {
        TextStyle::of(&self.settings.read())
    }

    /// The time zone in which times are shown, as an arrow type names it.
    pub fn time_zone(&self) -> String {
        let zone = self.settings.read().get("TimeZone").and_then(Zone::named);
        zone.unwrap_or(Zone::fixed(0)).arrow_name()
    }

    /// `IntervalStyle`.
    pub fn interval_style(&self) -> String {
        self.settings.read().get("IntervalStyle").unwrap_or_default().to_string()
    }

    pub fn application_name(&self) -> String {
        self.settings.read().get("application_name").unwrap_or_default().to_string()
    }

    /// To be called with each statement before it is prepared or run. Refuses it in a failed transaction,
    /// and notes that the transaction has had a query.
    pub(crate) fn refuse_if_failed(&self, statement: &Statement) -> Result<()> {
        if self.block.is_some() && statement.reads() {
            self.settings.write().note_query();
        }
        let failed = self.block.as_ref().is_some_and(|block| block.failed);
        if failed
            && !matches!(statement, Statement::Commit(_) | Statement::Rollback(_) | Statement::RollbackTo(_))
        {
            return Err(Error::failed_transaction());
        }
        Ok(())
    }

    pub(crate) fn notice(&mut self, severity: &'static str, code: SqlState, message: impl Into<String>) {
        self.notices.push(Notice::new(severity, code, message));
    }

    pub(crate) fn warning(&mut self, code: SqlState, message: impl Into<String>) {
        self.notice("WARNING", code, message);
    }

    /// Sets a setting, with the session's rules.
    pub(crate) fn set(&mut self, name: &str, value: &str, local: bool) -> Result<()> {
        let scope = if local { SettingScope::Transaction } else { SettingScope::Session };
        self.settings.write().set(name, value, scope)?;
        Ok(())
    }

    /// A catalog as the transaction sees it. Fails with 3D000.
    pub(crate) fn catalog(&self, name: &str) -> Result<Arc<Catalog>> {
        let catalog = self.engine.registry.catalog(name)?;
        Ok(self.block.as_ref().map_or_else(|| catalog.clone(), |block| block.tables.catalog(catalog)))
    }

    /// Refuses a write where the transaction is read only.
    pub(crate) fn check_writable(&self, what: &str) -> Result<()> {
        let settings = self.settings.read();
        let read_only = match &self.block {
            Some(_) => settings.bool("transaction_read_only"),
            None => settings.bool("default_transaction_read_only"),
        };
        if read_only {
            let message = format!("cannot execute {what} in a read-only transaction");
            return Err(Error::new(SqlState::READ_ONLY_TRANSACTION, message));
        }
        self.own_writes.begin();
        Ok(())
    }

    /// How operators of the next statements find out that nobody waits for them any more.
    pub fn set_abandoned(&mut self, abandoned: Abandoned) {
        self.abandoned = Some(abandoned);
    }

    /// What a statement is planned and run with, as of now.
    pub(crate) async fn scope(&self) -> Result<Scope> {
        if self.block.is_none() {
            // The statement before this one was a transaction of its own.
            self.temporary.commit();
        }
        let now = self.engine.clock.now();
        let tables: Arc<TransactionTables> = match (&self.block, &self.run) {
            (Some(block), _) => block.tables.clone(),
            (None, Some(run)) => Arc::new(run.tables()),
            (None, None) => Arc::default(),
        };
        let catalog = tables.catalog(self.engine.registry.catalog(&self.parameters.database)?);
        let schemas = catalog.namespaces().await?;
        let path = self.settings.read().get("search_path").unwrap_or_default().to_string();
        let mut search_path = search_path::parse(&path, &self.parameters.user);
        search_path.retain(|name| {
            schemas.iter().any(|schema| schema.name == *name)
                || matches!(name.as_str(), "pg_catalog" | "information_schema")
        });
        let transaction_start = self.block.as_ref().map_or(now, |block| block.start);
        let info = Arc::new(SessionInfo {
            user: self.parameters.user.clone(),
            session_user: self.parameters.user.clone(),
            database: self.parameters.database.clone(),
            search_path,
            pid: self.parameters.pid,
            transaction_start,
            statement_start: now,
            settings: self.settings.clone(),
            temporary: Some(self.temporary.clone()),
            locks: self.locks.clone(),
            cursors: self.cursors.list(),
            prepared: self.prepared.clone(),
            engine: Some(self.engine.clone()),
        });
        let time_zone = Some(self.time_zone());
        let mut state = self.engine.base.as_ref().clone();
        let options = state.config_mut().options_mut();
        options.execution.time_zone = time_zone;
        info.carry(options);
        state.mark_start_execution();
        state.execution_props_mut().query_execution_start_time = Some(transaction_start);
        let abandoned = self.abandoned.clone();
        let (engine, state, expanding) = (self.engine.clone(), Arc::new(state), Vec::new());
        let reads_unpopulated = self.rehearses;
        Ok(Scope { engine, state, info, tables, abandoned, expanding, reads_unpopulated })
    }
}

/// Settings in the startup parameter `options`: `-c name=value`, `--name=value`; spaces are escaped
/// by backslashes.
fn command_line_options(text: &str) -> Result<Vec<(String, String)>> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                if let (Some(word), Some(next)) = (words.last_mut(), chars.next()) {
                    word.push(next);
                }
            }
            c if c.is_whitespace() => words.push(String::new()),
            c => {
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    let mut settings = Vec::new();
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("-c") {
            Some("") => words.next().unwrap_or_default(),
            Some(rest) => rest.to_string(),
            None => match word.strip_prefix("--") {
                Some(rest) => {
                    rest.replacen('-', "_", rest.split('=').next().unwrap_or_default().matches('-').count())
                }
                None => String::new(),
            },
        };
        match assignment.split_once('=') {
            Some((name, value)) => settings.push((name.to_string(), value.to_string())),
            None => {
                return Err(Error::new(
                    SqlState::PROTOCOL_VIOLATION,
                    format!("invalid command-line argument for server process: {word}"),
                ));
            }
        }
    }
    Ok(settings)
}
