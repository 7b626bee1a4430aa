//! Cursors: running queries that are read piece by piece (Postgres manual, DECLARE, FETCH). DECLARE makes them,
//! and Bind of the protocol: both are of one space of names, and read by FETCH as by Execute.
//!
//! [`rows`] knows where a cursor stands and how it moves, [`store`] keeps what it has passed, [`kept`] takes
//! its rows from an answer that is kept, [`portal`] is what the protocol does with them.

mod kept;
mod portal;
mod rows;
mod store;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use self::kept::{Deferred, Standing};
pub use self::portal::{Bound, OPTIONS as PORTAL};
pub use self::rows::{CursorRows, Pass, Reader};
use crate::error::{Error, Result, SqlState};
use crate::parser::Statement;
use crate::result_cache::Declared;
use crate::session::Session;
use crate::session::transaction::TransactionTables;
use crate::statement::{OutputColumn, Prepared};

/// Whether a cursor goes backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scroll {
    /// Not said: as long as what it has passed is small. Postgres decides by the plan.
    #[default]
    Maybe,
    Yes,
    No,
}

/// What DECLARE says of a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CursorOptions {
    pub scroll: Scroll,
    /// Survives the end of its transaction.
    pub hold: bool,
    /// Gives its rows in binary format.
    pub binary: bool,
}

/// An open cursor.
pub struct Cursor {
    pub columns: Arc<Vec<OutputColumn>>,
    pub options: CursorOptions,
    /// Text of its DECLARE.
    pub statement: String,
    pub created: DateTime<Utc>,
    /// Shared with the stream of the FETCH that runs.
    pub rows: Arc<Mutex<CursorRows>>,
    /// `None`: its rows have no name.
    pub(crate) declared: Option<Arc<Declared>>,
    /// A held cursor reads on when its transaction is over, and the files that it reads must stay.
    pub tables: Arc<TransactionTables>,
}

impl Cursor {
    /// Its rows, for one FETCH or MOVE. Fails with 55000 if an earlier one has failed or still runs.
    pub fn start(&self, name: &str) -> Result<OwnedMutexGuard<CursorRows>> {
        let rows = self.rows.clone().try_lock_owned().ok().filter(|rows| !rows.is_broken());
        rows.ok_or_else(|| cannot_be_run(name))
    }
}

/// The error for a portal that has failed, or never gives rows to FETCH.
pub fn cannot_be_run(name: &str) -> Error {
    Error::new(SqlState::NOT_IN_PREREQUISITE_STATE, format!("portal \"{name}\" cannot be run"))
}

/// A line of `pg_cursors`.
#[derive(Debug, Clone)]
pub struct OpenCursor {
    pub name: String,
    pub statement: String,
    pub options: CursorOptions,
    pub is_scrollable: bool,
    pub created: DateTime<Utc>,
}

/// A session's cursors and named portals.
#[derive(Default)]
pub struct Cursors(HashMap<String, Held>);

struct Held {
    what: What,
    level: Level,
    /// Bind has made it, not DECLARE.
    of_protocol: bool,
}

enum What {
    Open(Cursor),
    /// Nobody has read from it yet.
    Bound(Bound),
    /// A portal of a statement that is no query, or of a query that could not be started.
    Unreadable {
        statement: String,
        created: DateTime<Utc>,
    },
}

/// Which end takes a cursor away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Made with so many savepoints in the transaction that runs.
    Savepoints(usize),
    /// Its transaction is over, or it was made outside of a transaction block.
    Settled,
}

impl Level {
    /// `savepoints`: of the transaction block; `None`: there is none.
    fn of(savepoints: Option<usize>) -> Self {
        savepoints.map_or(Self::Settled, Self::Savepoints)
    }
}

