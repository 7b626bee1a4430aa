//! What a transaction sees and has not committed yet.
//!
//! Each table is read at the version that the transaction saw first. One table may be changed: each
//! statement writes its files, and what it changes is added to one pending change, which COMMIT
//! commits. Statements of the transaction see the table with that change made; ROLLBACK deletes the
//! files. A second changed table is refused at its statement, as nothing could make two commits atomic.
//! Temporary tables do not count: see [`temporary`](super::temporary).

use std::collections::HashMap;
use std::sync::Arc;

use auric_catalog::TableIdent;
use auric_catalog::dml::publish::{Deferred, Publish};
use auric_catalog::registry::{Catalog, Table};
use auric_catalog::table::{Comment, PendingChange, TableChange};
use auric_catalog::write::WrittenFiles;
use parking_lot::Mutex;

use crate::error::{Error, Result, SqlState};

/// Catalog and table.
pub type Key = (String, TableIdent);

fn key(catalog: &Catalog, ident: &TableIdent) -> Key {
    (catalog.name().to_string(), ident.clone())
}

fn same(table: &Table, key: &Key) -> bool {
    table.catalog.name() == key.0 && table.ident == key.1
}

/// The one table that the transaction changes.
#[derive(Debug, Clone)]
struct Change {
    /// As it was before the transaction; staged, if the transaction makes it.
    table: Table,
    created: bool,
    dropped: bool,
    pending: Option<Arc<PendingChange>>,
    /// As the next statement sees it.
    current: Table,
}

impl Change {
    fn of(table: &Table) -> Self {
        Self { table: table.clone(), created: false, dropped: false, pending: None, current: table.clone() }
    }
}

/// What COMMIT has to do.
#[derive(Debug)]
pub struct Work {
    pub table: Table,
    pub created: bool,
    pub dropped: bool,
    pub pending: Option<Arc<PendingChange>>,
}

/// A point to come back to.
#[derive(Debug, Clone)]
pub struct Mark {
    change: Option<Change>,
    comments: usize,
}

/// Tables as one transaction (or one statement outside of any) sees them.
#[derive(Debug, Default)]
pub struct TransactionTables {
    in_block: bool,
    seen: Mutex<HashMap<Key, Option<Table>>>,
    change: Mutex<Option<Change>>,
    /// Comments on tables, which COMMIT makes after all else: each table's are a commit of their own.
    comments: Mutex<Vec<(Key, Comment)>>,
    /// What was rolled back to a savepoint: open cursors may read its files until the end.
    undone: Mutex<Vec<Change>>,
    /// Files that are of no use any more, for the same reason. Deleted when this is dropped.
    superfluous: Mutex<Vec<WrittenFiles>>,
}

impl TransactionTables {
    /// Of a transaction block; the default is that of a statement outside of any.
    pub fn of_block() -> Self {
        Self { in_block: true, ..Self::default() }
    }

    /// The table at the version of this transaction, with what it has changed.
    pub async fn get(&self, catalog: &Arc<Catalog>, ident: &TableIdent) -> Result<Option<Table>> {
        // Changed at once, also in a block: the session alone changes them.
        if self.in_block && catalog.is_temporary() {
            return Ok(catalog.table(ident).await?);
        }
        let key = key(catalog, ident);
        if let Some(change) = self.change.lock().as_ref()
            && same(&change.table, &key)
        {
            return Ok((!change.dropped).then(|| change.current.clone()));
        }
        if let Some(seen) = self.seen.lock().get(&key) {
            return Ok(seen.clone());
        }
        let found = match catalog.table(ident).await {
            Err(auric_catalog::Error::NamespaceNotFound(_)) => None,
            other => other?,
        };
        // A name without a table may get one later: only what was found is kept.
        if found.is_some() {
            self.seen.lock().insert(key, found.clone());
        }
        Ok(found)
    }

    /// When the change that a statement makes to `table` is committed. Fails where the transaction
    /// cannot change that table.
    pub fn publish(self: &Arc<Self>, table: &Table) -> Result<Publish> {
        if !self.in_block || table.catalog.is_temporary() {
            return Ok(Publish::Now);
        }
        self.check(table)?;
        Ok(Publish::Later(Arc::new(Waiting { tables: self.clone(), table: table.clone() })))
    }

