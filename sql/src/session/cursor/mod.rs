//! Cursors of DECLARE: running queries that are read piece by piece (Postgres manual, DECLARE, FETCH).
//!
//! [`rows`] knows where a cursor stands and how it moves, [`store`] keeps what it has passed, [`kept`] takes
//! its rows from an answer that is kept.

mod kept;
mod rows;
mod store;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use self::kept::{Deferred, Standing};
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
        rows.ok_or_else(|| {
            Error::new(SqlState::NOT_IN_PREREQUISITE_STATE, format!("portal \"{name}\" cannot be run"))
        })
    }
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

/// A session's cursors.
#[derive(Default)]
pub struct Cursors(HashMap<String, (Cursor, Level)>);

/// Which end takes a cursor away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Made with so many savepoints in the transaction that runs.
    Savepoints(usize),
    /// Its transaction is over.
    Settled,
}

impl Cursors {
    pub fn get(&self, name: &str) -> Option<&Cursor> {
        self.0.get(name).map(|(cursor, _)| cursor)
    }

    /// `savepoints`: of the transaction block; `None`: there is none.
    pub fn insert(&mut self, name: String, cursor: Cursor, savepoints: Option<usize>) {
        self.0.insert(name, (cursor, savepoints.map_or(Level::Settled, Level::Savepoints)));
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
        self.0.retain(|_, (cursor, level)| {
            let stays = *level == Level::Settled || (committed && cursor.options.hold);
            *level = Level::Settled;
            stays
        });
    }

    /// Back to the savepoint that is the `index`th: what was made after it goes.
    pub fn rolled_back_to(&mut self, index: usize) {
        self.0.retain(|_, (_, level)| !matches!(level, Level::Savepoints(made) if *made > index));
    }

    /// Savepoints from the `index`th on are gone, what was done in them stays.
    pub fn released(&mut self, index: usize) {
        for (_, level) in self.0.values_mut() {
            if let Level::Savepoints(made) = level {
                *made = index.min(*made);
            }
        }
    }

    pub fn list(&self) -> Vec<OpenCursor> {
        let open = self.0.iter().map(|(name, (cursor, _))| OpenCursor {
            name: name.clone(),
            statement: cursor.statement.clone(),
            options: cursor.options,
            // One that is being read is taken for what it was declared to be.
            is_scrollable: cursor
                .rows
                .try_lock()
                .map_or(cursor.options.scroll != Scroll::No, |rows| rows.is_scrollable()),
            created: cursor.created,
        });
        open.collect()
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
        let columns = self.cursors.get(&fetch.cursor)?.columns.as_ref();
        let is_other = prepared.columns.as_ref().is_some_and(|described| described != columns);
        is_other.then(|| Prepared::plain(&prepared.parsed, Some(columns.clone())))
    }

    /// Columns of an open cursor. To clients it is a portal, which they may describe.
    pub fn cursor_columns(&self, name: &str) -> Option<Arc<Vec<OutputColumn>>> {
        self.cursors.get(name).map(|cursor| cursor.columns.clone())
    }
}
