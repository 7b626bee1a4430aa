//! The database of a catalog, SQLite or PostgreSQL behind one face: connections, transactions, errors.
//!
//! The SQL of this directory is plain and runs on both (parameters `$1`, types `VARCHAR`, `BIGINT` and
//! `TEXT`, `ON CONFLICT`); what belongs to one of them alone is in [`sqlite`] and [`postgres`]. A query
//! answers at most integers, floats, booleans, texts and byte strings.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{Any, AnyPool, Transaction};

use super::super::ChangeToken;
use super::postgres::{self, Postgres, PostgresOptions};
use super::sqlite::{self, Sqlite};
use crate::error::{Error, Result};

/// The types of our queries, in one place.
pub type Driver = Any;
pub type Row = AnyRow;
/// A transaction; rolled back unless it is [committed](Database::commit).
pub type Write = Transaction<'static, Any>;

/// How often a change is tried that the database undoes because others are in its way.
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(20);

/// The open database.
#[derive(Debug)]
pub struct Database {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// Why a COMMIT did not succeed.
#[derive(Debug)]
pub enum CommitFailure {
    /// Nothing was changed.
    Undone(Error),
    /// Nobody knows whether the changes were made.
    Unknown(Error),
}

impl From<CommitFailure> for Error {
    fn from(failure: CommitFailure) -> Self {
        match failure {
            CommitFailure::Undone(e) | CommitFailure::Unknown(e) => e,
        }
    }
}

impl Database {
    /// Opens the SQLite file and makes it, and its directory, if missing.
    pub async fn open_sqlite(path: &Path) -> Result<Self> {
        sqlx::any::install_default_drivers();
        Ok(Self { kind: Kind::Sqlite(Sqlite::open(path).await?) })
    }

    /// Connects to a PostgreSQL database. `catalog`: whose changes come one after the other.
    pub async fn open_postgres(options: &PostgresOptions, catalog: &str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        Ok(Self { kind: Kind::Postgres(Postgres::open(options, catalog).await?) })
    }

    /// For queries outside of a transaction. Each sees everything committed before it began. To be
    /// preferred: [`Self::read`].
    pub fn readers(&self) -> &AnyPool {
        match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.readers(),
            Kind::Postgres(postgres) => postgres.pool(),
        }
    }

    /// Runs a query outside of a transaction; again, if only its connection had gone.
    pub async fn read<'a, T, F, Fut>(&'a self, query: F) -> Result<T>
    where
        F: Fn(&'a AnyPool) -> Fut,
        Fut: Future<Output = sqlx::Result<T>>,
    {
        let answer = match &self.kind {
            Kind::Sqlite(_) => query(self.readers()).await,
            Kind::Postgres(postgres) => match postgres.in_time(query(postgres.pool())).await {
                Err(e) if postgres.is_worth_another_connection(&e) => {
                    postgres.in_time(query(postgres.pool())).await
                }
                other => other,
            },
        };
        answer.map_err(|e| self.error(e))
    }

    /// A transaction that no other change of this catalog comes between, whichever server makes it:
    /// what it has looked up stays true until it ends.
    pub async fn write(&self) -> Result<Write> {
        let begun = match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.begin().await,
            Kind::Postgres(postgres) => postgres.begin_alone().await,
        };
        begun.map_err(|e| self.error(e))
    }

    /// A transaction for changes that are right whatever others do meanwhile, such as a single
    /// compare-and-swap; in PostgreSQL it waits only for who changes the same rows.
    pub async fn write_beside_others(&self) -> Result<Write> {
        let begun = match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.begin().await,
            Kind::Postgres(postgres) => postgres.begin().await,
        };
        begun.map_err(|e| self.error(e))
    }

    /// Ends a transaction. If the connection breaks meanwhile, PostgreSQL is asked what became of it.
    pub async fn commit(&self, transaction: Write) -> Result<(), CommitFailure> {
        match &self.kind {
            Kind::Sqlite(_) => transaction.commit().await.map_err(|e| {
                let certain = sqlite::is_certainly_not_written(&e);
                let error = self.error(e);
                if certain { CommitFailure::Undone(error) } else { CommitFailure::Unknown(error) }
            }),
            Kind::Postgres(postgres) => postgres.commit(transaction).await,
        }
    }

    /// Begins a transaction and makes its changes, all but the COMMIT; again if the database undid them
    /// for the sake of others (a deadlock, say) or the connection had gone. After an error nothing has
    /// been changed.
    pub async fn changing<T, F, Fut>(&self, attempt: F) -> Result<T>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let Kind::Postgres(postgres) = &self.kind else { return attempt().await };
        let mut reconnected = false;
        for number in 1..ATTEMPTS {
            let outcome = postgres.in_time_of_changes(attempt()).await;
            let Err(error) = &outcome else { return outcome };
            if postgres::is_undone_for_others(error) {
                tracing::debug!(%error, number, "the catalog's database undid a change, trying again");
                tokio::time::sleep(PAUSE * number).await;
            } else if !reconnected && postgres.has_lost_connection(error) {
                reconnected = true;
            } else {
                return outcome;
            }
        }
        postgres.in_time_of_changes(attempt()).await
    }

    /// A number that differs after every change that matters to a catalog, whoever made it.
    pub async fn version(&self) -> Result<i64> {
        match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.version().await,
            Kind::Postgres(_) => {
                let query = || sqlx::query_scalar::<Driver, i64>(postgres::VERSION);
                self.read(|pool| query().fetch_one(pool)).await
            }
        }
    }

    /// The same as before only if nothing was committed in between. `None`: it takes a query to tell.
    pub fn change_token(&self) -> Option<ChangeToken> {
        match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.change_token(),
            Kind::Postgres(_) => None,
        }
    }

    /// Creates those of the tables that are missing, and what keeps them in step with what other
    /// programs do.
    pub async fn create_layout(&self, tables: &[&str]) -> Result<()> {
        match &self.kind {
            Kind::Sqlite(sqlite) => {
                let mut t = self.write().await?;
                sqlite::create_layout(&mut t, tables).await.map_err(|e| sqlite.error(e))?;
                Ok(self.commit(t).await?)
            }
            Kind::Postgres(postgres) => postgres.create_layout(tables).await,
        }
    }

    /// Column definition of a primary key `oid` that the database numbers, from 16384 as Postgres' own
    /// for users' objects; no number is given out twice.
    pub fn oid_column(&self) -> &'static str {
        match &self.kind {
            Kind::Sqlite(_) => sqlite::OID_COLUMN,
            Kind::Postgres(_) => postgres::OID_COLUMN,
        }
    }

    pub fn error(&self, error: sqlx::Error) -> Error {
        match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.error(error),
            Kind::Postgres(postgres) => postgres.error(error),
        }
    }

    /// Closes all connections. Later calls fail.
    pub async fn close(&self) {
        match &self.kind {
            Kind::Sqlite(sqlite) => sqlite.close().await,
            Kind::Postgres(postgres) => postgres.pool().close().await,
        }
    }

    /// Whether a transaction has begun or waits to begin.
    #[cfg(test)]
    pub fn is_writing(&self) -> bool {
        matches!(&self.kind, Kind::Sqlite(sqlite) if sqlite.is_writing())
    }
}

/// A key or one of our triggers refused the row.
pub fn is_constraint_violation(error: &sqlx::Error) -> bool {
    sqlite::is_constraint_violation(error) || postgres::is_constraint_violation(error)
}