    fn check(&self, table: &Table) -> Result<()> {
        match self.change.lock().as_ref() {
            Some(change) if !same(&change.table, &key(&table.catalog, &table.ident)) => Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "a transaction that changes more than one table is not supported",
            )
            .with_detail(format!("The transaction has already changed \"{}\".", change.table.ident))
            .with_hint("COMMIT in between, or use autocommit.")),
            Some(change) if change.dropped => Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "changing a table that the transaction has dropped is not supported",
            )
            .with_hint("COMMIT in between, or use autocommit.")),
            _ => Ok(()),
        }
    }

    /// Adds what a statement has changed in `table`, as that statement saw it.
    fn add(&self, table: &Table, change: TableChange, written: WrittenFiles) -> auric_catalog::Result<()> {
        let internal = |reason: String| auric_catalog::Error::Internal(reason);
        self.check(table).map_err(|e| internal(e.message))?;
        let mut slot = self.change.lock();
        let whole = slot.get_or_insert_with(|| Change::of(table));
        if !Arc::ptr_eq(&whole.current.snapshot, &table.snapshot) {
            return Err(internal(format!("{} was changed while a statement changed it", table.ident)));
        }
        let pending = match whole.pending.take() {
            None => Arc::new(PendingChange::new(table.snapshot.clone(), change, written)),
            Some(mut pending) => {
                let composed = Arc::make_mut(&mut pending).compose(change, written);
                if let Err(e) = composed {
                    whole.pending = Some(pending);
                    return Err(e);
                }
                pending
            }
        };
        whole.current.snapshot = pending.snapshot();
        whole.pending = Some(pending);
        Ok(())
    }

    /// A table that COMMIT will create.
    pub fn create(&self, table: &Table) -> Result<()> {
        self.check(table)?;
        *self.change.lock() = Some(Change { created: true, ..Change::of(table) });
        Ok(())
    }

    /// Renames a table that the transaction makes. `false`: it is not one.
    pub fn rename_created(&self, table: &Table, to: &TableIdent) -> Result<bool> {
        let mut slot = self.change.lock();
        let Some(change) = slot.as_mut().filter(|c| same(&c.table, &key(&table.catalog, &table.ident)))
        else {
            return Ok(false);
        };
        if !change.created {
            let message = "renaming a table that the transaction has changed is not supported";
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message)
                .with_hint("COMMIT in between, or use autocommit."));
        }
        self.rename_commented(&key(&table.catalog, &table.ident), to);
        change.table.ident = to.clone();
        change.current.ident = to.clone();
        Ok(true)
    }

    /// Forgets the version seen of a name that means something else now.
    /// `renamed`: what the table is called now.
    pub fn forget(&self, catalog: &Catalog, ident: &TableIdent, renamed: &TableIdent) {
        self.rename_commented(&key(catalog, ident), renamed);
        self.seen.lock().remove(&key(catalog, ident));
    }

    /// A table that COMMIT will drop.
    pub fn drop_table(&self, table: &Table) -> Result<()> {
        self.check(table)?;
        let mut slot = self.change.lock();
        let before = slot.take();
        // Made and dropped by the same transaction: nothing is left to do.
        if before.as_ref().is_none_or(|change| !change.created) {
            let table = before.as_ref().map_or(table, |change| &change.table);
            *slot = Some(Change { dropped: true, ..Change::of(table) });
        }
        self.undone.lock().extend(before);
        Ok(())
    }

    /// Takes what COMMIT has to do.
    pub fn take_work(&self) -> Option<Work> {
        let Change { table, created, dropped, pending, .. } = self.change.lock().take()?;
        Some(Work { table, created, dropped, pending })
    }

    /// Keeps files until nothing of the transaction is left that could read them.
    pub fn keep(&self, files: WrittenFiles) {
        self.superfluous.lock().push(files);
    }

    pub fn mark(&self) -> Mark {
        Mark { change: self.change.lock().clone(), comments: self.comments.lock().len() }
    }

    pub fn rollback_to(&self, mark: &Mark) {
        let undone = std::mem::replace(&mut *self.change.lock(), mark.change.clone());
        self.undone.lock().extend(undone);
        self.comments.lock().truncate(mark.comments);
    }

    /// A comment that COMMIT will make.
    pub fn comment(&self, table: &Table, comment: Comment) {
        self.comments.lock().push((key(&table.catalog, &table.ident), comment));
    }

    /// Takes the comments that COMMIT has to make, by catalog and table.
    pub fn take_comments(&self) -> Vec<(Key, Vec<Comment>)> {
        let mut by_table: Vec<(Key, Vec<Comment>)> = Vec::new();
        for (key, comment) in std::mem::take(&mut *self.comments.lock()) {
            match by_table.iter_mut().find(|(known, _)| *known == key) {
                Some((_, comments)) => comments.push(comment),
                None => by_table.push((key, vec![comment])),
            }
        }
        by_table
    }

    fn rename_commented(&self, from: &Key, to: &TableIdent) {
        for (key, _) in self.comments.lock().iter_mut().filter(|(key, _)| key == from) {
            key.1 = to.clone();
        }
    }
}

/// A statement of a block whose change is awaited.
#[derive(Debug)]
struct Waiting {
    tables: Arc<TransactionTables>,
    table: Table,
}

impl Deferred for Waiting {
    fn take(&self, change: TableChange, written: WrittenFiles) -> auric_catalog::Result<()> {
        self.tables.add(&self.table, change, written)
    }
}
