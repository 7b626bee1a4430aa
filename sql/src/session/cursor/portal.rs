//! Portals of the protocol: what Bind makes is a cursor that goes forward only, and that Execute reads from
//! (Postgres manual, 55.2.3; `CreatePortal` in Postgres' sources).
//!
//! Only portals with a name are here. That of the unnamed one cannot be written in SQL, and most statements run
//! in it: the server keeps it to itself.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::scalar::ScalarValue;

use super::{Cursor, CursorOptions, Cursors, Held, Level, Scroll, What};
use crate::error::{Error, Result, SqlState};
use crate::parser::statement::{Fetch, Movement};
use crate::parser::{Parsed, Statement};
use crate::session::Session;
use crate::statement::{OutputColumn, Prepared};

/// Nobody can say more of a portal in Bind.
pub const OPTIONS: CursorOptions = CursorOptions { scroll: Scroll::No, hold: false, binary: false };

/// A query and its parameters, before it runs.
pub struct Bound {
    pub prepared: Arc<Prepared>,
    pub values: Vec<ScalarValue>,
    pub columns: Arc<Vec<OutputColumn>>,
    pub created: DateTime<Utc>,
}

impl Cursors {
    /// The query that is to be started. If nothing is [`put`](Cursors::opened) in its place, the portal stays
    /// unusable. `None`: there is none, or it was started before.
    pub fn start_bound(&mut self, name: &str) -> Option<Bound> {
        let held = self.0.get_mut(name)?;
        let What::Bound(bound) = &held.what else { return None };
        let failed =
            What::Unreadable { statement: bound.prepared.parsed.text.clone(), created: bound.created };
        match std::mem::replace(&mut held.what, failed) {
            What::Bound(bound) => Some(bound),
            What::Open(_) | What::Unreadable { .. } => None,
        }
    }

    /// The query has started.
    pub fn opened(&mut self, name: &str, cursor: Cursor) {
        if let Some(held) = self.0.get_mut(name) {
            held.what = What::Open(cursor);
        }
    }
}

impl Session {
    /// Takes note of a portal with a name that Bind makes. `true`: it is a query, whose rows
    /// [`Session::portal_fetch`] gives; other statements are the server's to run. `prepared`: `None`: the empty
    /// query. Fails with 42P03 if there is a portal or cursor of that name, with 25P02 in a failed transaction.
    pub fn bind_portal(
        &mut self,
        name: &str,
        prepared: Option<&Arc<Prepared>>,
        values: &[ScalarValue],
    ) -> Result<bool> {
        if let Some(prepared) = prepared {
            self.refuse_if_failed(&prepared.parsed.statement)?;
        }
        if self.cursors.contains(name) {
            let message = format!("cursor \"{name}\" already exists");
            return Err(Error::new(SqlState::DUPLICATE_CURSOR, message));
        }
        let created = self.engine.clock.now();
        let query = prepared.filter(|prepared| matches!(*prepared.parsed.statement, Statement::Query(..)));
        let what = match query.and_then(|prepared| Some((prepared, prepared.columns.clone()?))) {
            Some((prepared, columns)) => What::Bound(Bound {
                prepared: prepared.clone(),
                values: values.to_vec(),
                columns: Arc::new(columns),
                created,
            }),
            None => {
                let statement = prepared.map_or_else(String::new, |prepared| prepared.parsed.text.clone());
                What::Unreadable { statement, created }
            }
        };
        let is_query = matches!(what, What::Bound(_));
        let level = Level::of(self.block.as_ref().map(|block| block.savepoints.len()));
        self.cursors.0.insert(name.to_string(), Held { what, level, of_protocol: true });
        Ok(is_query)
    }

    /// Whether Bind has made a portal of that name, which is still open.
    pub fn has_portal(&self, name: &str) -> bool {
        self.cursors.0.get(name).is_some_and(|held| held.of_protocol)
    }

    /// What Execute does with a portal or cursor: the next rows, at most `max_rows` (0: all). With the text of
    /// its statement. `None`: there is none that gives rows.
    pub fn portal_fetch(&self, name: &str, max_rows: usize) -> Option<(Arc<Prepared>, String)> {
        let held = self.cursors.0.get(name)?;
        let text = match &held.what {
            What::Open(cursor) => cursor.statement.clone(),
            What::Bound(bound) => bound.prepared.parsed.text.clone(),
            What::Unreadable { statement, .. } => statement.clone(),
        };
        let count = (max_rows > 0).then(|| i64::try_from(max_rows).unwrap_or(i64::MAX));
        let fetch = Fetch { cursor: name.to_string(), movement: Movement::Forward(count), discard: false };
        // No client's text: what is remembered of the query by its own must not be taken for an answer.
        let parsed = Parsed::new(String::new(), Arc::new(Statement::Fetch(fetch)), Arc::from(""));
        let columns = self.cursors.columns(name).map(|columns| columns.as_ref().clone());
        Some((Arc::new(Prepared::plain(&parsed, columns)), text))
    }

    /// The protocol closes a portal or cursor. There may be none of that name.
    pub fn close_portal(&mut self, name: &str) {
        self.cursors.remove(name);
    }

    /// The transaction of the protocol's portals is over.
    pub fn end_portals(&mut self) {
        self.cursors.0.retain(|_, held| !held.of_protocol);
    }
}
