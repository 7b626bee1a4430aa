//! A transaction over a catalog: what its statements have changed, seen by them alone, and the one
//! commit of all of it.
//!
//! To the statements the transaction is a catalog like any other ([`Transaction::catalog`]), whose
//! backend is an [`overlay`]: names are looked up in what the transaction has changed, then beneath.
//! Changes of rows and properties wait as [`PendingChange`]s; what is created, renamed and dropped is
//! a change of names alone ([`state`]). COMMIT flattens the whole to a list of changes of entries, which
//! the backend makes at once.
//!
//! Invariants: nothing beneath changes before COMMIT; the version of a table that was seen first is seen
//! until the end; nothing is left of a transaction that is dropped without COMMIT.

mod commit;
mod overlay;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::Mutex;

use self::overlay::Overlay;
pub use self::state::State;
use crate::backend::TableEntry;
use crate::backend::change::Entry;
use crate::error::{Error, Result};
use crate::registry::{Catalog, Table};
use crate::storage::readers::Reading;
use crate::storage::{from_url, to_url};
use crate::table::{
    Alteration, Operation, PendingChange, TableChange, TableFormat, TableSnapshot, TableVersion,
};
use crate::write::WrittenFiles;

/// What one transaction does to one catalog.
#[derive(Debug)]
pub struct Transaction {
    beneath: Arc<Catalog>,
    catalog: Arc<Catalog>,
    overlay: Arc<Overlay>,
    /// Files that became superfluous: an open cursor may read them on.
    superfluous: Mutex<Vec<WrittenFiles>>,
    /// Places of tables to be: nobody who drops a table there takes their files along.
    places: Mutex<Vec<Arc<Reading>>>,
}

impl Transaction {
    pub fn new(catalog: &Arc<Catalog>) -> Self {
        let overlay = Arc::new(Overlay::new(catalog.backend().clone(), catalog.storage().clone()));
        Self {
            beneath: catalog.clone(),
            catalog: Arc::new(catalog.over(overlay.clone())),
            overlay,
            superfluous: Mutex::default(),
            places: Mutex::default(),
        }
    }

    /// The catalog as the transaction sees it.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    pub fn has_changes(&self) -> bool {
        self.overlay.state.lock().has_changes()
    }

    /// A point to come back to.
    pub fn mark(&self) -> State {
        self.overlay.state.lock().clone()
    }

    pub fn rollback_to(&self, mark: &State) {
        let undone = std::mem::replace(&mut *self.overlay.state.lock(), mark.clone());
        self.overlay.keep_undone(&undone.relations);
        self.overlay.count_change();
    }

    /// Whether rows or properties of the table can be changed beside what the transaction has changed
    /// already. Fails with `Unsupported`.
    pub fn check_change(&self, table: &Table) -> Result<()> {
        self.overlay.state.lock().check(Some(table), self.is_transactional())
    }

    fn is_transactional(&self) -> bool {
        self.beneath.backend().is_transactional()
    }

    /// Adds what a statement has changed in `table`, as that statement saw it.
    pub fn add(&self, table: &Table, change: TableChange, written: WrittenFiles) -> Result<()> {
        let mut state = self.overlay.state.lock();
        state.check(Some(table), self.is_transactional())?;
        let relation = self.relation(&mut state, table)?;
        let (Some(base), Some(current)) = (&relation.base, &relation.current) else {
            return Err(Error::Internal(format!("{} was changed and not read", table.ident)));
        };
        if !Arc::ptr_eq(current, &table.snapshot) {
            let message = format!("{} was changed while a statement changed it", table.ident);
            return Err(Error::Internal(message));
        }
        let pending = match relation.pending.take() {
            None => Arc::new(PendingChange::new(base.clone(), change, written)),
            Some(mut pending) => {
                let composed = Arc::make_mut(&mut pending).compose(change, written);
                if let Err(e) = composed {
                    relation.pending = Some(pending);
                    return Err(e);
                }
                pending
            }
        };
        relation.current = Some(pending.snapshot());
        relation.pending = Some(pending);
        self.overlay.count_change();
        Ok(())
    }

    /// Adds an alteration of a table. Fails with what its commit would fail with.
    pub fn alter(&self, table: &Table, alteration: Alteration) -> Result<()> {
        let mut state = self.overlay.state.lock();
        state.check(Some(table), self.is_transactional())?;
        let relation = self.relation(&mut state, table)?;
        let base = relation.base.clone().unwrap_or_else(|| table.snapshot.clone());
        let before = relation.pending.as_ref().map_or(&base, |pending| pending.altered());
        let format = self.catalog.format(before.format);
        let altered = format.altered(&table.ident, before, &alteration)?;
        if base.version == TableVersion::Unpublished && relation.pending.is_none() {
            // Made as it is now.
            (relation.base, relation.current) = (Some(altered.clone()), Some(altered));
        } else {
            let nothing = TableChange::new(Operation::Alter, Vec::new());
            let guard = WrittenFiles::new(self.catalog.storage().clone());
            let pending = relation.pending.take();
            let mut pending = pending.unwrap_or_else(|| Arc::new(PendingChange::new(base, nothing, guard)));
            let composed = Arc::make_mut(&mut pending).alter(alteration.into_change(), altered);
            relation.base = Some(pending.base().clone());
            relation.current = Some(pending.snapshot());
            relation.pending = Some(pending);
            composed?;
        }
        self.overlay.count_change();
        Ok(())
    }

    /// A staged table that COMMIT will create. Fails with `TableExists`, `NamespaceNotFound`,
    /// `Unsupported`.
    pub async fn create(&self, table: &Table) -> Result<()> {
        let snapshot = &table.snapshot;
        let warehouse = format!("{}/", from_url(&to_url(self.beneath.backend().warehouse())?)?);
        let entry = TableEntry {
            ident: table.ident.clone(),
            format: snapshot.format,
            // There is nothing to point to.
            pointer: String::new(),
            external: snapshot.format == TableFormat::Delta && !snapshot.location.starts_with(&warehouse),
            oid: self.beneath.backend().reserve_oid(&table.ident).await?,
        };
        self.places.lock().push(self.catalog.storage().readers().begin(&snapshot.location));
        self.overlay.create(Entry::Table(entry), Some(snapshot.clone())).await
    }

    /// The relation of a table as it was read.
    fn relation<'a>(&self, state: &'a mut State, table: &Table) -> Result<&'a mut state::Relation> {
        let relations = &mut state.relations;
        let at = match relations.iter().position(|relation| relation.is_now(&table.ident)) {
            Some(at) => at,
            None => {
                let entry = table.entry.clone().map(Entry::Table);
                let relation = state::Relation {
                    before: entry.clone(),
                    now: entry,
                    base: Some(table.snapshot.clone()),
                    pending: None,
                    current: Some(table.snapshot.clone()),
                };
                relations.push(relation);
                relations.len() - 1
            }
        };
        let missing = || Error::Internal(format!("{} is not in the transaction", table.ident));
        let relation = relations.get_mut(at).filter(|relation| relation.now.is_some()).ok_or_else(missing)?;
        let seen: &Arc<TableSnapshot> = &table.snapshot;
        relation.base.get_or_insert_with(|| seen.clone());
        relation.current.get_or_insert_with(|| seen.clone());
        Ok(relation)
    }
}

/// Plans may keep the catalog for longer; the files of what is not committed go now.
impl Drop for Transaction {
    fn drop(&mut self) {
        self.overlay.forget();
    }
}
