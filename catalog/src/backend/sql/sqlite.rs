//! What is particular to SQLite: opening the file, locks, its errors, and the triggers that keep our
//! own tables in step with what other programs do to Iceberg's.
//!
//! The journal is a write-ahead log, so that readers never wait for a writer; every change runs in
//! one `BEGIN IMMEDIATE` transaction on the one writing connection, so that it waits for other
//! programs' locks at its start or not at all.

use std::path::Path;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::sqlite::SqliteError;
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Executor};
use tokio::sync::Mutex;
use url::Url;

use super::super::ChangeToken;
use super::database::Write;
use super::wal_index::WalIndex;
use crate::error::{Error, Result};

/// How long to wait for another program's lock, in milliseconds.
const BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 10000";
const QUERY_ONLY: &str = "PRAGMA query_only = ON";
const READERS: u32 = 8;

/// Column type of an automatic number that is never given out twice.
pub const OID_COLUMN: &str = "oid INTEGER PRIMARY KEY AUTOINCREMENT";

/// Lets the numbers of `auric_oids` begin at 16384, as Postgres' own do for users' objects.
const FIRST_OID: &str = "INSERT INTO sqlite_sequence (name, seq) SELECT 'auric_oids', 16383 \
     WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'auric_oids')";

macro_rules! same_table {
    ($table:literal, $row:literal) => {
        concat!(
            $table,
            ".catalog_name = ",
            $row,
            ".catalog_name AND ",
            $table,
            ".table_namespace = ",
            $row,
            ".table_namespace AND ",
            $table,
            ".table_name = ",
            $row,
            ".table_name"
        )
    };
}

/// No name may be taken by a table of the other format, whoever creates or renames it.
macro_rules! refuse_taken_name {
    ($trigger:literal, $event:literal, $table:literal, $other:literal) => {
        concat!(
            "CREATE TRIGGER IF NOT EXISTS ",
            $trigger,
            " BEFORE ",
            $event,
            " ON ",
            $table,
            " WHEN EXISTS (SELECT 1 FROM ",
            $other,
            " WHERE ",
            same_table!($other, "NEW"),
            ") BEGIN SELECT RAISE(ABORT, 'a table of this name exists in another format'); END"
        )
    };
}

macro_rules! forget_dropped {
    ($trigger:literal, $table:literal) => {
        concat!(
            "CREATE TRIGGER IF NOT EXISTS ",
            $trigger,
            " AFTER DELETE ON ",
            $table,
            " BEGIN DELETE FROM auric_oids WHERE kind = 'table' AND ",
            same_table!("auric_oids", "OLD"),
            "; DELETE FROM auric_external_tables WHERE ",
            same_table!("auric_external_tables", "OLD"),
            "; END"
        )
    };
}

macro_rules! follow_renamed {
    ($trigger:literal, $table:literal) => {
        concat!(
            "CREATE TRIGGER IF NOT EXISTS ",
            $trigger,
            " AFTER UPDATE OF table_namespace, table_name ON ",
            $table,
            " WHEN NEW.table_namespace <> OLD.table_namespace OR NEW.table_name <> OLD.table_name",
            " BEGIN DELETE FROM auric_oids WHERE kind = 'table' AND ",
            same_table!("auric_oids", "NEW"),
            "; UPDATE auric_oids SET table_namespace = NEW.table_namespace, table_name = NEW.table_name",
            " WHERE kind = 'table' AND ",
            same_table!("auric_oids", "OLD"),
            "; DELETE FROM auric_external_tables WHERE ",
            same_table!("auric_external_tables", "NEW"),
            "; UPDATE auric_external_tables",
            " SET table_namespace = NEW.table_namespace, table_name = NEW.table_name WHERE ",
            same_table!("auric_external_tables", "OLD"),
            "; END"
        )
    };
}

/// Run by whichever program makes the change: pyiceberg drops and renames tables without knowing
/// of object identifiers, external tables and Delta.
const TRIGGERS: &[&str] = &[
    refuse_taken_name!("auric_iceberg_insert", "INSERT", "iceberg_tables", "auric_delta_tables"),
    refuse_taken_name!(
        "auric_iceberg_rename",
        "UPDATE OF table_namespace, table_name",
        "iceberg_tables",
        "auric_delta_tables"
    ),
    refuse_taken_name!("auric_delta_insert", "INSERT", "auric_delta_tables", "iceberg_tables"),
    refuse_taken_name!(
        "auric_delta_rename",
        "UPDATE OF table_namespace, table_name",
        "auric_delta_tables",
        "iceberg_tables"
    ),
    forget_dropped!("auric_iceberg_dropped", "iceberg_tables"),
    forget_dropped!("auric_delta_dropped", "auric_delta_tables"),
    follow_renamed!("auric_iceberg_renamed", "iceberg_tables"),
    follow_renamed!("auric_delta_renamed", "auric_delta_tables"),
];

/// Creates those of the tables that are missing, and the triggers.
pub async fn create_layout(t: &mut Write, tables: &[&str]) -> sqlx::Result<()> {
    for statement in tables.iter().chain([&FIRST_OID]).chain(TRIGGERS) {
        t.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(*statement))).await?;
    }
    Ok(())
}

/// The open database file.
#[derive(Debug)]
pub struct Sqlite {
    file: String,
    options: AnyConnectOptions,
    readers: AnyPool,
    writer: AnyPool,
    observer: Mutex<Observer>,
    index: WalIndex,
}

/// A connection that never writes: SQLite's `data_version` on it changes with every commit of
/// every other connection, our own and other programs'.
#[derive(Debug, Default)]
struct Observer {
    connection: Option<AnyConnection>,
    /// Counts reconnections: versions of different connections cannot be compared.
    epoch: u32,
}

