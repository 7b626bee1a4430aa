//! What is particular to PostgreSQL: connecting, what keeps several servers apart, its errors, and
//! finding out what became of a COMMIT whose connection broke.
//!
//! Changes of a catalog that rest on what they have looked up (is the name free? is the schema empty?)
//! come one after the other, by an advisory lock that ends with their transaction; the compare-and-swap
//! of a pointer needs none. All transactions are READ COMMITTED: a statement that has waited for another
//! transaction looks at what that one has left behind.

mod layout;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::postgres::PgDatabaseError;
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection};
use url::Url;

use super::database::{CommitFailure, Driver, Write};
use crate::error::{Error, Result};
use crate::storage::Secret;

pub use self::layout::{OID_COLUMN, VERSION};

/// A connection that was idle for longer is asked whether it still is one.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// Connections are made anew, so that a failover of the database is followed in the end.
const MAX_LIFETIME: Duration = Duration::from_secs(1800);
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Of an outcome that is being looked up.
const LOOK_UP_PAUSE: Duration = Duration::from_millis(200);
/// `server_version_num` of the oldest that will do.
const OLDEST: i32 = 120_000;

const LOCK: &str = "SELECT pg_advisory_xact_lock($1)";
const TRANSACTION: &str = "SELECT txid_current_if_assigned()";
const TRANSACTION_STATUS: &str = "SELECT txid_status($1)";
const SERVER_VERSION: &str = "SELECT CAST(current_setting('server_version_num') AS INTEGER)";

/// Where the database is, and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// `postgres://user@host:port/database?sslmode=…`; a password may be in it.
    pub url: Secret,
    /// The password, if it is not in the URL.
    pub password: Option<Secret>,
    /// Schema of the database that the tables of the catalog are in; `None`: the user's first.
    pub schema: Option<String>,
    /// Connections at once.
    pub max_connections: u32,
    /// How long a statement waits for a connection, for a lock and for an answer.
    pub timeout: Duration,
}

/// A PostgreSQL database.
pub struct Postgres {
    /// For messages: without user and password.
    name: String,
    pool: AnyPool,
    schema: Option<String>,
    timeout: Duration,
    /// Of the changes of the catalog.
    lock: i64,
    lost: Lost,
}

/// When a connection was found broken: those of before are not trusted any more.
#[derive(Clone, Default)]
struct Lost(Arc<Mutex<Option<Instant>>>);

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("name", &self.name).field("schema", &self.schema).finish()
    }
}

