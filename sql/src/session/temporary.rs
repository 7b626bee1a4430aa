//! The temporary tables of a session: real tables, in a catalog of the session's own that nobody else
//! sees. Their files go with the session; what a killed server leaves, the next one removes.
//!
//! A statement's change to one is committed at once, also in a transaction block: ROLLBACK puts the
//! whole catalog back as it was at BEGIN, which is a map of pointers to files that never change.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use auric_catalog::TableIdent;
use auric_catalog::backend::temporary::{SavedTables, TemporaryBackend};
use auric_catalog::backend::{Backend, Oid, TableEntry};
use auric_catalog::registry::{Catalog, CatalogContents, Table};
use auric_catalog::storage::Storage;
use parking_lot::Mutex;

use crate::error::Result;
use crate::parser::statement::OnCommit;
use crate::pg_catalog::CatalogImage;

/// How the schemas of temporary tables begin.
pub const TEMPORARY_SCHEMA: &str = "pg_temp_";

/// What every session calls its own.
const ALIAS: &str = "pg_temp";

/// An image of the system catalogs, and what it was made from.
type Image = (Vec<Arc<CatalogContents>>, Arc<CatalogImage>);

/// The temporary tables of one session.
#[derive(Debug)]
pub struct TemporaryTables {
    schema: String,
    directory: String,
    storage: Storage,
    opened: OnceLock<Opened>,
    /// What the end of each transaction does to tables; those that are gone may be among them.
    on_commit: Mutex<HashMap<Oid, AtCommit>>,
    /// Dropped by the block, which may still be rolled back.
    dropped: Mutex<Vec<TableEntry>>,
    /// The last image of the system catalogs that shows them.
    pub(crate) image: Mutex<Option<Image>>,
}

#[derive(Debug)]
struct Opened {
    catalog: Arc<Catalog>,
    backend: Arc<TemporaryBackend>,
}

#[derive(Debug, Clone)]
enum AtCommit {
    /// This metadata file again: that of the table without rows.
    DeleteRows(String),
    Drop,
}

impl TemporaryTables {
    /// `directory`: the location below which their files go.
    pub fn new(pid: i32, directory: &str, storage: Storage) -> Self {
        Self {
            schema: format!("{TEMPORARY_SCHEMA}{pid}"),
            directory: directory.to_string(),
            storage,
            opened: OnceLock::new(),
            on_commit: Mutex::default(),
            dropped: Mutex::default(),
            image: Mutex::default(),
        }
    }

    /// Name of their schema.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    pub fn schema_oid(&self) -> Option<Oid> {
        self.opened.get().map(|opened| opened.backend.namespace().oid)
    }

    /// Whether a schema's name means that of the session.
    pub fn is_own_schema(&self, name: &str) -> bool {
        name == ALIAS || name == self.schema
    }

    /// Their catalog, once there has been a temporary table.
    pub fn opened(&self) -> Option<&Arc<Catalog>> {
        self.opened.get().map(|opened| &opened.catalog)
    }

    /// Their catalog.
    pub fn open(&self) -> &Arc<Catalog> {
        let opened = self.opened.get_or_init(|| {
            let backend = Arc::new(TemporaryBackend::new(&self.schema, &self.directory));
            let oid = backend.namespace().oid;
            let catalog = Catalog::new(self.schema.as_str(), oid, backend.clone(), self.storage.clone());
            Opened { catalog: Arc::new(catalog), backend }
        });
        &opened.catalog
    }

    /// Remembers what COMMIT does to a table that was just made without rows.
    pub fn at_commit(&self, table: &Table, on_commit: Option<OnCommit>) {
        let Some(entry) = &table.entry else { return };
        let action = match on_commit {
            None | Some(OnCommit::PreserveRows) => return,
            Some(OnCommit::DeleteRows) => AtCommit::DeleteRows(entry.pointer.clone()),
            Some(OnCommit::Drop) => AtCommit::Drop,
        };
        self.on_commit.lock().insert(entry.oid, action);
    }

    /// As they are now.
    pub fn save(&self) -> SavedTables {
        self.opened.get().map(|opened| opened.backend.save()).unwrap_or_default()
    }

    /// What makes them as they are now, unless it is told to forget it.
    pub fn undo(self: &Arc<Self>) -> Undo {
        Undo { temporary: self.clone(), before: Some(self.save()) }
    }

    /// As they were then, in a block that goes on.
    pub fn restore(&self, saved: &SavedTables) {
        if let Some(opened) = self.opened.get() {
            self.dropped.lock().extend(opened.backend.restore(saved));
        }
    }

    /// Drops a table in a block that may be rolled back: its files stay until the end of that.
    pub async fn drop_in_block(&self, ident: &TableIdent) -> Result<()> {
        let Some(opened) = self.opened.get() else { return Ok(()) };
        let entry = opened.backend.table(ident).await?;
        opened.backend.drop_table(ident).await?;
        self.dropped.lock().extend(entry);
        Ok(())
    }

    /// The block has failed or was rolled back.
    pub fn roll_back(&self, saved: &SavedTables) {
        self.restore(saved);
        self.remove_dropped();
    }

    /// The end of a transaction, or of a statement outside of any block.
    pub fn commit(&self) {
        let Some(opened) = self.opened.get() else { return };
        let actions = {
            let mut actions = self.on_commit.lock();
            let now = opened.backend.save();
            actions.retain(|oid, _| now.entries().any(|entry| entry.oid == *oid));
            actions.clone()
        };
        if !actions.is_empty() {
            let after = opened.backend.save().changed(|entry| match actions.get(&entry.oid) {
                None => Some(entry),
                Some(AtCommit::DeleteRows(pointer)) => Some(TableEntry { pointer: pointer.clone(), ..entry }),
                Some(AtCommit::Drop) => None,
            });
            self.restore(&after);
        }
        self.remove_dropped();
    }

    /// Drops all of them.
    pub fn discard(&self) {
        self.restore(&SavedTables::default());
    }

    /// Removes the files of what no ROLLBACK brings back.
    fn remove_dropped(&self) {
        let dropped = std::mem::take(&mut *self.dropped.lock());
        let Some(opened) = self.opened.get() else { return };
        let now = opened.backend.save();
        let gone = dropped.iter().filter(|entry| now.entries().all(|other| other.oid != entry.oid));
        for entry in gone {
            if let Some((root, _)) = entry.pointer.rsplit_once("/metadata/") {
                remove(self.storage.clone(), root.to_string());
            }
        }
    }
}

/// A statement that may fail or be abandoned.
#[derive(Debug)]
pub struct Undo {
    temporary: Arc<TemporaryTables>,
    before: Option<SavedTables>,
}

impl Undo {
    /// The statement has succeeded.
    pub fn forget(mut self) {
        self.before = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            self.temporary.restore(before);
        }
    }
}

impl Drop for TemporaryTables {
    fn drop(&mut self) {
        if let Some(opened) = self.opened.get() {
            remove(self.storage.clone(), opened.backend.warehouse().to_string());
        }
    }
}

/// Removes files in the background. Without a runtime (the server ends), the next start does.
fn remove(storage: Storage, location: String) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            if let Err(error) = storage.delete_all(&location).await {
                tracing::warn!(location, %error, "could not remove files of temporary tables");
            }
        });
    }
}
