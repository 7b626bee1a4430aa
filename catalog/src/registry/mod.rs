//! Attached catalogs, and the operations on tables that everything above this crate uses.
//!
//! **Invariant:** a table that cannot be read fails alone; listing its schema never opens it.

mod alter;
mod contents;
mod create;
mod remove;
mod views;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::catalog::TableProvider;
use tokio::sync::Notify;

pub use self::contents::{CatalogContents, NamespaceContents, TableSummary, ViewSummary};
use crate::TableIdent;
use crate::backend::document::{DocumentChange, TASK};
use crate::backend::{Backend, ChangeToken, NamespaceEntry, Oid, TableEntry};
use crate::error::{Error, Result};
use crate::format::{Format, VersionSpec};
use crate::storage::Storage;
use crate::table::{Operation, TableFormat, TableSnapshot};

/// Namespace property that holds a schema's comment.
pub const COMMENT: &str = "comment";

/// All attached catalogs by name (a Postgres database each).
#[derive(Debug, Clone, Default)]
pub struct Registry {
    catalogs: BTreeMap<String, Arc<Catalog>>,
}

impl Registry {
    pub fn attach(&mut self, catalog: Arc<Catalog>) {
        self.catalogs.insert(catalog.name().to_string(), catalog);
    }

    pub fn catalog(&self, name: &str) -> Result<&Arc<Catalog>> {
        self.catalogs.get(name).ok_or_else(|| Error::CatalogNotFound(name.to_string()))
    }

    pub fn catalogs(&self) -> impl Iterator<Item = &Arc<Catalog>> {
        self.catalogs.values()
    }
}

/// One attached catalog: a backend plus the formats its tables are in.
#[derive(Debug)]
pub struct Catalog {
    name: String,
    /// OID of the database.
    oid: Oid,
    backend: Arc<dyn Backend>,
    storage: Storage,
    iceberg: Arc<dyn Format>,
    delta: Arc<dyn Format>,
    contents: contents::ContentsCache,
    /// Told of changes made through this server.
    changed: Arc<Notify>,
    /// How many there were.
    commits: Arc<AtomicU64>,
    /// What this one is a transaction's view of.
    beneath: Option<Arc<Catalog>>,
}

/// A table as one statement sees it: its entry and one version.
#[derive(Debug, Clone)]
pub struct Table {
    pub catalog: Arc<Catalog>,
    pub ident: TableIdent,
    /// `None` while the table is only staged (CREATE TABLE AS in progress).
    pub entry: Option<TableEntry>,
    pub snapshot: Arc<TableSnapshot>,
}

impl Table {
    /// Whether a change of this kind would be refused whatever it holds: to be asked before anything
    /// is computed for it. Fails with `Unsupported` or `Invalid`.
    pub fn check_writable(&self, operation: Operation) -> Result<()> {
        self.catalog.format(self.snapshot.format).check_writable(&self.snapshot, operation)
    }

    /// Whether a statement that changes rows of the table has to tell each in a change data feed.
    pub fn has_change_feed(&self) -> Result<bool> {
        let format = self.catalog.format(self.snapshot.format);
        Ok(format.change_feed(&self.snapshot, Operation::Append)?.is_some())
    }
}

impl Catalog {
    pub fn new(name: impl Into<String>, oid: Oid, backend: Arc<dyn Backend>, storage: Storage) -> Self {
        let iceberg = Arc::new(crate::format::iceberg::IcebergFormat::default());
        let delta = Arc::new(crate::format::delta::DeltaFormat::default());
        Self::with_formats(name, oid, backend, storage, iceberg, delta)
    }

    /// A catalog with formats of the caller's choice.
    pub(crate) fn with_formats(
        name: impl Into<String>,
        oid: Oid,
        backend: Arc<dyn Backend>,
        storage: Storage,
        iceberg: Arc<dyn Format>,
        delta: Arc<dyn Format>,
    ) -> Self {
        let contents = contents::ContentsCache::default();
        let name = name.into();
        let changed = Arc::default();
        Self {
            name,
            oid,
            backend,
            storage,
            iceberg,
            delta,
            contents,
            changed,
            commits: Arc::default(),
            beneath: None,
        }
    }