impl Cursors {
    /// `None`: there is none of that name that rows have been asked of.
    pub fn get(&self, name: &str) -> Option<&Cursor> {
        match &self.0.get(name)?.what {
            What::Open(cursor) => Some(cursor),
            What::Bound(_) | What::Unreadable { .. } => None,
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// `None`: there is nothing of that name that gives rows.
    pub fn columns(&self, name: &str) -> Option<Arc<Vec<OutputColumn>>> {
        match &self.0.get(name)?.what {
            What::Open(cursor) => Some(cursor.columns.clone()),
            What::Bound(bound) => Some(bound.columns.clone()),
            What::Unreadable { .. } => None,
        }
    }

    /// `savepoints`: of the transaction block; `None`: there is none.
    pub fn insert(&mut self, name: String, cursor: Cursor, savepoints: Option<usize>) {
        let level = Level::of(savepoints);
        self.0.insert(name, Held { what: What::Open(cursor), level, of_protocol: false });
    }

    /// `false`: there was none of that name.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The transaction block ends.
    pub fn end(&mut self, committed: bool) {
        self.0.retain(|_, held| {
            let is_held = matches!(&held.what, What::Open(cursor) if cursor.options.hold);
            let stays = !held.of_protocol && (held.level == Level::Settled || (committed && is_held));
            held.level = Level::Settled;
            stays
        });
    }

    /// Back to the savepoint that is the `index`th: what was made after it goes.
    pub fn rolled_back_to(&mut self, index: usize) {
        self.0.retain(|_, held| !matches!(held.level, Level::Savepoints(made) if made > index));
    }

    /// Savepoints from the `index`th on are gone, what was done in them stays.
    pub fn released(&mut self, index: usize) {
        for held in self.0.values_mut() {
            if let Level::Savepoints(made) = &mut held.level {
                *made = index.min(*made);
            }
        }
    }

    pub fn list(&self) -> Vec<OpenCursor> {
        self.0.iter().map(|(name, held)| held.what.listed(name)).collect()
    }
}

impl What {
    fn listed(&self, name: &str) -> OpenCursor {
        let portal = |statement: &str, created| OpenCursor {
            name: name.to_string(),
            statement: statement.to_string(),
            options: PORTAL,
            is_scrollable: false,
            created,
        };
        match self {
            Self::Bound(bound) => portal(&bound.prepared.parsed.text, bound.created),
            Self::Unreadable { statement, created } => portal(statement, *created),
            Self::Open(cursor) => OpenCursor {
                name: name.to_string(),
                statement: cursor.statement.clone(),
                options: cursor.options,
                // One that is being read is taken for what it was declared to be.
                is_scrollable: cursor
                    .rows
                    .try_lock()
                    .map_or(cursor.options.scroll != Scroll::No, |rows| rows.is_scrollable()),
                created: cursor.created,
            },
        }
    }
}

impl Session {
    /// Whether a statement fetches from a binary cursor, whose rows go out in that format if nobody asks for
    /// another.
    pub fn fetches_binary(&self, prepared: &Prepared) -> bool {
        match prepared.parsed.statement.as_ref() {
            Statement::Fetch(fetch) => self.cursors.get(&fetch.cursor).is_some_and(|c| c.options.binary),
            _ => false,
        }
    }

    /// A prepared FETCH as it is now, when the cursor may be another than when it was prepared. `None`: the
    /// same, or no FETCH of an open cursor.
    pub fn fetched_now(&self, prepared: &Prepared) -> Option<Prepared> {
        let Statement::Fetch(fetch) = prepared.parsed.statement.as_ref() else { return None };
        let columns = self.cursors.columns(&fetch.cursor)?;
        let columns = columns.as_ref();
        let is_other = prepared.columns.as_ref().is_some_and(|described| described != columns);
        is_other.then(|| Prepared::plain(&prepared.parsed, Some(columns.clone())))
    }

    /// Columns of a cursor. To clients it is a portal, which they may describe and execute.
    pub fn cursor_columns(&self, name: &str) -> Option<Arc<Vec<OutputColumn>>> {
        self.cursors.columns(name)
    }
}