impl Postgres {
    /// Connects, and fails if that is not possible.
    pub async fn open(options: &PostgresOptions, catalog: &str) -> Result<Self> {
        let (url, name) = connection_url(options)?;
        let connect = AnyConnectOptions::from_url(&url).map_err(|e| explain(&name, options.timeout, e))?;
        let connect = connect.disable_statement_logging();
        // By itself first: a pool tries until its time is over and does not tell why.
        let mut first = match tokio::time::timeout(options.timeout, connect.connect()).await {
            Ok(connected) => connected,
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
        .map_err(|e| explain(&name, options.timeout, e))?;
        check_version(&mut first, &name, options.timeout).await?;
        let _ = first.close().await;
        let lost = Lost::default();
        let tested = lost.clone();
        let pool = AnyPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.timeout)
            .idle_timeout(IDLE_TIMEOUT)
            .max_lifetime(MAX_LIFETIME)
            .test_before_acquire(false)
            .before_acquire(move |connection, known| {
                let doubtful = known.idle_for > TRUSTED_IDLE || tested.is_after_birth(known.age);
                Box::pin(async move {
                    if doubtful {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(connect);
        let (timeout, schema) = (options.timeout, options.schema.clone());
        Ok(Self { name, pool, schema, timeout, lock: lock_key(&["catalog", catalog]), lost })
    }

    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    pub async fn begin(&self) -> sqlx::Result<Write> {
        self.pool.begin().await
    }

    /// A transaction that holds the lock of the catalog's changes.
    pub async fn begin_alone(&self) -> sqlx::Result<Write> {
        let mut t = self.begin().await?;
        sqlx::query::<Driver>(LOCK).bind(self.lock).execute(&mut *t).await?;
        Ok(t)
    }

    /// An answer that does not come is an error of the connection: a network may swallow it.
    pub async fn in_time<T>(&self, answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        match tokio::time::timeout(self.timeout * 2, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(silence()),
        }
    }

    /// As [`Self::in_time`], of all changes of a transaction.
    pub async fn in_time_of_changes<T>(&self, changes: impl Future<Output = Result<T>>) -> Result<T> {
        // For a connection, a lock, and then a number of quick statements.
        match tokio::time::timeout(self.timeout * 4, changes).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.error(silence())),
        }
    }

    /// COMMIT. If the connection breaks, the database is asked what became of the transaction: it keeps
    /// that by number, also over a restart.
    pub async fn commit(&self, mut t: Write) -> Result<(), CommitFailure> {
        let number = sqlx::query_scalar::<Driver, Option<i64>>(TRANSACTION).fetch_one(&mut *t);
        let number = self.in_time(number).await.map_err(|e| CommitFailure::Undone(self.error(e)))?;
        let failure = match self.in_time(t.commit()).await {
            Ok(()) => return Ok(()),
            Err(e) => e,
        };
        let Some(number) = number else { return Err(CommitFailure::Undone(self.error(failure))) };
        if !is_connection_lost(&failure) {
            return Err(CommitFailure::Undone(self.error(failure)));
        }
        self.lost.now();
        let outcome = self.outcome(number).await;
        tracing::warn!(database = self.name, %failure, ?outcome, "the connection broke while committing");
        match outcome {
            Outcome::Committed => Ok(()),
            Outcome::Aborted => Err(CommitFailure::Undone(self.error(failure))),
            Outcome::Unknown => {
                let text = format!("{} closed the connection while committing", self.name);
                Err(CommitFailure::Unknown(Error::catalog_database(text, failure)))
            }
        }
    }

    /// What became of a transaction whose connection broke.
    async fn outcome(&self, number: i64) -> Outcome {
        // Longer than the database keeps a transaction that has lost its client.
        let end = Instant::now() + self.timeout * 3;
        while Instant::now() < end {
            let status = sqlx::query_scalar::<Driver, Option<String>>(TRANSACTION_STATUS).bind(number);
            match self.in_time(status.fetch_one(&self.pool)).await.as_ref().map(Option::as_deref) {
                Ok(Some("committed")) => return Outcome::Committed,
                Ok(Some("aborted")) => return Outcome::Aborted,
                Ok(Some(_)) => {}
                // Too long ago to be known, or another database than before.
                Ok(None) => return Outcome::Unknown,
                Err(e) if is_connection_lost(e) => {}
                Err(_) => return Outcome::Unknown,
            }
            tokio::time::sleep(LOOK_UP_PAUSE).await;
        }
        Outcome::Unknown
    }

    /// What an error means. Those that are certainly without effect and come from the connection are
    /// `CatalogUnavailable`; it is therefore not for errors of COMMIT.
    pub fn error(&self, error: sqlx::Error) -> Error {
        if is_connection_lost(&error) && !matches!(error, sqlx::Error::PoolTimedOut) {
            self.lost.now();
        }
        explain(&self.name, self.timeout, error)
    }

    /// The connection was broken, maybe since long ago: the next one will be a good one.
    pub fn is_worth_another_connection(&self, error: &sqlx::Error) -> bool {
        if !is_connection_lost(error) || matches!(error, sqlx::Error::PoolTimedOut) {
            return false;
        }
        self.lost.now();
        true
    }

    /// As [`Self::is_worth_another_connection`], of a change that was certainly not made.
    pub fn has_lost_connection(&self, error: &Error) -> bool {
        matches!(error, Error::CatalogUnavailable { .. })
            && database_error(error).is_some_and(|e| self.is_worth_another_connection(e))
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Committed,
    Aborted,
    Unknown,
}

impl Lost {
    fn now(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// Whether a connection of this age was made before the last time that one was found broken.
    fn is_after_birth(&self, age: Duration) -> bool {
        self.0.lock().is_some_and(|lost| lost.elapsed() <= age)
    }
}

fn silence() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "the database does not answer"))
}

async fn check_version(connection: &mut AnyConnection, name: &str, timeout: Duration) -> Result<()> {
    let version = sqlx::query_scalar::<Driver, i32>(SERVER_VERSION).fetch_one(connection).await;
    match version.map_err(|e| explain(name, timeout, e))? {
        version if version < OLDEST => Err(Error::Invalid(format!("{name} is older than PostgreSQL 12"))),
        _ => Ok(()),
    }
}

/// The URL that sqlx connects to, and the one that messages may show.
fn connection_url(options: &PostgresOptions) -> Result<(Url, String)> {
    let invalid = |reason: &str| Error::Invalid(format!("the URL of the catalog's database {reason}"));
    let mut url: Url = options.url.reveal().parse().map_err(|e| invalid(&format!("is not valid: {e}")))?;
    // As SQLAlchemy writes it, with its driver: `postgresql+psycopg2`.
    let scheme = url.scheme().split('+').next().unwrap_or_default();
    if !matches!(scheme, "postgres" | "postgresql") || url.cannot_be_a_base() {
        return Err(invalid("does not begin with postgres://"));
    }
    let rest = url.as_str().split_once(':').map(|(_, rest)| rest.to_string()).unwrap_or_default();
    url = Url::parse(&format!("postgres:{rest}")).map_err(|e| invalid(&format!("is not valid: {e}")))?;
    if let Some(password) = &options.password {
        let encoded = percent_encoded(password.reveal());
        url.set_password(Some(&encoded)).map_err(|()| invalid("has no place for a password"))?;
    }
    let mut shown = url.clone();
    let _ = shown.set_password(None);
    let _ = shown.set_username("");
    shown.set_query(None);
    let millis = options.timeout.as_millis();
    let mut settings = vec![
        ("default_transaction_isolation", "read committed".to_string()),
        ("lock_timeout", millis.to_string()),
        // Longer, so that a lock is told as what it is.
        ("statement_timeout", (millis * 3 / 2).to_string()),
        // Whose client is gone without a word holds its locks no longer than that.
        ("idle_in_transaction_session_timeout", millis.to_string()),
        ("tcp_keepalives_idle", "30".to_string()),
        ("tcp_keepalives_interval", "10".to_string()),
    ];
    if let Some(schema) = &options.schema {
        settings.push(("search_path", format!("\"{}\"", schema.replace('"', "\"\""))));
    }
    let mut pairs = url.query_pairs_mut();
    for (key, value) in settings {
        pairs.append_pair(&format!("options[{key}]"), &value);
    }
    if !options.url.reveal().contains("application_name=") {
        pairs.append_pair("application_name", "auric");
    }
    drop(pairs);
    Ok((url, shown.to_string()))
}

/// All but letters and digits, so that nothing of a password is taken for a part of the URL.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// A key of an advisory lock: equal on every server.
fn lock_key(parts: &[&str]) -> i64 {
    // FNV-1a.
    let bytes = ["auric"].iter().chain(parts).flat_map(|part| part.bytes().chain([0]));
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    i64::from_ne_bytes(hash.to_ne_bytes())
}

/// SQLSTATE of the database's answer.
fn state(error: &sqlx::Error) -> Option<&str> {
    Some(error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.code())
}

/// A key or one of our triggers refused the row.
pub fn is_constraint_violation(error: &sqlx::Error) -> bool {
    state(error).is_some_and(|state| state.starts_with("23"))
}

/// The connection was not made, or broke, or the database ended it.
fn is_connection_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => true,
        // Terminated, crashed, starting up; idle for too long in or outside of a transaction.
        _ => state(error).is_some_and(|state| {
            state.starts_with("08") || matches!(state, "57P01" | "57P02" | "57P03" | "57P05" | "25P03")
        }),
    }
}