impl Sqlite {
    /// Opens the file and makes it, and its directory, if missing.
    pub async fn open(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        if let Some(directory) = path.parent() {
            tokio::fs::create_dir_all(directory).await.map_err(|e| {
                Error::catalog_database(format!("{file}: its directory cannot be created"), e)
            })?;
        }
        let url = to_url(path).ok_or_else(|| Error::Invalid(format!("{file} is no name of a file")))?;
        let options = AnyConnectOptions::from_url(&url).map_err(|e| explain(&file, e))?;
        let options = options.disable_statement_logging();
        let pool = |connections, settings: &'static [&'static str]| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        for setting in settings {
                            connection.execute(*setting).await?;
                        }
                        Ok(())
                    })
                })
        };
        let writer = pool(1, &[BUSY_TIMEOUT]).connect_with(options.clone());
        let writer = writer.await.map_err(|e| explain(&file, e))?;
        use_write_ahead_log(&file, &writer).await?;
        let readers = pool(READERS, &[BUSY_TIMEOUT, QUERY_ONLY]).connect_lazy_with(options.clone());
        Ok(Self { file, options, readers, writer, observer: Mutex::default(), index: WalIndex::of(path) })
    }

    pub fn readers(&self) -> &AnyPool {
        &self.readers
    }

    /// A transaction that holds the write lock from its start.
    pub async fn begin(&self) -> sqlx::Result<Write> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    #[cfg(test)]
    pub fn is_writing(&self) -> bool {
        self.writer.num_idle() == 0
    }

    pub fn change_token(&self) -> Option<ChangeToken> {
        self.index.token()
    }

    /// A number that differs after every commit of anyone.
    pub async fn version(&self) -> Result<i64> {
        let mut observer = self.observer.lock().await;
        if observer.connection.is_none() {
            let connection = self.options.connect().await.map_err(|e| self.error(e))?;
            observer.connection = Some(connection);
            observer.epoch = observer.epoch.wrapping_add(1);
        }
        let epoch = i64::from(observer.epoch);
        let Some(connection) = observer.connection.as_mut() else {
            return Err(Error::Internal("the observing connection is gone".into()));
        };
        match sqlx::query_scalar::<_, i64>("PRAGMA data_version").fetch_one(connection).await {
            Ok(version) => Ok((epoch << 32) | (version & 0xffff_ffff)),
            Err(e) => {
                observer.connection = None;
                Err(self.error(e))
            }
        }
    }

    pub fn error(&self, error: sqlx::Error) -> Error {
        explain(&self.file, error)
    }

    /// Closes all connections and with that folds the write-ahead log into the file.
    pub async fn close(&self) {
        if let Some(connection) = self.observer.lock().await.connection.take() {
            let _ = connection.close().await;
        }
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Of the file, which is to be made if it is missing. `None`: not a name in UTF-8.
fn to_url(path: &Path) -> Option<Url> {
    path.to_str()?;
    let file = Url::from_file_path(std::path::absolute(path).ok()?).ok()?;
    let location = file.as_str().strip_prefix("file:")?;
    Url::parse(&format!("sqlite:{location}?mode=rwc")).ok()
}

/// The mode is a property of the file. Changing it needs the file for oneself: if another program
/// holds it, the old mode works too, only with more waiting, and the next start tries again.
async fn use_write_ahead_log(file: &str, writer: &AnyPool) -> Result<()> {
    match sqlx::query_scalar::<_, String>("PRAGMA journal_mode = WAL").fetch_one(writer).await {
        Ok(mode) if mode.eq_ignore_ascii_case("wal") => Ok(()),
        Ok(mode) => {
            tracing::warn!(file, mode, "catalog database has no write-ahead log");
            Ok(())
        }
        Err(e) if primary_code(&e).is_some_and(|code| matches!(code, BUSY | LOCKED)) => {
            tracing::warn!(file, "catalog database is in use, write-ahead log not switched on");
            Ok(())
        }
        Err(e) => Err(explain(file, e)),
    }
}

// Primary result codes (sqlite.org/rescode.html).
const PERM: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const CONSTRAINT: i32 = 19;
const NOTADB: i32 = 26;

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let error = error.as_database_error()?;
    error.try_downcast_ref::<SqliteError>()?;
    let code: i32 = error.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// A key or one of our triggers refused the row.
pub fn is_constraint_violation(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(CONSTRAINT)
}

/// SQLite answered that nothing was written, or was not even asked. Everything else (I/O errors
/// while committing, a lost worker) leaves the outcome open.
pub fn is_certainly_not_written(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => true,
        _ => primary_code(error).is_some_and(|code| {
            matches!(code, PERM | BUSY | LOCKED | READONLY | CANTOPEN | CONSTRAINT | NOTADB)
        }),
    }
}

fn explain(file: &str, error: sqlx::Error) -> Error {
    let what = match primary_code(&error) {
        Some(BUSY | LOCKED) => "is locked by another program",
        Some(READONLY) => "is not writable (check the permissions of the file and of its directory)",
        Some(CANTOPEN | PERM) => "cannot be opened (check the permissions of the file and of its directory)",
        Some(CORRUPT) => "is corrupt",
        Some(NOTADB) => "is not an SQLite database",
        Some(FULL) => "cannot grow, the disk is full",
        _ if matches!(error, sqlx::Error::PoolTimedOut) => "has no free connection",
        _ => "failed",
    };
    Error::catalog_database(format!("{file} {what}"), error)
}