    /// This catalog as a transaction sees it through a backend of its own.
    pub(crate) fn over(self: &Arc<Self>, backend: Arc<dyn Backend>) -> Self {
        Self {
            name: self.name.clone(),
            oid: self.oid,
            backend,
            storage: self.storage.clone(),
            iceberg: self.iceberg.clone(),
            delta: self.delta.clone(),
            contents: contents::ContentsCache::default(),
            changed: self.changed.clone(),
            commits: self.commits.clone(),
            beneath: Some(self.clone()),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn oid(&self) -> Oid {
        self.oid
    }

    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Whether its tables are the temporary ones of a session.
    pub fn is_temporary(&self) -> bool {
        self.backend.is_temporary()
    }

    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// See [`Backend::change_token`].
    pub fn change_token(&self) -> Option<ChangeToken> {
        self.backend.change_token()
    }

    pub fn format(&self, format: TableFormat) -> &Arc<dyn Format> {
        match format {
            TableFormat::Iceberg => &self.iceberg,
            TableFormat::Delta => &self.delta,
        }
    }

    /// Waits for a change that is made through this server, of an entry or of a table. For one waiter: one
    /// that came since the last call counts.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A number that grows with each change that is made through this server.
    pub fn own_commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// To be called after a commit to a table.
    pub(crate) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }

    pub async fn namespaces(&self) -> Result<Arc<Vec<NamespaceEntry>>> {
        self.backend.namespaces().await
    }

    /// `Ok(false)`: it existed and `if_not_exists` was set.
    pub async fn create_namespace(&self, name: &str, if_not_exists: bool) -> Result<bool> {
        let created = self.backend.create_namespace(name, &BTreeMap::new()).await;
        self.contents_changed();
        match created {
            Ok(()) => Ok(true),
            Err(Error::NamespaceExists(_)) if if_not_exists => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Sets or removes a schema's comment. Fails with `NamespaceNotFound`, `Unsupported`.
    pub async fn comment_on_namespace(&self, name: &str, text: Option<&str>) -> Result<()> {
        let set = self.backend.set_namespace_property(name, COMMENT, text).await;
        self.contents_changed();
        set
    }

    /// With `cascade`, drops its views and tables first. Fails with `NamespaceNotFound`, `NamespaceNotEmpty`.
    pub async fn drop_namespace(&self, name: &str, cascade: bool) -> Result<()> {
        if cascade {
            for entry in self.backend.views(name).await? {
                match self.drop_view(&entry.ident).await {
                    Ok(()) | Err(Error::TableNotFound(_)) => {}
                    Err(e) => return Err(e),
                }
            }
            for task in self.backend.documents(TASK).await? {
                if task.key.ident.namespace == name {
                    let gone = DocumentChange { key: task.key, expected: Some(task.text), new: None };
                    self.backend.swap_document(&gone).await?;
                }
            }
            for entry in self.backend.tables(name).await? {
                match self.drop_table(&entry.ident).await {
                    // Somebody else was faster.
                    Ok(()) | Err(Error::TableNotFound(_)) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        let dropped = self.backend.drop_namespace(name).await;
        self.contents_changed();
        dropped
    }

    /// Entries of a namespace's tables, in order of name; none is opened. Fails with
    /// `NamespaceNotFound`.
    pub async fn tables(&self, namespace: &str) -> Result<Vec<TableEntry>> {
        self.backend.tables(namespace).await
    }

    /// The table at its current version, commits of other programs included. `None`: no such table.
    pub async fn table(self: &Arc<Self>, ident: &TableIdent) -> Result<Option<Table>> {
        let Some(mut entry) = self.backend.table(ident).await? else { return Ok(None) };
        let snapshot = loop {
            if let Some(snapshot) = self.backend.seen(&entry) {
                break snapshot;
            }
            match self.format(entry.format).load(&self.storage, &entry).await {
                Ok(snapshot) => {
                    self.backend.see(&entry, &snapshot);
                    break snapshot;
                }
                Err(e) => match self.backend.table(ident).await? {
                    // Another table has taken its place, and its files are gone.
                    Some(now) if now != entry => entry = now,
                    Some(_) => return Err(e),
                    None => return Ok(None),
                },
            }
        };
        // A table that a transaction will make points to nothing.
        let entry = Some(entry).filter(|entry| !entry.pointer.is_empty());
        Ok(Some(Table { catalog: self.clone(), ident: ident.clone(), entry, snapshot }))
    }

    /// The table at an earlier version, to be read only. `None`: no such table. Fails with
    /// `VersionNotFound`.
    pub async fn table_at(
        self: &Arc<Self>,
        ident: &TableIdent,
        version: &VersionSpec,
    ) -> Result<Option<Table>> {
        let Some(entry) = self.backend.table(ident).await? else { return Ok(None) };
        if entry.pointer.is_empty() {
            let version = format!("{version:?}");
            return Err(Error::VersionNotFound { table: ident.to_string(), version });
        }
        let snapshot = self.format(entry.format).load_at(&self.storage, &entry, version).await?;
        Ok(Some(Table { catalog: self.clone(), ident: ident.clone(), entry: Some(entry), snapshot }))
    }

    /// Keeps the OID and the files where they are. Fails with `TableNotFound`, `TableExists`,
    /// `NamespaceNotFound`.
    pub async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        let renamed = self.backend.rename_table(from, to).await;
        self.contents_changed();
        renamed
    }
}

impl Table {
    /// The table for DataFusion: scans, and INSERT.
    pub fn provider(&self) -> Arc<dyn TableProvider> {
        Arc::new(crate::scan::LakeTable::new(self.clone()))
    }
}

#[cfg(test)]
mod tests;