fn database_error(error: &Error) -> Option<&sqlx::Error> {
    match error {
        Error::CatalogDatabase { source, .. } | Error::CatalogUnavailable { source, .. } => {
            source.downcast_ref()
        }
        _ => None,
    }
}

/// Serialization failures and deadlocks: the database has undone all of it and asks to try again.
pub fn is_undone_for_others(error: &Error) -> bool {
    database_error(error).and_then(state).is_some_and(|state| matches!(state, "40001" | "40P01"))
}

fn explain(name: &str, timeout: Duration, error: sqlx::Error) -> Error {
    let what = match state(&error) {
        Some("28P01" | "28000") => "does not accept the user or the password".to_string(),
        Some("3D000") => "does not exist".to_string(),
        Some("42501") => "does not allow what the catalog needs (check the user's privileges)".to_string(),
        Some("25006") => "is read-only".to_string(),
        Some("53300") => "has no connection left".to_string(),
        Some("53100") => "cannot grow, the disk is full".to_string(),
        Some("55P03") => format!("is locked by another program for longer than {timeout:?}"),
        Some("57014") => format!("has not answered within {timeout:?}"),
        Some("57P03") => "is starting up or shutting down".to_string(),
        Some("22001") => {
            let message =
                "the catalog's database has no place for so long a name, location or property value";
            return Error::Invalid(message.into());
        }
        Some("22P05" | "22021") => {
            return Error::Invalid("the encoding of the catalog's database lacks a character".into());
        }
        _ if matches!(error, sqlx::Error::PoolTimedOut) => {
            format!("was not reached within {timeout:?}, or all connections to it are in use")
        }
        _ if is_connection_lost(&error) => "was not reached or closed the connection".to_string(),
        _ => "failed".to_string(),
    };
    let message = format!("{name} {what}");
    match is_connection_lost(&error) {
        true => Error::CatalogUnavailable { message, source: error.into() },
        false => Error::catalog_database(message, error),
    }
}

#[cfg(test)]
mod tests;
